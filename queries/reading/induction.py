"""What is read and worked out per run about the formation of induction heads; one path for all runs, trained or published."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.curves import Axis
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.reading.tables import floats, in_order, stretches
from queries.results import readable_sql
from queries.stats.intervals import Bracket
from queries.stats.transition_shape import Shape, lag_octaves, steps_needed, transition_shape

Floats = NDArray[np.float64]
Agreement = Literal["yes", "no", "unresolved"]
Class = Literal["major_transition", "gradual", "none", "unresolved"]

SCORE = "head.prefix_matching"
# least fall in nats that is one: published in-context scores fall by about 0.25 (Olsson et al. 2022)
SMALLEST_FALL = 0.1
# two events at the same time: within an octave of steps
TOGETHER = 1.0

_TOKENS = "coalesce(c.tokens_seen, c.step * r.tokens_per_step)"
_HEADS_SQL = f"""\
SELECT f.run_id, r.name AS run, c.step, {_TOKENS} AS tokens_seen, max(f.value) AS score,
       arg_max('L' || f.layer || 'H' || f.head, (f.value, -f.layer, -f.head)) AS best,
       arg_max(f.chance, (f.value, -f.layer, -f.head)) AS chance
FROM fact_head f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out)) AND isfinite(f.value)
GROUP BY f.run_id, r.name, c.step, {_TOKENS}
ORDER BY f.run_id, c.step"""

# in-context learning over all text where that is there, else of the test split; the loss of later copies
_LOSSES_SQL = """\
SELECT f.run_id, f.quantity_id, p.name AS part, c.step, f.value
FROM fact_scalar f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN part p ON p.id = f.part_id
WHERE f.quantity_id IN (SELECT unnest($quantity_ids)) AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out)) AND p.name IN ('', 'test', 'later')
ORDER BY f.run_id, f.quantity_id, p.name, c.step"""

_SAVED_SQL = """\
SELECT run_id, step FROM checkpoint
WHERE run_id IN (SELECT unnest($run_ids)) AND integrity = 'ok' AND id NOT IN (SELECT unnest($left_out))
ORDER BY run_id, step"""


@dataclass(frozen=True)
class Choices:
    """The quantities: scores of heads, and where they are there in-context learning and loss on copies."""

    score: Choice
    icl: Choice | None
    copies: Choice | None
    notes: tuple[str, ...]

    @property
    def all(self) -> list[Choice]:
        """Those there are."""
        return [c for c in (self.score, self.icl, self.copies) if c is not None]


@dataclass(frozen=True)
class Fall:
    """One of the losses that should fall with the score.

    before, after: its value at the last checkpoint before the score rises and the first one after. lag: least and
    most octaves by which its middle is later than the score's; NaN where it does not fall. together: within an
    octave; unresolved where the brackets cannot tell, None where it is not measured.
    """

    before: float
    after: float
    lag: tuple[float, float]
    together: Agreement | None


@dataclass(frozen=True)
class Formation:
    """One run. steps, times (steps or tokens, as asked) and scores are what was measured; shape is over times."""

    run_id: int
    level: float
    best: str
    chance: float
    steps: Floats
    times: Floats
    scores: Floats
    shape: Shape
    kind: Class
    why: str
    icl: Fall
    copies: Fall
    needed: list[int]
    measurable: list[int]

    @property
    def middle(self) -> Bracket:
        """When half of the rise is done: never so far where no head gets there, before the first point where one was."""
        if self.kind == "none":
            return Bracket(float(self.times[-1]), math.inf, len(self.times))
        if self.early:
            return Bracket(-math.inf, float(self.times[0]), len(self.times))
        return self.shape.t50

    @property
    def early(self) -> bool:
        """Whether a head was there at the first checkpoint."""
        return self.kind != "none" and self.shape.first >= self.level


def choose_induction(archive: Archive, selected: Selected, icl_eval_set: str, which: Which) -> Choices:
    """`eval_set` is that of the repeated tokens, `icl_eval_set` that of the text ("auto": the only one there is)."""
    free = which.copy()
    repeated = free.pop("eval_set", None)
    wants = [
        Want((SCORE,), ("fact_head",), fits=partial(_usual, repeated)),
        Want(
            ("icl_score",),
            ("fact_scalar",),
            fits=partial(_on, None if icl_eval_set == "auto" else icl_eval_set),
        ),
        Want(("induction_loss",), ("fact_scalar",), fits=partial(_on, repeated)),
    ]
    score, icl, copies = choose_quantities(archive, selected, wants, free)
    if not isinstance(score, Choice):
        raise score
    notes = []
    if isinstance(icl, NotComparable):
        notes.append("icl_score is there on several eval sets: icl_eval_set=... says which one to use.")
    for name, found in (("icl_score", icl), ("induction_loss", copies)):
        if isinstance(found, UsageError) and not isinstance(found, NotComparable):
            notes.append(f"No {name} is there (`pathscope ingest STUDY.toml --fill {name}`).")
    if isinstance(copies, NotComparable):
        notes.append("induction_loss is there on several eval sets: eval_set=... says which one to use.")
    return Choices(
        score,
        icl if isinstance(icl, Choice) else None,
        copies if isinstance(copies, Choice) else None,
        tuple(notes),
    )


def read_formations(
    archive: Archive, choices: Choices, level: float, axis: Axis, which: Which
) -> tuple[list[Formation], LeftOuts, str]:
    """Every run with a score: its curve, its class and what happens beside it. Three statements.

    level: least score of the best head that makes it an induction head. Raises UsageError where tokens are
    asked for and not known.
    """
    left_out = find_left_outs(archive, choices.all, which)
    shared = {"run_ids": choices.score.selected.ids, "left_out": left_out.ids}
    parameters = {**shared, "quantity_id": choices.score.quantity.quantity_id}
    rows = archive.query(_HEADS_SQL, parameters)
    if not rows.num_rows:
        raise UsageError(f"no run has a finite {SCORE}; `pathscope status` shows what each has.")
    if axis == "tokens" and rows["tokens_seen"].null_count:
        raise UsageError(
            "tokens_seen is not known for every run asked for; ask with axis='step', or for runs whose tokens per step are "
            "recorded."
        )
    losses = _losses(archive, choices, shared)
    saved: dict[int, list[int]] = {}
    for row in archive.rows(_SAVED_SQL, shared):
        saved.setdefault(row["run_id"], []).append(row["step"])
    found = []
    ids, best = rows["run_id"].to_numpy(), rows["best"]
    steps, tokens = floats(rows, "step"), floats(rows, "tokens_seen")
    scores, chances = floats(rows, "score"), floats(rows, "chance")
    for a, b in zip(*stretches(rows, ["run_id"]), strict=True):
        run = int(ids[a])
        found.append(
            _formation(
                run,
                str(best[int(b) - 1].as_py()),
                float(chances[b - 1]),
                steps[a:b],
                tokens[a:b] if axis == "tokens" else steps[a:b],
                scores[a:b],
                level,
                {name: curves.get(run) for name, curves in losses.items()},
                saved.get(run, []),
            )
        )
    by_run = {f.run_id: f for f in found}
    ordered = [by_run[run] for run in in_order(choices.score.selected, by_run)]
    return ordered, left_out, readable_sql(_HEADS_SQL, parameters)


def _formation(
    run_id: int,
    best: str,
    chance: float,
    steps: Floats,
    times: Floats,
    scores: Floats,
    level: float,
    losses: Mapping[str, tuple[Floats, Floats] | None],
    saved: Sequence[int],
) -> Formation:
    by_step = transition_shape(steps, scores, "up")
    shape = by_step if times is steps else transition_shape(times, scores, "up")
    kind, why = _class(shape, level)
    needed, measurable = list[int](), list[int]()
    if kind == "unresolved" and math.isfinite(by_step.t90.high):
        low, high = by_step.t10.low, by_step.t90.high
        measurable = [s for s in saved if low < s < high and s not in steps]
        needed = steps_needed(by_step, np.concatenate([steps, np.array(measurable, float)]))
    falls = {name: _fall(by_step, kind, curve) for name, curve in losses.items()}
    return Formation(
        run_id=run_id,
        level=level,
        best=best,
        chance=chance,
        steps=steps,
        times=times,
        scores=scores,
        shape=shape,
        kind=kind,
        why=why,
        icl=falls["icl"],
        copies=falls["copies"],
        needed=needed,
        measurable=measurable,
    )


def _class(shape: Shape, level: float) -> tuple[Class, str]:
    if shape.last < level:
        return "none", f"no head reaches {level:g} by the last checkpoint"
    if shape.first >= level:
        return "unresolved", f"a head is at {level:g} or above at the first checkpoint"
    return shape.kind, shape.why


def _fall(score: Shape, kind: Class, curve: tuple[Floats, Floats] | None) -> Fall:
    nan = (math.nan, math.nan)
    if curve is None or not len(curve[0]):
        return Fall(math.nan, math.nan, nan, None)
    steps, values = curve
    if kind == "none" or not math.isfinite(score.t90.high):
        return Fall(float(values[0]), float(values[-1]), nan, None)
    earlier, later = values[steps <= score.t10.low], values[steps >= score.t90.high]
    before = float(earlier[-1]) if len(earlier) else float(values[0])
    after = float(later[0]) if len(later) else float(values[-1])
    shape = transition_shape(steps, values, "down")
    if not -shape.change >= SMALLEST_FALL:
        return Fall(before, after, nan, "no")
    low, high = lag_octaves(score.t50, shape.t50)
    if low >= -TOGETHER and high <= TOGETHER:
        return Fall(before, after, (low, high), "yes")
    apart = low > TOGETHER or high < -TOGETHER
    return Fall(before, after, (low, high), "no" if apart else "unresolved")


def _losses(
    archive: Archive, choices: Choices, shared: Mapping[str, object]
) -> dict[str, dict[int, tuple[Floats, Floats]]]:
    """Curves (steps, values) by name and run_id."""
    names = {
        c.quantity.quantity_id: name
        for name, c in (("icl", choices.icl), ("copies", choices.copies))
        if c is not None
    }
    found: dict[str, dict[int, tuple[Floats, Floats]]] = {"icl": {}, "copies": {}}
    if not names:
        return found
    rows = archive.query(_LOSSES_SQL, {**shared, "quantity_ids": sorted(names)})
    steps, values = floats(rows, "step"), floats(rows, "value")
    for a, b in zip(*stretches(rows, ["run_id", "quantity_id", "part"]), strict=True):
        run, quantity, part = (rows[c][int(a)].as_py() for c in ("run_id", "quantity_id", "part"))
        name = names[quantity]
        if (part == "later") == (name == "copies"):
            # parts come sorted, so the whole comes before the test split
            finite = np.isfinite(values[a:b])
            found[name].setdefault(run, (steps[a:b][finite], values[a:b][finite]))
    return found


def _usual(eval_set: str | None, quantity: Quantity) -> bool:
    """The score summed over targets: the usual definition, whether or not it says so."""
    return _on(eval_set, quantity) and quantity.params.get("variant", "sum_targets") in ("", "sum_targets")


def _on(eval_set: str | None, quantity: Quantity) -> bool:
    return eval_set is None or quantity.is_on(eval_set)
