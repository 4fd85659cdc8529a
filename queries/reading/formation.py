"""Activations of a run's neurons on the examples of its final checkpoint, and on what these are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import UnknownName
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]

MEASURE = "neuron.final_examples"
PLACES = ("top", "held_out", "other_neuron", "random", "direction")

# the final checkpoint chose the examples, and so what it happens to do at that step: it stays out of the curves
_SQL = """\
SELECT f.run_id, f.layer, p.name AS place, c.step, f."values" AS activations
FROM fact_neuron f JOIN part p ON p.id = f.part_id JOIN checkpoint c ON c.id = f.checkpoint_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
  AND ($layer IS NULL OR f.layer = $layer) AND c.step > 0 AND c.step < $final
ORDER BY f.run_id, f.layer, p.name, c.step"""

_LAYERS_SQL = "SELECT DISTINCT layer FROM fact_neuron WHERE quantity_id = $quantity_id ORDER BY layer"


@dataclass(frozen=True, eq=False)
class Formation:
    """One run: for every layer and kind of place the mean activations (time, unit), NaN where there are none.

    steps: > 0, increasing, without the final one; those that all layers and kinds have.
    """

    run_id: int
    steps: Floats
    activations: Mapping[tuple[int, str], Floats]


def read_formation(
    archive: Archive, choice: Choice, left_out: LeftOuts, layer: int | None
) -> tuple[list[Formation], str]:
    """Every run of the choice in the archive's order, and the statement. Raises UnknownName for a layer not there."""
    final = choice.quantity.params["reference_step"]
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
        "layer": layer,
        "final": final,
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows and layer is not None:
        known = [
            str(row["layer"]) for row in archive.rows(_LAYERS_SQL, {"quantity_id": parameters["quantity_id"]})
        ]
        listing = "`pathscope sql 'SELECT DISTINCT layer FROM v_neuron'`"
        raise UnknownName.of("layer", str(layer), known, listing=listing)
    found = [
        _of_run(rows.slice(int(a), int(b - a))) for a, b in zip(*stretches(rows, ["run_id"]), strict=True)
    ]
    return found, readable_sql(_SQL, parameters)


def _of_run(rows: pa.Table) -> Formation:
    series: dict[tuple[int, str], dict[float, Floats]] = {}
    for start, end in zip(*stretches(rows, ["layer", "place"]), strict=True):
        part = rows.slice(int(start), int(end - start))
        key = int(part["layer"][0].as_py()), str(part["place"][0].as_py())
        values = part["activations"].combine_chunks()
        lengths = set(values.value_lengths().to_pylist())
        flat = values.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        table = flat.reshape(len(part), max(lengths))
        series[key] = dict(zip(map(float, part["step"].to_pylist()), table, strict=True))
    shared = sorted(set.intersection(*(set(by_step) for by_step in series.values())))
    return Formation(
        run_id=int(rows["run_id"][0].as_py()),
        steps=np.array(shared),
        activations={
            key: np.array([by_step[step] for step in shared]).reshape(len(shared), -1)
            for key, by_step in series.items()
        },
    )
