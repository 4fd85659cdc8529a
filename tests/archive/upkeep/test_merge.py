import json
from pathlib import Path

import duckdb
import pytest

from archive.errors import ArchiveNotFound, ArchiveTooOld, NoSpace, UsageError
from archive.layout import Layout
from archive.records import Checkpoint, Encoding, Family, Run, Study
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep import merge as module
from archive.upkeep import unload_cells
from archive.upkeep.conflicts import Conflict
from archive.upkeep.marks import exclude, include, tag
from archive.upkeep.merge import Merged, merge
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make, build, twin
from tests.archive.upkeep.crash import killed_at

Disagreeing = tuple[Layout, Layout, Merged]


def told(conflicts: list[Conflict]) -> set[str]:
    return {c.what for c in conflicts}


def rows_of(layout: Layout, sql: str) -> list[tuple[object, ...]]:
    with Archive(layout.database).session() as connection:
        return connection.execute(sql).fetchall()


def test_two_overlapping_archives_equal_one_into_which_both_were_committed(make: Make) -> None:
    ours = (
        sample.everything(),
        sample.content(),
        sample.imported(),
        sample.failed(step=20),
        sample.log_segment(-1, 4),
    )
    shared = sample.little("toy/shared", value=3.0)
    theirs = (
        sample.everything("toy/b", value=2.0, code="2"),
        sample.everything("toy/a", steps=(0, 10, 20), value=1.0),  # two of its checkpoints are known
        sample.content(),
        sample.told_by_others(),
        sample.imported("b.csv", "bb", run="pub/b"),
        sample.failed("toy/b", step=10, state=CellState.FAILED_PERMANENT),
        sample.log_segment(-1, 9, final=True),
    )
    mine = make("mine", *ours, shared)
    other = make("other", shared, *theirs)
    both = make("both", *ours, shared, *theirs)
    merged = merge(mine, other.database)

    assert merged.refused == []
    assert merged.n_cells > 0
    assert sample.shown(mine) == sample.shown(both)
    assert verify(mine).ok
    assert sample.shown(other) == sample.shown(make("other"))  # which was only read


def test_merging_into_an_empty_archive_gives_the_other_one(full: Layout, make: Make) -> None:
    mine = make("mine")
    merged = merge(mine, full.database)

    assert merged.conflicts == []
    assert sample.shown(mine) == sample.shown(full)
    assert verify(mine).ok
    assert merge(mine, full.database).nothing_new  # whatever the table


@pytest.fixture
def various(make: Make) -> Layout:
    """Something of every kind that travels, in few tables."""
    return make(
        "various",
        sample.little(),
        sample.content(),
        sample.little("toy/b", value=2.0),
        sample.imported(),
        sample.told_by_others(),
        sample.failed(),
        sample.log_segment(-1, 4),
        sample.log_segment(4, 9),
    )


def test_merging_twice_adds_nothing(various: Layout, make: Make) -> None:
    exclude(various, "toy/b", "r")
    mine = make("mine", sample.little())
    merge(mine, various.database)
    before, sizes = sample.shown(mine), sample.table_sizes(mine)
    again = merge(mine, various.database)

    assert again.nothing_new
    assert again.wanted == dict.fromkeys(again.wanted, 0)
    assert (sample.shown(mine), sample.table_sizes(mine)) == (before, sizes)
    assert merge(various, mine.database).nothing_new  # and nothing is left to bring back


def test_a_dry_run_says_what_would_come_and_changes_nothing(various: Layout, make: Make) -> None:
    mine = make("mine", sample.little())
    before = sample.table_sizes(mine)
    plan = merge(mine, various.database, dry_run=True)

    assert sample.table_sizes(mine) == before
    assert list(mine.inbox.iterdir()) == []
    assert plan.wanted["run"] == 3
    assert plan.wanted["cell"] == rows_of(various, "SELECT count(*) FROM cell")[0][0] - before["cell"]
    assert merge(mine, various.database).wanted == plan.wanted


@pytest.mark.slow
def test_small_pieces_and_one_large_one_are_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unload_cells, "PIECE_BYTES", 100)
    mine, other = make("mine"), make("other", sample.everything())
    merge(mine, other.database)

    assert rows_of(mine, "SELECT count(*) FROM shard")[0][0] > 30
    assert sample.shown(mine) == sample.shown(other)


def test_what_waits_here_counts_as_known(make: Make) -> None:
    unit = sample.little()
    other = make("other", unit)
    mine = make("mine")
    unit.write(mine.inbox)

    assert merge(mine, other.database).nothing_new
    assert rows_of(mine, "SELECT count(*) FROM shard") == [(1,)]


def test_provenance_comes_along(make: Make) -> None:
    other = make(
        "other",
        sample.little(),
        sample.little("toy/b"),
        sample.little("toy/c", code="2"),
        sample.little("toy/d", study="s2"),
    )
    mine = make("mine")
    merge(mine, other.database)
    sql = """SELECT DISTINCT l.run, s.study, s.provenance_json FROM v_cell l JOIN v_shard s ON s.shard = l.shard ORDER BY ALL"""
    rows = [(run, study, json.loads(text)) for run, study, text in rows_of(mine, sql)]

    assert [(run, study, p["code_version"], p["device"]) for run, study, p in rows] == [
        ("toy/a", "toy", "1", "cpu"),
        ("toy/b", "toy", "1", "cpu"),
        ("toy/c", "toy", "2", "cpu"),
        ("toy/d", "s2", "1", "cpu"),
    ]
    uuid = rows_of(other, "SELECT value FROM archive_info WHERE key = 'uuid'")[0][0]
    units = [n for (n,) in rows_of(other, "SELECT name FROM shard ORDER BY id")]
    assert {p["facts"]["merged_from"] for _, _, p in rows} == {uuid}
    assert sorted({u for _, _, p in rows for u in p["facts"]["units"]}) == units
    seconds = {json.dumps(p["facts"]["units"]): p["seconds"] for _, _, p in rows}
    assert sum(seconds.values()) == pytest.approx(2.0 * len(units))  # each unit took two


# --- where the two say different things ---------------------------------------------------------------------


def test_cells_that_both_finished_keep_our_values_and_are_counted(make: Make) -> None:
    mine = make("mine", sample.little(value=1.0))
    other = make("other", sample.little(value=9.0, steps=(0, 10, 20)))
    merged = merge(mine, other.database)

    values = rows_of(mine, "SELECT step, min(value) FROM v_scalar GROUP BY step ORDER BY step")
    assert values == [(0, 1.0), (10, 2.0), (20, 11.0)]
    kept = [c for c in merged.conflicts if c.what == "values"]
    assert {c.count for c in kept} == {1, 2}  # the log, and two checkpoints of scalars and of heads
    assert any("toy.fact_head of toy/a (2)" in c.name for c in kept)


def test_equal_values_of_two_units_are_no_conflict(make: Make) -> None:
    mine, other = make("mine", sample.little()), make("other", sample.little())

    merged = merge(mine, other.database)
    assert (merged.conflicts, merged.nothing_new) == ([], True)


def test_other_weights_under_the_same_name_stay_out_with_what_was_measured_on_them(make: Make) -> None:
    mine = make("mine", sample.little(weights="w"))
    other = make("other", sample.little(weights="v", steps=(0, 10)), sample.little("toy/b"))
    before = rows_of(mine, "SELECT count(*) FROM v_cell WHERE run = 'toy/a'")
    with duckdb.connect(str(mine.database)) as c:
        c.execute("UPDATE checkpoint SET weights_hash = 'v0' WHERE step = 0")  # one of the two agrees
    merged = merge(mine, other.database)

    assert merged.refused == []
    assert [c.name for c in merged.conflicts if c.what == "checkpoint"] == ["toy/a step 10"]
    assert rows_of(mine, "SELECT count(*) FROM v_cell WHERE run = 'toy/a'") == before
    assert rows_of(mine, "SELECT count(*) FROM v_cell WHERE run = 'toy/b'") == before
    assert verify(mine).ok


def test_a_measure_with_another_definition_stays_out(make: Make) -> None:
    mine, other = make("mine", sample.little()), make("other", sample.little("toy/b"))
    with duckdb.connect(str(other.database)) as c:
        c.execute("UPDATE measure SET unit = 'bits' WHERE name = 'toy.fact_head'")
    merged = merge(mine, other.database)

    assert merged.refused == []
    assert Conflict("measure", "toy.fact_head@1: unit", "nats", "bits") in merged.conflicts
    assert rows_of(mine, "SELECT DISTINCT run FROM v_head_score") == [("toy/a",)]
    assert rows_of(mine, "SELECT count(DISTINCT run) FROM v_scalar") == [(2,)]


@pytest.fixture(scope="module")
def disagreeing(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Disagreeing:
    """Two archives that say different things of a run, a file, a name and a study, and what their merge said."""
    folder = tmp_path_factory.mktemp("disagreeing")
    mine = build(
        empty_archive,
        folder,
        "mine",
        sample.little("toy/a"),
        sample.told_by_others("toy/a"),
        sample.imported("a.csv", "aa", value=5.0),
        sample.little("toy/told", init_seed=1, n_layers=None, final_step=10),
    )
    other = build(
        empty_archive,
        folder,
        "other",
        sample.little("toy/b"),
        sample.told_by_others("toy/b"),
        sample.imported("a.csv", "zz", value=7.0, steps=(0, 10, 20)),
        sample.imported("b.csv", "bb", run="pub/b"),
        sample.little("toy/told", init_seed=2, n_layers=4, final_step=20, tags=("big",)),
    )
    with duckdb.connect(str(other.database)) as c:
        c.execute("UPDATE study SET hash = 'other', toml = 'x = 2', n_cells_wanted = 7")
    merged = merge(mine, other.database)
    assert merged.refused == []
    return mine, other, merged


def test_runs_that_differ_keep_our_row_and_note_the_difference(disagreeing: Disagreeing) -> None:
    mine, other, merged = disagreeing

    assert rows_of(
        mine, "SELECT init_seed, n_layers, final_step, tags FROM v_run WHERE run = 'toy/told'"
    ) == [(1, 4, 20, ["big", "small"])]
    assert Conflict("run", "toy/told: init_seed", "1", "2") in merged.conflicts
    assert rows_of(
        mine, "SELECT note FROM run_note JOIN run ON run.id = run_id WHERE run.name = 'toy/told'"
    ) == [("init_seed is 2 according to this source, 1 in the run's row",)]
    assert merge(mine, other.database).nothing_new


def test_a_file_with_other_bytes_neither_replaces_ours_nor_stands_beside_it(disagreeing: Disagreeing) -> None:
    mine, _, merged = disagreeing

    assert [c.name for c in merged.conflicts if c.what == "file"] == ["published: a.csv"]
    assert rows_of(mine, "SELECT step, value FROM v_scalar WHERE run = 'pub/a' ORDER BY step") == [
        (0, 5.0),
        (10, 15.0),
    ]
    assert rows_of(mine, "SELECT path, sha256 FROM v_source_file ORDER BY path") == [
        ("a.csv", "aa"),
        ("b.csv", "bb"),
    ]


def test_an_alias_that_means_another_run_here_is_left_out(disagreeing: Disagreeing) -> None:
    mine, _, merged = disagreeing

    assert Conflict("alias", "their name", "run toy/a", "run toy/b") in merged.conflicts
    assert rows_of(mine, "SELECT run_id FROM run_alias WHERE alias = 'their name'") == rows_of(
        mine, "SELECT id FROM run WHERE name = 'toy/a'"
    )
    assert rows_of(mine, "SELECT count(*) FROM v_run_note WHERE note = 'looks odd'") == [(2,)]


def test_our_wording_of_a_study_stays(disagreeing: Disagreeing) -> None:
    mine, _, merged = disagreeing

    assert "study" in told(merged.conflicts)
    assert rows_of(mine, "SELECT toml, n_cells_wanted, n_runs FROM v_study") == [("x = 1", 40, 3)]


# --- failures, marks, logs ------------------------------------------------------------------------------------


def test_attempts_are_brought_but_never_added_up(make: Make) -> None:
    other = make(
        "other", sample.failed(step=1), sample.failed(step=1), sample.failed(step=2), sample.failed(step=3)
    )
    mine = make("mine", sample.failed(step=2), sample.failed(step=3, state=CellState.FAILED_PERMANENT))
    for _ in range(2):
        merge(mine, other.database)

    states = rows_of(mine, "SELECT step, attempts, state FROM v_failure ORDER BY step")
    assert states == [
        (1, 2, "failed (transient)"),
        (2, 1, "failed (transient)"),
        (3, 1, "failed (permanent)"),
    ]
    assert rows_of(mine, "SELECT message FROM v_failure WHERE step = 1") == [("no room\nat all",)]


def test_a_finished_cell_takes_the_place_of_a_failed_one_but_not_the_other_way_round(make: Make) -> None:
    spec = sample.table("fact_scalar")

    def done() -> ShardBuilder:
        b = sample.failed()
        owner, q = (
            b.checkpoint(Checkpoint(run="toy/a", step=10)),
            sample.declare(b, spec, dtype="float16"),
        )
        b._failures.clear()
        b.add("fact_scalar", owner, q, value=4.0)
        b.cell(owner, q)
        return b

    failed, finished = make("failed", sample.failed()), make("finished", done())
    assert merge(finished, failed.database).nothing_new
    merge(failed, finished.database)

    assert rows_of(failed, "SELECT state, attempts, n_rows FROM v_cell") == [("done", 2, 1)]
    assert rows_of(failed, "SELECT count(*) FROM failure") == [(0,)]
    assert verify(failed).ok


def test_exclusions_come_with_their_author_and_moment(make: Make) -> None:
    mine, other = make("mine", sample.little()), make("other", sample.little(), sample.little("toy/b"))
    exclude(other, "toy/b", "spike")
    exclude(other, "toy/a", "first thought")
    include(other, "toy/a")
    tag(other, "toy/b", "odd")
    with duckdb.connect(str(other.database)) as c:
        c.execute("UPDATE exclusion SET who = 'ada'")
        c.execute("INSERT INTO hypothesis VALUES (4, 'h1', 's', 'loss', 0.05, '{}', 'ada', now())")
    merge(mine, other.database)
    merge(mine, other.database)

    sql = """SELECT r.name, e.reason, e.who, e.lifted, epoch_us(e.happened_at)
             FROM exclusion e JOIN run r ON r.id = run_id ORDER BY ALL"""
    assert rows_of(mine, sql) == rows_of(other, sql)
    assert rows_of(mine, "SELECT run, excluded_by, tags FROM v_run WHERE excluded") == [
        ("toy/b", "ada", ["odd", "small"])
    ]
    assert rows_of(mine, "SELECT name, who FROM v_hypothesis") == [("h1", "ada")]


# a run with the segments of its log that are here and those that are there
GROWING = {
    "new": ([], [(-1, 4), (4, 9)]),
    "theirs reaches further": ([(-1, 4)], [(-1, 9)]),
    "ours reaches further": ([(-1, 9)], [(-1, 4)]),
    "overlapping": ([(-1, 6)], [(-1, 4), (4, 9)]),
}


def test_a_log_that_still_grows_is_taken_where_it_reaches_further(make: Make) -> None:
    mine = make(
        "mine", *(sample.log_segment(*s, run=run) for run, (ours, _) in GROWING.items() for s in ours)
    )
    other = make(
        "other", *(sample.log_segment(*s, run=run) for run, (_, theirs) in GROWING.items() for s in theirs)
    )
    merge(mine, other.database)

    found = rows_of(
        mine,
        """SELECT r.name, (SELECT count(*) FROM fact_log f WHERE f.run_id = r.id), min(after_step), max(last_step)
           FROM log_segment g JOIN run r ON r.id = g.run_id GROUP BY r.id, r.name ORDER BY r.name""",
    )
    assert found == [(run, 10, -1, 9) for run in sorted(GROWING)]
    assert verify(mine).ok
    assert merge(mine, other.database).nothing_new


def test_a_finished_log_is_not_touched_by_one_that_grows_and_the_other_way_round(make: Make) -> None:
    grown, growing = (
        make("grown", sample.log_segment(-1, 9, final=True)),
        make("growing", sample.log_segment(-1, 4)),
    )
    assert merge(grown, growing.database).nothing_new
    merge(growing, grown.database)

    for layout in (grown, growing):
        assert rows_of(layout, "SELECT n_rows FROM cell") == [(10,)]
        assert verify(layout).ok


def test_what_is_only_named_comes_too(make: Make) -> None:
    """A run without results, a checkpoint nobody measured, an eval set and a study without cells."""
    b = ShardBuilder(kind="train", study=Study(name="planned", toml="y", resolved={"y": 1}, n_cells_wanted=9))
    b.family(Family(name="lonely", summary="s"))
    b.run(Run(name="r", family="lonely", intervention={"at": 3}, parent_run="p", config={"lr": 0.1}))
    b.checkpoint(
        Checkpoint(run="r", step=1, integrity="duplicate", integrity_note="of 0", location="checkpoints/x")
    )
    b.encoding(Encoding.named_only("lambada", source="published"))
    other, mine = make("other", b), make("mine")
    merge(mine, other.database)

    assert sample.shown(mine) == sample.shown(other)


# --- what can go wrong ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("step", ["unloaded", "committed"])
def test_a_kill_is_finished_by_the_same_command(make: Make, step: str) -> None:
    mine, other = make("mine"), make("other", sample.little(), sample.little("toy/b", value=2.0))
    exclude(other, "toy/b", "r")
    killed_at(
        step,
        "archive.upkeep.merge",
        "from archive.layout import Layout; from pathlib import Path; "
        f"module.merge(Layout.of({str(mine.database)!r}), Path({str(other.database)!r}))",
    )
    merge(mine, other.database)

    assert sample.shown(mine) == sample.shown(other)
    assert verify(mine).ok


def test_the_archive_itself_is_refused(full: Layout, tmp_path: Path) -> None:
    (tmp_path / "link.duckdb").symlink_to(full.database)
    for path in (full.database, tmp_path / "link.duckdb"):
        with pytest.raises(UsageError, match="the archive itself"):
            merge(full, path)


def test_a_copy_of_the_archive_adds_nothing(full: Layout, make: Make, tmp_path: Path) -> None:
    copy = twin(full, tmp_path, "copy")

    assert merge(full, copy.database).nothing_new
    assert rows_of(full, "SELECT count(*) FROM v_audit") == [(0,)]


def test_missing_and_older_archives_are_named(full: Layout, make: Make, tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match="nowhere"):
        merge(full, tmp_path / "nowhere.duckdb")
    with pytest.raises(ArchiveNotFound, match="nothing"):
        merge(Layout.of(tmp_path / "nothing.duckdb"), full.database)
    assert not (tmp_path / "nothing.d").exists()
    old = make("old")
    with duckdb.connect(str(old.database)) as c:
        c.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(ArchiveTooOld, match=str(old.database)):
        merge(full, old.database)


def test_a_full_disk_says_so(full: Layout, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make("mine")

    def fail(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "unload", fail)
    with pytest.raises(NoSpace, match="same command"):
        merge(mine, full.database)


def test_who_merged_what_is_written_down(make: Make) -> None:
    mine, other = make("mine"), make("other", sample.little())
    merge(mine, other.database)
    ((action, target, detail),) = rows_of(mine, "SELECT action, target, detail_json FROM v_audit")

    assert (action, target) == ("merge", str(other.database))
    assert json.loads(str(detail))["cells"] == rows_of(mine, "SELECT count(*) FROM cell")[0][0]
