"""One file a page; see `ui/view.py`."""
