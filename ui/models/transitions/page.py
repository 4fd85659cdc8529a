"""The Transitions page: what was chosen, which runs fit on it, what the test costs, and levels to open with."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from archive.store import Archive
from queries.compare_transition_times import GroupBy
from queries.events.time_comparisons import SEED_FIELDS
from queries.phase_transitions import PhaseTransitions
from queries.reading.select import RunSelection, select_runs
from queries.reading.series import CONTINUOUS, DISCRETE
from queries.reading.tables import floats, stretches
from queries.stats.intervals import Rule
from queries.stats.transitions import MOST_POINTS
from ui.models.component_sets import named
from ui.models.transitions.measures import Kind

Circuits = Literal["induction", "ioi"]

MOST_MEASURES = 4
MOST_RUNS = 200  # described and tested at once; their series are rows of one table
POSITION_LEVEL = 0.35  # nats: half the loss of a fair coin
GROUPS: tuple[GroupBy, ...] = ("condition", "init", "order", "split")
RULES: tuple[Rule, ...] = ("first", "stays")
CIRCUITS: tuple[Circuits, ...] = ("induction", "ioi")
MAIN, EVERY = "main part", "every part"
PARTS = (MAIN, EVERY)
# measured on one core: what a series with a transition takes, which needs most draws
SECONDS_PER_SERIES, SECONDS_PER_POINT = 0.02, 0.001
SECONDS_PER_RUN_OF_TOKENS = 2.0
SECONDS_PER_PAIR = 0.25  # of groups of ten runs each
PAIRS_AT_ONCE = 6
# the order of positions, in each condition
SECONDS_PER_POSITIONS, SECONDS_PER_POSITIONS_AND_RUN = 1.5e-4, 1.5e-5  # for every two of them
POSITIONS_AT_ONCE = 0.5  # seconds

# losses before any training and at its end, as medians over positions and runs
_POSITIONS_SQL = """\
WITH ends AS (
  SELECT arg_min(f."values", c.step) AS first, arg_max(f."values", c.step) AS last
  FROM fact_position f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN part p ON p.id = f.part_id
  WHERE f.quantity_id IN (SELECT quantity_id FROM v_quantity WHERE measure = 'position_loss')
    AND f.run_id IN (SELECT unnest($run_ids)) AND p.name <> 'train' AND c.integrity = 'ok'
  GROUP BY f.run_id, f.quantity_id, f.part_id
)
SELECT max(len(last)) AS n,
       (SELECT median(v) FROM (SELECT unnest(first) AS v FROM ends) WHERE isfinite(v)) AS first,
       (SELECT median(v) FROM (SELECT unnest(last) AS v FROM ends) WHERE isfinite(v)) AS last
FROM ends"""


@dataclass(frozen=True)
class TransitionChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    measure: tuple[str, ...] = ()
    parts: str = MAIN
    test: bool = False
    focus: str = ""
    series: str = ""
    x_scale: str = "log"
    y_scale: str = "linear"
    event_of: str = ""
    event_part: str = ""
    level: float | None = None
    rule: Rule = "first"
    group_by: GroupBy = "condition"
    compare: bool = False
    circuits_of: Circuits = "induction"
    position_level: float = POSITION_LEVEL
    position_order: bool = False
    tokens: bool = False
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Positions:
    """Losses by position of some runs. n: positions, 0 where there are none. seconds: about how long their order takes.

    level: what counts as there until somebody says another; half_way: it is what these curves have in their middle.
    """

    n: int
    seconds: float
    level: float
    half_way: bool


@dataclass(frozen=True)
class RunsUsed:
    """What to ask for: the first runs where there are more than a page can hold."""

    selection: RunSelection
    n_used: int
    n_there: int

    @property
    def words(self) -> list[str]:
        """What to say where some are left out."""
        if self.n_used == self.n_there:
            return []
        return [f"The first {self.n_used} of {self.n_there} runs are used; choose others in the sidebar."]


def runs_used(archive: Archive, *, selection: RunSelection) -> RunsUsed:
    """The runs of a selection, at most `MOST_RUNS`; raises what `select_runs` does."""
    selected = select_runs(archive, selection)
    n = len(selected.runs)
    if n <= MOST_RUNS:
        return RunsUsed(selection, n, n)
    first = named(*(r.run for r in selected.runs[:MOST_RUNS]), excluded=selection.with_excluded)
    return RunsUsed(first, MOST_RUNS, n)


def pairs_of_groups(archive: Archive, *, selection: RunSelection, by: GroupBy) -> int:
    """How many pairs of groups there are to compare."""
    selected = select_runs(archive, selection)
    seed = SEED_FIELDS.get(by)
    names = [getattr(r, seed) for r in selected.runs] if seed else selected.groups.values()
    return math.comb(len(set(names) - {None}), 2)


def positions_of(archive: Archive, *, selection: RunSelection) -> Positions:
    """What there is to say of positions; half the loss of a fair coin counts as there where most positions end below it."""
    selected = select_runs(archive, selection)
    row = archive.rows(_POSITIONS_SQL, {"run_ids": selected.ids})[0]
    n, first, last = int(row["n"] or 0), row["first"], row["last"]
    seconds = math.comb(n, 2) * sum(
        SECONDS_PER_POSITIONS + SECONDS_PER_POSITIONS_AND_RUN * n_runs
        for n_runs in Counter(selected.groups.values()).values()
    )
    if first is None or last is None or last <= POSITION_LEVEL:
        return Positions(n, seconds, POSITION_LEVEL, half_way=False)
    return Positions(n, seconds, float(f"{(first + last) / 2:.2g}"), half_way=True)


def asked_of(
    kind: Kind, used: RunsUsed, *, parts: str, suspect: bool, describe_only: bool, pair: bool
) -> dict[str, Any]:
    """Parameters of `phase_transitions` for one measure."""
    asked: dict[str, Any] = {"runs": used.selection, "measure": kind.measure, **kind.which}
    if kind.tasks:
        asked |= {"tasks": kind.tasks, "shots": kind.shots}
    if parts == EVERY and kind.can_split:
        asked["part"] = "all"
    if suspect:
        asked["with_suspect"] = True
    return asked | {"pair": pair} | ({"describe_only": True} if describe_only else {})


def partner_of(measure: str) -> str:
    """The other member of the metric pair: accuracy of loss and so on; "" where there is none."""
    return CONTINUOUS.get(measure) or DISCRETE.get(measure) or ""


def test_seconds(described: Sequence[PhaseTransitions]) -> float:
    """About how long the test of these series takes on one core, were there a transition in each."""
    seconds = 0.0
    for answer in described:
        for row in answer.table.to_pylist():
            if row["sigma"] is not None:
                seconds += SECONDS_PER_SERIES + SECONDS_PER_POINT * min(row["n_points"], MOST_POINTS)
    return seconds


def duration(seconds: float) -> str:
    """A duration in words, rounded up: `1 s`, `40 s`, `3 min`."""
    if seconds < 10:
        return f"{max(1, math.ceil(seconds))} s"
    return f"{10 * math.ceil(seconds / 10)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"


def half_way(answer: PhaseTransitions) -> tuple[float, bool]:
    """(level in the middle of what these curves do, whether they rise): medians over series of first and last values.

    NaN where no series has a finite value. The level is one number for all runs, but it knows the end of training.
    """
    steps, values = floats(answer.curves, "step"), floats(answer.curves, "value")
    ends = []
    for a, b in zip(*stretches(answer.curves, ["run", "series"]), strict=True):
        finite = values[a:b][np.isfinite(values[a:b]) & np.isfinite(steps[a:b])]
        if len(finite):
            ends.append((finite[0], finite[-1]))
    if not ends:
        return math.nan, True
    first, last = np.median(np.array(ends), axis=0)
    return float(f"{(first + last) / 2:.2g}"), bool(last >= first)


def event_words(kind: Kind, part: str, level: float, *, rises: bool) -> str:
    """An event as `event_order` and `lead_lag` read it."""
    where = f"[{part}]" if part else ""
    return f"{kind.measure}{where} {'>=' if rises else '<='} {level:g}"


def csv_rows(answers: Mapping[str, PhaseTransitions]) -> list[dict[str, Any]]:
    """Every column of every row, the measure in front."""
    return [
        {"measure": label} | {k: v for k, v in row.items() if k != "needed"}
        for label, answer in answers.items()
        for row in answer.table.to_pylist()
    ]
