"""Asking fifty million head facts: `head_score_history` against the same question in hand-written SQL."""

from collections.abc import Iterable
from pathlib import Path

import duckdb

from archive.store import Archive
from benchmarks.made import archive_of_heads
from benchmarks.measured import Measured, compare, seconds
from queries.head_score_history import head_score_history

RUNS = [f"run-{i:03d}" for i in range(40, 50)]
NAMES = ", ".join(f"'{name}'" for name in RUNS)

ONE_HEAD = f"""
SELECT r.name AS run, c.step, f.value
FROM fact_head f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = (SELECT q.id FROM quantity q JOIN measure m ON m.id = q.measure_id WHERE m.name = 'head.m7')
  AND f.run_id IN (SELECT id FROM run WHERE name IN ({NAMES})) AND f.layer = 5 AND f.head = 1
ORDER BY run, step"""

TOP_HEADS = f"""
WITH these AS (
  SELECT r.id AS run_id, r.name AS run, c.id AS checkpoint_id, c.step FROM run r JOIN checkpoint c ON c.run_id = r.id
  WHERE r.name IN ({NAMES})),
scores AS (
  SELECT t.run, t.step, f.layer, f.head, f.value FROM fact_head f JOIN these t ON t.checkpoint_id = f.checkpoint_id
  WHERE f.quantity_id = (SELECT q.id FROM quantity q JOIN measure m ON m.id = q.measure_id WHERE m.name = 'head.m7')
    AND f.run_id IN (SELECT run_id FROM these)),
top AS (
  SELECT run, layer, head FROM scores WHERE step = (SELECT max(step) FROM these)
  QUALIFY row_number() OVER (PARTITION BY run ORDER BY value DESC) <= 5)
SELECT run, layer, head, step, value FROM scores JOIN top USING (run, layer, head) ORDER BY ALL"""


def measure(folder: Path) -> Iterable[Measured]:
    """One named head, and the five best heads, of ten runs among a hundred."""
    layout = archive_of_heads(folder / "heads-50m.duckdb", runs=100, checkpoints=140)
    archive = Archive(layout.database)

    def by_hand(sql: str) -> int:
        with duckdb.connect(layout.database, read_only=True) as connection:
            return int(connection.execute(sql).to_arrow_table().num_rows)

    def ours(**heads: object) -> int:
        return int(head_score_history(archive, runs=RUNS, measure="head.m7", **heads).table.num_rows)

    for what, sql, asked in (
        ("one head", ONE_HEAD, {"heads": ("L5H1",)}),
        ("the five best heads", TOP_HEADS, {"top": 5}),
    ):
        assert ours(**asked) == by_hand(sql) > 0
        yield compare(
            f"head_score_history: {what} of 10 runs × 140 checkpoints in 50.4 M facts; hand-written SQL",
            lambda asked=asked: seconds(lambda: ours(**asked)),
            lambda sql=sql: seconds(lambda: by_hand(sql)),
            times=7,
            promised=2.0,
        )
