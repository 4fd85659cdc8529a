"""One neuron of each run: the texts it fires on, its statistics, what it writes, and how settled that is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step, find_left_outs
from queries.reading.heads import index_limits
from queries.reading.neuron_examples import Tops, read_texts, tops_by_run
from queries.reading.neuron_tables import (
    effect_table,
    example_table,
    histogram_table,
    history_table,
    summary_table,
)
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, readable_sql

_BESIDE = {
    "neuron.statistics": "fact_neuron",
    "neuron.histogram": "fact_histogram",
    "neuron.logit_effect": "fact_vector",
}

_SQL = """\
SELECT f.run_id, r.name AS run, c.step, f.sequences, f.positions, f."values", e.n_tokens
FROM fact_neuron_top f
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
JOIN quantity q ON q.id = f.quantity_id
JOIN encoding e ON e.id = q.encoding_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids)) AND f.layer = $layer AND f.unit = $unit
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, c.step"""

# statistics over training; histogram and logit effect from their last checkpoint not after that of the examples
_BESIDE_SQL = """\
WITH asked AS (SELECT unnest($run_ids) AS run_id, unnest($steps) AS step),
picked AS (
  SELECT c.run_id, l.quantity_id, c.id AS checkpoint_id
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id JOIN asked a ON a.run_id = c.run_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($quantity_ids)) AND c.step <= a.step
    AND c.id NOT IN (SELECT unnest($left_out))
  QUALIFY row_number() OVER (PARTITION BY c.run_id, l.quantity_id ORDER BY c.step DESC) = 1
), found AS (
  SELECT 'statistic' AS kind, run_id, quantity_id, checkpoint_id, part_id, [("values"[$unit + 1])::DOUBLE] AS "values",
         NULL::DOUBLE AS lower, NULL::DOUBLE AS upper
  FROM fact_neuron
  WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids)) AND layer = $layer
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
  UNION ALL
  SELECT 'histogram', h.run_id, h.quantity_id, h.checkpoint_id, h.part_id, h.counts::DOUBLE[], h.lower, h.upper
  FROM fact_histogram h
  JOIN picked p ON p.run_id = h.run_id AND p.quantity_id = h.quantity_id AND p.checkpoint_id = h.checkpoint_id
  WHERE h.layer = $layer AND h.unit = $unit
  UNION ALL
  SELECT 'effect', v.run_id, v.quantity_id, v.checkpoint_id, v.part_id, v."values", NULL, NULL
  FROM fact_vector v
  JOIN picked p ON p.run_id = v.run_id AND p.quantity_id = v.quantity_id AND p.checkpoint_id = v.checkpoint_id
  WHERE v.layer = $layer AND v.unit = $unit
)
SELECT f.kind, f.run_id, r.name AS run, c.step, t.name AS part, f."values", f.lower, f.upper
FROM found f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id JOIN part t ON t.id = f.part_id
ORDER BY f.kind, f.run_id, c.step, part"""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Neuron(Answer):
    """One neuron (or other unit) of each run.

    table: run, group, step, rank (1 = highest), value (activation at the token), document, before, token, after
    (the text around), born_after, born (it is among the top examples at every checkpoint since `born`, and was not at
    `born_after`; empty: there from the first), sequence, position, tokens and at (the window, and which of them).
    history: run, group, step, maximum, last_of_top (the smallest of the top values), turnover (share of the
    examples that were not among those of the checkpoint before), mean, variance, skew, kurtosis, firing_rate.
    summary: per run the step shown, number of examples, maximum, statistics, last and mean turnover, the overlap by
    chance, median and latest birth, number of checkpoints.
    histogram: run, step, lower, upper, counts. effect: run, step, direction (raises, lowers), rank, token_id,
    token, value: what the neuron's output does to the logits.
    """

    label: str
    history: pa.Table
    histogram: pa.Table
    effect: pa.Table

    def plot(
        self,
        *,
        of: Literal["maximum", "turnover", "firing_rate", "skew", "kurtosis"] = "maximum",
        x_scale: Literal["log", "linear"] = "log",
    ) -> go.Figure:
        """A line per run over training."""
        from queries.figures.language import neuron_curves

        return neuron_curves(self, of, x_scale=x_scale)


@query(title="What does one neuron fire on, and since when?")
def neuron(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    layer: Annotated[int, Field(ge=0, description="layer, from 0")] = 0,
    unit: Annotated[int, Field(ge=0, description="neuron (or other unit) in the layer, from 0")] = 0,
    step: Step = "final",
    window: Annotated[int, Field(ge=0, le=200, description="tokens shown either side")] = 12,
    **which: Unpack[Which],
) -> Neuron:
    """Top examples of a neuron at one checkpoint with their text, statistics, logit effect, and what changed before.

    Neurons count from 0. Nothing is compared over runs: a neuron's number means the same only in runs that share
    their init. Maxima grow with the eval set, so compare those of one eval set only.
    """
    selected = select_runs(archive, runs)
    top, beside, notes = _choices(archive, selected, which)
    choices = [top, *beside]
    left_out = find_left_outs(archive, choices, which)
    parameters: dict[str, object] = {
        "quantity_id": top.quantity.quantity_id,
        "run_ids": top.selected.ids,
        "layer": layer,
        "unit": unit,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    name = f"L{layer}N{unit}"
    if not rows.num_rows:
        raise UsageError(
            f'no run asked for has examples of {name}; `pathscope sql "SELECT run, layer, max(neuron) FROM v_neuron_top GROUP '
            'BY ALL"` shows the neurons there are (layers and neurons count from 0).'
        )
    by_run = {t.run_id: t for t in tops_by_run(rows)}
    tops = [by_run[run] for run in in_order(selected, by_run)]
    places = _places(tops, step, name)
    shown = [t for t in tops if t.run_id in places]
    found = _beside(
        archive, beside, left_out, layer, unit, {t.run_id: t.steps[places[t.run_id]] for t in shown}
    )
    examples = [e for t in shown for e in t.examples[places[t.run_id]]]
    ids = [int(i) for row in found if row["part"] in ("top_tokens", "bottom_tokens") for i in row["values"]]
    windows, words = read_texts(archive, top.quantity.quantity_id, examples, ids, window)
    history = history_table(selected, tops, found)
    summary = summary_table(selected, shown, places, history, int(rows["n_tokens"][0].as_py()))
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, choices, left_out), shared_seeds=())
    return Neuron(
        sentence=_sentence(name, summary),
        table=example_table(selected, shown, places, windows),
        summary=summary,
        label=name,
        history=history,
        histogram=histogram_table(found),
        effect=effect_table(found, words),
        n_runs=len(shown),
        n_items=max(len(t.examples[places[t.run_id]]) for t in shown),
        unit=top.quantity.shown_unit,
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices for note in c.notes),
            *notes,
            *left_out.limits,
            *row_limits(units_by_group(selected, [t.run_id for t in shown])),
            *_limits(selected, tops, shown, bool(windows)),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _choices(archive: Archive, selected: Selected, which: Which) -> tuple[Choice, list[Choice], list[str]]:
    """Examples, what of the rest is there for the same eval set, and what to say about the rest."""
    wants = [
        Want(("neuron.top",), ("fact_neuron_top",)),
        *(Want((measure,), (table,)) for measure, table in _BESIDE.items()),
    ]
    top, *rest = choose_quantities(archive, selected, wants, which)
    if not isinstance(top, Choice):
        raise top
    beside, notes = [], []
    for measure, found in zip(_BESIDE, rest, strict=True):
        if isinstance(found, NotComparable):
            notes.append(
                f"No {measure}: {str(found).splitlines()[0].rstrip(':').rstrip('.')}; eval_set=... decides."
            )
        elif not isinstance(found, Choice):
            notes.append(f"No {measure} is there (`pathscope ingest STUDY.toml --fill {measure}`).")
        elif found.quantity.encoding_hash not in (top.quantity.encoding_hash, "none"):
            notes.append(f"No {measure} on {top.quantity.eval_set}, only on {found.quantity.eval_set}.")
        else:
            beside.append(found)
    return top, beside, notes


def _places(tops: Sequence[Tops], step: int | Literal["final"], name: str) -> dict[int, int]:
    """run_id -> which of its checkpoints is shown; runs without that step are not there."""
    places = {
        t.run_id: len(t.steps) - 1 if step == "final" else t.steps.index(step)
        for t in tops
        if step == "final" or step in t.steps
    }
    if not places:
        every = sorted({s for t in tops for s in t.steps}, key=lambda s: abs(s - int(step)))
        raise UsageError(
            f"no run has examples of {name} at step {step}; the nearest steps are {', '.join(map(str, every[:3]))} (or "
            "step='final')."
        )
    return places


def _beside(
    archive: Archive,
    choices: Sequence[Choice],
    left_out: LeftOuts,
    layer: int,
    unit: int,
    steps: Mapping[int, int],
) -> list[dict[str, Any]]:
    if not choices:
        return []
    parameters = {
        "quantity_ids": [c.quantity.quantity_id for c in choices],
        "run_ids": list(steps),
        "steps": list(steps.values()),
        "layer": layer,
        "unit": unit,
        "left_out": left_out.ids,
    }
    return archive.rows(_BESIDE_SQL, parameters)


def _sentence(name: str, summary: pa.Table) -> str:
    rows = summary.to_pylist()
    if len(rows) > 1:
        top = [r["maximum"] for r in rows if r["maximum"] is not None]
        reached = f" from {number(min(top))} to {number(max(top))}" if top else ""
        return f"{name} of {len(rows)} runs: highest activation{reached}; runs are shown side by side, not compared."
    (r,) = rows
    if r["maximum"] is None:
        return f"{name} of {r['run']} has no example at step {r['step']:,}."
    settled = ""
    if r["mean_turnover"] is not None:
        settled = (
            f"; from one checkpoint to the next {r['mean_turnover']:.0%} of its examples change on average, "
            f"{r['last_turnover']:.0%} at the last, and half of the {r['n_examples']} shown stay since step {r['median_birth']:,}"
        )
    return f"{name} of {r['run']} at step {r['step']:,}: highest activation {number(r['maximum'])}{settled}."


def _limits(selected: Selected, tops: Sequence[Tops], shown: Sequence[Tops], texts: bool) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in {t.run_id for t in shown}]
    if absent:
        lines.append(f"{len(absent)} run(s) have no examples there (first: {absent[0]}).")
    if not texts:
        lines.append("The archive holds no tokens of this eval set, so examples are places without text.")
    if any(len(t.steps) < 3 for t in tops):
        lines.append("Fewer than 3 checkpoints: turnover and births are known to those steps only.")
    lines.append(
        "Turnover depends on how far apart checkpoints are, and a birth is known only to lie between two of them."
    )
    lines.append(
        "Top examples are the tail of what a neuron does: a neuron may keep them and change elsewhere, and a text that fits "
        "them may fit little else."
    )
    return [*lines, *index_limits(selected.only(t.run_id for t in shown), "neuron")]
