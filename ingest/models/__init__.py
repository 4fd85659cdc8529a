"""The small transformer of runs trained here and of published toy checkpoints."""
