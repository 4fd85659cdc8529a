"""The neuron of each other run that is most like the chosen one, from comparisons of models that are stored."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from archive.errors import PathscopeError
from archive.store import Archive
from queries.reading.checkpoint_pairs import numbering
from queries.reading.compared_pairs import refused
from queries.reading.matched_neurons import MEASURE, TABLES
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import RunSelection, select_runs
from queries.results import readable_sql
from ui.models.address import page_address
from ui.models.component_sets import ComponentSet, named
from ui.models.neuron.page import TABLE
from ui.models.numbers import or_nan, or_none
from ui.models.text import number, plural, shorten

# steps of a run that were compared with any other run
_STEPS_SQL = """\
SELECT DISTINCT a.step
FROM cell l
JOIN checkpoint_pair k ON k.id = l.subject_id
JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b
WHERE l.subject_kind = 2 AND l.state = 1 AND l.quantity_id = $quantity_id AND a.run_id = $run_id AND b.run_id <> $run_id
  AND b.run_id IN (SELECT unnest($run_ids)) AND ($with_suspect OR NOT (a.suspect OR b.suspect))
ORDER BY a.step"""

# one number out of each of five vectors of every pair
_MATCHES_SQL = """\
WITH pairs AS (
  SELECT k.id AS pair_id, a.step, b.run_id, b.run, b.step AS step_b
  FROM cell l
  JOIN checkpoint_pair k ON k.id = l.subject_id
  JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
  JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b
  WHERE l.subject_kind = 2 AND l.state = 1 AND l.quantity_id = $quantity_id AND a.run_id = $run_id AND b.run_id <> $run_id
    AND a.step = $step AND b.run_id IN (SELECT unnest($run_ids)) AND ($with_suspect OR NOT (a.suspect OR b.suspect))
  QUALIFY row_number() OVER (PARTITION BY b.run_id ORDER BY abs(b.step - a.step), k.id DESC) = 1
)
SELECT p.run_id, p.run, p.step, p.step_b,
       any_value(f."values"[$unit + 1]) FILTER (t.name = 'layer') AS layer,
       any_value(f."values"[$unit + 1]) FILTER (t.name = 'unit') AS unit,
       any_value(f."values"[$unit + 1]) FILTER (t.name = 'highest') AS similarity,
       any_value(f."values"[$unit + 1]) FILTER (t.name = 'baseline') AS null_mean,
       any_value(f."values"[$unit + 1]) FILTER (t.name = 'excess') AS excess
FROM pairs p
JOIN fact_pair_vector f ON f.pair_id = p.pair_id
JOIN part t ON t.id = f.part_id
WHERE f.quantity_id = $quantity_id AND f.layer_a = $layer
GROUP BY ALL
ORDER BY excess DESC NULLS LAST, p.run_id"""

MOST_ROWS = 200
COMMAND = "pathscope ingest compare.toml"
STUDY = """\
# compare.toml: as your study with [load], and further
[compare]
pairs = "same step"
both_orders = true

[[eval_sets]]
kind = "stdlib"

[measures]
names = ["neuron_matching"]"""


@dataclass(frozen=True)
class Comparison:
    """A stored comparison of neurons of one run with those of others; steps: at which of its checkpoints."""

    quantity_id: int
    eval_set: str
    run_id: int
    run_ids: tuple[int, ...]
    steps: tuple[int, ...]
    with_suspect: bool

    def at(self, step: int) -> int | None:
        """The last compared checkpoint not after the slider's; None where all are later."""
        return max((s for s in self.steps if s <= step), default=None)


@dataclass(frozen=True)
class Match:
    """The most similar neuron of another run.

    similarity: their correlation over tokens; null_mean: the highest with that run's layers rotated at random; excess:
    similarity less null_mean; first_excess: the same of the chosen neuron at the first checkpoint compared, NaN where that
    is this one. layer and unit are −1 where it has no match. shared: neurons of one number began as the same in both runs.
    """

    run: str
    step: int
    layer: int
    unit: int
    similarity: float
    null_mean: float
    excess: float
    shared: bool
    why: str
    first_excess: float = math.nan

    @property
    def name(self) -> str:
        """Such as L1N12."""
        return f"L{self.layer}N{self.unit}" if self.unit >= 0 else "—"


@dataclass(frozen=True)
class Matches:
    """Matches of one neuron in every run it was compared with, the largest excess first; and the statement."""

    rows: tuple[Match, ...]
    sql: str

    @property
    def known(self) -> tuple[Match, ...]:
        """Those with a match: a neuron that does not vary has none."""
        return tuple(r for r in self.rows if r.unit >= 0 and math.isfinite(r.excess))

    @property
    def excess(self) -> float:
        """Mean excess over runs of other inits; NaN where there is none."""
        values = [r.excess for r in self.known if not r.shared]
        return sum(values) / len(values) if values else math.nan


def comparison_of(
    archive: Archive, *, run: str, selection: RunSelection, known: ComponentSet, suspect: bool
) -> Comparison | PathscopeError:
    """The comparison that `run` takes part in, or why there is none.

    That on the eval set of the examples where it is there, else on any other: matching needs no common texts with them.
    """
    others = select_runs(archive, selection)
    focus = select_runs(archive, named(run, excluded=True))
    focus = focus.only(r.run_id for r in focus.runs if run in r.names)
    selected = replace(others, runs=(*focus.runs, *(r for r in others.runs if r.run_id not in focus.by_id)))
    (top,) = choose_quantities(archive, focus, [Want((known.measure,), (TABLE,))], known.which)
    if not isinstance(top, Choice):
        return top
    site = top.quantity.site
    want = Want((MEASURE,), TABLES, fits=lambda quantity: quantity.site == site)
    own: Which = {"eval_set": top.quantity.encoding_hash}
    (found,) = choose_quantities(archive, selected, [want], own)
    if not isinstance(found, Choice):
        (found,) = choose_quantities(archive, selected, [want], {})
    if not isinstance(found, Choice):
        return refused(found, MEASURE, {})
    parameters = {
        "quantity_id": found.quantity.quantity_id,
        "run_id": focus.ids[0],
        "run_ids": found.selected.ids,
        "with_suspect": suspect,
    }
    return Comparison(
        quantity_id=found.quantity.quantity_id,
        eval_set=found.quantity.eval_set,
        run_id=focus.ids[0],
        run_ids=tuple(found.selected.ids),
        steps=tuple(int(row["step"]) for row in archive.rows(_STEPS_SQL, parameters)),
        with_suspect=suspect,
    )


def matches_of(archive: Archive, *, comparison: Comparison, layer: int, unit: int, step: int) -> Matches:
    """Matches at a compared checkpoint, beside what the same neuron had at the first one."""
    rows, sql = _ask(archive, comparison, layer, unit, step)
    first = {}
    if step > comparison.steps[0]:
        first = {
            r["run_id"]: r["excess"] for r in _ask(archive, comparison, layer, unit, comparison.steps[0])[0]
        }
    by_id = {r.run_id: r for r in select_runs(archive, RunSelection(with_excluded=True)).runs}
    found = []
    for r in rows:
        shared, why = numbering(by_id[comparison.run_id], by_id[r["run_id"]])
        found.append(
            Match(
                run=r["run"],
                step=int(r["step_b"]),
                layer=-1 if r["layer"] is None else int(r["layer"]),
                unit=-1 if r["unit"] is None else int(r["unit"]),
                similarity=or_nan(r["similarity"]),
                null_mean=or_nan(r["null_mean"]),
                excess=or_nan(r["excess"]),
                shared=shared,
                why=why,
                first_excess=or_nan(first.get(r["run_id"])),
            )
        )
    return Matches(tuple(found), sql)


def matches_table(found: Matches, here: str, eval_set: str) -> pa.Table:
    """A row a run: run, match, similarity, null_mean, excess, first_excess, start, page (the match's own page)."""
    rows = [
        {
            "run": r.run,
            "match": r.name,
            "similarity": or_none(r.similarity),
            "null_mean": or_none(r.null_mean),
            "excess": or_none(r.excess),
            "first_excess": or_none(r.first_excess),
            "start": "same weights" if r.shared else "other",
            "page": None if r.unit < 0 else match_page(r, here, eval_set),
        }
        for r in found.rows[:MOST_ROWS]
    ]
    reals = ("similarity", "null_mean", "excess", "first_excess")
    names = ("run", "match", *reals, "start", "page")
    schema = pa.schema([(n, pa.float64() if n in reals else pa.string()) for n in names])
    return pa.Table.from_pylist(rows, schema=schema)


def match_page(match: Match, here: str, eval_set: str) -> str:
    """Address of the match's own page, at the checkpoint that was compared."""
    return page_address(
        here,
        "neuron",
        eval_set=eval_set,
        focus=match.run,
        layer=match.layer,
        unit=match.unit,
        step=match.step,
    )


def matches_in_words(found: Matches, name: str, step: int) -> str:
    """What the matches say, with the number of runs behind the mean."""
    others = [r for r in found.known if not r.shared]
    if not found.known:
        return f"{name} does not vary on these texts at step {step:,}, so that nothing correlates with it."
    best = found.known[0]
    start = (
        f"Most like {name} at step {step:,} is {best.name} of {shorten(best.run, 40)}: correlation {number(best.similarity)}, "
        f"excess {number(best.excess)}."
    )
    if not others:
        return f"{start} All runs it was compared with share its init: none is another seed."
    return f"{start} Mean excess over {plural(len(others), 'run')} of other inits: {number(found.excess)}."


def matches_csv_table(found: Matches) -> pa.Table:
    """Everything that is known of every match, for export."""
    columns = (
        "run",
        "step",
        "name",
        "layer",
        "unit",
        "similarity",
        "null_mean",
        "excess",
        "first_excess",
        "shared",
        "why",
    )
    return pa.Table.from_pylist([{c: getattr(r, c) for c in columns} for r in found.rows])


def notes_of(found: Matches) -> list[str]:
    """What the numbers cannot tell."""
    lines = [
        "The highest of many correlations is never 0: read the excess over rotated layers, and beside it what the same neuron "
        "had at the first checkpoint compared.",
        "Several neurons may have one match, and the match of a match need not be the neuron one came from.",
        "Sparse neurons with nothing in common may have an excess too: compare the texts.",
    ]
    shared: Sequence[Match] = [r for r in found.rows if r.shared]
    if shared:
        lines.insert(
            0,
            f"{plural(len(shared), 'run')} began with the same weights ({shared[0].why}) and are not in the mean.",
        )
    return lines


def _ask(
    archive: Archive, comparison: Comparison, layer: int, unit: int, step: int
) -> tuple[list[dict[str, Any]], str]:
    parameters = {
        "quantity_id": comparison.quantity_id,
        "run_id": comparison.run_id,
        "run_ids": list(comparison.run_ids),
        "with_suspect": comparison.with_suspect,
        "layer": layer,
        "unit": unit,
        "step": step,
    }
    return archive.rows(_MATCHES_SQL, parameters), readable_sql(_MATCHES_SQL, parameters)
