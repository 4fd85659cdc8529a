"""Measuring checkpoints, each in one forward pass: `checkpoint.py` for tasks, `scanning.py` for eval sets."""
