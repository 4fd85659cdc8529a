"""Cells with their rows back as shards, cut into pieces that fit in memory.

Cells travel together only when their provenance differs in nothing but seconds, so each of them keeps the
code, libraries and device it was made with.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from archive.identity import canonical_json
from archive.manifest import SUBJECT_OF_OWNER
from archive.records import Provenance, Run, Study
from archive.schema.base import CellState, SubjectKind
from archive.schema.facts import FACTS, OWNER_COLUMNS, FactTable
from archive.shard import ShardBuilder
from archive.upkeep.natural import Natural

# estimated size of one piece in memory; a single larger cell still travels whole
PIECE_BYTES = 64 * 2**20
SAMPLE_ROWS = 2_000


class CellUnloader:
    """Writes the cells named in want_cell, and the growing logs in want_log, with all their rows."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        inbox: Path,
        natural: Natural,
        runs_by_id: Callable[[Sequence[int]], Mapping[int, Run]],
        studies: Mapping[int, Study],
        origin: str,
    ) -> None:
        """origin: the archive the cells come from, for their provenance."""
        self.connection, self.inbox, self.natural = connection, inbox, natural
        self.runs_by_id, self.studies, self.origin = runs_by_id, studies, origin

    def cut(self) -> int:
        """Put every wanted cell into a numbered piece (temporary table `piece`); returns how many there are."""
        sizes = {spec.name: self._row_bytes(spec) for spec in FACTS}
        groups = self._groups()
        self.connection.register("row_size", pa.table({"name": list(sizes), "size": list(sizes.values())}))
        self.connection.register(
            "shard_group",
            pa.table(
                {
                    "shard_id": pa.array(list(groups), pa.int32()),
                    "grp": pa.array(list(groups.values()), pa.int32()),
                }
            ),
        )
        self.connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE piece AS
                WITH wanted AS (
                  SELECT w.subject_kind, w.subject_id, w.quantity_id, l.state, l.n_rows, l.shard_id, l.file_id
                  FROM want_cell w JOIN cell l USING (subject_kind, subject_id, quantity_id)
                  UNION ALL
                  SELECT 0, w.run_id, w.quantity_id, NULL, n.n_rows, g.shard_id, 0 FROM want_log w
                  JOIN (SELECT run_id, quantity_id, count(*) AS n_rows FROM fact_log GROUP BY ALL) n
                    USING (run_id, quantity_id)
                  JOIN (SELECT run_id, quantity_id, max(shard_id) AS shard_id FROM log_segment GROUP BY ALL) g
                    USING (run_id, quantity_id)),
                sized AS (
                  SELECT wanted.*, m.table_name, g.grp,
                         sum(n_rows * z.size) OVER (PARTITION BY g.grp
                           ORDER BY shard_id, subject_kind, subject_id, quantity_id ROWS UNBOUNDED PRECEDING)
                         // {PIECE_BYTES} AS part_of_group
                  FROM wanted JOIN shard_group g USING (shard_id) JOIN quantity q ON q.id = quantity_id
                  JOIN measure m ON m.id = q.measure_id JOIN row_size z ON z.name = m.table_name)
                SELECT *, (dense_rank() OVER (ORDER BY grp, part_of_group) - 1)::INTEGER AS piece FROM sized"""
        )
        for name in ("row_size", "shard_group"):
            self.connection.unregister(name)
        return int(self._rows("SELECT coalesce(max(piece) + 1, 0) FROM piece")[0][0])

    def write(self, piece: int) -> Path:
        """Write one piece as a shard."""
        cells = self.connection.execute(
            f"""SELECT subject_kind, subject_id, quantity_id, coalesce(state, 0)::SMALLINT AS state, file_id, table_name
                FROM piece WHERE piece = {piece} ORDER BY subject_kind, subject_id, quantity_id"""
        ).to_arrow_table()
        study, provenance = self._provenance(piece)
        b = ShardBuilder(kind="merge", study=study, provenance=provenance)
        kinds, subjects, quantities = (
            cells.column(name).to_numpy() for name in ("subject_kind", "subject_id", "quantity_id")
        )
        owners = self._owners(b, kinds, subjects)
        indices = np.array([b.quantity(self.natural.quantities[q]) for q in quantities.tolist()], np.int32)
        here = cells.select(["subject_kind", "subject_id", "quantity_id"])
        here = here.append_column("owner", pa.array(owners)).append_column("quantity", pa.array(indices))
        self.connection.register("here", here)
        tables = set(cells.column("table_name").to_pylist())
        for spec in FACTS:
            if spec.name in tables:
                self._add_rows(b, spec)
        self._add_cells(b, owners, indices, cells)
        self._add_segments(b)
        self.connection.unregister("here")
        return b.write(self.inbox)

    def _groups(self) -> dict[int, int]:
        """Shard id -> number of its kind of provenance: same study, same facts, whatever the seconds."""
        numbers: dict[tuple[int, str], int] = {}
        groups = {}
        for shard, study, text in self._rows("SELECT id, study_id, provenance_json FROM shard ORDER BY id"):
            known = {k: v for k, v in json.loads(text).items() if k != "seconds"}
            groups[shard] = numbers.setdefault((study, canonical_json(known)), len(numbers))
        return groups

    def _row_bytes(self, spec: FactTable) -> int:
        """Bytes of an average row, from the first ones."""
        rows = self.connection.execute(f"SELECT * FROM {spec.name} LIMIT {SAMPLE_ROWS}").to_arrow_table()
        return 1 + (rows.nbytes // rows.num_rows if rows.num_rows else 0)

    def _provenance(self, piece: int) -> tuple[Study | None, Provenance]:
        """The study and provenance that the cells of a piece share; seconds are their share of each unit's."""
        rows = self._rows(
            f"""SELECT s.name, s.study_id, s.kind, s.provenance_json, p.n / w.n FROM shard s
                JOIN (SELECT shard_id, count(*) AS n FROM piece WHERE piece = {piece} GROUP BY ALL) p ON p.shard_id = s.id
                JOIN (SELECT shard_id, count(*) AS n FROM piece GROUP BY ALL) w ON w.shard_id = s.id ORDER BY s.id"""
        )
        known = [json.loads(text) for _, _, _, text, _ in rows]
        first = Provenance.model_validate(known[0])
        facts = {
            **first.facts,
            "merged_from": self.origin,
            "kinds": sorted({kind for _, _, kind, _, _ in rows}),
            "units": [name for name, *_ in rows],
        }
        seconds = sum(k.get("seconds", 0.0) * share for k, (*_, share) in zip(known, rows, strict=True))
        return self.studies.get(rows[0][1]), first.model_copy(update={"facts": facts, "seconds": seconds})

    def _owners(self, b: ShardBuilder, kinds: np.ndarray, subjects: np.ndarray) -> np.ndarray:
        """Declare every subject; returns the owner index of each row."""
        of_kind = {kind: sorted(set(subjects[kinds == kind].tolist())) for kind in SubjectKind}
        pairs = {
            i: (a, z)
            for i, a, z in self._rows(
                "SELECT id, checkpoint_a, checkpoint_b FROM checkpoint_pair WHERE id IN (SELECT unnest($ids::INTEGER[]))",
                {"ids": of_kind[SubjectKind.PAIR]},
            )
        }
        wanted = {*of_kind[SubjectKind.CHECKPOINT], *(c for pair in pairs.values() for c in pair)}
        checkpoints = self.natural.checkpoints(wanted)
        run_ids = {*of_kind[SubjectKind.RUN], *self.natural.runs_of_checkpoints(wanted)}
        index: dict[tuple[int, int], int] = {}
        for i, run in self.runs_by_id(sorted(run_ids)).items():
            index[(SubjectKind.RUN, i)] = b.run(run)
        for i in of_kind[SubjectKind.CHECKPOINT]:
            index[(SubjectKind.CHECKPOINT, i)] = b.checkpoint(checkpoints[i])
        for i, (first, second) in pairs.items():
            index[(SubjectKind.PAIR, i)] = b.pair(checkpoints[first], checkpoints[second])
        keys = zip(kinds.tolist(), subjects.tolist(), strict=True)
        return np.array([index[key] for key in keys], np.int32)

    def _add_rows(self, b: ShardBuilder, spec: FactTable) -> None:
        owner, names = OWNER_COLUMNS[spec.owner][-1], [c.name for c in spec.body]
        part = "f.part_id, " if spec.has_part else ""
        kind = int(SUBJECT_OF_OWNER[spec.owner])
        rows = self.connection.execute(
            # the range is redundant but lets zone maps skip what belongs to other pieces
            f"""SELECT h.owner, h.quantity, {part}{", ".join(f'f."{n}"' for n in names)} FROM {spec.name} f
                JOIN here h ON h.subject_kind = {kind} AND h.subject_id = f.{owner} AND h.quantity_id = f.quantity_id
                WHERE f.{owner} BETWEEN (SELECT min(subject_id) FROM here WHERE subject_kind = {kind})
                                    AND (SELECT max(subject_id) FROM here WHERE subject_kind = {kind})"""
        ).to_arrow_table()
        if not rows.num_rows:
            return
        columns = columns_of(rows, names)
        if spec.has_part:
            ids, inverse = np.unique(rows.column("part_id").to_numpy(), return_inverse=True)
            parts = [b.part(self.natural.parts[i]) for i in ids.tolist()]
            columns["part"] = np.array(parts, np.int32)[inverse]
        b.add(spec.name, rows.column("owner").to_numpy(), rows.column("quantity").to_numpy(), **columns)

    def _add_cells(
        self, b: ShardBuilder, owners: np.ndarray, quantities: np.ndarray, cells: pa.Table
    ) -> None:
        state, file = cells.column("state").to_numpy(), cells.column("file_id").to_numpy()
        for i in np.unique(file).tolist():
            mine = (file == i) & (state == CellState.DONE)
            index = b.file(self.natural.files[i]) if i else -1
            if mine.any():
                b.cells(owners[mine], quantities[mine], file=index)
        why = {
            (owner, quantity): (error_class, message, trace)
            for owner, quantity, error_class, message, trace in self._rows(
                """SELECT h.owner, h.quantity, x.error_class, x.message, x.traceback
                   FROM failure x JOIN here h USING (subject_kind, subject_id, quantity_id)"""
            )
        }
        for row in np.flatnonzero((state != 0) & (state != CellState.DONE)).tolist():
            owner, quantity, outcome = int(owners[row]), int(quantities[row]), CellState(int(state[row]))
            index = b.file(self.natural.files[int(file[row])]) if file[row] else -1
            if (owner, quantity) in why:
                error_class, message, trace = why[(owner, quantity)]
                b.failed_cell(owner, quantity, outcome, error_class=error_class, message=message, trace=trace)
            b.cell(owner, quantity, outcome, file=index)

    def _add_segments(self, b: ShardBuilder) -> None:
        """Segments of logs, neighbours joined."""
        joined: list[list[int]] = []
        for row in self._rows(
            """SELECT h.owner, h.quantity, g.after_step, g.last_step FROM log_segment g
               JOIN here h ON h.subject_kind = 0 AND h.subject_id = g.run_id AND h.quantity_id = g.quantity_id
               ORDER BY ALL"""
        ):
            if joined and joined[-1][:2] == list(row[:2]) and joined[-1][3] == row[2]:
                joined[-1][3] = row[3]
            else:
                joined.append(list(row))
        for owner, quantity, after, last in joined:
            b.segment(owner, quantity, after, last)

    def _rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, dict(parameters or {})).fetchall()


def columns_of(rows: pa.Table, names: Sequence[str]) -> dict[str, Any]:
    """Columns of a query's result as `ShardBuilder.add` takes them."""
    return {name: rows.column(name).combine_chunks() for name in names}
