"""Published excess correlations: files that list some neurons of a model, and what can be said of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step, find_left_out, pick_checkpoints
from queries.reading.quantities import Choice, Quantity, Want, Which
from queries.results import readable_sql

MEASURE = "universal_neurons.excess_correlation"
# the other difference in use has fewer neurons above any threshold
FORMULA = "mean_corr - mean_baseline"
ROUNDING = 1e-3
STATISTICS = ("skew", "kurtosis", "firing_rate")

_LISTED = """\
WITH listed AS (
  SELECT run_id, run, step, layer, neuron,
         max(value) FILTER (measure = 'universal_neurons.correlation' AND part = 'mean')::DOUBLE AS similarity,
         max(value) FILTER (measure = 'universal_neurons.baseline_correlation' AND part = 'mean')::DOUBLE AS null_mean,
         max(value) FILTER (measure = 'universal_neurons.excess_correlation')::DOUBLE AS excess,
         max(value) FILTER (measure = 'universal_neurons.preactivation' AND part = 'skew')::DOUBLE AS skew,
         max(value) FILTER (measure = 'universal_neurons.preactivation' AND part = 'kurtosis')::DOUBLE AS kurtosis,
         max(value) FILTER (measure = 'universal_neurons.preactivation' AND part = 'firing_rate')::DOUBLE AS firing_rate
  FROM v_neuron
  WHERE source = $source AND (params_json->>'subset') = $subset AND measure LIKE 'universal_neurons.%'
    AND (measure <> 'universal_neurons.excess_correlation' OR quantity_id = $quantity_id)
    AND checkpoint_id IN (SELECT unnest($checkpoint_ids)) AND isfinite(value)
  GROUP BY ALL
  HAVING excess IS NOT NULL
)
"""
_TABLE_SQL = f"""\
{_LISTED}SELECT format('L{{}}N{{}}', layer, neuron) AS neuron, run, similarity, null_mean, excess, NULL::DOUBLE AS least_excess,
       NULL::BIGINT AS n_partners, excess > $threshold AS universal, layer, neuron AS unit, step
FROM listed
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY excess DESC, layer, unit) <= $top
ORDER BY excess DESC, run, layer, unit"""

_LAYERS_SQL = f"""\
{_LISTED}SELECT l.run, l.step, l.layer, r.n_layers * r.d_mlp AS n_neurons, r.d_mlp, count(*) AS n_listed,
       count(*) FILTER (l.excess > $threshold) AS n_above, sum(l.excess) AS excess, min(l.excess) AS least,
       sum(l.skew) AS skew, sum(l.kurtosis) AS kurtosis, sum(l.firing_rate) AS firing_rate
FROM listed l JOIN v_run r ON r.run_id = l.run_id
GROUP BY l.run, l.step, l.layer, r.n_layers, r.d_mlp
ORDER BY l.run, l.layer"""


@dataclass(frozen=True)
class PublishedRun:
    """What one file says of one model: of all its neurons, those listed; sums over these."""

    run: str
    step: int
    n_neurons: int | None
    n_listed: int
    n_above: int
    mean_excess: float
    least: float
    statistics: Mapping[str, float]

    def is_cut_above(self, threshold: float) -> bool:
        """Whether the list ends above the threshold, so that neurons above it may be missing; correlations are half precision."""
        return self.least - threshold > ROUNDING


@dataclass(frozen=True)
class Published:
    """Runs with what was listed, their rows by layer, the best neurons, and the statement for these."""

    runs: tuple[PublishedRun, ...]
    layers: tuple[dict[str, float], ...]
    table: pa.Table
    left_out: LeftOuts
    sql: str


def published_want(which: Which) -> Want:
    """The excess of the usual formula, unless parameters are asked for."""
    if "params" in which:
        return Want((MEASURE,), ("fact_neuron",))
    return Want((MEASURE,), ("fact_neuron",), fits=partial(_is_formula, FORMULA))


def read_published(
    archive: Archive, choice: Choice, step: Step, threshold: float, top: int, which: Which
) -> Published:
    """What is listed of each run at that step. Raises as `pick_checkpoints` does."""
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    parameters: dict[str, object] = {
        "source": choice.quantity.source,
        "subset": str(choice.quantity.params.get("subset", "")),
        "quantity_id": choice.quantity.quantity_id,
        "checkpoint_ids": picked.ids,
        "threshold": threshold,
    }
    layers = archive.rows(_LAYERS_SQL, parameters)
    of_run: dict[str, list[dict[str, float]]] = {}
    for row in layers:
        of_run.setdefault(str(row["run"]), []).append(row)
    with_top = {**parameters, "top": top}
    return Published(
        tuple(_of_run(run, rows) for run, rows in of_run.items()),
        tuple(layers),
        archive.query(_TABLE_SQL, with_top),
        left_out,
        readable_sql(_TABLE_SQL, with_top),
    )


def _of_run(run: str, rows: list[dict[str, float]]) -> PublishedRun:
    n = int(sum(row["n_listed"] for row in rows))
    known = rows[0]["n_neurons"]
    return PublishedRun(
        run=run,
        step=int(rows[0]["step"]),
        n_neurons=int(known) if known else None,
        n_listed=n,
        n_above=int(sum(row["n_above"] for row in rows)),
        mean_excess=sum(row["excess"] for row in rows) / n,
        least=min(row["least"] for row in rows),
        statistics={
            name: sum(row[name] for row in rows) / n
            for name in STATISTICS
            if all(row[name] is not None for row in rows)
        },
    )


def _is_formula(formula: str, quantity: Quantity) -> bool:
    return quantity.params.get("formula") == formula
