"""Training logs in the archive: they arrive in segments (after, last], each replaced whole on resume.

A resumed run logs again from its last checkpoint, so a new segment may overlap older ones; what is left of
those is trimmed, and segments of one (run, quantity) never overlap.
"""

import duckdb
import numpy as np

from archive.errors import ShardRefused
from archive.manifest import Manifest
from archive.schema.base import CellState, SubjectKind


def with_segments(manifest: Manifest, cells: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cells, then the (run, quantity) of log segments that announce no cell: a finished log keeps them out too."""
    announced = set(zip(cells["owner"].tolist(), cells["quantity"].tolist(), strict=True))
    bare = sorted({(o, q) for o, q, _, _ in manifest.segments} - announced)
    if wrong := [
        o for o, _ in bare if not (0 <= o < len(manifest.owners) and manifest.owners[o].kind == "run")
    ]:
        raise ShardRefused(f"{manifest.name}: a log segment belongs to a run, not to owner {wrong[0]}")
    more = {
        "owner": [o for o, _ in bare],
        "quantity": [q for _, q in bare],
        "state": [int(CellState.DONE)] * len(bare),
        "n_rows": [0] * len(bare),
        "file": [-1] * len(bare),
    }
    return {
        name: np.concatenate([values, np.array(more[name], values.dtype)]) for name, values in cells.items()
    }


def replace_segment(
    raw: duckdb.DuckDBPyConnection, run: int, quantity: int, after: int, last: int, shard_id: int
) -> None:
    """Delete the log rows of steps (after, last] and enter the segment in place of what it overlaps."""
    where = "run_id = $run AND quantity_id = $quantity"
    overlapped = f"{where} AND after_step < $last AND last_step > $after"
    values = {"run": run, "quantity": quantity, "after": after, "last": last}
    raw.execute(f"DELETE FROM fact_log WHERE {where} AND step > $after AND step <= $last", values)
    remnants = raw.execute(
        f"""SELECT after_step, $after, shard_id FROM log_segment WHERE {overlapped} AND after_step < $after
            UNION ALL
            SELECT $last, last_step, shard_id FROM log_segment WHERE {overlapped} AND last_step > $last""",
        values,
    ).fetchall()
    raw.execute(f"DELETE FROM log_segment WHERE {overlapped}", values)
    raw.executemany(
        "INSERT INTO log_segment VALUES (?, ?, ?, ?, ?)",
        [(run, quantity, *piece) for piece in [*remnants, (after, last, shard_id)]],
    )


def recount(raw: duckdb.DuckDBPyConnection, run: int, quantity: int) -> None:
    """Bring the ledger's row count of a log up to date, if the ledger has it already."""
    raw.execute(
        """UPDATE cell SET n_rows = (SELECT count(*) FROM fact_log WHERE run_id = $run AND quantity_id = $quantity)
           WHERE subject_kind = $kind AND subject_id = $run AND quantity_id = $quantity""",
        {"kind": int(SubjectKind.RUN), "run": run, "quantity": quantity},
    )
