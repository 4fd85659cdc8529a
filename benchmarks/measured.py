"""One measured promise, and how to take turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A ratio of ours to the bare way, with both in words; promised = None where it is only shown."""

    what: str
    ours: str
    bare: str
    ratio: float
    promised: float | None = None

    @property
    def broken(self) -> bool:
        """True when the promise is not kept."""
        return self.promised is not None and self.ratio > self.promised


def seconds(action: Callable[[], object]) -> float:
    """How long an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def compare(
    what: str, ours: Callable[[], float], bare: Callable[[], float], *, times: int, promised: float | None
) -> Measured:
    """Let both take turns (each returns its own seconds) and compare the fastest of each."""
    pairs = [(ours(), bare()) for _ in range(times)]
    best, least = min(p[0] for p in pairs), min(p[1] for p in pairs)
    return Measured(what, words(best), words(least), best / least, promised)


def words(value: float) -> str:
    """Seconds with two digits that matter."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
