"""The Compare page: which checkpoints there are, what was chosen, and whether two runs number their heads alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive.store import Archive
from queries.reading.checkpoint_pairs import numbering
from queries.reading.select import RunSelection, select_runs
from queries.reading.tables import in_order
from ui.models.component_sets import named

TOKENS, HEADS, NEURONS = "fact_token", "fact_head", "fact_neuron_top"
SAME = "same run"
FITS = 26  # letters of a name that are seen in the box of A or B beside a sidebar in a window of 1000 pixels

# of the ledger: every checkpoint that has anything the page shows
_POINTS_SQL = """\
SELECT c.run_id, c.step, list(DISTINCT m.table_name ORDER BY m.table_name) AS tables,
       bool_and(c.integrity <> 'ok') AS suspect, any_value(c.integrity || ' ' || c.integrity_note) AS doubt
FROM cell l
JOIN quantity q ON q.id = l.quantity_id
JOIN measure m ON m.id = q.measure_id
JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND c.run_id IN (SELECT unnest($run_ids))
  AND (m.name = 'token_loss' OR m.table_name IN ('fact_head', 'fact_neuron_top'))
GROUP BY c.run_id, c.step
ORDER BY c.run_id, c.step"""


@dataclass(frozen=True)
class CompareChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    run_a: str
    step_a: int
    run_b: str
    step_b: int
    eval_set: str = ""
    variant: str = ""
    sequence: int | None = None
    white: bool = False
    direction: str = ""
    measure: str = ""
    heads_on: str = ""
    heads_variant: str = ""
    x_scale: str = ""
    y_scale: str = ""
    neurons_on: str = ""
    neurons_variant: str = ""
    overlap: str = ""
    neurons: str = ""


@dataclass(frozen=True)
class PointOf:
    """A checkpoint of a run. tables: what there is of it; doubt: why it is suspect, "" where it is not."""

    step: int
    tables: frozenset[str]
    doubt: str


def points_of(
    archive: Archive, *, selection: RunSelection, suspect: bool
) -> Mapping[str, tuple[PointOf, ...]]:
    """Run -> its checkpoints with anything to compare, ascending; runs in the order people count.

    Those with token losses at two checkpoints come first, because the page can show all of itself for them.

    suspect: whether suspect checkpoints are among them.
    """
    selected = select_runs(archive, selection)
    found: dict[int, list[PointOf]] = {}
    for row in archive.rows(_POINTS_SQL, {"run_ids": selected.ids}):
        if row["suspect"] and not suspect:
            continue
        doubt = " ".join(row["doubt"].split()) if row["suspect"] else ""
        found.setdefault(row["run_id"], []).append(PointOf(row["step"], frozenset(row["tables"]), doubt))

    def is_poor(run: int) -> bool:
        return sum(TOKENS in p.tables for p in found[run]) < 2

    order = sorted(in_order(selected, found), key=is_poor)
    return {selected.by_id[run].run: tuple(found[run]) for run in order}


def in_full(run: str) -> str:
    """The name of a run where its box cuts it; "" where it fits."""
    return run if len(run) > FITS else ""


def early(points: Sequence[PointOf]) -> int:
    """The step A opens with: the first that has token losses, where there are any."""
    return next((p.step for p in points if TOKENS in p.tables), points[0].step)


def late(points: Sequence[PointOf]) -> int:
    """The step B opens with: the last that has token losses, where there are any."""
    return next((p.step for p in reversed(points) if TOKENS in p.tables), points[-1].step)


def doubts(points: Mapping[str, Sequence[PointOf]], choices: CompareChoices) -> list[str]:
    """What to say where A or B is a suspect checkpoint."""
    ends = (("A", choices.run_a, choices.step_a), ("B", choices.run_b, choices.step_b))
    return [
        f"▲ {end} is a suspect checkpoint, {run} at step {step:,}: {p.doubt}."
        for end, run, step in ends
        for p in points.get(run, ())
        if p.step == step and p.doubt
    ]


def has_both(points: Mapping[str, Sequence[PointOf]], choices: CompareChoices, table: str) -> list[str]:
    """Which of A and B lack a table at the chosen step, in words; empty where both have it."""
    lacking = []
    for end, run, step in (("A", choices.run_a, choices.step_a), ("B", choices.run_b, choices.step_b)):
        mine = points.get(run, ())
        if any(p.step == step and table in p.tables for p in mine):
            continue
        there = sorted((p.step for p in mine if table in p.tables), key=lambda s: abs(s - step))[:3]
        near = f"; it has them at {', '.join(f'{s:,}' for s in there)}" if there else ""
        lacking.append(f"{end}, {run} at step {step:,}, has none{near}")
    return lacking


def common_numbering(archive: Archive, *, run_a: str, run_b: str) -> tuple[bool, str]:
    """(whether heads and neurons of two runs have the same numbers, why)."""
    rows = {r.run: r for r in select_runs(archive, named(run_a, run_b, excluded=True)).runs}
    return numbering(rows[run_a], rows[run_b])
