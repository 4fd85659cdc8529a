"""Scores of attention heads over training: named heads, or the top heads of each run."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_out, pick_checkpoints
from queries.reading.heads import index_limits, parse_head
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.tables import floats, stretches, with_groups
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, readable_sql

# on the fact table with the fewest joins: this is the one table that grows to 10^8 rows
_SQL = """\
SELECT f.run_id, r.name AS run, h.rank, 'L' || f.layer || 'H' || f.head AS name, f.layer, f.head, c.step,
       f.value, f.chance, (f.value - f.chance) / nullif(f.se, 0) AS z, f.se
FROM fact_head f
JOIN (SELECT unnest($runs) AS run_id, unnest($layers) AS layer, unnest($heads) AS head, unnest($ranks) AS rank) h
  ON h.run_id = f.run_id AND h.layer = f.layer AND h.head = f.head
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, h.rank, f.layer, f.head, c.step"""

_TOP_FINAL_SQL = """\
SELECT run_id, layer, head, row_number() OVER (PARTITION BY run_id ORDER BY value DESC, layer, head) AS rank
FROM fact_head
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
  AND checkpoint_id IN (SELECT unnest($checkpoint_ids)) AND isfinite(value)
QUALIFY rank <= $top
ORDER BY run_id, rank"""

_TOP_MAX_SQL = """\
SELECT run_id, layer, head, row_number() OVER (PARTITION BY run_id ORDER BY peak DESC, layer, head) AS rank
FROM (
  SELECT run_id, layer, head, max(value) AS peak FROM fact_head
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
    AND checkpoint_id NOT IN (SELECT unnest($left_out)) AND isfinite(value)
  GROUP BY run_id, layer, head
)
QUALIFY rank <= $top
ORDER BY run_id, rank"""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class HeadScoreHistory(Answer):
    """Scores of heads over training.

    table: run, group, rank (1 = best; 0 = named), name (L2H3), layer, head, step, value, chance, z, se.
    summary: per run and head the first, last and largest score and where it is largest.
    """

    label: str

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A line per run and head."""
        from queries.figures.plots import head_history

        return head_history(self, x_scale=x_scale)


@query(title="How do head scores develop over training?")
def head_score_history(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="a measure per head")] = "head.previous_token",
    heads: Annotated[
        tuple[str, ...], Field(description="heads such as L2H3; default: the top heads of each run")
    ] = (),
    top: Annotated[int, Field(ge=1, le=1000, description="how many heads per run")] = 5,
    chosen_by: Annotated[
        Literal["final", "max"], Field(description="top by the score at the last checkpoint, or by the peak")
    ] = "final",
    **which: Unpack[Which],
) -> HeadScoreHistory:
    """Score of named heads, or of the top heads of each run, at every usable checkpoint.

    Layers and heads count from 0. Nothing is averaged over runs: a head number means the same head only in
    runs that share their init.
    """
    choice = choose_quantity(archive, select_runs(archive, runs), [measure], which, tables=("fact_head",))
    quantity = choice.quantity
    left_out = find_left_out(archive, choice, which)
    if heads:
        asked = [parse_head(name) for name in heads]
        chosen = [(run, layer, head, 0) for run in choice.selected.ids for layer, head in asked]
    else:
        chosen = _top_heads(archive, choice, left_out, top, chosen_by)
    runs_, layers, numbers, ranks = (list(column) for column in zip(*chosen, strict=True))
    parameters = {
        "runs": runs_,
        "layers": layers,
        "heads": numbers,
        "ranks": ranks,
        "quantity_id": quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        raise UsageError(
            f"no run has {quantity.measure} of {', '.join(heads)}; `pathscope query head_scores` lists the heads "
            "there are (layers and heads count from 0)."
        )
    present = set(rows["run_id"].unique().to_pylist())
    table = with_groups(rows, choice.selected)
    summary = _summary(table)
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return HeadScoreHistory(
        sentence=_sentence(quantity.measure, summary, len(present), bool(heads)),
        table=table.drop_columns(["run_id"]),
        summary=summary,
        label=quantity.measure,
        n_runs=len(present),
        unit=quantity.shown_unit,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *row_limits(units_by_group(choice.selected, choice.selected.only(present).ids)),
            *_limits(choice, present, bool(heads), chosen_by),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _top_heads(
    archive: Archive, choice: Choice, left_out: LeftOuts, top: int, chosen_by: Literal["final", "max"]
) -> list[tuple[int, int, int, int]]:
    """(run_id, layer, head, rank) of the best heads of each run."""
    parameters = {"quantity_id": choice.quantity.quantity_id, "run_ids": choice.selected.ids, "top": top}
    if chosen_by == "final":
        picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, "final")
        found = archive.query(_TOP_FINAL_SQL, {**parameters, "checkpoint_ids": picked.ids})
    else:
        found = archive.query(_TOP_MAX_SQL, {**parameters, "left_out": left_out.ids})
    if not found.num_rows:
        raise UsageError(f"no head has a finite {choice.quantity.measure} there; try chosen_by='max'.")
    return list(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _summary(table: pa.Table) -> pa.Table:
    """One row per run and head; rows of one head lie together, sorted by step."""
    starts, ends = stretches(table, ["run_id", "rank", "layer", "head"])
    values = floats(table, "value")
    steps = table["step"].to_numpy()
    peaks = [
        a + int(np.argmax(np.nan_to_num(values[a:b], nan=-math.inf)))
        for a, b in zip(starts, ends, strict=True)
    ]
    named = table.take(pa.array(starts)).select(["run", "group", "rank", "name"])
    columns = {
        "first": values[starts],
        "last": values[ends - 1],
        "largest": values[peaks],
        "largest_at": steps[peaks],
        "last_step": steps[ends - 1],
    }
    for name, column in columns.items():
        named = named.append_column(name, pa.array(column))
    return named.append_column("n_checkpoints", pa.array((ends - starts).tolist(), pa.int64()))


def _sentence(measure: str, summary: pa.Table, n_runs: int, named: bool) -> str:
    rows = summary.to_pylist()
    if named and len(rows) == 1:
        r = rows[0]
        return (
            f"{measure} of {r['name']} in {r['run']} goes from {number(r['first'])} to {number(r['last'])} over "
            f"{r['n_checkpoints']} checkpoints; its largest value is {number(r['largest'])} at step {r['largest_at']:,}."
        )
    best = rows if named else [r for r in rows if r["rank"] == 1]
    what = "the named heads" if named else "the best head of each run"
    last = [r["last"] for r in best]
    first = [r["first"] for r in best]
    return (
        f"{measure} of {what} ({n_runs} run{'s' if n_runs != 1 else ''}) goes from {number(min(first))} – "
        f"{number(max(first))} at the first to {number(min(last))} – {number(max(last))} at the last checkpoint."
    )


def _limits(choice: Choice, present: set[int], named: bool, chosen_by: str) -> list[str]:
    lines = []
    absent = [r.run for r in choice.selected.runs if r.run_id not in present]
    if absent:
        lines.append(f"{len(absent)} run(s) have no such head (first: {absent[0]}).")
    if not named:
        how = "final score" if chosen_by == "final" else "peak"
        lines.append(
            f"Heads were chosen by their {how}: that they rise is partly guaranteed by the choice, so the rise alone "
            "is no evidence (compare other heads, or named ones)."
        )
    return [*lines, *index_limits(choice.selected.only(present))]
