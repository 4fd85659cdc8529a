"""Sizes and times as people write and read them."""

import re

from archive.errors import UsageError

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")


def size_words(n_bytes: int) -> str:
    """Bytes with a decimal unit: 1,500,000 is 1.5 MB."""
    value, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.1f} {unit}"


def age_words(seconds: float) -> str:
    """A time span in its two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def seconds_of(text: str) -> float:
    """Seconds in a time span such as 26h, 90min, 1.5d or 1d12h; raises UsageError for anything else."""
    pieces = _DURATION.findall(text)
    if not pieces or _DURATION.sub("", text).strip():
        raise UsageError(f"{text!r} is no time span: write 26h, 90min, 45s, 2d or 1d12h.")
    return sum(float(number) * _UNITS[unit] for number, unit in pieces)
