"""Neurons matched between models: the best of each pair, sums by layer, and whole vectors for statistics over runs."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.compared_pairs import ComparedPairs
from queries.reading.quantities import Quantity
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]

MEASURE = "neuron_matching"
TABLES = ("fact_pair_vector",)

# six vectors a layer, side by side, then a row a neuron
_NEURONS = """\
WITH layers AS (
  SELECT pair_id, run_a, step_a, run_b, step_b, layer_a,
         any_value("values") FILTER (part = 'highest') AS highest, any_value("values") FILTER (part = 'baseline') AS baseline,
         any_value("values") FILTER (part = 'excess') AS excess, any_value("values") FILTER (part = 'layer') AS layer,
         any_value("values") FILTER (part = 'unit') AS unit
  FROM v_pair_vector
  WHERE quantity_id = $quantity_id AND pair_id IN (SELECT unnest($pair_ids))
  GROUP BY ALL
), neurons AS (
  SELECT pair_id, run_a, step_a, run_b, step_b, layer_a, generate_subscripts(highest, 1) - 1 AS unit_a,
         unnest(layer)::INTEGER AS layer_b, unnest(unit)::INTEGER AS unit_b, unnest(highest)::DOUBLE AS similarity,
         unnest(baseline)::DOUBLE AS null_mean, unnest(excess)::DOUBLE AS excess
  FROM layers
)
"""
_BEST_SQL = f"""\
{_NEURONS}SELECT format('L{{}}N{{}}', layer_a, unit_a) AS a, format('L{{}}N{{}}', layer_b, unit_b) AS b, similarity, null_mean,
       excess, layer_b - layer_a AS layer_offset, run_a, run_b, step_a, step_b
FROM neurons
WHERE isfinite(excess)
QUALIFY row_number() OVER (PARTITION BY pair_id ORDER BY excess DESC, layer_a, unit_a) <= $top
ORDER BY excess DESC, run_a, run_b, layer_a, unit_a"""

_LAYERS_SQL = f"""\
{_NEURONS}SELECT pair_id, layer_a AS layer, count(*) AS n_neurons, count(*) FILTER (isfinite(excess)) AS n_known,
       coalesce(sum(similarity) FILTER (isfinite(excess)), 0) AS similarity,
       coalesce(sum(null_mean) FILTER (isfinite(excess)), 0) AS null_mean,
       coalesce(sum(excess) FILTER (isfinite(excess)), 0) AS excess,
       count(*) FILTER (isfinite(excess) AND excess > $threshold) AS n_above,
       count(*) FILTER (layer_b = layer_a) AS n_same_layer,
       count(*) FILTER (layer_b = layer_a AND unit_b = unit_a) AS n_same_number,
       coalesce(sum(layer_b - layer_a) FILTER (isfinite(excess)), 0)::BIGINT AS layer_offset
FROM neurons
GROUP BY pair_id, layer_a
ORDER BY pair_id, layer_a"""

_UNIVERSAL_SQL = f"""\
{_NEURONS}, means AS (
  SELECT run_a AS run, step_a AS step, layer_a AS layer, unit_a AS unit, avg(similarity) AS similarity,
         avg(null_mean) AS null_mean, avg(excess) AS excess, min(excess) AS least_excess, count(*) AS n_partners
  FROM neurons
  WHERE isfinite(excess)
  GROUP BY ALL
)
SELECT format('L{{}}N{{}}', layer, unit) AS neuron, run, similarity, null_mean, excess, least_excess, n_partners,
       excess > $threshold AS universal, layer, unit, step
FROM means
QUALIFY row_number() OVER (PARTITION BY run ORDER BY excess DESC, layer, unit) <= $top
ORDER BY excess DESC, run, layer, unit"""

_VECTORS_SQL = """\
SELECT pair_id, part, layer_a AS layer, "values"
FROM v_pair_vector
WHERE quantity_id = $quantity_id AND pair_id IN (SELECT unnest($pair_ids)) AND part IN ('excess', 'layer', 'unit')
ORDER BY pair_id, part, layer_a"""

# a layer's statistics of the checkpoints asked for
_STATISTICS_SQL = """\
SELECT c.run_id, p.name AS part, f.layer, f."values"
FROM fact_neuron f
JOIN part p ON p.id = f.part_id
JOIN v_checkpoint c ON c.checkpoint_id = f.checkpoint_id
JOIN (SELECT unnest($run_ids) AS run_id, unnest($steps) AS step) w ON w.run_id = c.run_id AND w.step = c.step
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids)) AND p.kind = 'statistic'
  AND (NOT c.suspect OR $with_suspect)
ORDER BY c.run_id, p.name, f.layer, c.checkpoint_id DESC"""


@dataclass(frozen=True)
class NeuronVector:
    """A number a neuron, layer after layer. layers: of each neuron."""

    layers: NDArray[np.int64]
    values: Floats


def best_matches(
    archive: Archive, quantity: Quantity, pairs: ComparedPairs, top: int
) -> tuple[pa.Table, str]:
    """The `top` neurons of each pair by their excess, with their partners, and the statement."""
    ids = [p.pair_id for p in pairs.at]
    return _asked(archive, _BEST_SQL, {"quantity_id": quantity.quantity_id, "pair_ids": ids, "top": top})


def by_layer(archive: Archive, quantity: Quantity, pairs: ComparedPairs, threshold: float) -> pa.Table:
    """Sums over the neurons of each layer of a, per pair: those at the checkpoints asked for and the first ones."""
    parameters = {"quantity_id": quantity.quantity_id, "pair_ids": pairs.ids, "threshold": threshold}
    return archive.query(_LAYERS_SQL, parameters)


def universal_table(
    archive: Archive, quantity: Quantity, pairs: ComparedPairs, threshold: float, top: int
) -> tuple[pa.Table, str]:
    """The `top` neurons of each run by their excess averaged over its partners, and the statement."""
    parameters = {
        "quantity_id": quantity.quantity_id,
        "pair_ids": [p.pair_id for p in pairs.at],
        "threshold": threshold,
        "top": top,
    }
    return _asked(archive, _UNIVERSAL_SQL, parameters)


def read_vectors(
    archive: Archive, quantity: Quantity, pairs: ComparedPairs
) -> dict[int, dict[str, NeuronVector]]:
    """pair_id -> excess, layer and unit of the match, of every neuron of a; of the first checkpoints too."""
    parameters = {"quantity_id": quantity.quantity_id, "pair_ids": pairs.ids}
    rows = archive.query(_VECTORS_SQL, parameters)
    starts, ends = stretches(rows, ["pair_id", "part"])
    pair_ids, parts = (rows[name].take(pa.array(starts)).to_pylist() for name in ("pair_id", "part"))
    every = _joined(rows)
    # thousands of lists are joined once, and each pair looks at its own
    sizes = np.concatenate([[0], np.cumsum(pc.list_value_length(rows["values"]).fill_null(0).to_numpy())])
    found: dict[int, dict[str, NeuronVector]] = {}
    for pair, part, a, b in zip(pair_ids, parts, sizes[starts], sizes[ends], strict=True):
        found.setdefault(pair, {})[part] = NeuronVector(every.layers[a:b], every.values[a:b])
    return found


def read_statistics(
    archive: Archive, quantity: Quantity, steps: dict[int, int], *, with_suspect: bool
) -> dict[int, dict[str, NeuronVector]]:
    """run_id -> statistic -> one number a neuron, at the step of each run."""
    parameters = {
        "quantity_id": quantity.quantity_id,
        "run_ids": list(steps),
        "steps": list(steps.values()),
        "with_suspect": with_suspect,
    }
    rows = archive.query(_STATISTICS_SQL, parameters)
    found: dict[int, dict[str, NeuronVector]] = {}
    for a, b in zip(*stretches(rows, ["run_id", "part"]), strict=True):
        part = rows.slice(int(a), int(b - a))
        # of several snapshots the newest comes first
        first = np.unique(part["layer"].to_numpy(), return_index=True)[1]
        mine = part.take(pa.array(first))
        found.setdefault(int(mine["run_id"][0].as_py()), {})[mine["part"][0].as_py()] = _joined(mine)
    return found


def _joined(rows: pa.Table) -> NeuronVector:
    """Lists of several layers, one after the other."""
    lists = rows["values"].combine_chunks()
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    layers = np.repeat(rows["layer"].to_numpy().astype(np.int64), np.diff(lists.offsets.to_numpy()))
    return NeuronVector(layers, values)


def _asked(archive: Archive, sql: str, parameters: dict[str, object]) -> tuple[pa.Table, str]:
    return archive.query(sql, parameters), readable_sql(sql, parameters)


def began_alike(n_same_number: int, n_known: int) -> bool:
    """Whether so many neurons of a layer, matched at step 0, are those of one number that both models must have begun alike.

    Of 8 neurons or more, more than half have their own number as their match at random less than once in a million layers.
    """
    return n_known >= 8 and 2 * n_same_number > n_known
