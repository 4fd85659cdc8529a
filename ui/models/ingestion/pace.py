"""How fast results come in, and when they will all be there; or why nobody can say."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from archive.upkeep.words import age_words
from ui.models.text import count, number, plural

LAST_COMMITS = 20
FEWEST_COMMITS = 3
# a pause so many times as long as the usual one, and longer than this, separates two calls of `pathscope ingest`
PAUSE_TIMES = 10.0
PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Pace:
    """Cells a second over the last commits, None where too few are known; seconds until all are there.

    basis: what that rests on, or why there is none.
    """

    cells_per_second: float | None
    eta_seconds: float | None
    basis: str

    @property
    def rate_words(self) -> str:
        """The rate in the unit that people can count in; — where there is none."""
        if self.cells_per_second is None:
            return "—"
        per = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
        unit, times = next((p for p in per if self.cells_per_second * p[1] >= 1), per[-1])
        return f"{number(float(f'{self.cells_per_second * times:.3g}'))} cells/{unit}"

    @property
    def eta_words(self) -> str:
        """How long it will still take; — where nobody can say."""
        return "—" if self.eta_seconds is None else f"about {age_words(self.eta_seconds)}"


def pace(commits: Sequence[tuple[float, int]], *, left: int | None, now: float, running: bool) -> Pace:
    """The pace of a study.

    commits: (seconds since 1970, cells) in order, each moment once; only the last ones without a long pause count.
    left: cells still to come, None where nobody says how many are wanted. running: somebody is at it now.
    """
    recent = _stretch(commits[-LAST_COMMITS:])
    rate = None
    basis = "nothing has come in yet"
    if recent:
        seconds = recent[-1][0] - recent[0][0]
        basis = f"{plural(len(recent), 'commit')} without a long pause, at least {FEWEST_COMMITS} are needed for a rate"
        if len(recent) >= FEWEST_COMMITS and seconds > 0:
            # what the first commit brought was measured before it
            rate = sum(cells for _, cells in recent[1:]) / seconds
            basis = f"the last {count(len(recent))} commits, which took {age_words(seconds)}"
    if left is None:
        return Pace(rate, None, f"{basis}; nobody says how many cells are wanted")
    if left <= 0:
        return Pace(rate, None, f"{basis}; nothing is left to do")
    if not running:
        return Pace(rate, None, f"{basis}; nobody is at it now")
    if not rate:
        return Pace(rate, None, basis)
    quiet, longest = now - recent[-1][0], max(b - a for (a, _), (b, _) in pairwise(recent))
    if quiet > max(PAUSE_SECONDS, 2 * longest):
        waited = f"nothing came in for {age_words(quiet)}, the longest pause before was {age_words(longest)}"
        return Pace(rate, None, f"{basis}; {waited}")
    return Pace(rate, left / rate, basis)


def _stretch(commits: Sequence[tuple[float, int]]) -> Sequence[tuple[float, int]]:
    """The last of them, back to the last long pause."""
    gaps = [b - a for (a, _), (b, _) in pairwise(commits)]
    if not gaps:
        return commits
    longest = max(PAUSE_SECONDS, PAUSE_TIMES * median_low(gaps))
    starts = [k + 1 for k, gap in enumerate(gaps) if gap > longest]
    return commits[starts[-1] :] if starts else commits
