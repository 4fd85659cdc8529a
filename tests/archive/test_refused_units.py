"""Units that break the contract stand aside with a reason, and the others go in."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archive.committer import CommitReport, commit_inbox
from archive.identity import file_sha256
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Quantity
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    ROWS,
    head_shard,
    head_values,
    put,
    run_record,
)
from tests.archive.test_shard import rewrite


def test_a_bad_unit_stands_aside_and_the_others_go_in(layout: Layout, archive: Archive) -> None:
    first, bad, last = put(layout, head_shard([0]), head_shard([1]), head_shard([2]))
    parquet = bad / "fact_head.parquet"
    parquet.write_bytes(parquet.read_bytes()[:-1])
    report = commit_inbox(layout)
    assert (report.n_shards, report.n_rows) == (2, 2 * ROWS)
    [(name, reason)] = report.refused
    assert name == bad.name
    assert "fact_head.parquet has" in reason
    assert str(layout.failed / bad.name) in reason
    assert (
        (layout.failed / f"{bad.name}.reason.txt").read_text().startswith(f"{bad.name}/fact_head.parquet has")
    )
    assert sorted(head_values(archive)) == [0, 2]
    assert {p.name for p in layout.committed.iterdir()} == {first.name, last.name}


def doctor(path: Path, table: str, rows: pa.Table, **changes: Any) -> None:
    """Replace a table of a shard and make hashes and counts fit again."""
    file = path / f"{table}.parquet"
    pq.write_table(rows, file)
    tables = json.loads((path / "manifest.json").read_text())["tables"]
    tables[table] = {
        "file": file.name, "rows": rows.num_rows, "bytes": file.stat().st_size, "sha256": file_sha256(file)
    }  # fmt: skip
    rewrite(path, tables=tables, **changes)


def column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    i = rows.schema.get_field_index(name)
    return rows.set_column(
        i, rows.schema.field(i).with_nullable(True), pa.array(values, rows.schema.field(i).type)
    )


HEAD_ROWS = {
    "doubled rows": (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "not strictly increasing"),
    "unsorted rows": (lambda t: t.take(pa.array(range(t.num_rows - 1, -1, -1))), "not strictly increasing"),
    "a row too few": (lambda t: t.slice(1), "7 rows for the cell (owner 1, quantity 0) that announces 8"),
    "no rows": (lambda t: t.slice(0, 0), "0 rows for the cell (owner 1, quantity 0) that announces 8"),
    "an unknown owner": (lambda t: column(t, "owner", [99] * ROWS), "owner points outside"),
    "a negative owner": (lambda t: column(t, "owner", [-1] * ROWS), "owner points outside"),
    "an unknown quantity": (lambda t: column(t, "quantity", [99] * ROWS), "quantity points outside"),
    "the run as owner": (
        lambda t: column(t, "owner", [0] * ROWS),
        "belongs to a checkpoint, its rows name a run",
    ),
    "a missing layer": (lambda t: column(t, "layer", [None] * ROWS), "layer"),
    "other columns": (lambda t: t.drop_columns(["chance"]), "fact_head has columns"),
    "other types": (lambda t: t.set_column(4, "value", pa.array(["high"] * ROWS)), "high"),
}
CELLS = {
    "a cell twice": (lambda t: pa.concat_tables([t, t]), "cells.parquet has a cell twice"),
    "no cell": (
        lambda t: t.slice(0, 0),
        "8 rows for the cell (owner 1, quantity 0) that is not in cells.parquet",
    ),
    "a cell of no owner": (lambda t: column(t, "owner", [7]), "cells.owner points outside"),
    "a cell of no file": (lambda t: column(t, "file", [3]), "cells.file points outside"),
    "a wrong count": (lambda t: column(t, "n_rows", [9]), "that announces 9"),
    "other cell columns": (lambda t: t.drop_columns(["state"]), "cells.parquet has columns"),
}


CASES = [("fact_head", name, *case) for name, case in HEAD_ROWS.items()] + [
    ("cells", name, *case) for name, case in CELLS.items()
]


@pytest.mark.parametrize(("table", "wrong", "change", "reason"), CASES, ids=[name for _, name, _, _ in CASES])
def test_units_with_right_hashes_and_wrong_rows_are_refused(
    table: str, wrong: str, change: Callable[[pa.Table], pa.Table], reason: str, layout: Layout
) -> None:
    path, _ = put(layout, head_shard([0]), head_shard([5], run="good"))
    doctor(path, table, change(pq.read_table(path / f"{table}.parquet")))
    report = commit_inbox(layout)
    assert report.n_shards == 1
    assert reason in report.refused[0][1]


def test_rows_of_a_measure_kept_elsewhere_are_refused(layout: Layout) -> None:
    """Else a later replacement would look for them in the wrong table, and double them."""
    [path] = put(layout, head_shard([0]))
    records = json.loads((path / "manifest.json").read_text())["records"]
    records["measure"][0]["table"] = "fact_item"
    rewrite(path, records=records)
    assert "fact_head has rows of a measure that is kept in fact_item" in commit_inbox(layout).refused[0][1]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_that_go_in_together_do_not_fall_back_on_other_units(
    place: int, layout: Layout, archive: Archive
) -> None:
    """A checkpoint without a label fails only when the rows of several units are inserted."""
    paths = put(layout, head_shard([0]), head_shard([1]), head_shard([2]))
    records = json.loads((paths[place] / "manifest.json").read_text())["records"]
    records["checkpoint"][0]["label"] = None
    rewrite(paths[place], records=records)
    report = commit_inbox(layout)
    [(name, reason)] = report.refused
    assert name == paths[place].name
    assert "checkpoint.label" in reason
    assert report.n_shards == 2
    assert sorted(head_values(archive)) == sorted({0, 1, 2} - {place})


def test_announced_rows_without_their_file_are_refused(layout: Layout) -> None:
    [path] = put(layout, head_shard([0]))
    tables = json.loads((path / "manifest.json").read_text())["tables"]
    del tables["fact_head"]
    rewrite(path, tables=tables)
    assert "0 rows for the cell (owner 1, quantity 0) that announces 8" in commit_inbox(layout).refused[0][1]


@pytest.mark.parametrize(
    "change",
    [
        {"records": {}},
        {"records": {"run": [{}]}},
        {"owners": [["run", "r1"], ["planet", "mars"]]},
        {"owners": [["run", "r1"], ["checkpoint", "r1", 0]]},
        {"created_at": "yesterday"},
        {"provenance": {"x": float("nan")}},
        {"segments": [[99, 0, 0, 1]]},
        {"failures": [{"owner": 99}]},
        {"study": "nobody declared it"},
    ],
    ids=str,
)
def test_a_strange_manifest_does_not_block_the_inbox(
    change: dict[str, Any], layout: Layout, archive: Archive
) -> None:
    strange, _ = put(layout, head_shard([0]), head_shard([5], run="good"))
    rewrite(strange, **change)
    report = commit_inbox(layout)
    assert [name for name, _ in report.refused] == [strange.name]
    assert list(head_values(archive)) == [5]


@pytest.mark.parametrize("name", ["", "no manifest at all"])
def test_a_folder_that_is_no_unit_stands_aside(name: str, layout: Layout) -> None:
    folder = layout.inbox / "0-strange"
    folder.mkdir()
    if name:
        (folder / name).write_text("hello")
    assert "no manifest.json; the unit is not whole" in commit_inbox(layout).refused[0][1]


def test_unfinished_units_are_left_alone_for_a_day(layout: Layout) -> None:
    fresh, old = layout.inbox / ".a.tmp", layout.inbox / ".b.tmp"
    for folder in (fresh, old):
        folder.mkdir()
    os.utime(old, (0, 0))
    assert commit_inbox(layout) == CommitReport()
    assert (fresh.exists(), old.exists()) == (True, False)


def test_a_refused_unit_may_be_refused_again(layout: Layout) -> None:
    [path] = put(layout, head_shard([0]))
    (path / "fact_head.parquet").unlink()
    assert len(commit_inbox(layout).refused) == 1
    (layout.failed / path.name).rename(path)
    assert len(commit_inbox(layout).refused) == 1


def test_rows_doubled_across_two_batches_of_the_reader_are_refused(layout: Layout) -> None:
    n = 122_880
    b = ShardBuilder(kind="measure")
    b.run(run_record())
    owner = b.checkpoint(Checkpoint(run="r1", step=0))
    q = b.quantity(
        Quantity(measure=Measure(name="item", scope="item", table="fact_item", unit="1", summary="I."))
    )
    b.add("fact_item", owner, q, item=np.arange(n + 1), value=1.0)
    b.cell(owner, q)
    [path] = put(layout, b)
    rows = pq.read_table(path / "fact_item.parquet")
    doctor(path, "fact_item", column(rows, "item", [*range(n), n - 1]))
    assert "not strictly increasing" in commit_inbox(layout).refused[0][1]
