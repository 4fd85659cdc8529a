from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from archive.holders import Holder
from archive.store import Archive, connect, driver
from archive.upkeep.status import read_status
from archive.upkeep.waiting import Queue, Refused
from tests.ui.archives import HOSTILE
from tests.ui.ingestion.archive import (
    N_ABSENT,
    N_DAMAGED,
    N_DONE,
    N_NOT_APPLICABLE,
    N_OUT_OF_MEMORY,
    WANTED,
)
from ui.models.ingestion.failures import FIRST_LINES, failures, of_study
from ui.models.ingestion.figure import (
    MOST_BARS,
    MOST_LINES,
    bars,
    bars_figure,
    bars_in_words,
    drawn_lines,
    over_time,
    over_time_figure,
    over_time_in_words,
    thinned,
)
from ui.models.ingestion.page import OTHERS, StudyState, commands, notes, progress, studies_table
from ui.models.ingestion.reading import read
from ui.models.ingestion.words import holder_words, queue_words, read_words, refused_words, under_way

Made = Callable[[str], Path]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("ingestion"))


def state(**given: object) -> StudyState:
    counts = dict.fromkeys(
        ("n_done", "n_failed", "n_absent", "n_not_wanted", "n_by_others", "n_units", "n_commits"), 0
    )
    known = {"study": "s", "n_wanted": 10, "n_runs": 2, "n_ended": 1, "last_commit": None, **counts}
    return StudyState(**{**known, **given})  # type: ignore[arg-type]


def test_the_ledger_is_counted_by_study(archive: Archive) -> None:
    found = progress(archive)
    assert [s.study for s in found.studies] == ["done", "half way"], "the newest commit first"
    half, done = found.study("half way"), found.study("done")
    assert half is not None
    assert done is not None
    assert (half.n_done, half.n_failed, half.n_absent, half.n_not_wanted) == (
        N_DONE - 2,
        N_OUT_OF_MEMORY + N_DAMAGED,
        N_ABSENT,
        N_NOT_APPLICABLE,
    )
    assert half.n_missing == WANTED - 16
    assert half.share == pytest.approx(13 / 40)
    assert (half.n_runs, half.n_ended) == (3, 1), "the other two runs stop before their last step"
    assert not half.is_complete
    assert (done.n_done, done.n_missing, done.share, done.is_complete) == (12, 0, 1.0, True)
    assert found.last_commit == done.last_commit


def test_the_counts_are_those_of_the_command(archive: Archive) -> None:
    contents = read_status(archive.layout).contents
    assert contents is not None
    told = {
        s.study: (s.n_runs, s.n_cells_wanted, s.n_done, s.n_failed, s.n_by_others) for s in contents.studies
    }
    found = {
        s.study: (s.n_runs, s.n_wanted, s.n_settled, s.n_failed, s.n_by_others)
        for s in progress(archive).studies
    }
    assert found == told


def test_what_came_without_a_study_has_no_end(made: Made) -> None:
    [only] = progress(Archive(made("demo"))).studies
    assert (only.label, only.n_wanted, only.n_missing, only.share) == (OTHERS, None, None, None)
    assert only.n_done > 0
    assert bars([only]) == []
    assert commands(only, "/a.duckdb", transient=False, permanent=False) == [
        ("More published results:", "pathscope import auto PATH --archive /a.duckdb")
    ]


def test_an_empty_archive_has_no_study(made: Made) -> None:
    found = read(Archive(made("empty")))
    assert found.progress.studies == ()
    assert found.progress.last_commit is None
    assert found.failures == []
    assert drawn_lines(found.over_time, ()) == []


def test_more_cells_than_wanted_are_said_and_do_not_overflow() -> None:
    more = state(n_done=14)
    assert (more.n_missing, more.share) == (0, 1.0)
    assert "4 cells more than its file names" in notes([more])[0]
    assert "lacks at most" in notes([state(n_done=3, n_by_others=5)])[0]
    assert notes([state(n_done=10, n_by_others=5)]) == []


def test_commands_go_on_and_try_again() -> None:
    half = state(study="my study", n_done=3, n_failed=1)
    words = [c for _, c in commands(half, "/a b.duckdb", transient=False, permanent=True)]
    assert words == [
        "pathscope ingest 'my study.toml' --archive '/a b.duckdb'",
        "pathscope ingest 'my study.toml' --retry-failed --archive '/a b.duckdb'",
    ]
    assert commands(state(n_done=10), "/a.duckdb", transient=False, permanent=False) == []
    [(_, again)] = commands(state(n_done=9, n_failed=1), "/a.duckdb", transient=True, permanent=False)
    assert again == "pathscope ingest s.toml --archive /a.duckdb"


def test_failures_are_grouped_by_kind_of_error(archive: Archive) -> None:
    found = failures(archive)
    assert [(g.outcome, g.title, g.n_cells) for g in found] == [
        ("failed", "OutOfMemoryError", N_OUT_OF_MEMORY),
        ("failed", "CheckpointDamaged", N_DAMAGED),
        ("absent upstream", "CheckpointNotAvailable", N_ABSENT),
        ("not applicable", "NotApplicable", N_NOT_APPLICABLE),
    ]
    memory, damaged = found[:2]
    assert (memory.n_runs, memory.run, memory.measures, memory.n_messages) == (1, "h1", ("loss",), 2)
    assert (memory.transient, memory.permanent) == (True, False)
    assert memory.retries == ("pathscope ingest 'half way.toml'",)
    assert damaged.retries == ("pathscope ingest 'half way.toml' --retry-failed",)
    assert damaged.message == HOSTILE
    lines = memory.first_lines.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "RuntimeError: out of memory"
    assert len(lines) == FIRST_LINES + 2
    assert damaged.first_lines == ""
    assert of_study(found, "half way") == found[:2]
    assert of_study(found, "done") == []


def test_bars_have_every_cell_once(archive: Archive) -> None:
    shown = bars(progress(archive).studies)
    assert [s.study for s in shown] == ["half way", "done"], "what is not done comes first"
    figure = bars_figure(shown)
    assert sum(trace.x[0] for trace in figure.data) == pytest.approx(100)
    assert {trace.name: trace.x[0] for trace in figure.data} == pytest.approx(
        {"there": 27.5, "absent or not applicable": 5.0, "failed": 7.5, "missing": 60.0}
    )
    assert [a.text for a in figure.layout.annotations] == ["13 of 40 · 32%", "12 of 12 · 100%"]
    assert "3 failed, 24 missing" in bars_in_words(shown)


def test_nearly_done_is_not_a_hundred_percent() -> None:
    assert "99%" in bars_in_words([state(n_wanted=1000, n_done=999)])


def test_many_studies_are_cut_where_it_is_said() -> None:
    many = [state(study=f"s{k}", n_done=k % 11) for k in range(30)]
    shown = bars(many)
    assert len(shown) == MOST_BARS
    assert not any(s.is_complete for s in shown)


def test_sums_over_time_are_exact_however_thin(archive: Archive) -> None:
    studies = progress(archive).studies
    table = over_time(archive)
    names = drawn_lines(table, studies)
    assert names == ["done", "half way"]
    figure = over_time_figure(table, names)
    assert [max(trace.y) for trace in figure.data] == [12, 16]
    assert "half way: 16 cells after 1 commit" in over_time_in_words(table, names)
    assert thinned(table, names, 2) == []
    on_log = over_time_figure(table, names, y_scale="log")
    assert (figure.layout.yaxis.type, on_log.layout.yaxis.type) == (None, "log")
    assert [list(t.y) for t in on_log.data] == [list(t.y) for t in figure.data]


def test_thinning_over_time_is_said_and_keeps_the_end() -> None:
    table = pa.table(
        {
            "study": ["a"] * 3,
            "ms": [0, 1, 2],
            "n_so_far": [1, 5, 9],
            "n_units_so_far": [1, 5, 9],
            "n_commits": [9] * 3,
        }
    )
    assert thinned(table, ["a"], MOST_LINES + 1) == [
        "a: 3 of 9 commits are drawn; the sums count all.",
        "1 of 9 studies are drawn, those with the newest commits.",
    ]


def test_the_table_has_a_reason_where_it_has_no_time(archive: Archive) -> None:
    studies = progress(archive).studies
    table = studies_table(studies, {s.label: s.pace(now=0.0, running=False) for s in studies})
    assert table["eta"].to_pylist() == ["—", "—"]
    assert "nothing is left to do" in table["basis"][0].as_py()
    assert "nobody is at it now" in table["basis"][1].as_py()


def test_who_is_at_it_in_words() -> None:
    alive, dead = Holder("process 1 since 9:00", True), Holder("process 2 since 8:00", False)
    lines = list(holder_words({"a": alive, "b": dead}, alive))
    assert lines[0] == "a is being ingested by process 1 since 9:00."
    assert "was killed, or it runs on another machine" in lines[1]
    assert lines[2] == "The archive is being written by process 1 since 9:00."
    assert list(holder_words({}, None)) == []


def test_an_ingest_that_is_under_way_is_told_before_anything_has_come_in() -> None:
    alive, dead = (Holder("process 1 since 9:00", is_alive) for is_alive in (True, False))
    none, some = Queue(0, 0, None, ()), Queue(2, 1500, 90.0, ())
    assert under_way({"a": alive}, None, some) == [
        "a is being ingested by process 1 since 9:00.",
        "2 units of results (1.5 kB) wait in the inbox, the oldest for 1 min.",
    ]
    assert under_way({}, alive, none) == ["The archive is being written by process 1 since 9:00."]
    # what was killed, or waits without anybody who enters it, does not come by itself
    assert under_way({"a": dead}, None, some) == []
    assert under_way({}, None, none) == []


def test_the_queue_in_words() -> None:
    refused = tuple(Refused(f"u{k}", "" if k else "bad sum") for k in range(25))
    assert list(queue_words(Queue(2, 1500, 90.0, refused))) == [
        "2 units of results (1.5 kB) wait in the inbox, the oldest for 1 min."
    ]
    assert list(queue_words(Queue(0, 0, None, ()))) == []
    told = refused_words(Queue(0, 0, None, refused))
    assert told[0] == ("u24", "no reason was kept")
    assert told[-1] == ("…", "5 more in the folder failed")
    assert refused_words(Queue(0, 0, None, refused[:1])) == [("u0", "bad sum")]


def test_when_it_was_read_is_said() -> None:
    assert read_words(0.2, "", 5.0) == "Read from the archive just now. It looks again every 5 s."
    assert read_words(55.0, "", 5.0).startswith(
        "Read from the archive 55 s ago (unchanged since). It looks again"
    )
    assert read_words(70.0, "it is being written now", None) == (
        "Read from the archive 1 min ago (it is being written now). It does not look again by itself."
    )


def test_thousands_of_commits_are_thinned_in_the_database(own: Made) -> None:
    path = own("ingestion")
    with connect(path, read_only=False, patience=5) as connection:
        driver(connection).execute(
            """INSERT INTO shard SELECT 1000 + i, 'x' || i, 'train', '', 1, 2, 2, 10, now(), now() + to_seconds(i + 1), '{}'
               FROM range(5000) t(i)"""
        )
        connection.commit()
    archive = Archive(path)
    table = over_time(archive)
    assert table.num_rows < 700
    n_cells = archive.value("SELECT sum(n_cells) FROM shard WHERE study_id = 1")
    name = archive.value("SELECT name FROM study WHERE id = 1")
    ends = {s: n for s, n in zip(table["study"].to_pylist(), table["n_so_far"].to_pylist(), strict=True)}
    assert ends[name] == n_cells
