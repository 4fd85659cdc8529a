"""Damaged files: every flipped byte in use is found, whatever it holds, and nothing ends in a traceback."""

import os
import random
import shutil
from pathlib import Path

import duckdb
import pytest

from archive.layout import Layout
from archive.upkeep.findings import Finding
from archive.upkeep.publish import publish
from archive.upkeep.raw_file import bad_blocks, block_offset, copy_file
from archive.upkeep.verify import verify
from archive.upkeep.verify_blocks import ROW_GROUP

BLOCK = 2**18


def flip(file: Path, offset: int) -> None:
    """Change one bit of one byte."""
    with file.open("r+b") as handle:
        handle.seek(offset)
        (byte,) = handle.read(1)
        handle.seek(offset)
        handle.write(bytes([byte ^ 0x10]))


def blocks(file: Path) -> dict[str, set[int]]:
    """Ids of blocks by what they hold: a table's rows, metadata, an index, nothing."""
    kinds: dict[str, set[int]] = {}
    with duckdb.connect(str(file), read_only=True) as c:
        for (table,) in c.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            for block, more in c.execute(
                f"SELECT block_id, additional_block_ids FROM pragma_storage_info('{table}')"
            ).fetchall():
                kinds.setdefault(table, set()).update({block, *more} - {-1})
        kinds["metadata"] = {
            b for (b,) in c.execute("SELECT block_id FROM pragma_metadata_info()").fetchall()
        }
        total, used = c.execute(
            "SELECT total_blocks, used_blocks FROM pragma_database_size()"
        ).fetchone() or (0, 0)
    holding = set().union(*kinds.values())
    kinds["rest"] = set(range(total)) - holding  # indexes and free blocks
    kinds["n_index"] = {used - len(holding)}
    return kinds


def damage(layout: Layout) -> list[Finding]:
    found = verify(layout, patience=5).findings
    assert {f.kind for f in found} <= {"damage"}
    return found


def flip_block(layout: Layout, block: int, seed: int = 0) -> None:
    flip(layout.database, block_offset(block) + random.Random(seed).randrange(BLOCK))


@pytest.mark.parametrize("offset", [0, 8, 100, 4096, 4200, 8192, 9000])
def test_a_flipped_byte_in_a_header_is_one_finding_that_names_the_file(full: Layout, offset: int) -> None:
    flip(full.database, offset)
    found = damage(full)

    # one of the two database headers is the older one: DuckDB reads it, too
    assert [f.where for f in found] == [str(full.database)]
    assert "docs/recovery.md" in found[0].command


@pytest.mark.parametrize(
    "table",
    [
        "fact_token",
        "cell",
        pytest.param("checkpoint", marks=pytest.mark.thorough),  # every table is read by the same statement
        pytest.param("content_document", marks=pytest.mark.thorough),
    ],
)
def test_a_flipped_byte_in_a_table_names_the_table(full: Layout, table: str) -> None:
    flip_block(full, min(blocks(full.database)[table]))
    found = damage(full)

    assert table in {f.where.partition(".")[0] for f in found}
    assert any(str(full.database) == f.where and f.count == 1 for f in found)


def test_a_flipped_byte_in_metadata_is_found(full: Layout) -> None:
    for seed, block in enumerate(sorted(blocks(full.database)["metadata"])[:3]):
        flip_block(full, block, seed)
        assert damage(full)
        flip_block(full, block, seed)  # back again
    assert verify(full).ok


def test_a_flipped_byte_in_an_index_is_found_and_one_in_free_space_is_not(full: Layout) -> None:
    kinds = blocks(full.database)
    inside = [b for b in kinds["rest"] if block_offset(b + 1) <= full.database.stat().st_size]
    for block in inside:
        flip_block(full, block)
    indexes = bad_blocks(full.database)

    assert indexes is not None
    assert set(indexes) <= set(inside)
    assert {len(indexes)} == kinds["n_index"]
    for block in set(inside) - {indexes[0]}:
        flip_block(full, block)  # back again
    (only,) = damage(full)
    assert (only.where, only.command) == (str(full.database), "pathscope optimize")
    assert only.examples[0]["block"] == indexes[0]


def test_rows_runs_and_columns_of_a_damaged_stretch_are_named(full: Layout) -> None:
    n = 2 * ROW_GROUP
    with duckdb.connect(str(full.database)) as c:
        c.execute("SET threads = 1")
        c.execute(
            f"INSERT INTO fact_token SELECT run_id, checkpoint_id, quantity_id, i + 100, [random(), random()] "
            f"FROM (FROM fact_token LIMIT 1), range({n}) t(i)"
        )
        c.execute("CHECKPOINT")
        found = c.execute(
            """FROM pragma_storage_info('fact_token') SELECT block_id
               WHERE column_path = '[4, 1]' AND row_group_id = 1 AND block_id >= 0
               EXCEPT FROM pragma_storage_info('fact_token') SELECT block_id WHERE column_path <> '[4, 1]'"""
        ).fetchall()
    flip_block(full, max(found)[0])
    table = next(f for f in verify(full).findings if f.where.startswith("fact_token"))

    assert table.where == "fact_token.values"
    # the damaged group of rows begins after the 12 that were there, so it lies in the first two stretches of three
    places = {(e["first_row"], e["runs"]) for e in table.examples}
    assert places
    assert places <= {(0, "toy/a, toy/b"), (ROW_GROUP, "toy/a")}
    assert all(f"rows {low}-" in table.message for low, _ in places)


@pytest.mark.parametrize("size", [0, 1, 5_000, 12_288, 300_000, -1])
def test_a_truncated_file_is_found(full: Layout, size: int) -> None:
    kinds = blocks(full.database)
    last = max(set().union(*(v for k, v in kinds.items() if k not in ("rest", "n_index"))))
    os.truncate(full.database, size if size >= 0 else block_offset(last) + 100)
    found = damage(full)

    assert any(str(full.database) == f.where for f in found)


def test_an_emptied_or_foreign_file_is_a_finding(full: Layout) -> None:
    full.database.write_text("this is not a database\n" * 1000)

    assert [f.where for f in damage(full)] == [str(full.database)]


def test_damage_does_not_hide_what_is_wrong_elsewhere(full: Layout) -> None:
    unit = min(full.committed.iterdir())
    (unit / "cells.parquet").unlink()
    flip(full.database, 100)
    found = verify(full).findings

    assert {f.kind for f in found} == {"damage", "checksum"}


def test_a_damaged_published_copy_is_found(full: Layout) -> None:
    publish(full)
    assert verify(full).ok
    flip(full.current_snapshot, block_offset(min(blocks(full.current_snapshot)["fact_token"])) + 50)
    found = damage(full)

    assert {f.command for f in found} == {"pathscope publish"}
    assert {f.where for f in found} == {str(full.current_snapshot)}


def test_a_file_of_another_layout_is_left_to_duckdb(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 100_000)

    assert bad_blocks(tmp_path / "text") is None


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bad_blocks(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "none", tmp_path / "copy")


@pytest.mark.slow
def test_blocks_in_use_are_watched_whatever_they_hold(full: Layout, tmp_path: Path) -> None:
    pristine = shutil.copy(full.database, tmp_path / "pristine")
    kinds = blocks(full.database)
    del kinds["n_index"]
    rest = kinds.pop("rest")
    size = full.database.stat().st_size
    there = [b for b in sorted(set().union(*kinds.values()) | rest) if block_offset(b + 1) <= size]
    seeds = {block: seed for seed, block in enumerate(there[::11])}

    def bad(*flipped: int) -> list[int]:
        for block in flipped:
            flip_block(full, block, seeds[block])
        return bad_blocks(full.database) or []

    # without the list of free blocks nothing is known of the others, so each of metadata is flipped alone
    used = bad(*(b for b in seeds if b not in kinds["metadata"]))
    free = [b for b in seeds if b in rest and b not in used]
    shutil.copy(pristine, full.database)
    for block in seeds.keys() & kinds["metadata"]:
        used += bad(block)
        shutil.copy(pristine, full.database)
    assert sorted([*used, *free]) == sorted(seeds)
    assert free

    missed = []
    for block in used[::2]:  # verify lists what is bad and cannot be read; that takes a second for each
        flip_block(full, block, seeds[block])
        if not damage(full):
            missed.append(block)
        shutil.copy(pristine, full.database)
    assert missed == []
    for block in free:  # all at once: were one of them watched, there would be a finding
        flip_block(full, block, seeds[block])
    assert damage(full) == []
