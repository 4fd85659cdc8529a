"""Saying that a measure has no meaning for a model or a task."""


class NotApplicable(Exception):
    """Raised by a measure that has no meaning for this model or task; its text says why."""
