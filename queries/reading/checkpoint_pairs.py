"""Two checkpoints side by side: which two of each run, and whether their heads and neurons have the same numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from typing import Annotated, Literal

from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice
from queries.reading.select import RunRow, RunSelection, Selected, select_runs
from queries.reading.tables import in_order

MOST_PAIRS = 16

RunA = Annotated[str, Field(description="run of checkpoint A; empty: the run of B itself")]
RunB = Annotated[str, Field(description="run of checkpoint B; empty: each of the runs")]
StepA = Annotated[
    int | Literal["auto", "first", "final"],
    Field(
        union_mode="left_to_right",
        description="a step of A, first or final; auto = the first of the same run, the last of another",
    ),
]
StepB = Annotated[
    int | Literal["first", "final"],
    Field(union_mode="left_to_right", description="a step of B, first or final"),
]

# every checkpoint of the runs that has a value
_STEPS_SQL = """\
SELECT c.run_id, c.id AS checkpoint_id, c.step, c.integrity, c.integrity_note
FROM cell l
JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id
  AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
ORDER BY c.run_id, c.step"""


@dataclass(frozen=True)
class Point:
    """One checkpoint. doubt: why it is suspect, "" where its integrity is ok."""

    run_id: int
    run: str
    step: int
    checkpoint_id: int
    doubt: str = ""

    @property
    def place(self) -> str:
        """Run and step in words."""
        return f"{self.run} at step {self.step:,}"


@dataclass(frozen=True)
class Pair:
    """Two checkpoints that are compared: b against a."""

    a: Point
    b: Point

    @property
    def columns(self) -> dict[str, object]:
        """What names it in every table."""
        return {
            "run_a": self.a.run,
            "step_a": self.a.step,
            "run_b": self.b.run,
            "step_b": self.b.step,
        }

    @property
    def place(self) -> str:
        """Both ends in words."""
        if self.a.run_id == self.b.run_id:
            return f"{self.b.run} from step {self.a.step:,} to {self.b.step:,}"
        return f"{self.b.place} against {self.a.place}"


@dataclass(frozen=True)
class Pairs:
    """Pairs in the order people count, and what to say of runs that give none. points: all there are: run_id -> step -> point."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    points: Mapping[int, Mapping[int, Point]] = field(default_factory=dict)

    @property
    def run_ids(self) -> list[int]:
        """Every run that takes part."""
        return sorted({p.run_id for pair in self.pairs for p in (pair.a, pair.b)})

    @property
    def doubts(self) -> list[str]:
        """A line for every suspect checkpoint that is used."""
        points = {p.checkpoint_id: p for pair in self.pairs for p in (pair.a, pair.b) if p.doubt}
        return [f"{p.place} is a suspect checkpoint ({p.doubt})." for p in points.values()]


def select_ends(
    archive: Archive, runs: RunSelection | str | Sequence[str], run_a: str, run_b: str
) -> tuple[Selected, list[tuple[int, int]]]:
    """All runs that take part, and the (run of A, run of B) of each pair.

    Raises as `select_runs` does, UsageError where a name is that of several runs.
    """
    asked = RunSelection.of(runs)
    second = select_runs(archive, _only(run_b, asked) if run_b else asked)
    if run_b:
        second = second.only([_the_one(second, run_b)])
    if not run_a:
        return second, [(r.run_id, r.run_id) for r in second.runs]
    first = select_runs(archive, _only(run_a, asked))
    start = _the_one(first, run_a)
    rows = {r.run_id: r for r in (*first.only([start]).runs, *second.runs)}
    excluded = {r.run_id: r for r in (*first.excluded, *second.excluded)}
    every = Selected(tuple(rows[k] for k in sorted(rows)), tuple(excluded.values()))
    return every, [(start, r.run_id) for r in second.runs]


def pick_pairs(
    archive: Archive,
    choice: Choice,
    ends: Sequence[tuple[int, int]],
    steps: tuple[int | str, int | str],
    left_out: LeftOuts,
) -> Pairs:
    """The two checkpoints of each pair that have a usable value.

    steps: of A and of B. Pairs that lack one, or would be of one checkpoint with itself, are told in the notes.
    Raises UsageError naming the nearest steps where no pair is left, and where there are more than MOST_PAIRS.
    """
    quantity, selected = choice.quantity, choice.selected
    parameters = {"quantity_id": quantity.quantity_id, "run_ids": selected.ids, "left_out": left_out.ids}
    known: dict[int, dict[int, Point]] = {run: {} for run in selected.ids}
    for row in archive.rows(_STEPS_SQL, parameters):
        doubt = (
            "" if row["integrity"] == "ok" else f"{row['integrity']}: {row['integrity_note']}".rstrip(": ")
        )
        point = Point(
            row["run_id"], selected.by_id[row["run_id"]].run, row["step"], row["checkpoint_id"], doubt
        )
        known[row["run_id"]][row["step"]] = point
    rank = {run: k for k, run in enumerate(in_order(selected, selected.ids))}
    found, without, alone = [], [], []
    for a, b in sorted(ends, key=lambda pair: rank.get(pair[1], len(rank))):
        first = _at(known.get(a, {}), "first" if a == b else "final", steps[0])
        second = _at(known.get(b, {}), "final", steps[1])
        if first is None or second is None:
            without.append((a, b))
        elif first.checkpoint_id == second.checkpoint_id:
            alone.append(first.place)
        else:
            found.append(Pair(first, second))
    if not found:
        raise UsageError(_nothing(quantity.measure, known, without, alone, steps))
    if len(found) > MOST_PAIRS:
        raise UsageError(
            f"{len(found)} pairs of checkpoints; this question takes up to {MOST_PAIRS}: choose fewer with --runs, or "
            "two runs with --run-a and --run-b."
        )
    notes = []
    if without:
        names = [r.run for r in selected.runs if r.run_id == without[0][1]]
        notes.append(f"{len(without)} run(s) have no value at that step (first: {(names or ['?'])[0]}).")
    if alone:
        notes.append(f"{len(alone)} run(s) have no second checkpoint to compare with (first: {alone[0]}).")
    return Pairs(tuple(found), tuple(notes), known)


def numbering(a: RunRow, b: RunRow) -> tuple[bool, str]:
    """(whether a head or neuron has the same number in both runs, why).

    It has within a run, where both began from the same weights, and where one goes on from the other or both from a
    third. Anything else permutes them, or nobody knows.
    """
    if a.run_id == b.run_id:
        return True, "both are checkpoints of one run"
    if a.init_hash and a.init_hash == b.init_hash:
        return True, "both runs began from the same weights"
    if b.parent_run and b.parent_run in a.names:
        return True, f"{b.run} goes on from {a.run}"
    if a.parent_run and a.parent_run in b.names:
        return True, f"{a.run} goes on from {b.run}"
    if a.parent_run and a.parent_run == b.parent_run:
        return True, f"both go on from {a.parent_run}"
    if a.init_hash and b.init_hash:
        return False, "they began from different weights"
    return False, "nobody recorded that they began from the same weights"


def refuse_other_numbering(selected: Selected, pairs: Pairs, what: str) -> None:
    """Raise NotComparable for a pair whose heads or neurons have no common numbers. what: such as "neurons"."""
    for pair in pairs.pairs:
        same, why = numbering(selected.by_id[pair.a.run_id], selected.by_id[pair.b.run_id])
        if not same:
            raise NotComparable(
                f"{what} of {pair.a.run} and {pair.b.run} have no common numbering ({why}), so number by number they "
                "are different ones: choose two checkpoints of one run, runs with one init_hash, or a run and its parent_run."
            )


def _only(name: str, asked: RunSelection) -> RunSelection:
    # a name may have brackets and stars of its own
    return RunSelection(names=(escape(name),), with_excluded=asked.with_excluded)


def _the_one(selected: Selected, name: str) -> int:
    rows = [r for r in selected.runs if r.run == name] or list(selected.runs)
    if len(rows) > 1:
        raise UsageError(
            f"{name!r} is a name of {len(rows)} runs ({', '.join(r.run for r in rows[:3])}); give one of these."
        )
    return rows[0].run_id


def _at(points: Mapping[int, Point], auto: str, step: int | str) -> Point | None:
    wanted = auto if step == "auto" else step
    if isinstance(wanted, int):
        return points.get(wanted)
    if not points:
        return None
    return points[min(points) if wanted == "first" else max(points)]


def _nothing(
    measure: str,
    known: Mapping[int, Mapping[int, Point]],
    without: Sequence[tuple[int, int]],
    alone: Sequence[str],
    steps: tuple[int | str, int | str],
) -> str:
    if alone:
        return (
            f"A and B are the same checkpoint ({alone[0]}); choose another step_a or step_b, or "
            f"`pathscope ingest STUDY.toml --fill {measure}` measures kept checkpoints."
        )
    for end, step in zip(without[0], steps, strict=True):
        there = sorted(known.get(end, {}))
        if isinstance(step, int) and step not in there:
            near = ", ".join(map(str, sorted(there, key=lambda s: abs(s - step))[:3])) or "none"
            return f"no checkpoint with {measure} at step {step}; the nearest steps are {near}."
    return f"no two checkpoints have {measure}; `pathscope ingest STUDY.toml --fill {measure}` measures kept checkpoints."
