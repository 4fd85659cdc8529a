import fcntl
import json
import shutil
import struct
from pathlib import Path

import pytest

from archive.committer import commit_inbox
from archive.errors import ArchiveBusy, ArchiveNotFound, UnknownName, UsageError
from archive.layout import Layout
from archive.records import Checkpoint, Quantity, Run
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep import drop as module
from archive.upkeep.drop import Target, drop, plan_drop
from archive.upkeep.marks import exclude
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make, Shown, build, twin
from tests.archive.upkeep.crash import killed_at

Described = tuple[Layout, Shown]
EVERY_TARGET = [("run", "toy/a"), ("study", "toy"), ("source", "published"), ("measure", "toy.fact_pair")]


def runs(layout: Layout) -> list[str]:
    return [r["run"] for r in Archive(layout.database).rows("SELECT run FROM v_run ORDER BY run")]


def weights(layout: Layout, group: str, *names: str, resume: bool = True) -> Path:
    """A training folder with headers as the trainer writes them, and no tensors."""
    folder = layout.checkpoints / "toy" / group
    folder.mkdir(parents=True)
    said = {"step-000000000.safetensors": json.dumps(names)}
    if resume:
        said["resume.safetensors"] = json.dumps([[name, {"init": 0}] for name in names])
    for file, text in said.items():
        header = json.dumps({"__metadata__": {"runs": text}}).encode()
        (folder / file).write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


@pytest.fixture(scope="module")
def excluded(full_template: Layout, tmp_path_factory: pytest.TempPathFactory) -> Described:
    """Something in every table and a mark that goes with its run, and what it shows."""
    layout = twin(full_template, tmp_path_factory.mktemp("excluded"), "excluded")
    exclude(layout, "toy/a", "r")
    return layout, sample.shown(layout)


@pytest.fixture(scope="module")
def of_three(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Described:
    """Something measured here, a published file and other people's names, and what it shows."""
    folder = tmp_path_factory.mktemp("three")
    layout = build(
        empty_archive, folder, "three", sample.little(), sample.imported(), sample.told_by_others()
    )
    return layout, sample.shown(layout)


@pytest.mark.parametrize(("target", "name"), EVERY_TARGET)
def test_the_dry_run_counts_exactly_what_goes(
    excluded: Described, full: Layout, target: Target, name: str
) -> None:
    template, view = excluded
    shutil.copy(template.database, full.database)
    before = sample.table_sizes(full)
    plan = plan_drop(full, target, name)
    assert sample.shown(full) == view
    done = drop(full, target, name)
    after = sample.table_sizes(full)

    assert plan == done
    assert sum(plan.rows.values()) > 0
    gone = {t: n - after.get(t, 0) for t, n in before.items() if n != after.get(t, 0) and t != "audit"}
    assert gone == plan.rows
    assert verify(full).ok


@pytest.mark.parametrize(
    ("target", "name"),
    [
        EVERY_TARGET[0],
        pytest.param(*EVERY_TARGET[1], marks=pytest.mark.thorough),  # goes as its run does
        *EVERY_TARGET[2:],
    ],
)
def test_what_was_dropped_can_be_put_in_again(
    of_three: Described, make: Make, tmp_path: Path, target: Target, name: str
) -> None:
    template, before = of_three
    layout = twin(template, tmp_path, "x")
    drop(layout, target, name)
    assert sample.shown(layout) != before
    make("x", sample.little(), sample.imported(), sample.told_by_others())

    assert sample.shown(layout) == before
    assert verify(layout).ok


def test_a_run_goes_with_all_that_hangs_on_it_and_nothing_else(make: Make) -> None:
    layout = make("x", sample.everything(), sample.told_by_others(), sample.failed())
    exclude(layout, "toy/a", "r")
    make("x", sample.everything("toy/b"))
    alone = make("alone", sample.everything("toy/b"))
    drop(layout, "run", "their name")

    definitions = ("v_source", "v_quantity")  # what things mean stays
    left, expected = sample.shown(layout), sample.shown(alone)
    assert {k: v for k, v in left.items() if k not in definitions} == {
        k: v for k, v in expected.items() if k not in definitions
    }


def test_pairs_with_a_dropped_run_go_from_both_ends(make: Make) -> None:
    b = ShardBuilder(kind="measure")
    points = {}
    for name in "abc":
        b.run(Run(name=name))
        points[name] = Checkpoint(run=name, step=1)
    q = sample.declare(b, sample.table("fact_pair"))
    for first, second in ("ab", "bc", "ca"):
        owner = b.pair(points[first], points[second])
        b.add("fact_pair", owner, q, layer_a=-1, layer_b=-1, unit_a=-1, unit_b=-1, value=1.0)
        b.cell(owner, q)
    layout = make("x", b)
    done = drop(layout, "run", "a")

    assert done.rows["fact_pair"] == done.rows["checkpoint_pair"] == 2
    left = Archive(layout.database).rows("SELECT run_a, run_b FROM v_pair")
    assert left == [{"run_a": "b", "run_b": "c"}]
    assert verify(layout).ok


def test_a_study_takes_its_cells_and_runs_but_not_what_others_measured(make: Make) -> None:
    layout = make(
        "x",
        sample.little("toy/a"),
        sample.little("toy/b"),
        sample.little("toy/b", steps=(0, 10, 20), study="later"),
        sample.log_segment(-1, 4),
    )
    done = drop(layout, "study", "toy")

    assert done.runs == ("toy/a",)
    assert runs(layout) == ["toy/b", "toy/log"]
    archive = Archive(layout.database)
    assert {r["step"] for r in archive.rows("SELECT DISTINCT step FROM v_head_score")} == {20}
    assert archive.rows("SELECT study, n_runs FROM v_study") == [{"study": "later", "n_runs": 1}]
    assert archive.value("SELECT count(*) FROM shard WHERE study_id <> 0") == 1
    assert verify(layout).ok


def test_a_source_takes_its_values_files_names_and_runs(make: Make) -> None:
    layout = make("x", sample.little(), sample.imported(), sample.told_by_others())
    done = drop(layout, "source", "published")

    assert done.runs == ("pub/a",)
    archive = Archive(layout.database)
    assert archive.rows("SELECT source FROM v_source ORDER BY source") == [
        {"source": "other authors"},
        {"source": "pathscope"},
    ]
    assert archive.rows("FROM v_source_file") == []
    assert archive.value("SELECT count(*) FROM v_head_score WHERE run = 'toy/a'") > 0


def test_a_source_whose_run_others_measured_leaves_the_run_and_says_so(make: Make) -> None:
    layout = make("x", sample.imported(), sample.little("pub/a", study="mine", source="published"))
    done = drop(layout, "source", "published")

    assert done.runs == ()
    assert any("published" in sentence for sentence in done.kept)
    archive = Archive(layout.database)
    assert archive.value("SELECT count(*) FROM v_head_score WHERE run = 'pub/a'") > 0
    assert archive.value("SELECT count(*) FROM v_cell WHERE source = 'published'") == 0
    assert verify(layout).ok


def test_a_name_that_a_source_gives_another_ones_run_goes_with_it(make: Make) -> None:
    layout = make("x", sample.little(), sample.told_by_others())
    drop(layout, "source", "other authors")

    assert runs(layout) == ["toy/a"]
    archive = Archive(layout.database)
    assert (
        archive.value("SELECT count(*) FROM run_alias") == archive.value("SELECT count(*) FROM run_note") == 0
    )


def test_measured_here_is_no_source_to_drop(full: Layout) -> None:
    with pytest.raises(UsageError, match="everything measured here"):
        plan_drop(full, "source", "pathscope")


def test_one_version_of_a_measure_or_all_of_them(make: Make) -> None:
    spec = sample.table("fact_scalar")
    second = sample.measure(spec).model_copy(update={"version": 2})
    b = ShardBuilder(kind="measure")
    b.run(Run(name="toy/a"))
    owner = b.checkpoint(Checkpoint(run="toy/a", step=0))
    q = b.quantity(Quantity(measure=second))
    b.add("fact_scalar", owner, q, value=1.0)
    b.cell(owner, q)
    layout = make("x", sample.little(), b)
    assert drop(layout, "measure", "toy.fact_scalar@2").rows["fact_scalar"] == 1
    archive = Archive(layout.database)
    assert archive.value("SELECT max(version) FROM v_measure WHERE measure = 'toy.fact_scalar'") == 1
    drop(layout, "measure", "toy.fact_scalar")

    assert archive.value("SELECT count(*) FROM v_measure WHERE measure = 'toy.fact_scalar'") == 0
    assert runs(layout) == ["toy/a"]


@pytest.mark.parametrize(
    ("target", "name", "nearest"),
    [
        ("run", "toy/bb", "toy/b"),
        ("study", "toyy", "toy"),
        ("source", "publisht", "published"),
        ("measure", "toy.fact_scala", "toy.fact_scalar@1"),
        ("measure", "toy.fact_scalar@7", "toy.fact_scalar@1"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest(
    full: Layout, target: Target, name: str, nearest: str
) -> None:
    for act in (plan_drop, drop):
        with pytest.raises(UnknownName, match=nearest):
            act(full, target, name)


def test_an_imported_file_of_which_nothing_is_left_can_be_imported_again(make: Make) -> None:
    layout = make("x", sample.imported("a.csv", run="pub/a"), sample.imported("b.csv", "bb", run="pub/b"))
    drop(layout, "run", "pub/a")

    assert Archive(layout.database).rows("SELECT path FROM v_source_file") == [{"path": "b.csv"}]


def test_dropped_results_do_not_come_back_with_the_committed_units(full: Layout) -> None:
    drop(full, "run", "toy/a")
    commit_inbox(full, replay=True)

    assert "toy/a" not in runs(full)


def test_who_dropped_what_is_written_down(full: Layout) -> None:
    done = drop(full, "run", "toy/a")
    (row,) = Archive(full.database).rows("SELECT action, target, detail_json FROM v_audit")

    assert (row["action"], row["target"]) == ("drop", "run toy/a")
    assert json.loads(row["detail_json"])["rows"] == done.rows


# --- weights ------------------------------------------------------------------------------------------------


def test_weights_go_with_the_last_run_of_their_folder(full: Layout) -> None:
    mine = weights(full, "a", "toy/a")
    shared = weights(full, "ab", "toy/a", "toy/b")
    other = weights(full, "b", "toy/b", resume=False)
    strange = full.checkpoints / "toy" / "strange"
    strange.mkdir()
    (strange / "x.safetensors").write_bytes(b"\xff" * 20)
    done = drop(full, "run", "toy/a")

    assert done.weights == (mine,)
    assert len(done.kept) == 1
    assert str(shared) in done.kept[0]
    assert sorted(p.name for p in (full.checkpoints / "toy").iterdir()) == ["ab", "b", "strange"]
    assert drop(full, "run", "toy/b").weights == (other,)
    assert sorted(p.name for p in full.checkpoints.iterdir()) == ["toy"]


def test_a_study_takes_folders_that_its_runs_share(full: Layout) -> None:
    weights(full, "ab", "toy/a", "toy/b")

    assert [p.name for p in drop(full, "study", "toy").weights] == ["ab"]


def test_a_run_that_is_being_trained_is_not_dropped(full: Layout) -> None:
    folder = weights(full, "a", "toy/a")
    with (folder / ".lock").open("w") as handle:
        handle.write("process 1")
        handle.flush()
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(ArchiveBusy, match="process 1"):
            drop(full, "run", "toy/a")

    assert folder.is_dir()
    assert "toy/a" in runs(full)
    drop(full, "run", "toy/a")


def test_a_drop_that_fails_puts_weights_back(
    full: Layout, full_shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = weights(full, "a", "toy/a")

    def fail(name: str) -> None:
        raise RuntimeError(name)

    monkeypatch.setattr(module, "step", fail)
    with pytest.raises(RuntimeError, match="weights put aside"):
        drop(full, "run", "toy/a")

    assert runs_there(folder)
    assert sample.shown(full) == full_shown


def runs_there(folder: Path) -> bool:
    return (folder / "resume.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["weights put aside", "committed"])
def test_a_kill_is_finished_by_the_same_command(full: Layout, step: str) -> None:
    folder, other = weights(full, "a", "toy/a"), weights(full, "b", "toy/b")
    killed_at(
        step,
        "archive.upkeep.drop",
        f"from archive.layout import Layout; module.drop(Layout.of({str(full.database)!r}), 'run', 'toy/a')",
    )
    assert ("toy/a" in runs(full)) == (step == "weights put aside")
    assert not folder.exists()
    try:
        drop(full, "run", "toy/a")
    except UnknownName:
        assert step == "committed"

    assert "toy/a" not in runs(full)
    assert sorted(p.name for p in full.checkpoints.rglob("*") if p.is_dir()) == ["b", "toy"]
    assert runs_there(other)
    assert verify(full).ok


@pytest.mark.slow
def test_after_a_kill_weights_of_a_run_that_stays_come_back(full: Layout) -> None:
    folder = weights(full, "a", "toy/a")
    killed_at(
        "weights put aside",
        "archive.upkeep.drop",
        f"from archive.layout import Layout; module.drop(Layout.of({str(full.database)!r}), 'run', 'toy/a')",
    )
    drop(full, "run", "toy/b")

    assert runs_there(folder)


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "none.duckdb")
    for act in (plan_drop, drop):
        with pytest.raises(ArchiveNotFound):
            act(layout, "run", "a")

    assert list(tmp_path.iterdir()) == []
