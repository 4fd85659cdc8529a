"""Training many seeds of one small transformer at once: start with `trainer.py`."""
