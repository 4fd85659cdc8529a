"""Carrying out a study: units of work for workers, shards from them, commits in the parent. Start with `conduct.py`."""
