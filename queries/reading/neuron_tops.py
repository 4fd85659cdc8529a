"""The top examples of every neuron at some checkpoints, as arrays that can be compared."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.tables import stretches

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KEPT, REPLACED = 0.8, 0.2  # conventions: at least, and at most, this share of examples in common

TOPS_SQL = """\
WITH asked AS (SELECT unnest($checkpoint_ids) AS checkpoint_id)
SELECT f.checkpoint_id, f.layer, f.unit, f.sequences[1:$k] AS sequences, f.positions[1:$k] AS positions,
       f."values"[1] AS maximum, e.n_tokens
FROM fact_neuron_top f
JOIN quantity q ON q.id = f.quantity_id
JOIN encoding e ON e.id = q.encoding_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id IN (SELECT checkpoint_id FROM asked)
ORDER BY f.checkpoint_id, f.layer, f.unit"""


@dataclass(frozen=True)
class NeuronTops:
    """Top examples of all neurons of one checkpoint: keys (neuron, k), best first, −1 for none."""

    layer: Ints
    unit: Ints
    keys: Ints
    maximum: Floats
    n_tokens: int


def tops_by_checkpoint(rows: pa.Table) -> dict[int, NeuronTops]:
    """Rows of TOPS_SQL by checkpoint_id."""
    lists = {name: rows[name].combine_chunks() for name in ("sequences", "positions")}
    lengths = np.diff(lists["sequences"].offsets.to_numpy()) if rows.num_rows else np.empty(0, np.int64)
    width = int(lengths.max(initial=1))
    keys = np.full((rows.num_rows, width), -1, np.int64)
    sequences, positions = (
        lists[name].flatten().to_numpy(zero_copy_only=False).astype(np.int64) for name in lists
    )
    inside = np.arange(width) < lengths[:, None]
    keys[inside] = np.where(sequences >= 0, sequences * 2**32 + positions, -1)
    columns = {name: rows[name].to_numpy() for name in ("layer", "unit")}
    maximum = rows["maximum"].cast(pa.float64()).to_numpy()
    found = {}
    for a, b in zip(*stretches(rows, ["checkpoint_id"]), strict=True):
        part = slice(int(a), int(b))
        found[int(rows["checkpoint_id"][part.start].as_py())] = NeuronTops(
            columns["layer"][part].astype(np.int64),
            columns["unit"][part].astype(np.int64),
            keys[part],
            maximum[part].astype(float),
            int(rows["n_tokens"][part.start].as_py()),
        )
    return found
