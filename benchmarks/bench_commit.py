"""Committing: five million head facts against a bare COPY, and sixty cells against a bare INSERT."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Quantity, Run
from archive.shard import ShardBuilder
from benchmarks.made import ROWS_PER_CHECKPOINT, archive_of_cells, head_unit
from benchmarks.measured import Measured, compare, seconds, words

UNITS, CHECKPOINTS_PER_UNIT = 14, 100
ROOT = Path(__file__).resolve().parent.parent

OURS = """
import sys
from archive.committer import commit_inbox
from archive.layout import Layout
assert commit_inbox(Layout.of(sys.argv[1])).n_cells == 60
"""
BARE = """
import sys, duckdb, pyarrow.parquet as pq
facts, cells = pq.read_table(sys.argv[2] + "/fact_head.parquet"), pq.read_table(sys.argv[2] + "/cells.parquet")
connection = duckdb.connect(sys.argv[1])
connection.execute("BEGIN")
columns = "quantity, layer, head, value, se, chance, n_items, n_clusters"
connection.execute("INSERT INTO fact_head SELECT 1, 1024, " + columns + " FROM facts")
connection.execute("INSERT INTO cell SELECT 1, owner, quantity, state, 1, n_rows, 1, 0 FROM cells")
connection.execute("COMMIT")
connection.close()
"""


def measure(folder: Path) -> Iterable[Measured]:
    """Five million facts; then sixty cells into a small and into a large ledger."""
    yield _facts(folder)
    small, large = (_cells(folder, n) for n in (1_000, 3_600_000))
    yield small[0]
    yield large[0]
    yield Measured(
        "60-cell commit, ledger of 3.6 M cells (left) against 10³ (right)",
        words(large[1]), words(small[1]), large[1] / small[1], 2.0,
    )  # fmt: skip


def _facts(folder: Path) -> Measured:
    units = folder / "units"
    if not units.exists():
        rng = np.random.default_rng(0)
        for i in range(UNITS):
            head_unit(f"run-{i:03d}", range(CHECKPOINTS_PER_UNIT), rng).write(folder / "making-units")
        (folder / "making-units").rename(units)
    n_rows = UNITS * CHECKPOINTS_PER_UNIT * ROWS_PER_CHECKPOINT
    path = folder / "commit.duckdb"

    def ours() -> float:
        _remove(path)
        layout = ensure_archive(path)
        for unit in units.iterdir():
            shutil.copytree(unit, layout.inbox / unit.name)

        def commit() -> None:
            assert commit_inbox(layout).n_rows == n_rows

        return seconds(commit)

    def bare() -> float:
        _remove(path)

        def copy() -> None:
            with duckdb.connect(path) as connection:
                connection.execute(
                    """CREATE TABLE t (owner INTEGER, quantity INTEGER, layer SMALLINT, head SMALLINT, value DOUBLE, se DOUBLE,
                                       chance DOUBLE, n_items INTEGER, n_clusters INTEGER)"""
                )
                connection.execute(f"COPY t FROM '{units}/*/fact_head.parquet'")

        return seconds(copy)

    try:
        what = f"commit of {n_rows / 1e6:.2f} M head facts in {UNITS} units; bare COPY of their Parquet"
        return compare(what, ours, bare, times=3, promised=2.0)
    finally:
        _remove(path)


def _cells(folder: Path, n_cells: int) -> tuple[Measured, float]:
    """The comparison and our best seconds."""
    base = folder / f"cells-{n_cells}.duckdb"
    if not base.exists():
        archive_of_cells(base, n_cells)
    path = folder / "cells.duckdb"
    best = float("inf")

    def prepared() -> Path:
        _remove(path)
        shutil.copy(base, path)
        layout = Layout.of(path)
        layout.make_folders()
        return _sixty_cells().write(layout.inbox)

    def ours() -> float:
        nonlocal best
        prepared()
        took = _process(OURS, path)
        best = min(best, took)
        return took

    def bare() -> float:
        return _process(BARE, path, prepared())

    try:
        what = f"60-cell commit into a ledger of {n_cells:,} cells; bare INSERT of its rows, both in a fresh process"
        return compare(what, ours, bare, times=5, promised=3.0), best
    finally:
        _remove(path)


def _sixty_cells() -> ShardBuilder:
    b = ShardBuilder(kind="measure")
    b.run(Run(name="run-0"))
    owner = b.checkpoint(Checkpoint(run="run-0", step=1_000_000))
    layers, heads = np.divmod(np.arange(144), 12)
    for m in range(60):
        measure = Measure(name=f"head.m{m}", scope="head", table="fact_head", unit="1", summary="Made up.")
        q = b.quantity(Quantity(measure=measure))
        b.add("fact_head", owner, q, layer=layers, head=heads, value=np.random.default_rng(m).random(144))
        b.cell(owner, q)
    return b


def _process(program: str, *arguments: Path) -> float:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return seconds(lambda: subprocess.run(command, cwd=ROOT, check=True))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    shutil.rmtree(path.with_suffix(".d"), ignore_errors=True)
