"""Shards: what a builder accepts, what lands on disk, what a reader refuses, and that every value comes back."""

import hashlib
import json
import math
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from archive.errors import ShardRefused
from archive.layout import Layout
from archive.manifest import FACT_TABLES, read_manifest
from archive.records import Checkpoint, Encoding, Measure, Part, Quantity, TextSet, Tokenizer
from archive.rows import strictly_increasing
from archive.schema.base import CellState
from archive.schema.facts import OWNER_COLUMNS, FactTable
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    HEAD,
    HEAD_MEASURE,
    HEADS,
    LAYERS,
    LOG,
    LOSS,
    ROWS,
    TRAIN,
    commit,
    head_shard,
    run_record,
)

NO_SHRINKING = (Phase.generate,)  # an example is a commit; shrinking takes hundreds of them

# --- every value of every column comes back -------------------------------------------------------------


def awkward(kind: pa.DataType) -> list[Any]:
    """The values of an Arrow type that get lost first."""
    if pa.types.is_list(kind):
        inner = awkward(kind.value_type)
        return [[], inner, inner[:1] * 3]
    if pa.types.is_integer(kind):
        bits = kind.bit_width - 1
        return [-(2**bits), 2**bits - 1, -1, 0]
    if pa.types.is_floating(kind):
        return [math.nan, math.inf, -math.inf, -0.0, 5e-324 if kind.bit_width == 64 else 2.0**-149]
    if pa.types.is_boolean(kind):
        return [False, True]
    return ["", "\0", "ﷺ🦆", "'; DROP TABLE run;--", "NaN", "NULL"]


def any_value(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_list(kind):
        return st.lists(any_value(kind.value_type), max_size=4)
    if pa.types.is_integer(kind):
        bits = kind.bit_width - 1
        return st.integers(-(2**bits), 2**bits - 1)
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width)
    return st.booleans() if pa.types.is_boolean(kind) else st.text()


def body_fields(spec: FactTable) -> list[pa.Field]:
    return [f for f in spec.local_schema if f.name not in spec.index_columns]


def awkward_rows(spec: FactTable) -> list[dict[str, Any]]:
    """Rows that hold every awkward value of every column, and NULL wherever the table allows it."""
    choices = {f.name: awkward(f.type) + [None] * f.nullable for f in body_fields(spec)}
    n_rows = max(len(values) for values in choices.values())
    return [{name: values[i % len(values)] for name, values in choices.items()} for i in range(n_rows)]


def rows_of(spec: FactTable) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Any rows of a table."""
    columns = {
        f.name: any_value(f.type) | (st.none() if f.nullable else st.nothing()) for f in body_fields(spec)
    }
    return st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=10)


def same(a: Any, b: Any) -> bool:
    """Equal, and NaN is NaN. DuckDB's compression keeps one of 0.0 and -0.0 for a block that holds both."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and bool(a == b)


def owner_of(b: ShardBuilder, spec: FactTable, name: str) -> int:
    b.run(run_record(name))
    here, there = Checkpoint(run=name, step=0), Checkpoint(run=name, step=1)
    make = {
        "run": lambda: b.run(run_record(name)),
        "checkpoint": lambda: b.checkpoint(here),
        "pair": lambda: b.pair(here, there),
        "text_set": lambda: b.text_set(TextSet(hash=name)),
        "encoding": lambda: b.encoding(Encoding(hash=name)),
        "tokenizer": lambda: b.tokenizer(Tokenizer(hash=name)),
    }
    return make[spec.owner]()


TABLES_AT_ONCE = 5  # a commit takes longer than what is in it
TABLES = [tuple(FACT_TABLES)[i : i + TABLES_AT_ONCE] for i in range(0, len(FACT_TABLES), TABLES_AT_ONCE)]


@pytest.mark.parametrize("tables", TABLES, ids=" ".join)
def test_every_value_comes_back(tables: tuple[str, ...], layout: Layout, archive: Archive) -> None:
    last, n = dict.fromkeys(tables, -1), 0

    def round_trip(rows: dict[str, list[dict[str, Any]]]) -> None:
        nonlocal n
        n += 1
        b = ShardBuilder(kind="measure")
        for table in tables:
            put_rows(b, FACT_TABLES[table], f"{table} {n}", rows[table])
        commit(layout, b)
        with archive.session():
            for table in tables:
                spec = FACT_TABLES[table]
                owner_id, body = OWNER_COLUMNS[spec.owner][-1], ", ".join(f'"{c.name}"' for c in spec.body)
                back = archive.rows(
                    f"SELECT {body} FROM {table} WHERE {owner_id} > $last ORDER BY {owner_id}",
                    {"last": last[table]},
                )
                last[table] = archive.value(f"SELECT max({owner_id}) FROM {table}")
                assert same(
                    [list(r.values()) for r in back], [[r[c.name] for c in spec.body] for r in rows[table]]
                ), table

    round_trip({table: awkward_rows(FACT_TABLES[table]) for table in tables})
    any_rows = st.fixed_dictionaries({table: rows_of(FACT_TABLES[table]) for table in tables})
    settings(max_examples=3, deadline=None, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck))(
        given(any_rows)(round_trip)
    )()


def put_rows(b: ShardBuilder, spec: FactTable, name: str, rows: list[dict[str, Any]]) -> None:
    """Each row has an owner of its own, so that no two share a key."""
    quantity = Quantity(
        measure=Measure(name=f"any.{spec.name}", scope="any", table=spec.name, unit="1", summary="Any.")
    )
    for i, row in enumerate(rows):
        owner = owner_of(b, spec, f"{name} {i}")
        columns = {column: [value] for column, value in row.items()}
        if spec.has_quantity:
            q = b.quantity(quantity)
            b.add(spec.name, owner, q, **columns)
            b.cell(owner, q)
        else:
            b.add(spec.name, owner, **columns)


# --- what a builder refuses -----------------------------------------------------------------------------


def builder() -> tuple[ShardBuilder, int, int]:
    """A builder with one checkpoint (owner 1; the run is owner 0) and the head quantity."""
    b = ShardBuilder(kind="measure")
    b.run(run_record())
    return b, b.checkpoint(Checkpoint(run="r1", step=0)), b.quantity(HEAD)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"layer": [0, 1], "head": [0]}, "columns of different length"),
        ({"layer": 0}, "fact_head.head is required"),
        ({"layer": 0, "head": [0, None]}, "fact_head.layer|fact_head.head is required, 1 of 2 are missing"),
        ({"layer": 40_000, "head": 0}, "fact_head.layer: .*40000"),
        ({"layer": 0, "head": 0, "value": "high"}, "fact_head.value: "),
        (
            {"layer": 0, "head": 0, "score": 1.0},
            r"no column \['score'\]; it has \['owner', 'quantity', 'layer'",
        ),
    ],
)
def test_columns_that_do_not_fit_are_named(columns: dict[str, Any], reason: str) -> None:
    b, owner, q = builder()
    with pytest.raises(ShardRefused, match=reason):
        b.add("fact_head", owner, q, **columns)


def test_rows_need_a_quantity() -> None:
    b, owner, _ = builder()
    with pytest.raises(ShardRefused, match="rows need a quantity"):
        b.add("fact_head", owner, layer=0, head=0)


def test_two_rows_with_one_key_are_refused(tmp_path: Path) -> None:
    b, owner, q = builder()
    b.add("fact_head", owner, q, layer=[0, 1, 0], head=[0, 0, 0], value=[1.0, 2.0, 1.0])
    b.cell(owner, q)
    with pytest.raises(
        ShardRefused, match=r"two rows with one key.*\('owner', 'quantity', 'layer', 'head'\)"
    ):
        b.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rows_without_a_cell_are_refused(tmp_path: Path) -> None:
    b, owner, q = builder()
    b.add("fact_head", owner, q, layer=0, head=0)
    with pytest.raises(ShardRefused, match=r"rows without a ledger cell.*\(1, 0\)"):
        b.write(tmp_path)


def test_rows_go_into_the_table_of_their_measure(tmp_path: Path) -> None:
    b, owner, q = builder()
    b.add("fact_scalar", owner, q, value=1.0)
    b.cell(owner, q)
    with pytest.raises(
        ShardRefused, match=r"'head.previous_token'.*kept in 'fact_head'.*added to 'fact_scalar'"
    ):
        b.write(tmp_path)


def test_rows_belong_to_the_owner_of_their_table(tmp_path: Path) -> None:
    b, _, q = builder()
    run = b.run(run_record())
    b.add("fact_head", run, q, layer=0, head=0)
    b.cell(run, q)
    with pytest.raises(ShardRefused, match=r"fact_head belongs to a checkpoint, .*kind='run'"):
        b.write(tmp_path)


def test_an_empty_log_segment_is_refused() -> None:
    b, owner, q = builder()
    with pytest.raises(ShardRefused, match=r"\(5, 5\] is empty"):
        b.segment(owner, q, 5, 5)


def test_one_shard_has_one_truth_about_a_run_and_a_measure() -> None:
    b, _, _ = builder()
    with pytest.raises(ValueError, match="two different records for run"):
        b.run(run_record(init_seed=7))
    with pytest.raises(ValueError, match="two different records for measure"):
        b.quantity(Quantity(measure=HEAD_MEASURE.model_copy(update={"unit": "nats"})))


# --- what lands on disk ---------------------------------------------------------------------------------


def test_rows_are_sorted_and_counted(tmp_path: Path) -> None:
    b, owner, q = builder()
    loss = b.quantity(LOSS)
    b.add("fact_head", owner, q, layer=LAYERS[::-1], head=HEADS[::-1], value=np.arange(ROWS, dtype=float))
    b.add("fact_scalar", owner, loss, part=b.part(TRAIN), value=2.0)
    b.add("fact_scalar", owner, loss, value=1.0)
    b.cell(owner, q)
    b.cell(owner, loss)
    shard = read_manifest(b.write(tmp_path))
    assert (shard.n_cells, shard.n_rows) == (2, ROWS + 2)
    heads = pq.read_table(shard.path / "fact_head.parquet")
    assert heads.column("value").to_pylist() == list(range(ROWS))[::-1]
    assert strictly_increasing(heads, FACT_TABLES["fact_head"].local_key)
    cells = pq.read_table(shard.path / "cells.parquet").to_pylist()
    assert [(c["owner"], c["quantity"], c["state"], c["n_rows"]) for c in cells] == [
        (1, 0, 1, ROWS),
        (1, 1, 1, 2),
    ]


def test_one_call_takes_rows_of_many_cells(tmp_path: Path) -> None:
    """An importer adds a file's rows at once: an array of owners and quantities, rows in any order."""
    builder = ShardBuilder(kind="import")
    builder.run(run_record())  # owner 0
    owners = np.array([builder.checkpoint(Checkpoint(run="r1", step=step)) for step in (0, 1, 0, 1)])
    one, two = (builder.quantity(q) for q in (LOSS, LOSS.model_copy(update={"params": {"k": 2}})))
    quantities = np.array([two, one, one, two])
    builder.add("fact_scalar", owners, quantities, value=np.array([0.5, 1.5, 2.5, 3.5]))
    builder.add("fact_scalar", owners[:2], one, part=builder.part(TRAIN), value=np.array([4.5, 5.5]))
    builder.cells(owners, quantities, file=3)
    shard = builder.write(tmp_path)

    rows = pq.read_table(shard / "fact_scalar.parquet").select(["owner", "quantity", "part", "value"])
    cells = pq.read_table(shard / "cells.parquet")
    assert list(zip(*(c.to_pylist() for c in rows.columns), strict=True)) == [
        (1, one, 0, 2.5),
        (1, one, 1, 4.5),
        (1, two, 0, 0.5),
        (2, one, 0, 1.5),
        (2, one, 1, 5.5),
        (2, two, 0, 3.5),
    ]
    assert sorted(
        zip(*(cells.column(n).to_pylist() for n in ("owner", "quantity", "n_rows")), strict=True)
    ) == [
        (1, one, 2),
        (1, two, 1),
        (2, one, 2),
        (2, two, 1),
    ]
    assert set(cells.column("state").to_pylist()) == {CellState.DONE}
    assert set(cells.column("file").to_pylist()) == {3}


def test_cells_of_one_owner_take_one_index(tmp_path: Path) -> None:
    one_by_one, at_once = ShardBuilder(kind="import"), ShardBuilder(kind="import")
    for builder in (one_by_one, at_once):
        builder.run(run_record())
        owner = builder.checkpoint(Checkpoint(run="r1", step=0))
        quantities = [builder.quantity(LOSS.model_copy(update={"params": {"k": k}})) for k in range(3)]
        builder.add("fact_scalar", owner, np.array(quantities), value=np.zeros(3))
        if builder is at_once:
            builder.cells(owner, np.array(quantities))
        else:
            for quantity in quantities:
                builder.cell(owner, quantity)

    one, all_ = (pq.read_table(b.write(tmp_path) / "cells.parquet") for b in (one_by_one, at_once))
    assert one.equals(all_)


def test_rows_of_one_cell_among_many_still_need_it(tmp_path: Path) -> None:
    builder = ShardBuilder(kind="import")
    builder.run(run_record())
    owners = np.array([builder.checkpoint(Checkpoint(run="r1", step=step)) for step in (0, 1)])
    q = builder.quantity(LOSS)
    builder.add("fact_scalar", owners, q, value=np.zeros(2))
    builder.cells(owners[:1], q)

    with pytest.raises(ShardRefused, match="rows without a ledger cell"):
        builder.write(tmp_path)
    with pytest.raises(ShardRefused, match="columns of different length"):
        builder.add("fact_scalar", owners, q, value=np.zeros(3))


def test_matrices_become_list_columns_row_by_row(layout: Layout, archive: Archive) -> None:
    b = ShardBuilder(kind="measure")
    b.run(run_record())
    owner = b.checkpoint(Checkpoint(run="r1", step=0))
    q = b.quantity(
        Quantity(measure=Measure(name="m", scope="layer", table="fact_neuron", unit="1", summary="M."))
    )
    b.add("fact_neuron", owner, q, layer=np.arange(2), values=np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    b.add(
        "fact_neuron", owner, q, part=b.part(TRAIN), layer=np.arange(2), values=np.empty((2, 0), np.float32)
    )
    b.cell(owner, q)
    commit(layout, b)
    rows = archive.rows('SELECT part_id, layer, "values" FROM fact_neuron ORDER BY ALL')
    assert [r["values"] for r in rows] == [[1, 2, 3], [4, 5, 6], [], []]


@pytest.mark.parametrize(
    ("columns", "answer"),
    [
        (([], []), True),
        (([0], [0]), True),
        (([0, 0, 1], [0, 1, 0]), True),
        (([0, 0, 1], [0, 0, 1]), False),
        (([0, 1, 0], [0, 1, 2]), False),
        (([0, 0, 0], [0, 2, 1]), False),
        (([-(2**63), 2**63 - 1], [0, 0]), True),
        (([2**63 - 1, -(2**63)], [0, 0]), False),
    ],
)
def test_strictly_increasing(columns: tuple[list[int], list[int]], answer: bool) -> None:
    table = pa.table([pa.array(c, pa.int64()) for c in columns], names=["a", "b"])
    assert strictly_increasing(table, ("a", "b")) is answer


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2), st.integers(-2, 2)), max_size=6))
def test_strictly_increasing_agrees_with_comparing_tuples(rows: list[tuple[int, int, int]]) -> None:
    table = pa.table([pa.array([r[i] for r in rows], pa.int64()) for i in range(3)], names=["a", "b", "c"])
    assert strictly_increasing(table, ("a", "b", "c")) is all(x < y for x, y in pairwise(rows))


def test_a_shard_becomes_visible_by_one_rename_after_everything_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of fsync and rename is the whole promise: a file not flushed before the rename may be lost."""
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        events.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
        fsync(descriptor)

    def watched_rename(path: Path, target: Path) -> Path:
        events.append(("rename", path.name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    inbox = tmp_path / "inbox"
    shard = head_shard([0]).write(inbox)

    hidden = f".{shard.name}.tmp"
    at = events.index(("rename", hidden))
    before = [name for kind, name in events[:at] if kind == "fsync"]
    assert set(before) == {*(p.name for p in shard.iterdir()), hidden}
    assert before[-1] == hidden
    assert events[at + 1 :] == [("fsync", "inbox")]


def test_a_worker_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        head_shard([0]).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- what a reader refuses ------------------------------------------------------------------------------


def rewrite(shard: Path, **changes: Any) -> None:
    """Change a manifest and its checksum, as a program with other ideas would."""
    path = shard / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    (shard / "manifest.sha256").write_text(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  manifest.json\n"
    )


def test_the_checksum_is_one_that_sha256sum_reads(tmp_path: Path) -> None:
    shard = head_shard([0]).write(tmp_path)
    digest, name = (shard / "manifest.sha256").read_text().split()
    assert name == "manifest.json"
    assert digest == hashlib.sha256((shard / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "fact_head.parquet", "cells.parquet"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "a bit flipped", "a byte more"])
def test_every_damaged_file_is_named(name: str, damage: str, tmp_path: Path) -> None:
    shard = head_shard([0]).write(tmp_path)
    path = shard / name
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "truncated": content[:middle],
                "a bit flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "a byte more": content + b"x",
            }[damage]
        )
    with pytest.raises(ShardRefused) as refusal:
        read_manifest(shard)
    assert shard.name in str(refusal.value)
    assert name.split(".")[0] in str(refusal.value)


def test_every_flipped_bit_of_a_manifest_is_noticed(tmp_path: Path) -> None:
    shard = head_shard([0]).write(tmp_path)
    path = shard / "manifest.json"
    content = path.read_bytes()
    for at in range(0, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        with pytest.raises(ShardRefused, match=r"manifest\.json has sha256"):
            read_manifest(shard)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 99}, "shard format 99, this version reads 1"),
        ({"name": "another"}, "the manifest is that of another; a unit keeps its name"),
        (
            {"tables": {"fact_magic": {"file": "x", "bytes": 0}}},
            "table 'fact_magic' is unknown to this version",
        ),
        ({"tables": {"cells": {"file": "../../passwd", "bytes": 0}}}, "cells is in '../../passwd'"),
        ({"tables": []}, "not one of ours"),
        ({"owners": [[]]}, "not one of ours"),
        ({"tables": {"cells": {"file": "cells.parquet", "bytes": "many"}}}, "bytes, its manifest says many"),
    ],
)
def test_a_manifest_of_another_mind_is_refused(changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    shard = head_shard([0]).write(tmp_path)
    rewrite(shard, **changes)
    with pytest.raises(ShardRefused, match=reason):
        read_manifest(shard)


def test_a_renamed_folder_is_refused(tmp_path: Path) -> None:
    shard = head_shard([0]).write(tmp_path)
    copy = shutil.copytree(shard, tmp_path / "copy")
    with pytest.raises(ShardRefused, match="copy: the manifest is that of"):
        read_manifest(copy)


def test_a_manifest_survives_the_way_through_json(tmp_path: Path) -> None:
    b = head_shard([3, 1])
    b.failed_cell(
        b.checkpoint(Checkpoint(run="r1", step=9, snapshot="ü")),
        b.quantity(LOSS),
        CellState.FAILED_PERMANENT,
        error_class="E",
        message='"quoted"\nand 🦆',
    )
    b.part(Part(kind="tensor", name="a.b"))
    owner = b.run(run_record())
    b.segment(owner, b.quantity(LOG), -1, 5)
    shard = read_manifest(b.write(tmp_path))
    assert [o.key for o in shard.owners] == [("r1",), ("r1", 3, ""), ("r1", 1, ""), ("r1", 9, "ü")]
    assert shard.failures[0]["message"] == '"quoted"\nand 🦆'
    assert shard.segments == ((0, 2, -1, 5),)
    assert [q["hash"] for q in shard.records["quantity"]] == [HEAD.hash, LOSS.hash, LOG.hash]
