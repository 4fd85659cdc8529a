import getpass
import json
from pathlib import Path

import duckdb
import pytest

from archive.errors import ArchiveNotFound, UnknownName, UsageError
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep import change
from archive.upkeep.marks import exclude, include, tag


def shown(layout: Layout, run: str) -> dict[str, object]:
    (row,) = Archive(layout.database).rows(
        "SELECT tags, excluded, exclusion_reason, excluded_by FROM v_run WHERE run = $run", {"run": run}
    )
    return row


def audited(layout: Layout) -> list[tuple[str, str, dict[str, object]]]:
    rows = Archive(layout.database).rows(
        "SELECT action, target, who, detail_json FROM v_audit ORDER BY happened_at"
    )
    assert {r["who"] for r in rows} <= {getpass.getuser()}
    return [(r["action"], r["target"], json.loads(r["detail_json"])) for r in rows]


def test_a_tag_is_put_on_and_taken_off(full: Layout) -> None:
    assert tag(full, "toy/b", " good ").changed
    assert shown(full, "toy/b")["tags"] == ["good", "small"]
    assert not tag(full, "toy/b", "good").changed
    assert tag(full, "toy/b", "small", remove=True).changed
    assert not tag(full, "toy/b", "small", remove=True).changed

    assert shown(full, "toy/b")["tags"] == ["good"]
    assert shown(full, "toy/a")["tags"] == ["small"]
    assert audited(full) == [("tag", "toy/b", {"tag": "good"}), ("untag", "toy/b", {"tag": "small"})]


def test_an_exclusion_says_who_and_why_and_can_be_taken_back(full: Layout) -> None:
    assert exclude(full, "toy/a", "spike at 4k").changed
    assert not exclude(full, "toy/a", "spike at 4k").changed
    now = shown(full, "toy/a")
    assert (now["excluded"], now["exclusion_reason"], now["excluded_by"]) == (
        True,
        "spike at 4k",
        getpass.getuser(),
    )
    assert exclude(full, "toy/a", "also diverged").changed
    assert shown(full, "toy/a")["exclusion_reason"] == "also diverged"
    assert include(full, "toy/a").changed
    assert not include(full, "toy/a").changed
    assert shown(full, "toy/a")["excluded"] is False
    assert exclude(full, "toy/a", "spike at 4k").changed  # a lifted exclusion can be made again

    assert Archive(full.database).value("SELECT count(*) FROM exclusion WHERE lifted") == 2
    assert [a for a, _, _ in audited(full)] == ["exclude", "exclude", "include", "exclude"]
    assert audited(full)[2][2] == {"reasons": ["spike at 4k", "also diverged"]}


def test_a_run_may_be_called_by_the_name_a_source_uses(full: Layout) -> None:
    assert exclude(full, "their name", "r").run == "toy/a"


def test_a_name_of_two_runs_is_refused(full: Layout) -> None:
    with change.changing(full, "test") as connection:
        connection.execute("INSERT INTO run_alias SELECT 'their name', 0, id FROM run WHERE name = 'toy/b'")

    with pytest.raises(UsageError, match="'toy/a', 'toy/b'"):
        tag(full, "their name", "x")


def test_an_unknown_run_comes_with_the_nearest(full: Layout) -> None:
    with pytest.raises(UnknownName, match="'toy/a'"):
        tag(full, "toy/aa", "x")
    with pytest.raises(UnknownName, match="SELECT run FROM v_run"):
        exclude(full, "zzz", "r")

    assert audited(full) == []


def test_empty_words_are_refused(full: Layout) -> None:
    with pytest.raises(UsageError, match="tag"):
        tag(full, "toy/a", "  ")
    with pytest.raises(UsageError, match="reason"):
        exclude(full, "toy/a", "")


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(change.getpass, "getuser", nobody)

    assert change.who().startswith("uid ")


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "none.duckdb")
    for act in (
        lambda: tag(layout, "a", "b"),
        lambda: exclude(layout, "a", "b"),
        lambda: include(layout, "a"),
    ):
        with pytest.raises(ArchiveNotFound):
            act()

    assert list(tmp_path.iterdir()) == []


def test_a_change_that_fails_leaves_nothing(full: Layout) -> None:
    with pytest.raises(duckdb.Error), change.changing(full, "test") as connection:
        connection.execute("DELETE FROM run_tag; SELECT no_such_column")

    assert shown(full, "toy/a")["tags"] == ["small"]
    tag(full, "toy/a", "free")  # the lock is free again


def test_where_one_may_not_write_it_says_so(full: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(full.writer_lock))

    monkeypatch.setattr(change, "writer_lock", refuse)

    with pytest.raises(UsageError, match=f"cannot tag: {full.writer_lock} cannot be written"):
        tag(full, "toy/a", "x")
