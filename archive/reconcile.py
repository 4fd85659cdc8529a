"""What a shard changes: its cells against the ledger, its rows against its cells.

A cell is (subject, quantity). The first finished result of a cell stays; a newer shard's rows for it are
dropped, unless the shard says `replace`. Cells that failed are replaced by any newer outcome. A training
log is replaced segment by segment instead, because it grows while a run trains.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from archive.errors import ShardRefused
from archive.mapping import Dimensions, subject_kind
from archive.schema.base import CellState, SubjectKind
from archive.schema.facts import CONTENT, FACTS, OWNER_COLUMNS, FactTable
from archive.segments import recount, replace_segment, with_segments
from archive.shard import CELL_SCHEMA, SUBJECT_OF_OWNER, Manifest, strictly_increasing

CONTENT_NAMES = frozenset(t.name for t in CONTENT)


@dataclass
class Decision:
    """Ids of a shard's indices, which of its cells enter, and the ledger rows to write."""

    shard: str
    owner_kinds: list[str]
    owner_ids: np.ndarray  # [owner] id in the owner's own table
    owner_runs: np.ndarray  # [owner] run id, -1 where there is none
    quantity_ids: np.ndarray
    part_ids: np.ndarray
    quantity_tables: list[str]
    expected_rows: dict[int, int]  # code(owner, quantity) -> rows the shard claims
    kept: np.ndarray  # sorted codes whose rows are dropped because the ledger has them
    segments: list[tuple[int, int, int]]  # (code, after, last]: log rows that come in segments
    known_content: frozenset[tuple[str, int]]
    ledger: pa.Table
    failures: list[dict[str, Any]]
    n_kept: int
    n_rows: int = 0
    found_rows: dict[int, int] = field(default_factory=dict)

    @property
    def n_entered(self) -> int:
        """Ledger rows this shard writes."""
        return int(self.ledger.num_rows)

    @property
    def segmented(self) -> frozenset[int]:
        """Codes whose rows come as log segments."""
        return frozenset(code for code, _, _ in self.segments)

    def code(self, owner: Any, quantity: Any) -> Any:
        """One integer per (owner, quantity) of the shard."""
        return owner * max(len(self.quantity_ids), 1) + quantity

    def check(self, spec: FactTable, keys: pa.Table, previous: pa.Table | None) -> pa.Table:
        """Refuse rows that break the contract, by their key columns; returns the last row for the next batch.

        Rows must be strictly increasing in their key, so that none is there twice, point into the manifest,
        and belong to the kind of owner and to a measure that the table is for.
        """
        joined = keys if previous is None else pa.concat_tables([previous, keys])
        if not strictly_increasing(joined, spec.local_key):
            raise ShardRefused(
                f"{self.shard}: {spec.name} is not strictly increasing by {spec.local_key}: doubled rows"
            )
        owner = keys.column("owner").to_numpy()
        self._check_range(spec, "owner", owner, len(self.owner_ids))
        wrong = [self.owner_kinds[i] for i in set(owner.tolist()) if self.owner_kinds[i] != spec.owner]
        if wrong:
            raise ShardRefused(
                f"{self.shard}: {spec.name} belongs to a {spec.owner}, its rows name a {wrong[0]}"
            )
        if spec.has_part:
            self._check_range(spec, "part", keys.column("part").to_numpy(), len(self.part_ids))
        if spec.has_quantity:
            quantity = keys.column("quantity").to_numpy()
            self._check_range(spec, "quantity", quantity, len(self.quantity_ids))
            codes = self.code(owner.astype(np.int64), quantity)
            self._count(spec, codes)
            if self.segments and spec.name == "fact_log":
                self._check_segments(codes, keys.column("step").to_numpy())
        return keys.slice(keys.num_rows - 1)

    def insert(self, raw: duckdb.DuckDBPyConnection, spec: FactTable, file: Path) -> None:
        """Enter checked rows, ids in place of indices, without those of cells the ledger already has."""
        ids = {"owner": self.owner_ids, "quantity": self.quantity_ids, "part": self.part_ids}
        values: dict[str, object] = {"file": str(file)}
        columns = []
        if spec.owner == "checkpoint":
            values["runs"] = self.owner_runs.tolist()
            columns.append("CAST($runs AS INTEGER[])[owner + 1]")
        for index in spec.index_columns:
            values[index] = ids[index].tolist()
            columns.append(f"CAST(${index} AS INTEGER[])[{index} + 1]")
        columns += [f'"{c.name}"' for c in spec.body]
        code, kept = (
            "owner",
            [
                i
                for i, known in enumerate(self.owner_ids.tolist())
                if (spec.name, known) in self.known_content
            ],
        )
        if spec.has_quantity:
            code, kept = f"owner::BIGINT * {max(len(self.quantity_ids), 1)} + quantity", self.kept.tolist()
        raw.register("kept_codes", pa.table({"code": pa.array(kept, pa.int64())}))
        where = f"WHERE {code} NOT IN (SELECT code FROM kept_codes)" if kept else ""
        sql = f"INSERT INTO {spec.name} SELECT {', '.join(columns)} FROM read_parquet($file) {where}"
        entered = raw.execute(sql, values).fetchone()
        raw.unregister("kept_codes")
        self.n_rows += entered[0] if entered else 0

    def _count(self, spec: FactTable, codes: np.ndarray) -> None:
        first = np.flatnonzero(np.diff(codes, prepend=-1))  # rows are sorted, so equal codes lie together
        counts = np.diff(first, append=len(codes))
        for code, count in zip(codes[first].tolist(), counts.tolist(), strict=True):
            home = self.quantity_tables[code % max(len(self.quantity_ids), 1)]
            if home != spec.name:
                raise ShardRefused(f"{self.shard}: {spec.name} has rows of a measure that is kept in {home}")
            self.found_rows[code] = self.found_rows.get(code, 0) + count

    def _check_segments(self, codes: np.ndarray, steps: np.ndarray) -> None:
        inside = ~np.isin(codes, list(self.segmented))
        for code, after, last in self.segments:
            inside |= (codes == code) & (steps > after) & (steps <= last)
        if not inside.all():
            raise ShardRefused(f"{self.shard}: log row at step {steps[~inside][0]} lies outside its segments")

    def check_counts(self) -> None:
        """Refuse a shard whose rows are not the ones its cells announce."""
        if self.found_rows == {code: n for code, n in self.expected_rows.items() if n}:
            return
        for code in self.found_rows.keys() | self.expected_rows.keys():
            found, expected = self.found_rows.get(code, 0), self.expected_rows.get(code)
            if expected != found and not (expected is None and code in self.segmented):
                owner, quantity = divmod(code, max(len(self.quantity_ids), 1))
                said = "that is not in cells.parquet" if expected is None else f"that announces {expected}"
                raise ShardRefused(
                    f"{self.shard}: {found} rows for the cell (owner {owner}, quantity {quantity}) {said}"
                )

    def write_ledger(self, raw: duckdb.DuckDBPyConnection) -> None:
        """Append the cells and the reasons of those that failed."""
        if self.ledger.num_rows:
            raw.register("incoming_cells", self.ledger)
            raw.execute("INSERT INTO cell SELECT * FROM incoming_cells")
            raw.unregister("incoming_cells")
        for f in self.failures:
            raw.execute(
                "INSERT INTO failure VALUES ($kind, $subject, $quantity, $error_class, $message, $traceback, now())",
                f,
            )
            if f["kind"] == SubjectKind.RUN:  # a run that failed keeps the log it has
                recount(raw, f["subject"], f["quantity"])
        for code in self.segmented.difference(self.kept.tolist()):
            owner, quantity = divmod(code, len(self.quantity_ids))
            recount(raw, int(self.owner_ids[owner]), int(self.quantity_ids[quantity]))

    def _check_range(self, spec: FactTable, column: str, values: np.ndarray, size: int) -> None:
        if len(values) and (values.min() < 0 or values.max() >= size):
            raise ShardRefused(f"{self.shard}: {spec.name}.{column} points outside the manifest's {size}")


def reconcile(
    raw: duckdb.DuckDBPyConnection,
    dimensions: Dimensions,
    manifest: Manifest,
    shard_id: int,
    file_ids: list[int],
) -> Decision:
    """Compare a shard's cells with the ledger, delete what it replaces, and say what is left to insert."""
    if dimensions.replaced_files:
        _delete_files(raw, dimensions.replaced_files)
        dimensions.replaced_files.clear()
    owner_ids = np.array([dimensions.owner_id(o) for o in manifest.owners], dtype=np.int32)
    owner_runs = np.array(
        [dimensions.run_of(o) if o.kind == "checkpoint" else -1 for o in manifest.owners], dtype=np.int32
    )
    quantities = np.array(
        [dimensions.quantity_id(q) for q in manifest.records.get("quantity", [])], dtype=np.int32
    )
    n_quantities = max(len(quantities), 1)
    cells = _read_cells(manifest)
    n_cells = len(cells["owner"])
    cells = with_segments(manifest, cells)
    for name, low, size in (
        ("owner", 0, len(owner_ids)),
        ("quantity", 0, len(quantities)),
        ("file", -1, len(file_ids)),
    ):
        values = cells[name]
        if len(values) and (values.min() < low or values.max() >= size):
            raise ShardRefused(f"{manifest.name}: cells.{name} points outside the manifest's {size}")
    codes = cells["owner"].astype(np.int64) * n_quantities + cells["quantity"]
    if len(np.unique(codes)) != len(codes):
        raise ShardRefused(f"{manifest.name}: cells.parquet has a cell twice")
    kinds = np.array([SUBJECT_OF_OWNER.get(o.kind, -1) for o in manifest.owners], dtype=np.int16)
    cell_kinds = kinds[cells["owner"]] if len(cells["owner"]) else np.empty(0, np.int16)
    if (cell_kinds < 0).any():
        raise ShardRefused(f"{manifest.name}: a cell belongs to a run, a checkpoint or a pair")
    subjects = pa.table(
        {
            "subject_kind": pa.array(cell_kinds, pa.int16()),
            "subject_id": pa.array(owner_ids[cells["owner"]], pa.int32()),
            "quantity_id": pa.array(quantities[cells["quantity"]], pa.int32()),
        }
    )
    stored_state, stored_attempts = _stored_cells(raw, dimensions, manifest, subjects)
    incoming_done = cells["state"] == CellState.DONE
    settled = (stored_state != 0) & (stored_state != CellState.FAILED_TRANSIENT)
    was_done = stored_state == CellState.DONE
    keep_stored = was_done & ~incoming_done
    if not manifest.replace:
        keep_stored |= was_done | (settled & ~incoming_done)
    segmented = frozenset(o * n_quantities + q for o, q, _, _ in manifest.segments)
    in_segments = np.isin(codes, sorted(segmented))
    is_cell = np.arange(len(codes)) < n_cells
    enters = ~keep_stored & is_cell
    replaces = enters & (stored_state != 0)
    # a log that comes in segments keeps its earlier ones, also when its run fails once more
    whole = ~in_segments & incoming_done
    for chosen, facts in ((replaces & whole, True), (replaces & ~whole, False)):
        if chosen.any():
            _delete_cells(raw, subjects.filter(pa.array(chosen)), facts=facts)
    kept = np.sort(codes[keep_stored])
    for owner, quantity, after, last in manifest.segments:
        if owner * n_quantities + quantity not in kept:
            replace_segment(raw, int(owner_ids[owner]), int(quantities[quantity]), after, last, shard_id)
    files = np.array([*file_ids, 0], dtype=np.int32)  # index -1 (no file) finds the last entry: 0
    ledger = pa.table(
        {
            **{name: subjects.column(name) for name in subjects.column_names},
            "state": pa.array(cells["state"], pa.int16()),
            "attempts": pa.array(stored_attempts + 1, pa.int16()),
            "n_rows": pa.array(cells["n_rows"], pa.int32()),
            "shard_id": pa.array(np.full(len(codes), shard_id), pa.int32()),
            "file_id": pa.array(files[cells["file"]], pa.int32()),
        }
    ).filter(pa.array(enters))
    return Decision(
        shard=manifest.name,
        owner_kinds=[o.kind for o in manifest.owners],
        owner_ids=owner_ids,
        owner_runs=owner_runs,
        quantity_ids=quantities,
        part_ids=np.array([dimensions.part_id(p) for p in manifest.records.get("part", [])], dtype=np.int32),
        quantity_tables=_quantity_tables(manifest),
        expected_rows=dict(zip(codes[is_cell].tolist(), cells["n_rows"][is_cell].tolist(), strict=True)),
        kept=kept,
        segments=[(o * n_quantities + q, after, last) for o, q, after, last in manifest.segments],
        known_content=_known_content(raw, manifest, owner_ids),
        ledger=ledger,
        failures=_failures(manifest, owner_ids, quantities, set(kept.tolist()), n_quantities),
        n_kept=int((keep_stored & is_cell).sum()),
    )


def _quantity_tables(manifest: Manifest) -> list[str]:
    """Where the rows of each quantity of the shard are kept."""
    homes = {(m["name"], m["version"]): str(m["table"]) for m in manifest.records.get("measure", [])}
    return [homes[q["measure"], q["version"]] for q in manifest.records.get("quantity", [])]


def _read_cells(manifest: Manifest) -> dict[str, np.ndarray]:
    names = ("owner", "quantity", "state", "n_rows", "file")
    if "cells" not in manifest.tables:
        return {name: np.empty(0, np.int32) for name in names}
    table = pq.read_table(manifest.path / manifest.tables["cells"]["file"])
    if table.schema.names != list(names):
        raise ShardRefused(
            f"{manifest.name}: cells.parquet has columns {table.schema.names}, expected {list(names)}"
        )
    table = table.cast(CELL_SCHEMA)
    return {name: table.column(name).to_numpy() for name in names}


def _stored_cells(
    raw: duckdb.DuckDBPyConnection, dimensions: Dimensions, manifest: Manifest, subjects: pa.Table
) -> tuple[np.ndarray, np.ndarray]:
    """State (0 = none) and attempts of the ledger's rows for the given cells."""
    state = np.zeros(subjects.num_rows, np.int16)
    attempts = np.zeros(subjects.num_rows, np.int16)
    tables = {"run": "run", "checkpoint": "checkpoint", "pair": "checkpoint_pair"}
    if all(
        dimensions.is_new(tables[o.kind], dimensions.owner_id(o)) for o in manifest.owners if o.kind in tables
    ):
        return state, attempts  # nothing can be known of subjects that this transaction made
    for kind in SubjectKind:
        mine = np.flatnonzero(subjects.column("subject_kind").to_numpy() == kind)
        if not len(mine):
            continue
        asked = subjects.take(pa.array(mine)).append_column("position", pa.array(mine, pa.int64()))
        ids = asked.column("subject_id").to_numpy()
        raw.register("asked_cells", asked)
        found = raw.execute(
            # the range is redundant but lets zone maps skip most of a large ledger
            """SELECT a.position, c.state, c.attempts FROM cell c JOIN asked_cells a
               ON c.subject_id = a.subject_id AND c.quantity_id = a.quantity_id
               WHERE c.subject_kind = $kind AND c.subject_id BETWEEN $low AND $high""",
            {"kind": int(kind), "low": int(ids.min()), "high": int(ids.max())},
        ).fetchnumpy()
        raw.unregister("asked_cells")
        state[found["position"]] = found["state"]
        attempts[found["position"]] = found["attempts"]
    return state, attempts


def _delete_cells(raw: duckdb.DuckDBPyConnection, doomed: pa.Table, *, facts: bool = True) -> None:
    """Delete ledger rows of the given cells, with their facts unless told otherwise."""
    raw.register("doomed_cells", doomed)
    tables = {
        name
        for (name,) in raw.execute(
            """SELECT DISTINCT m.table_name FROM doomed_cells x JOIN quantity q ON q.id = x.quantity_id
               JOIN measure m ON m.id = q.measure_id"""
        ).fetchall()
    }
    for spec in FACTS:
        if not facts or spec.name not in tables:
            continue
        kind = SUBJECT_OF_OWNER[spec.owner]
        column = OWNER_COLUMNS[spec.owner][-1]
        ids = (
            doomed.filter(pa.compute.equal(doomed.column("subject_kind"), int(kind)))
            .column("subject_id")
            .to_numpy()
        )
        if len(ids):
            raw.execute(
                f"""DELETE FROM {spec.name} f USING doomed_cells x
                    WHERE x.subject_kind = $kind AND f.{column} = x.subject_id AND f.quantity_id = x.quantity_id
                      AND f.{column} BETWEEN $low AND $high""",
                {"kind": int(kind), "low": int(ids.min()), "high": int(ids.max())},
            )
    ids = doomed.column("subject_id").to_numpy()
    for table in ("cell", "failure"):
        raw.execute(
            f"""DELETE FROM {table} f USING doomed_cells x
                WHERE f.subject_kind = x.subject_kind AND f.subject_id = x.subject_id
                  AND f.quantity_id = x.quantity_id AND f.subject_id BETWEEN $low AND $high""",
            {"low": int(ids.min()), "high": int(ids.max())},
        )
    raw.unregister("doomed_cells")


def _delete_files(raw: duckdb.DuckDBPyConnection, file_ids: set[int]) -> None:
    """Delete everything that came from files whose bytes have changed."""
    doomed = raw.execute(
        "SELECT subject_kind, subject_id, quantity_id FROM cell WHERE list_contains($ids, file_id)",
        {"ids": sorted(file_ids)},
    ).to_arrow_table()
    if doomed.num_rows:
        _delete_cells(raw, doomed)


def _known_content(
    raw: duckdb.DuckDBPyConnection, manifest: Manifest, owner_ids: np.ndarray
) -> frozenset[tuple[str, int]]:
    """Content that is already stored; it is immutable by hash, so a second copy is dropped."""
    known: set[tuple[str, int]] = set()
    for spec in CONTENT:
        if spec.name not in manifest.tables:
            continue
        column = OWNER_COLUMNS[spec.owner][0]
        mine = [int(owner_ids[i]) for i, o in enumerate(manifest.owners) if o.kind == spec.owner]
        found = raw.execute(
            f"SELECT DISTINCT {column} FROM {spec.name} WHERE list_contains($ids, {column})", {"ids": mine}
        ).fetchall()
        known |= {(spec.name, int(i)) for (i,) in found}
    return frozenset(known)


def _failures(
    manifest: Manifest, owner_ids: np.ndarray, quantities: np.ndarray, kept: set[int], n_quantities: int
) -> list[dict[str, Any]]:
    return [
        {
            "kind": int(subject_kind(manifest.owners[f["owner"]])),
            "subject": int(owner_ids[f["owner"]]),
            "quantity": int(quantities[f["quantity"]]),
            **{name: f[name] for name in ("error_class", "message", "traceback")},
        }
        for f in manifest.failures
        if f["owner"] * n_quantities + f["quantity"] not in kept
    ]
