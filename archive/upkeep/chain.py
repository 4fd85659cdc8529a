"""A run's checkpoints side by side: which are duplicates, out of order, unreadable or not there.

Pure: numbers and words in, findings out. What a checkpoint is known by is the SHA-256 of its weights and a random
projection of them (a sketch), whose distances are those of the weights within about 1 %.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, log, sqrt

import numpy as np

from archive.records import Integrity
from archive.upkeep.chain_order import FEWEST, Floats, judge_order, squared_distances

# the same numbers: sketches of equal weights are equal but for the rounding of float64
SAME = 1e-7
# the same numbers but for rounding, say to half precision: so much nearer than what lies between them in the series.
# Runs that pass a point twice by chance come to within a hundredth in hardly one of a million pairs
ALMOST = 0.01
# to tell which of several places equal weights belong to, the next best must be so much worse
CLEARLY = log(1.5)
FIX = "pathscope ingest STUDY --fill weight_products:sketch"


@dataclass(frozen=True)
class Link:
    """What the archive knows of one checkpoint.

    integrity: as recorded, with a note; one without suspicion may say which step's weights it is known to have.
    accepted: a person said that it is as it should be. weights_hash: "" where never read.
    sketch: of the weights, None where there is none. absent, unreadable: why it could not be had or read; "" where
    it could, or nobody tried.
    """

    step: int
    snapshot: str = ""
    integrity: Integrity = "ok"
    note: str = ""
    accepted: bool = False
    weights_hash: str = ""
    sketch: Floats | None = None
    absent: str = ""
    unreadable: str = ""

    @property
    def trusted(self) -> bool:
        """True when nothing is known against it so far."""
        return self.integrity == "ok"

    def is_known_to_equal(self, other: "Link") -> bool:
        """Whether it is recorded, as nothing to suspect, that this one has the weights of the other's step."""
        return self.trusted and re.search(rf"\bstep {other.step}\b", self.note) is not None

    @property
    def name(self) -> str:
        """`step 8`, with the snapshot where it has a name."""
        return f"step {self.step}" + (f" of snapshot {self.snapshot}" if self.snapshot else "")


@dataclass(frozen=True)
class Suspicion:
    """A checkpoint that should leave the curves. place: its place in the chain."""

    place: int
    integrity: Integrity
    note: str


@dataclass(frozen=True)
class Judgement:
    """What was found in a chain.

    suspicions: new ones, in the order of the chain. remarks: what people should know and nothing is recorded of.
    to_previous, to_next: distance to the neighbour that has a sketch, relative to the length of the weights; the
    standard error is 1.6 % of it. NaN where it is not known.
    """

    suspicions: tuple[Suspicion, ...]
    remarks: tuple[str, ...]
    to_previous: Floats
    to_next: Floats


def judge(chain: Sequence[Link]) -> Judgement:
    """Judge the checkpoints of one run, in the order of their steps.

    Sketches are of one projection, so that they can be compared. Found suspicions are recorded as the integrity of
    their checkpoints; judged again with that, the chain has no new ones. Accepted checkpoints are never suspected.
    """
    judgement = _judged_once(chain)
    if not judgement.suspicions:
        return judgement
    # what is out of place can hide behind another one that is: judged until nothing is left
    marked = list(chain)
    for s in judgement.suspicions:
        marked[s.place] = replace(marked[s.place], integrity=s.integrity, note=s.note)
    rest = judge(marked)
    suspicions = sorted((*judgement.suspicions, *rest.suspicions), key=lambda s: s.place)
    return replace(judgement, suspicions=tuple(suspicions), remarks=rest.remarks)


def _judged_once(chain: Sequence[Link]) -> Judgement:
    """What stands out with everything there that is trusted so far."""
    found: dict[int, Suspicion] = {}
    for k, link in enumerate(chain):
        if link.trusted and not link.accepted and (link.absent or link.unreadable):
            found[k] = (
                Suspicion(k, "absent", link.absent)
                if link.absent
                else Suspicion(k, "defect", link.unreadable)
            )
    sketched = [k for k, link in enumerate(chain) if link.sketch is not None]
    squared = _squared(chain, sketched)
    usable = {k for k, link in enumerate(chain) if link.trusted and k not in found}
    duplicates = _duplicates(chain, sketched, squared, usable)
    found |= duplicates
    remarks = []
    kept: list[int] = []
    for n, k in enumerate(sketched):
        # of equal ones that a person has accepted, the first: their order says nothing
        if k in usable and k not in duplicates and squared[n, kept].min(initial=np.inf) > 0:
            kept.append(n)
    out_of_order, odd = _out_of_order(chain, [sketched[n] for n in kept], squared[np.ix_(kept, kept)])
    found |= out_of_order
    remarks += odd
    if missing := [link for k, link in enumerate(chain) if k in usable and link.sketch is None]:
        remarks.append(
            f"{len(missing)} of {len(chain)} checkpoint(s) have no sketch, so distances and order are unknown there: "
            f"`{FIX}` fills them"
        )
    to_previous, to_next = _to_neighbours(chain, sketched, squared)
    return Judgement(tuple(found[k] for k in sorted(found)), tuple(remarks), to_previous, to_next)


def _squared(chain: Sequence[Link], sketched: Sequence[int]) -> Floats:
    vectors = [sketch for k in sketched if (sketch := chain[k].sketch) is not None]
    return squared_distances(np.stack(vectors)) if vectors else np.zeros((0, 0))


def _to_neighbours(chain: Sequence[Link], sketched: Sequence[int], squared: Floats) -> tuple[Floats, Floats]:
    """Distances along the chain over the length of the weights."""
    to_previous, to_next = np.full(len(chain), np.nan), np.full(len(chain), np.nan)
    for n, k in enumerate(sketched):
        sketch = chain[k].sketch
        length = 0.0 if sketch is None else float(np.sqrt((sketch**2).sum()))
        if length > 0:
            if n:
                to_previous[k] = sqrt(squared[n - 1, n]) / length
            if n + 1 < len(sketched):
                to_next[k] = sqrt(squared[n, n + 1]) / length
    return to_previous, to_next


def _duplicates(
    chain: Sequence[Link], sketched: Sequence[int], squared: Floats, usable: set[int]
) -> dict[int, Suspicion]:
    """Of each set of equal checkpoints all but the one that is where it belongs; all where that cannot be told."""
    found: dict[int, Suspicion] = {}
    for group in _groups(chain, sketched, squared):
        # what a person has accepted is no reason to doubt the others either
        members = [k for k in group if k in usable and not chain[k].accepted]
        # nor what is known to be so, such as a first update with a learning rate of 0
        members = [
            k for k in members if not any(chain[k].is_known_to_equal(chain[m]) for m in group if m != k)
        ]
        if len(members) < 2:
            continue
        others = [k for k in usable if k not in group]
        kept = _at_home(chain, members, sketched, squared, others)
        for k in members:
            if k == kept:
                continue
            same = ", ".join(chain[m].name for m in group if m != k)
            hashes = {chain[m].weights_hash for m in group}
            how = (
                f"has the weights (SHA-256 {chain[k].weights_hash[:8]}) of {same}"
                if len(hashes) == 1
                else f"has the weights of {same} but for rounding"
            )
            unknown = "; which of them is right cannot be told" if kept is None else ""
            found[k] = Suspicion(k, "duplicate", how + unknown)
    return found


def _groups(chain: Sequence[Link], sketched: Sequence[int], squared: Floats) -> Iterator[tuple[int, ...]]:
    """Sets of two or more checkpoints with the same weights, by hash or by distance."""
    group_of = list(range(len(chain)))

    def join(a: int, b: int) -> None:
        old, new = group_of[b], group_of[a]
        for k, group in enumerate(group_of):
            if group == old:
                group_of[k] = new

    first: dict[str, int] = {}
    for k, link in enumerate(chain):
        if link.weights_hash:
            join(first.setdefault(link.weights_hash, k), k)
    for n, m in _nearly_equal(chain, sketched, squared):
        join(sketched[n], sketched[m])
    for group in sorted(set(group_of)):
        members = tuple(k for k, g in enumerate(group_of) if g == group)
        if len(members) > 1:
            yield members


def _nearly_equal(
    chain: Sequence[Link], sketched: Sequence[int], squared: Floats
) -> Iterator[tuple[int, int]]:
    n = len(sketched)
    lengths = np.array([float((s**2).sum()) for k in sketched if (s := chain[k].sketch) is not None])
    for i in range(n):
        nearest_between = np.inf  # to i, of what lies between i and j
        for j in range(i + 1, n):
            between = min(nearest_between, squared[i + 1 : j, j].min(initial=np.inf))
            same = squared[i, j] <= SAME**2 * lengths[i]
            if same or (isfinite(between) and squared[i, j] < ALMOST**2 * between):
                yield i, j
            nearest_between = min(nearest_between, squared[i, j])


def _at_home(
    chain: Sequence[Link],
    members: Sequence[int],
    sketched: Sequence[int],
    squared: Floats,
    others: Sequence[int],
) -> int | None:
    """The member whose neighbours are nearest to the weights that all of them have; None where none clearly is.

    Without neighbours to tell, step 0 keeps its weights: nothing comes before it, and a first update with a learning
    rate of 0 leaves them as they are.
    """
    rest = [n for n, k in enumerate(sketched) if k in others]
    misfits: list[tuple[float, int]] = []
    for k in members:
        n = sketched.index(k) if k in sketched else -1
        misfit = _misfit(squared, n, [m for m in rest if m < n], [m for m in rest if m > n])
        if n < 0 or misfit is None:
            break
        misfits.append((misfit, k))
    if len(misfits) == len(members):
        misfits.sort()
        if misfits[1][0] - misfits[0][0] >= CLEARLY:
            return misfits[0][1]
    return members[0] if chain[members[0]].step == 0 else None


def _misfit(squared: Floats, n: int, before: Sequence[int], after: Sequence[int]) -> float | None:
    """How far a point is from its neighbours, relative to their own distance; None where there are too few."""
    if before and after:
        near, apart = max(squared[before[-1], n], squared[n, after[0]]), squared[before[-1], after[0]]
    elif len(after) > 1:
        near, apart = squared[n, after[0]], squared[after[0], after[1]]
    elif len(before) > 1:
        near, apart = squared[n, before[-1]], squared[before[-1], before[-2]]
    else:
        return None
    return 0.5 * log(max(float(near), 1e-300) / max(float(apart), 1e-300))


def _out_of_order(
    chain: Sequence[Link], places: Sequence[int], squared: Floats
) -> tuple[Mapping[int, Suspicion], list[str]]:
    order = judge_order(squared)
    if not order.judged:
        few = f"the order is not judged: {len(places)} checkpoint(s) with sketches, at least {FEWEST} are needed"
        return {}, [few] if places else []
    found: dict[int, Suspicion] = {}
    for pair in order.exchanged:
        a, b = (places[n] for n in pair)
        if chain[a].accepted or chain[b].accepted:
            continue
        for k, other in ((a, b), (b, a)):
            found.setdefault(k, Suspicion(k, "out_of_order", f"looks exchanged with {chain[other].name}"))
    for n, (left, right) in order.misplaced:
        if not chain[places[n]].accepted:
            note = f"fits between {chain[places[left]].name} and {chain[places[right]].name}, and is far from its neighbours"
            found[places[n]] = Suspicion(places[n], "out_of_order", note)
    remarks = [
        f"{chain[places[n]].name} is far from both neighbours and fits nowhere else: a spike, or other weights"
        for n in order.apart
    ]
    if order.unclear:
        where = f"{chain[places[order.unclear[0]]].name} to {chain[places[order.unclear[-1]]].name}"
        remarks.append(
            f"the order is unclear in at least {len(order.unclear)} place(s) ({where}): the run wanders there, and nothing was "
            "accused"
        )
    return found, remarks
