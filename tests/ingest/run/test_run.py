"""Carrying out studies: resuming, back-filling, stopping, with the archive as witness."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archive.create import ensure_archive
from archive.errors import NoSpace, UnknownName, UsageError
from archive.layout import Layout
from archive.store import Archive
from ingest.planning.estimate import BudgetExceeded
from ingest.run import worker
from ingest.run.lock import StudyLocked, study_lock
from tests.ingest.run.running import (
    N_LOGS,
    SHORT,
    STEPS,
    TOML,
    Content,
    FirstCall,
    Quiet,
    content,
    go,
    stopping_after,
)


def test_a_study_is_trained_measured_and_committed(first_call: FirstCall) -> None:
    path, report, watcher = first_call.path, first_call.report, first_call.watcher
    wanted = 2 * (N_LOGS + 2 * len(STEPS))
    assert (report.state, report.exit_code) == ("done", 0)
    assert (report.n_wanted, report.n_present, report.n_filled, report.n_left) == (wanted, wanted, wanted, 0)
    assert watcher.plans[0][0].n_todo == wanted
    archive = Archive(path)
    assert archive.rows("SELECT run, init_seed, split_seed, data_order_seed FROM v_run ORDER BY run") == [
        {"run": f"tiny/init{k}-data0-split{k}", "init_seed": k, "split_seed": k, "data_order_seed": 0}
        for k in (0, 1)
    ]
    assert archive.value("SELECT count(DISTINCT condition) FROM v_run") == 1
    assert archive.value("SELECT count(DISTINCT init_hash) FROM v_run") == 2
    for run in ("tiny/init0-data0-split0", "tiny/init1-data0-split1"):
        steps = archive.rows("SELECT DISTINCT step FROM v_scalar WHERE run = $run ORDER BY 1", {"run": run})
        assert [s["step"] for s in steps] == STEPS
        logged = archive.rows(
            "SELECT step FROM v_log WHERE run = $run AND measure = 'log.loss' ORDER BY 1", {"run": run}
        )
        assert [s["step"] for s in logged] == list(range(12))
    assert archive.rows("SELECT study, n_runs, n_cells_wanted FROM v_study") == [
        {"study": "tiny", "n_runs": 2, "n_cells_wanted": wanted}
    ]
    resolved = json.loads(archive.value("SELECT resolved_json FROM v_study"))
    assert resolved["train"]["optimizer"]["name"] == "adamw"  # a default, filled in
    assert archive.value("SELECT toml FROM v_study") == TOML
    assert archive.value("SELECT count(*) FROM v_eval_token") == 25 * 3
    location = Layout.of(path).folder / archive.value("SELECT location FROM v_checkpoint LIMIT 1")
    assert location.is_file()
    provenance = json.loads(archive.value("SELECT provenance_json FROM v_shard WHERE kind = 'train' LIMIT 1"))
    assert provenance["libraries"]["torch"]
    assert provenance["threads"] >= 1
    assert provenance["facts"]["cpu_capability"]
    assert "tiny/init0-data0-split0: at step 12" in next(Layout.of(path).logs.iterdir()).read_text()


def test_the_log_describes_the_weights_of_the_same_step(finished: Path) -> None:
    pairs = Archive(finished).rows(
        """SELECT l.value AS logged, s.value AS measured FROM v_log l
           JOIN v_scalar s ON s.run = l.run AND s.step = l.step AND s.part = ''
           WHERE l.measure = 'log.weight_norm' AND s.measure = 'weight_norm'"""
    )
    assert len(pairs) == 2 * 3
    for pair in pairs:
        assert pair["logged"] == pytest.approx(pair["measured"], rel=1e-12)


def test_a_finished_study_has_nothing_to_do(finished: Path) -> None:
    before = finished.stat().st_mtime_ns
    watcher = Quiet()
    report = go(finished, watcher=watcher)
    assert (report.state, report.exit_code, report.n_filled) == ("nothing to do", 0, 0)
    assert watcher.plans == []
    assert finished.stat().st_mtime_ns == before


def test_finding_nothing_to_do_imports_no_torch(finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(TOML)
    program = (
        "import sys; from pathscope.__main__ import app\n"
        f"app(['ingest', {str(file)!r}, '--archive', {str(finished)!r}, '--json'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["studies"][0]["state"] == "nothing to do"


def test_a_dry_run_touches_nothing(tmp_path: Path) -> None:
    report = go(tmp_path / "new" / "x.duckdb", dry_run=True)
    assert (report.state, report.n_left) == ("planned", report.n_wanted)
    assert report.estimated is not None
    assert report.estimated.cells == report.n_wanted
    assert list(tmp_path.iterdir()) == []


def test_stopping_at_any_unit_and_going_on_changes_nothing(path: Path, reference: Content) -> None:
    calls = 0
    while True:
        calls += 1
        watcher = stopping_after(1)
        report = go(path, watcher=watcher)
        if report.state != "stopped":
            break
        assert report.exit_code == 75
        assert report.reason == "stopped by SIGTERM"
        assert report.n_left > 0
    assert calls >= 3
    assert report.state == "done"
    assert content(path) == reference


def test_a_spent_time_budget_stops_before_the_next_unit(path: Path) -> None:
    report = go(path, SHORT, deadline=time.time() - 1)
    assert (report.state, report.exit_code, report.n_filled) == ("stopped", 75, 0)
    assert report.reason == "the time budget is spent"
    assert go(path, SHORT).state == "done"


def test_stopping_inside_training_loses_nothing(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after a few looks, so between checkpoints: the state is kept and the log handed in."""

    class Impatient:
        looks = 0

        def __init__(self, file: Path, deadline: float | None) -> None: ...

        def __call__(self) -> bool:
            Impatient.looks += 1
            return Impatient.looks > 8

    with monkeypatch.context() as patch:
        patch.setattr(worker, "StopCheck", Impatient)
        report = go(path)
    assert report.state == "stopped"
    logged = Archive(path).rows("SELECT run, max(step) AS last FROM v_log GROUP BY run ORDER BY run")
    assert [row["last"] for row in logged] == [3, 1]
    assert go(path).state == "done"
    assert content(path) == reference


@pytest.mark.parametrize(
    ("seeds", "checkpoints"), [(1, 1), pytest.param(2, 1, marks=pytest.mark.thorough), (2, 100)]
)
def test_batches_of_seeds_and_sizes_of_units_change_nothing(
    seeds: int, checkpoints: int, path: Path, reference: Content
) -> None:
    text = TOML.replace("seeds_per_process = 1", f"seeds_per_process = {seeds}")
    assert go(path, text.replace("per_unit = 2", f"per_unit = {checkpoints}")).state == "done"
    assert content(path) == reference


def test_units_over_time_are_cut_short_and_gone_on_with(
    path: Path, reference: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = stopping_after(1)
    assert go(path, watcher=once).state == "stopped"  # so that there is something to go on from
    monkeypatch.setattr(worker, "UNIT_SECONDS", 0.0)
    units = Quiet()
    assert go(path, TOML.replace("per_unit = 2", "per_unit = 100"), watcher=units).state == "done"
    assert content(path) == reference
    assert "at step 8, 2 cells" in next(Layout.of(path).logs.iterdir()).read_text()


def test_an_added_seed_trains_only_its_run(finished: Path) -> None:
    report = go(finished, TOML.replace('"0..1"', '"0..2"'))
    assert (report.state, report.n_filled) == ("done", N_LOGS + 2 * len(STEPS))


def test_an_added_measure_is_computed_from_stored_checkpoints(finished: Path) -> None:
    weights = {p: p.stat().st_mtime_ns for p in Layout.of(finished).checkpoints.rglob("*.safetensors")}
    report = go(finished, TOML.replace('"weight_norm"', '"weight_norm", "accuracy"'))
    assert (report.state, report.n_filled) == ("done", 2 * len(STEPS))
    assert {
        p: p.stat().st_mtime_ns for p in Layout.of(finished).checkpoints.rglob("*.safetensors")
    } == weights
    assert Archive(finished).value(
        "SELECT count(DISTINCT step) FROM v_scalar WHERE measure = 'accuracy'"
    ) == len(STEPS)


def test_a_sparse_schedule_measures_a_subset(path: Path) -> None:
    go(path, TOML.replace("[executor]", 'schedule = { weight_norm = "final", loss = [0, 8] }\n[executor]'))
    found = Archive(path).rows("SELECT DISTINCT measure, step FROM v_scalar ORDER BY ALL")
    assert [(f["measure"], f["step"]) for f in found] == [("loss", 0), ("loss", 8), ("weight_norm", 12)]


def test_filling_needs_no_place_in_the_study_and_trains_nothing(path: Path) -> None:
    before = go(path, SHORT, fill=("accuracy",))
    assert (before.state, before.exit_code, before.n_filled, before.n_left) == ("done", 0, 0, 2)
    assert before.reason.startswith("at checkpoints that are not trained yet")
    assert not list(Layout.of(path).checkpoints.rglob("*.safetensors"))
    go(path, SHORT)
    wanted = Archive(path).value("SELECT n_cells_wanted FROM v_study")
    report = go(path, SHORT, fill=("accuracy",))
    assert (report.state, report.n_filled) == ("done", 2)
    assert go(path, SHORT, fill=("accuracy",)).state == "nothing to do"
    assert Archive(path).value("SELECT n_cells_wanted FROM v_study") == wanted
    with pytest.raises(UnknownName, match="no measure 'acuracy'; did you mean 'accuracy'"):
        go(path, SHORT, fill=("acuracy",))


def test_more_steps_train_on(finished: Path, empty_archive: Path) -> None:
    longer = TOML.replace("steps = 12", "steps = 20")
    report = go(finished, longer)
    assert (report.state, report.n_filled) == ("done", 2 * (N_LOGS + 2 * 2))
    fresh = Path(shutil.copy(empty_archive, finished.with_name("fresh.duckdb")))
    go(fresh, longer)
    assert content(finished) == content(fresh)


def test_other_settings_under_the_same_name_are_refused(finished: Path) -> None:
    with pytest.raises(UsageError, match=r"with other training settings .* Give the study another name"):
        go(finished, TOML.replace("[executor]", "[train.optimizer]\nlr = 0.1\n[executor]"))


def test_a_plan_beyond_its_budget_is_refused_with_the_numbers(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        BudgetExceeded, match=r"26 cells, allowed 10\. Nothing was run\. Raise budget\.max_cells"
    ):
        go(path, TOML + "[budget]\nmax_cells = 10\n")
    with pytest.raises(
        BudgetExceeded, match=r"hours, allowed 1e-09.*GB, allowed 1e-09.*max_hours and budget\.max_gb"
    ):
        go(path, TOML + "[budget]\nmax_hours = 1e-9\nmax_gb = 1e-9\n")
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined] # what it returns
    with pytest.raises(NoSpace, match="has 0 GB free"):
        go(path)


def test_a_second_ingest_of_the_study_is_told_who_has_it(path: Path) -> None:
    layout = ensure_archive(path)
    with study_lock(layout.folder / "study-tiny.lock", "tiny"):
        with pytest.raises(StudyLocked, match=r"is being ingested by process \d+ since"):
            go(path, SHORT)
        assert go(path, SHORT.replace('"tiny"', '"other"')).state == "done"
    assert go(path, SHORT).state == "done"


def test_conditions_of_one_grid_share_its_tokens(path: Path) -> None:
    swept = SHORT + '[sweep]\n"task_params.frac_train" = [0.4, 0.6]\n'
    assert go(path, swept).state == "done"
    assert Archive(path).value("SELECT count(*) FROM v_eval_token") == 25 * 3
    assert Archive(path).value("SELECT count(DISTINCT condition) FROM v_run") == 2
    assert Archive(path).value("SELECT count(DISTINCT quantity_id) FROM v_scalar WHERE measure = 'loss'") == 1
