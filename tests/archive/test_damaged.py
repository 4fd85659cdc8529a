"""Files that are not what they should be: each is named, with what it is and the way back."""

import os
import shutil
from pathlib import Path

import duckdb
import pytest

from archive.committer import commit_inbox, pending_shards
from archive.create import ensure_archive
from archive.errors import (
    ArchiveDamaged,
    ArchiveNotFound,
    ArchiveTooNew,
    ArchiveTooOld,
    NotAnArchive,
    PathscopeError,
)
from archive.layout import Layout
from archive.store import SCHEMA_REVISION, Archive, connect
from tests.archive.holding import another_process
from tests.archive.making import ROWS, commit, head_shard, put
from tests.archive.test_store import LEAVE_WAL


def test_a_missing_archive_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        ArchiveNotFound, match=rf"no archive at {tmp_path}/no\.duckdb: `pathscope demo`.*`pathscope ingest"
    ):
        Archive(tmp_path / "no.duckdb")


def test_a_missing_snapshot_says_how_to_make_one(layout: Layout) -> None:
    with pytest.raises(
        ArchiveNotFound, match=r"x\.duckdb has no published copy: `pathscope publish --archive"
    ):
        Archive(layout.database, snapshot=True)


def test_a_snapshot_is_read_instead(layout: Layout, archive: Archive) -> None:
    shutil.copy(layout.database, layout.current_snapshot)
    commit(layout, head_shard([0]))
    assert Archive(layout.database, snapshot=True).value("SELECT count(*) FROM fact_head") == 0
    assert "snapshot of" in repr(Archive(layout.database, snapshot=True))


def other_file(path: Path, kind: str) -> None:
    if kind == "a folder":
        path.mkdir()
    elif kind == "SQLite":
        path.write_bytes(b"SQLite format 3\0" + b"\0" * 5000)
    else:
        with duckdb.connect(path) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num VARCHAR)")
            if kind == "an archive without a schema":
                connection.execute("CREATE TABLE archive_info (key VARCHAR)")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("a folder", "is a folder; --archive takes the .duckdb file itself"),
        ("SQLite", "is an SQLite database, not a pathscope archive"),
        (
            "another DuckDB file",
            "is a DuckDB file but not a pathscope archive; give another path to --archive",
        ),
        ("an archive without a schema", "without a schema"),
    ],
)
def test_a_file_of_another_kind(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    other_file(path, kind)
    with pytest.raises(NotAnArchive, match=said) as error:
        Archive(path).query("SELECT 1")
    assert str(path) in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read(layout: Layout) -> None:
    layout.database.chmod(0)
    try:
        with pytest.raises(NotAnArchive, match=r"cannot be opened .* check its owner and mode"):
            Archive(layout.database).query("SELECT 1")
    finally:
        layout.database.chmod(0o600)


@pytest.fixture(scope="module")
def with_rows(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = Layout.of(tmp_path_factory.mktemp("rows") / "v.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    commit(layout, *(head_shard(range(200), run=f"r{i}", value=i / 7) for i in range(3)))
    return layout


@pytest.fixture
def victim(with_rows: Layout, tmp_path: Path) -> Layout:
    """An archive with rows that may be damaged."""
    layout = Layout.of(tmp_path / "v.duckdb")
    shutil.copy(with_rows.database, layout.database)
    shutil.copytree(with_rows.folder, layout.folder)
    return layout


DAMAGE = {
    "emptied": lambda content: b"",
    "another text": lambda content: b"hello " * 5000,
    "zeros": lambda content: b"\0" * len(content),
    "cut in half": lambda content: content[: len(content) // 2],
    "cut at 5000 bytes": lambda content: content[:5000],
    "header byte flipped": lambda content: flip(content, 10),
    "first root flipped": lambda content: flip(content, 4100),
    "second root flipped": lambda content: flip(content, 8200),
}


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_the_way_back(damage: str, victim: Layout) -> None:
    victim.database.write_bytes(DAMAGE[damage](victim.database.read_bytes()))
    put(victim, head_shard([999]))
    for action in (
        lambda: Archive(victim.database).query("SELECT sum(value) FROM fact_head"),
        lambda: commit_inbox(victim, patience=1),
    ):
        with pytest.raises(ArchiveDamaged) as error:
            action()
        said = str(error.value)
        assert f"{victim.database} cannot be read: " in said
        assert f"`pathscope verify --archive {victim.database}`" in said
        assert "`pathscope commit --replay`" in said
        assert "sqlalche" not in said
    assert len(pending_shards(victim)) == 1


def test_a_flipped_data_byte_is_an_error_and_never_another_number(victim: Layout) -> None:
    """Flip a bit in every block: each either goes unused, or is named as damage; no answer ever changes."""
    content = victim.database.read_bytes()
    questions = [
        "SELECT sum(hash(f)) FROM fact_head f",
        "SELECT sum(hash(c)) FROM cell c",
        "SELECT sum(hash(r)) FROM run r",
    ]

    def answers() -> list[int]:
        archive = Archive(victim.database)
        with archive.session():
            return [archive.value(question) for question in questions]

    truth = answers()
    damaged = 0
    for at in range(12288 + 500, len(content), 262144):
        victim.database.write_bytes(flip(content, at))
        try:
            assert answers() == truth
        except ArchiveDamaged as error:
            assert str(victim.database) in str(error)  # noqa: PT017  # either outcome is right
            damaged += 1
    assert damaged > 0


@pytest.mark.parametrize("other", ["an older copy", "a new archive"])
def test_a_wal_of_another_state_of_the_file_is_not_applied(other: str, victim: Layout) -> None:
    """Applied, it would change rows by their place in a file where other rows are at that place."""
    older = victim.database.with_name("older.duckdb")
    shutil.copy(victim.database, older)
    commit(victim, head_shard([500]))
    with another_process(LEAVE_WAL, str(victim.database)):
        pass
    wal = victim.database.with_suffix(".duckdb.wal")
    assert wal.exists()
    victim.database.unlink()
    if other == "an older copy":
        older.rename(victim.database)
    else:
        ensure_archive(victim.database)
    with pytest.raises(ArchiveDamaged) as error:
        Archive(victim.database).query("SELECT 1")
    assert f"{wal.name} beside {victim.database} does not belong to this state of the file" in str(
        error.value
    )
    assert "move the .wal file away and run `pathscope commit --replay --archive" in str(error.value)
    wal.unlink()
    commit_inbox(victim, replay=True)
    assert Archive(victim.database).value("SELECT count(*) FROM fact_head") == 601 * ROWS


@pytest.mark.parametrize("name", ["a b#c 100%25 üø🦆.duckdb", "x"])
def test_any_file_name_will_do(name: str, tmp_path: Path) -> None:
    layout = ensure_archive(tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {name, layout.folder.name}
    commit(layout, head_shard([0]))
    assert Archive(tmp_path / name).value("SELECT count(*) FROM fact_head") == ROWS


@pytest.mark.parametrize(
    ("revision", "kind", "said"),
    [
        (
            "0000",
            ArchiveTooOld,
            f"has schema 0000, this version needs {SCHEMA_REVISION}: `pathscope upgrade --archive",
        ),
        (
            "9999",
            ArchiveTooNew,
            f"has schema 9999, this version knows up to {SCHEMA_REVISION}: upgrade pathscope",
        ),
    ],
)
def test_an_archive_of_another_schema(
    revision: str, kind: type[PathscopeError], said: str, layout: Layout, empty_archive: Path
) -> None:
    put(layout, head_shard([0]))
    with connect(layout.database, read_only=False, patience=1) as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
        connection.commit()
    for action in (lambda: Archive(layout.database).query("SELECT 1"), lambda: commit_inbox(layout)):
        with pytest.raises(kind, match=said) as error:
            action()
        assert str(layout.database) in str(error.value)
    assert len(pending_shards(layout)) == 1
    shutil.copy(empty_archive, layout.database)
