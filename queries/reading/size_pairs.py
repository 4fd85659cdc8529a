"""Which runs are the small and which the large ones: as named, or every two sizes of repeated runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.select import RunSelection, Selected, select_runs
from queries.reading.sizes import run_sizes, size_words
from queries.reading.tables import shared_words
from queries.reading.units import apart_limits, units_limits, units_of


@dataclass(frozen=True)
class SizePair:
    """Runs of two sizes by run_id, and what the sizes are called."""

    small: tuple[int, ...]
    large: tuple[int, ...]
    small_name: str
    large_name: str


@dataclass(frozen=True)
class Told:
    """Which runs were said to be small and which large, by run_id, and in what words."""

    small: frozenset[int]
    large: frozenset[int]
    small_name: str
    large_name: str


def select_sizes(
    archive: Archive, runs: RunSelection | str | Iterable[str], small: Sequence[str], large: Sequence[str]
) -> tuple[Selected, Told | None]:
    """The runs, and which are which where that is told.

    Raises UsageError where one is told and not the other, or a run is both.
    """
    if not small and not large:
        return select_runs(archive, runs), None
    if not small or not large:
        raise UsageError(
            "small and large are told together: --small NAME --large NAME, names or patterns of runs."
        )
    also = ["excluded:too"] if RunSelection.of(runs).with_excluded else []
    one, other = (select_runs(archive, [*names, *also]) for names in (small, large))
    both = [run.run for run in one.runs if run.run_id in other.by_id]
    if both:
        raise UsageError(f"{both[0]} is both small and large; expected different runs.")
    excluded = {run.run_id: run for run in (*one.excluded, *other.excluded)}
    every = Selected((*one.runs, *other.runs), tuple(excluded.values()))
    return every, Told(frozenset(one.ids), frozenset(other.ids), ", ".join(small), ", ".join(large))


def size_pairs(
    selected: Selected,
    ordered: Sequence[int],
    told: Told | None,
    sizes: Sequence[str],
    ratio: float,
) -> tuple[list[SizePair], tuple[str, ...]]:
    """Pairs of sizes among the runs that have values, and what to say of them.

    Runs of one condition and one number of parameters are one size. Of those that share seeds only some of which no two do are
    compared: others may not be exchanged, and tell nothing of another run. Raises NotComparable where a size is not known or no
    two differ by the ratio.
    """
    if told:
        small, large = (tuple(run for run in ordered if run in part) for part in (told.small, told.large))
        if not small or not large:
            raise NotComparable(
                f"{len(small)} small and {len(large)} large run(s) have values there; expected some of both: `pathscope status` "
                "shows what each has."
            )
        return _apart(selected, [SizePair(small, large, told.small_name, told.large_name)])
    known = run_sizes(selected.only(ordered), sizes)
    known.refuse_unknown("sizes are compared")
    members: dict[tuple[float, str], list[int]] = {}
    for run in ordered:
        members.setdefault((known.of[run], selected.groups[run]), []).append(run)
    keys = sorted(members)
    pairs = [(a, b) for a, b in permutations(keys, 2) if b[0] >= ratio * a[0]]
    if not pairs:
        raise NotComparable(
            f"no two sizes of these {len(ordered)} runs differ by a factor of {ratio:g}; --small NAME --large NAME say which "
            "runs are compared, --ratio a smaller factor."
        )
    alone = len({size for size, _ in keys}) == len(keys)
    cut = len(shared_words(group for _, group in keys))
    names = {k: size_words(k[0]) if alone else f"{k[1][cut:]} ({size_words(k[0])})" for k in keys}
    found, limits = _apart(
        selected, [SizePair(tuple(members[a]), tuple(members[b]), names[a], names[b]) for a, b in pairs]
    )
    return found, (*known.limits, *limits)


def _apart(selected: Selected, pairs: Sequence[SizePair]) -> tuple[list[SizePair], tuple[str, ...]]:
    """Of each size the runs of which no two share a seed, and what to say of the others."""
    sizes = {p.small_name: p.small for p in pairs} | {p.large_name: p.large for p in pairs}
    units = {name: units_of(selected, runs) for name, runs in sizes.items()}
    apart = {name: tuple(one.apart()) for name, one in units.items()}
    return [replace(p, small=apart[p.small_name], large=apart[p.large_name]) for p in pairs], (
        *units_limits(units, ""),
        *apart_limits(selected, units, "comparisons of sizes"),
    )
