"""How many independent runs there are: those that share an init, a data order or a split are no repeats of one another."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from queries.reading.crossed_runs import SEED_FIELDS
from queries.reading.select import RunRow, Selected
from queries.render import brief
from queries.stats.left_out import LEAST_LEVELS, numbered
from queries.stats.over_units import apart

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """Runs of one group, and the seeds that they share.

    runs: run_id of each. shared: seed -> its value in each run, of seeds that some but not all repeats of a condition have in
    common. A seed that all runs have is what the answer is about, and one that no two runs have needs no counting.
    """

    runs: tuple[int, ...]
    shared: Mapping[str, tuple[Hashable, ...]]

    @property
    def counted(self) -> Mapping[str, tuple[Hashable, ...]]:
        """The seeds that are counted: of three values or more, which can say how much they matter; else those of two."""
        enough = {name: v for name, v in self.shared.items() if len(set(v)) >= LEAST_LEVELS}
        return enough or self.shared

    def of(self, runs: Iterable[int] | None = None) -> list[Whole]:
        """For every counted seed the number of its value in each run, as queries.stats.over_units takes it."""
        place = {run: k for k, run in enumerate(self.runs)}
        kept = [place[run] for run in (self.runs if runs is None else runs)]
        return [of[kept] for of in numbers_of(self.counted)]

    def by_run(self) -> list[dict[int, int]]:
        """For every counted seed run_id -> the number of its value, as queries.stats.run_pairs takes it."""
        return [dict(zip(self.runs, of.tolist(), strict=True)) for of in self.of()]

    def apart(self, runs: Iterable[int] | None = None) -> list[int]:
        """Runs of which no two share a counted seed, for tests that exchange runs; all of them where none is shared."""
        known = list(self.runs if runs is None else runs)
        return [known[k] for k in apart(self.of(known), len(known))]

    def columns(self, runs: Iterable[int] | None = None) -> dict[str, object]:
        """n_units: how many of the runs are independent at least, values of the seed (`unit`) that has fewest among them."""
        known = list(self.runs if runs is None else runs)
        sizes = [len(np.unique(of)) for of in self.of(known)]
        name, n = min(zip(self.counted, sizes, strict=True), key=_size, default=("run", len(known)))
        return {"n_units": n, "unit": name}

    def told(self, runs: Sequence[int] | None = None) -> str:
        """`9 runs, 3 independent inits`; `9 runs` where all are independent."""
        known = self.runs if runs is None else runs
        found = independent(self.columns(known))
        return f"{len(known)} run{'' if len(known) == 1 else 's'}" + (f", {found}" if found else "")


def numbers_of(seeds: Mapping[str, Sequence[Hashable]]) -> list[Whole]:
    """For every seed the number of its value in each run."""
    return [numbered(values) for values in seeds.values()]


def independent(row: Mapping[str, Any]) -> str:
    """`3 independent inits`, from a row with `columns`; empty where every run is one."""
    name, n = row["unit"], row["n_units"]
    return "" if name == "run" else f"{n} independent {name}{'' if n == 1 else 's'}"


def among(row: Mapping[str, Any]) -> str:
    """The same in brackets after a number of runs: ` (3 independent inits)`."""
    found = independent(row)
    return f" ({found})" if found else ""


def units_of(selected: Selected, runs: Iterable[int]) -> Units:
    """Which of the runs share which seeds; in a pooled group a seed of another condition is another one.

    An init of which the seed is not known is told by the hash of its weights; what is not known at all is no other run's.
    """
    members = tuple(runs)
    found: dict[str, tuple[Hashable, ...]] = {}
    for name, field in SEED_FIELDS.items():
        named = tuple((selected.groups[run], _value(selected.by_id[run], field)) for run in members)
        per_condition = Counter(group for group, _ in set(named))
        if len(set(named)) < len(named) and max(per_condition.values()) > 1:
            found[name] = named
    return Units(members, found)


def units_by_group(selected: Selected, runs: Iterable[int]) -> dict[str, Units]:
    """The same for each condition, in the order of the runs."""
    groups: dict[str, list[int]] = {}
    for run in runs:
        groups.setdefault(selected.groups[run], []).append(run)
    return {group: units_of(selected, members) for group, members in groups.items()}


def pooled_units(selected: Selected, runs: Iterable[int]) -> tuple[dict[str, Units], Units]:
    """All runs as one group, by its name and alone: of a question that does not keep conditions apart."""
    units = units_of(selected, runs)
    groups = {selected.groups[run] for run in units.runs}
    return {groups.pop() if len(groups) == 1 else "all conditions": units}, units


def units_limits(units: Mapping[str, Units], counted: str) -> list[str]:
    """What to say of runs that share seeds; counted: what counts runs all the same, for people, or nothing."""
    still = f"; {counted} count runs" if counted else ""
    return [
        f"{told} Each value of a seed counts once in verdicts, p and intervals, for every seed of three values or more (of one "
        f"with two nothing is said beyond these two){still}."
        for told in _shared_words(units)
    ]


def row_limits(units: Mapping[str, Units]) -> list[str]:
    """What to say of runs that share seeds where every row is of one run, or of one pair of runs."""
    return [
        f"{told} No p, interval or verdict is over runs here, and rows of runs that share a seed are no repeats of one another."
        for told in _shared_words(units)
    ]


def apart_limits(selected: Selected, units: Mapping[str, Units], what: str) -> list[str]:
    """Which runs a test rests on where runs share seeds; what: the test, for people."""
    shared = {group: one for group, one in units.items() if one.shared}
    if not shared:
        return []
    group, one = next(iter(shared.items()))
    names = [selected.by_id[run].run for run in one.apart()]
    listed = ", ".join(map(brief, names[:4])) + (" ..." if len(names) > 4 else "")
    return [
        f"For {what} runs count of which no two share a seed, chosen by their seeds alone: of {brief(group)} {len(names)} of "
        f"{len(one.runs)} ({listed})."
    ]


def _shared_words(units: Mapping[str, Units]) -> list[str]:
    """One sentence, or none where no runs share seeds."""
    shared = {group: one for group, one in units.items() if one.shared}
    if not shared:
        return []
    group, one = next(iter(shared.items()))
    counts = " and ".join(f"{len(set(values))} {name}" for name, values in one.shared.items())
    more = f" (and so do those of {len(shared) - 1} more)" if len(shared) > 1 else ""
    return [f"The {len(one.runs)} runs of {brief(group)} share seeds ({counts}){more}: {one.told()}."]


def _size(one: tuple[str, int]) -> int:
    return one[1]


def _value(run: RunRow, field: str) -> Hashable:
    seed = getattr(run, field)
    if seed is None and field == "init_seed" and run.init_hash:
        return run.init_hash
    return seed if seed is not None else ("run", run.run_id)
