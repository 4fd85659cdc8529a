import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from archive.committer import commit_inbox
from archive.errors import ArchiveNotFound, NoSpace, PathscopeError
from archive.layout import Layout
from archive.migrate import differences
from archive.schema.facts import CONTENT, FACTS
from archive.store import Archive, connect
from archive.upkeep import optimize as module
from archive.upkeep.optimize import optimize, order_of
from archive.upkeep.raw_file import bad_blocks, block_offset
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make, Shown
from tests.archive.upkeep.crash import killed_at, open_elsewhere
from tests.archive.upkeep.test_damage import blocks, flip


def test_nothing_is_lost_or_changed(full: Layout, full_shown: Shown) -> None:
    sizes = sample.table_sizes(full)
    mode = full.database.stat().st_mode
    done = optimize(full)

    assert sample.shown(full) == full_shown
    assert sample.table_sizes(full) == {**sizes, "audit": 1}
    assert done.n_rows == sum(sizes.values())
    assert done.n_bytes_after == full.database.stat().st_size
    assert done.n_bytes_after <= done.n_bytes_before
    assert full.database.stat().st_mode == mode
    assert verify(full).ok


def test_keys_defaults_views_and_comments_are_those_of_the_migrations(full: Layout) -> None:
    sql = """SELECT table_name, constraint_text FROM duckdb_constraints() ORDER BY ALL"""
    views = "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL"
    before = [Archive(full.database).rows(q) for q in (sql, views)]
    optimize(full)

    assert [Archive(full.database).rows(q) for q in (sql, views)] == before
    with connect(full.database, read_only=False, patience=1) as connection:
        assert differences(connection) == []
    sample.everything("toy/new").write(full.inbox)
    assert commit_inbox(full).refused == []


@pytest.mark.parametrize("spec", [*FACTS, *CONTENT], ids=lambda s: s.name)
def test_every_table_has_an_order_by_all_of_its_key(spec: module.FactTable) -> None:
    assert sorted(order_of(spec)) == sorted(spec.stored_key)


@pytest.mark.parametrize(
    ("table", "order"),
    [
        ("fact_head", ("quantity_id", "layer", "head", "run_id", "checkpoint_id")),
        ("fact_log", ("quantity_id", "part_id", "run_id", "step")),
        ("fact_token", ("quantity_id", "run_id", "checkpoint_id", "sequence")),
    ],
)
def test_components_come_before_runs_and_what_is_enumerated_after(table: str, order: tuple[str, ...]) -> None:
    assert order_of(next(s for s in FACTS if s.name == table)) == order


def test_facts_lie_in_that_order(full: Layout) -> None:
    optimize(full)
    archive = Archive(full.database)

    for spec in FACTS:
        columns = ", ".join(order_of(spec))
        stored = archive.query(f"SELECT {columns} FROM {spec.name} ORDER BY rowid").to_pylist()
        assert stored == archive.query(f"SELECT {columns} FROM {spec.name} ORDER BY {columns}").to_pylist()


def test_tables_and_views_of_other_people_come_along(full: Layout) -> None:
    with duckdb.connect(str(full.database)) as c:
        c.execute(
            "CREATE SCHEMA mine; CREATE TABLE mine.notes (a INTEGER); INSERT INTO mine.notes VALUES (7)"
        )
        c.execute("CREATE VIEW my_view AS SELECT count(*) AS n FROM v_run")
    optimize(full)

    assert Archive(full.database).value("SELECT a FROM mine.notes") == 7
    assert Archive(full.database).value("SELECT n FROM my_view") == 4


def test_who_did_it_is_written_down(full: Layout) -> None:
    optimize(full)
    (row,) = Archive(full.database).rows("SELECT action, target, detail_json FROM v_audit")

    assert (row["action"], row["target"]) == ("optimize", "x.duckdb")
    assert json.loads(row["detail_json"])["rows"] > 0


def test_the_space_of_deleted_rows_is_given_back(make: Make) -> None:
    layout = make("x", sample.little(rows=3))
    with duckdb.connect(str(layout.database)) as c:
        c.execute("INSERT INTO fact_token SELECT 9, 9, 9, i, [random()] FROM range(500000) t(i)")
    with duckdb.connect(str(layout.database)) as c:
        c.execute("DELETE FROM fact_token WHERE run_id = 9")
    done = optimize(layout)

    assert done.n_bytes_after < done.n_bytes_before - 2_000_000


def test_a_damaged_index_is_mended(full: Layout) -> None:
    size = full.database.stat().st_size
    rest = [b for b in blocks(full.database)["rest"] if block_offset(b + 1) <= size]
    for block in rest:
        flip(full.database, block_offset(block) + 1000)
    assert bad_blocks(full.database)
    optimize(full)

    assert verify(full).ok


def test_readers_of_the_old_file_keep_reading(full: Layout) -> None:
    with open_elsewhere(full.database, read_only=True) as (_, ask):
        optimize(full)
        assert ask("SELECT count(*) FROM v_run") == [(4,)]
        assert ask("SELECT count(*) FROM v_audit") == [(0,)]
    assert Archive(full.database).value("SELECT count(*) FROM v_audit") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        pytest.param(
            "schema copied", marks=pytest.mark.thorough
        ),  # until it is swapped, the new file is rubbish
        "copied fact_head",
        pytest.param("rebuilt", marks=pytest.mark.thorough),
        "swapped",
    ],
)
def test_a_kill_leaves_a_whole_archive(full: Layout, full_shown: Shown, step: str) -> None:
    inode = full.database.stat().st_ino
    killed_at(
        step,
        "archive.upkeep.optimize",
        f"from archive.layout import Layout; module.optimize(Layout.of({str(full.database)!r}))",
    )

    assert (full.database.stat().st_ino == inode) == (step != "swapped")
    assert sample.shown(full) == full_shown
    optimize(full)
    assert sample.shown(full) == full_shown
    assert {p.name for p in full.database.parent.iterdir()} == {"x.duckdb", "x.d"}


def test_a_rewritten_file_that_differs_is_thrown_away(
    full: Layout, full_shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    inode = full.database.stat().st_ino
    monkeypatch.setattr(module, "order_of", lambda spec: (f"{spec.stored_key[0]} LIMIT 1",))
    with pytest.raises(PathscopeError, match="other rows than"):
        optimize(full)

    assert full.database.stat().st_ino == inode
    assert sample.shown(full) == full_shown
    assert {p.name for p in full.database.parent.iterdir()} == {"x.duckdb", "x.d"}


def test_damage_stops_it_before_anything_is_swapped(full: Layout) -> None:
    flip(full.database, block_offset(min(blocks(full.database)["fact_token"])) + 50)
    content = full.database.read_bytes()
    with pytest.raises(PathscopeError, match="recovery"):
        optimize(full)

    assert full.database.read_bytes() == content


def test_without_room_nothing_is_begun(full: Layout, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(NoSpace, match="nothing was changed"):
        optimize(full)


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound):
        optimize(Layout.of(tmp_path / "none.duckdb"))

    assert list(tmp_path.iterdir()) == []
