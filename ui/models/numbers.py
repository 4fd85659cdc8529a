"""Numbers that may be missing: None in tables, NaN in figures."""

import math


def or_nan(value: float | None) -> float:
    """The value, NaN where there is none."""
    return math.nan if value is None else float(value)


def or_none(value: float) -> float | None:
    """The value, None where it is not finite: what a table shows as an empty cell."""
    return value if math.isfinite(value) else None
