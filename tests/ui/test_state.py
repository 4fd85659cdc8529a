import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from archive import store
from archive.committer import commit_inbox
from archive.console import Limits
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.ui.archives import Plan, add_run, new_archive, write_archive
from ui import state
from ui.state import ask, open_target, target

Page = Callable[..., AppTest]
Own = Callable[[str], Path]

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process has the archive open for writing, as the committer does for milliseconds."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.communicate("")


@pytest.mark.parametrize(
    ("argv", "environ", "path", "snapshot"),
    [
        (
            ["/x/ui/app.py", "/a.duckdb", "--sql-seconds=3"],
            {"PATHSCOPE_ARCHIVE": "/b.duckdb"},
            "/a.duckdb",
            False,
        ),
        (["/x/ui/app.py", "/a.duckdb", "--snapshot"], {}, "/a.duckdb", True),
        (["/x/ui/app.py"], {"PATHSCOPE_ARCHIVE": "/b.duckdb"}, "/b.duckdb", False),
        # under pytest the words belong to pytest
        (["/bin/pytest", "tests/ui"], {"PATHSCOPE_ARCHIVE": "/b.duckdb"}, "/b.duckdb", False),
    ],
)
def test_which_archive(argv: list[str], environ: dict[str, str], path: str, snapshot: bool) -> None:
    found = target(argv, environ)
    assert (found.path, found.snapshot) == (Path(path), snapshot)


def test_the_limits_of_sql_come_with_the_archive() -> None:
    words = ["app.py", "/a.duckdb", "--sql-seconds=1.5", "--sql-memory-mb=128"]
    assert target(words, {}).limits == Limits(seconds=1.5, memory_mb=128, rows=100_000)
    assert target([], {}).limits == Limits(rows=100_000)


def test_without_a_word_it_is_the_one_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert target([], {}).path == tmp_path / "pathscope.duckdb"


calls: list[str] = []


def n_runs(archive: Archive, *, of: str = "") -> int:
    calls.append(of)
    return int(archive.value("SELECT count(*) FROM v_run WHERE run LIKE $of || '%'", {"of": of}))


def test_an_answer_is_kept_until_the_archive_changes(tmp_path: Path) -> None:
    calls.clear()
    path = write_archive(tmp_path / "x.duckdb", [Plan("a", 0, steps=(0, 1))], log=False)
    archive = Archive(path)
    assert [ask(archive, n_runs), ask(archive, n_runs), ask(Archive(path), n_runs)] == [1, 1, 1]
    assert calls == [""]
    assert ask(archive, n_runs, of="b") == 0
    write_archive(path, [Plan("b", 1, steps=(0, 1))], log=False)
    assert [ask(archive, n_runs), ask(archive, n_runs, of="b")] == [2, 1]
    assert calls == ["", "b", "", "b"]


def test_two_archives_do_not_share_answers(tmp_path: Path) -> None:
    one = write_archive(tmp_path / "one.duckdb", [Plan("a", 0, steps=(0,))], log=False)
    two = new_archive(tmp_path / "two.duckdb").database
    assert [ask(Archive(p), n_runs) for p in (one, two)] == [1, 0]


def test_a_statement_is_sent_once_until_the_archive_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "x.duckdb", [Plan("a", 0, steps=(0, 1))], log=False)
    monkeypatch.setenv("PATHSCOPE_ARCHIVE", str(path))
    sent: list[str] = []
    send = Archive.query

    def listen(self: Archive, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        sent.append(sql)
        return send(self, sql, parameters)

    monkeypatch.setattr(Archive, "query", listen)
    assert [n_runs(open_target()), n_runs(open_target()), n_runs(open_target(), of="b")] == [1, 1, 0]
    assert len(sent) == 2
    write_archive(path, [Plan("b", 1, steps=(0, 1))], log=False)
    assert [n_runs(open_target()), n_runs(open_target(), of="b")] == [2, 1]
    monkeypatch.setattr(state, "SHORT", 0)
    state._results.clear()
    assert [n_runs(open_target()), n_runs(open_target())] == [2, 2]
    assert (len(sent), state._results) == (6, {})


def test_a_page_holds_nothing_open(own: Own, page: Page) -> None:
    path = own("demo")
    page(path)
    with held(path):  # the other process gets the file for writing while the page is still up
        pass


@pytest.mark.parametrize("name", ["home", "curves"])
def test_a_busy_archive_is_said_with_who_holds_it(
    own: Own, page: Page, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(state, "PATIENCE", 0.1)
    path = own("demo")
    app = page(path, name)
    write_archive(path, [Plan("new", 9, steps=(0, 1))], log=False)  # what was remembered no longer holds
    with held(path):
        app.run()
        assert not app.exception
        assert "being written" in app.info[0].value
        assert "process" in app.info[0].value
    app.run()
    assert not app.info
    assert not app.exception


def test_while_busy_the_published_copy_is_shown(
    own: Own, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "PATIENCE", 0.1)
    path = own("demo")
    snapshot = Archive(path).layout.current_snapshot
    snapshot.write_bytes(path.read_bytes())
    with held(path):
        app = page(path)
        assert not app.exception
        assert any("the copy published just now" in c.value for c in app.caption)
        assert app.metric[0].value == "5"


def test_a_missing_archive_is_said_with_what_makes_one(tmp_path: Path, page: Page) -> None:
    app = page(tmp_path / "none.duckdb")
    assert not app.exception
    assert "pathscope demo" in app.error[0].value.replace("\\", "")


def test_a_foreign_file_is_said(tmp_path: Path, page: Page) -> None:
    path = tmp_path / "foreign.duckdb"
    path.write_text("not a database, but long enough to have a header" * 20)
    app = page(path)
    assert not app.exception
    assert "cannot be read" in app.error[0].value


COMMIT = """
import sys
from pathlib import Path
from archive.committer import commit_inbox
from archive import store
from archive.console import Limits
from archive.layout import Layout
layout = Layout.of(sys.argv[1])
for folder in sorted(Path(sys.argv[2]).iterdir()):
    folder.rename(layout.inbox / folder.name)
    report = commit_inbox(layout)
    assert not report.refused and report.n_shards == 1, report
"""


def test_an_ingest_never_fails_because_of_readers_and_its_results_show_up(tmp_path: Path, page: Page) -> None:
    n = 4
    path = new_archive(tmp_path / "x.duckdb").database
    waiting = tmp_path / "waiting"
    for k in range(n):
        shard = ShardBuilder(kind="train")
        add_run(shard, Plan(f"run-{k}", k, steps=(0, 1, 10)), log=False)
        shard.write(waiting)
    app = page(path)
    with subprocess.Popen(
        [sys.executable, "-c", COMMIT, str(path), str(waiting)],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        seen = set()
        while process.poll() is None:
            app.run()
            assert not app.exception
            seen.add(app.metric[0].value if app.metric else "0")
        assert process.returncode == 0, process.stderr and process.stderr.read()
    app.run()
    assert app.metric[0].value == str(n)
    assert len(seen) > 1, "the page was never drawn between two commits"


def test_new_results_are_offered_not_forced(own: Own, page: Page) -> None:
    path = own("demo")
    app = page(path)
    assert not app.button
    layout = Archive(path).layout
    shard = ShardBuilder(kind="train")
    add_run(shard, Plan("late", 7, steps=(0, 1)), log=False)
    shard.write(layout.inbox)
    commit_inbox(layout)
    assert app.metric[0].value == "5"
    app.run()  # any click shows them; the clock's own run of the fragment offers a button (test_browser.py)
    assert app.metric[0].value == "6"


def test_a_page_opens_the_archive_once_and_lets_a_writer_in_between_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "x.duckdb", [Plan("a", 0, steps=(0, 1))], log=False)
    archive = Archive(path)
    opened: list[int] = []
    connect = store.connect

    def counted(*args: object, **kwargs: object) -> object:
        opened.append(len(opened))
        return connect(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "connect", counted)
    with state._drawn.page():
        assert not opened
        assert [ask(archive, n_runs, of=name) for name in ("a", "b", "a")] == [1, 0, 1]
        assert len(opened) == 1
        monkeypatch.setattr(state, "writer_waits", lambda layout: True)
        ask(archive, n_runs, of="c")
        assert len(opened) == 2
        monkeypatch.setattr(state, "writer_waits", lambda layout: False)
    write_archive(path, [Plan("b", 0, steps=(0, 1))], log=False)  # nothing holds the file any more
    with state._drawn.page():
        assert ask(archive, n_runs, of="b") == 1
    n_before = len(opened)
    assert [ask(archive, n_runs, of=name) for name in ("d", "e")] == [0, 0]
    assert len(opened) == n_before + 2  # outside of a page each question opens and closes
