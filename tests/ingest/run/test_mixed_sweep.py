"""One study of several tasks, lengths and schedules: planned, stopped, resumed and back-filled like any other."""

import json
import shutil
from pathlib import Path

from archive.layout import Layout
from archive.store import Archive
from ingest.run.present import look
from tests.ingest.run.running import N_LOGS, Content, Quiet, content, go, stopping_after

TOML = """
name = "mixed"
[train]
batch = 8
task_params = { p = 5, frac_train = 0.5, length = 6, n_tokens = 5, min_period = 2, max_period = 3 }
model = { d_model = 8, n_heads = 2, d_mlp = 8 }
checkpoints = { per_octave = 0, every = 4 }
[sweep]
task = ["modular_arithmetic", "repeated_tokens"]
steps = [8, 12]
"task_params.operation" = ["add"]
[seeds]
init = "0..1"
[measures]
names = ["loss", "excluded_loss:final", "head.prefix_matching"]
schedule = { loss = [0, 8, 12] }
[executor]
kind = "inline"
checkpoints_per_unit = 6
"""
KEPT = {8: [0, 4, 8], 12: [0, 4, 8, 12]}


def states(path: Path, measure: str) -> set[tuple[object, object]]:
    rows = Archive(path).rows(
        "SELECT DISTINCT split_part(run, '/', 2) AS label, state FROM v_cell WHERE measure = $measure",
        {"measure": measure},
    )
    return {(str(row["label"]).split(",")[0], row["state"]) for row in rows}


def test_a_mixed_study_is_done_and_nothing_of_it_depends_on_interruptions(
    path: Path, empty_archive: Path
) -> None:
    watcher = Quiet()
    planned = go(path, TOML, dry_run=True)
    report = go(path, TOML, watcher)
    assert (report.state, report.n_runs, report.n_present) == ("done", 8, planned.n_wanted)
    measured = sum(2 * len(kept) + len({0, 8, 12} & set(kept)) for kept in KEPT.values())
    assert report.n_wanted == 2 * 2 * (2 * N_LOGS + measured)
    [(plan, estimated)] = watcher.plans
    assert estimated.cells == plan.n_todo == report.n_wanted
    whole: Content = content(path)
    runs = [str(row["run"]) for row in whole["run"]]
    _kept_as_asked(whole)
    archive = Archive(path)
    # a batch is of one condition, so nobody is trained further or otherwise than asked
    folders = {folder.name for folder in (Layout.of(path).checkpoints / "mixed").iterdir()}
    assert "task=repeated_tokens,steps=12__init0-data0-split0+1" in folders
    assert len(folders) == 4
    assert archive.value("SELECT count(DISTINCT condition) FROM v_run") == 4
    assert archive.value("SELECT count(DISTINCT init_hash) FROM v_run") == 4
    assert states(path, "excluded_loss") == {
        ("task=modular_arithmetic", "done"),
        ("task=repeated_tokens", "not applicable"),
    }
    assert states(path, "head.prefix_matching") == {
        ("task=modular_arithmetic", "not applicable"),
        ("task=repeated_tokens", "done"),
    }
    assert set(look(archive, "mixed", runs).pace.train_of) == {
        f"task={task},steps={steps}{operation}"
        for task, operation in (("modular_arithmetic", ",operation=add"), ("repeated_tokens", ""))
        for steps in KEPT
    }
    resolved = json.loads(archive.value("SELECT resolved_json FROM v_study"))
    assert resolved["sweep"]["steps"] == [8, 12]
    assert go(path, TOML).state == "nothing to do"

    filled = go(path, TOML, fill=("weight_norm",))
    assert (filled.state, filled.n_filled) == ("done", 4 * sum(map(len, KEPT.values())))

    other = Path(shutil.copy(empty_archive, path.with_name("other.duckdb")))
    calls = 0
    while go(other, TOML, stopping_after(4)).state == "stopped":
        calls += 1
    assert calls >= 2
    assert content(other) == whole


def _kept_as_asked(whole: Content) -> None:
    weights: dict[str, dict[object, object]] = {}
    for row in whole["checkpoint"]:
        weights.setdefault(str(row["run"]), {})[row["step"]] = row["weights_hash"]
    assert len(weights) == 8
    for run, found in weights.items():
        assert list(found) == KEPT[8 if "steps=8" in run else 12]
    # the same training, only longer
    short, long = (
        weights[f"mixed/task=modular_arithmetic,steps={n},operation=add/init1-data0-split0"] for n in (8, 12)
    )
    assert short == {step: hash_ for step, hash_ in long.items() if step <= 8}


def test_schedules_keep_what_each_asks_for(path: Path) -> None:
    text = TOML.replace('task = ["modular_arithmetic", "repeated_tokens"]\nsteps = [8, 12]\n', "").replace(
        "[sweep]", '[sweep]\n"checkpoints.every" = [4, 6]'
    )
    text = (
        text.replace("batch = 8", "batch = 8\nsteps = 8").replace('"0..1"', "[0]").replace(", 12] }", "] }")
    )
    text = text.replace("length = 6, n_tokens = 5, min_period = 2, max_period = 3", 'operation = "multiply"')
    assert go(path, text).state == "done"
    rows = Archive(path).rows("SELECT split_part(run, '/', 2) AS label, step FROM v_checkpoint ORDER BY ALL")
    kept = {4: [0, 4, 8], 6: [0, 6, 8]}
    assert [(row["label"], row["step"]) for row in rows] == [
        (f"every={every},operation=add", step) for every in kept for step in kept[every]
    ]
