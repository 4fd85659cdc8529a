"""A random sample of stored results, with everything that is needed to measure them again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from archive.errors import UsageError
from archive.manifest import FACT_TABLES
from archive.records import Provenance
from archive.schema.facts import FactTable
from archive.store import Archive

# what identifies a row inside a cell (part, layer, head, ...) -> its numbers by column
Rows = dict[tuple[object, ...], dict[str, Any]]

# finished cells of runs trained here, whose weights were kept in the archive's folder, and of studies that load
_CELLS_SQL = """\
SELECT l.subject_id AS checkpoint_id, l.quantity_id, r.name AS run, c.step, c.snapshot, c.location, c.weights_hash,
       r.config_json, q.hash AS quantity_hash, q.params_json, m.name AS measure, m.table_name, m.lower_bound,
       m.upper_bound, l.shard_id, e.hash AS encoding_hash, t.resolved_json->'load' AS load_json
FROM cell l
JOIN checkpoint c ON c.id = l.subject_id
JOIN run r ON r.id = c.run_id
JOIN quantity q ON q.id = l.quantity_id AND q.source_id = 0
JOIN measure m ON m.id = q.measure_id
JOIN encoding e ON e.id = q.encoding_id
JOIN shard s ON s.id = l.shard_id
LEFT JOIN study t ON t.id = s.study_id
WHERE l.subject_kind = 1 AND l.state = 1 AND (starts_with(c.location, 'checkpoints/') OR load_json IS NOT NULL)
  AND c.run_id IN (SELECT unnest($run_ids::INTEGER[]))
ORDER BY r.name, c.step, c.snapshot, q.hash"""

_TOGETHER_SQL = """\
SELECT l.shard_id, l.subject_id AS checkpoint_id, list(q.hash ORDER BY q.hash) AS hashes
FROM cell l JOIN quantity q ON q.id = l.quantity_id
WHERE l.subject_kind = 1 AND l.shard_id IN (SELECT unnest($shards::INTEGER[]))
GROUP BY ALL"""


@dataclass(frozen=True, eq=False)
class StoredCell:
    """One finished result.

    location: of the weights, relative to the archive's folder; load: where the study that measured it loads them
    from, None where they were trained here; encoding_hash: of the eval set. weights_hash: of what was measured. config: of the
    run, as its record has it. bounds: of the measure. together: hashes of all quantities that the same unit measured
    of this checkpoint, itself among them: a forward pass may round differently when it is asked for less.
    provenance: how the unit came to be.
    """

    checkpoint_id: int
    quantity_id: int
    run: str
    step: int
    snapshot: str
    location: str
    weights_hash: str
    config: Mapping[str, Any]
    quantity_hash: str
    params: Mapping[str, Any]
    measure: str
    table: str
    bounds: tuple[float | None, float | None]
    together: tuple[str, ...]
    provenance: Provenance
    encoding_hash: str = ""
    load: Mapping[str, Any] | None = None

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What the cell is of, in names: run, step, snapshot, quantity."""
        return (self.run, self.step, self.snapshot, self.quantity_hash)

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.measure} of {self.run} step {self.step}"


@dataclass(frozen=True)
class Sample:
    """Drawn cells with their stored rows by `StoredCell.key`; n_cells: of all that could have been drawn."""

    n_cells: int
    cells: tuple[StoredCell, ...]
    rows: Mapping[tuple[str, int, str, str], Rows] = field(default_factory=dict)


def parse_share(text: str) -> float:
    """`1%` or `0.01` as a number in (0, 1]; raises UsageError."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = np.nan
    if not 0 < share <= 1:
        raise UsageError(f"--recompute {text}: give a share of the results above 0, such as 1% or 0.01")
    return share


def draw(archive: Archive, run_ids: Sequence[int], share: float, seed: int) -> Sample:
    """A share of the finished cells whose weights can be had, at least one; the same seed draws the same again."""
    with archive.session():
        found = archive.rows(_CELLS_SQL, {"run_ids": list(run_ids)})
        n = ceil(share * len(found))
        chosen = [found[i] for i in sorted(np.random.default_rng(seed).permutation(len(found))[:n])]
        shards = {"shards": sorted({row["shard_id"] for row in chosen})}
        together = {
            (row["shard_id"], row["checkpoint_id"]): tuple(row["hashes"])
            for row in archive.rows(_TOGETHER_SQL, shards)
        }
        how = {
            row["id"]: Provenance.model_validate_json(row["provenance_json"])
            for row in archive.rows(
                "SELECT id, provenance_json FROM shard WHERE id IN (SELECT unnest($shards::INTEGER[]))",
                shards,
            )
        }
        cells = tuple(
            _cell(row, together[row["shard_id"], row["checkpoint_id"]], how[row["shard_id"]])
            for row in chosen
        )
        return Sample(len(found), cells, _stored_rows(archive, cells))


def _cell(row: Mapping[str, Any], together: tuple[str, ...], how: Provenance) -> StoredCell:
    same = ("checkpoint_id", "quantity_id", "run", "step", "snapshot", "location", "weights_hash", "measure")
    return StoredCell(
        **{name: row[name] for name in same},
        config=json.loads(row["config_json"]),
        quantity_hash=row["quantity_hash"],
        params=json.loads(row["params_json"]),
        table=row["table_name"],
        bounds=(row["lower_bound"], row["upper_bound"]),
        together=together,
        provenance=how,
        encoding_hash=row["encoding_hash"],
        load=json.loads(row["load_json"]) if row["load_json"] is not None else None,
    )


def _stored_rows(archive: Archive, cells: Sequence[StoredCell]) -> dict[tuple[str, int, str, str], Rows]:
    found: dict[tuple[str, int, str, str], Rows] = {cell.key: {} for cell in cells}
    by_id = {(cell.checkpoint_id, cell.quantity_id): cell.key for cell in cells}
    for table in sorted({cell.table for cell in cells}):
        spec = FACT_TABLES[table]
        mine = [cell for cell in cells if cell.table == table]
        body = ", ".join(f'f."{c.name}"' for c in spec.body)
        part = ("p.kind AS part_kind, p.name AS part_name,", "JOIN part p ON p.id = f.part_id")
        names, join = part if spec.has_part else ("", "")
        rows = archive.rows(
            f"""SELECT f.checkpoint_id, f.quantity_id, {names} {body} FROM {table} f {join}
                JOIN (SELECT unnest($checkpoints::INTEGER[]) AS c, unnest($quantities::INTEGER[]) AS q) x
                  ON x.c = f.checkpoint_id AND x.q = f.quantity_id""",
            {
                "checkpoints": [cell.checkpoint_id for cell in mine],
                "quantities": [cell.quantity_id for cell in mine],
            },
        )
        for row in rows:
            key = by_id[row.pop("checkpoint_id"), row.pop("quantity_id")]
            part_of = (row.pop("part_kind"), row.pop("part_name")) if spec.has_part else ()
            found[key][row_key(spec, part_of, row)] = _numbers(spec, row)
    return found


def row_key(spec: FactTable, part: tuple[object, ...], row: Mapping[str, Any]) -> tuple[object, ...]:
    """What tells a row from the others of its cell."""
    return (*part, *(row[name] for name in spec.key))


def _numbers(spec: FactTable, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in spec.key}


def shard_rows(
    spec: FactTable, rows: pa.Table, parts: Sequence[Mapping[str, Any]]
) -> list[tuple[int, int, tuple[object, ...], dict[str, Any]]]:
    """(owner, quantity, key, numbers) of the rows of a unit's file, as `Rows` has them; parts: of its manifest."""
    found = []
    for row in rows.to_pylist():
        owner, quantity = row.pop("owner"), row.pop("quantity")
        part: tuple[object, ...] = ()
        if spec.has_part:
            record = parts[row.pop("part")]
            part = (record["kind"], record["name"])
        found.append((owner, quantity, row_key(spec, part, row), _numbers(spec, row)))
    return found
