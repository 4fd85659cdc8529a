"""Measures that compare checkpoints of a run: they wait for training, and their rows stay when it goes on."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from archive.layout import Layout
from archive.store import Archive
from ingest.run import late, worker
from ingest.run.lock import folder_lock
from ingest.train.checkpoints import load_run
from tests.ingest.run.running import (
    N_LOGS,
    STEPS,
    TOML,
    Content,
    Quiet,
    content,
    copy_finished,
    go,
    stopping_after,
)
from tests.torture.invariants import broken

NAMES = ("restricted_loss:final", "weight_products", "logit_products")
COMPARING = TOML.replace('"weight_norm"', ", ".join(f'"{name}"' for name in ("weight_norm", *NAMES)))
RUNS = [f"tiny/init{k}-data0-split{k}" for k in (0, 1)]


def compared(path: Path) -> dict[str, list[dict[str, object]]]:
    """Everything measured, with the vectors."""
    vectors = Archive(path).rows('SELECT run, step, measure, part, "values" FROM v_vector ORDER BY ALL')
    params = Archive(path).rows(
        "SELECT DISTINCT measure, params_json FROM v_scalar WHERE measure = 'restricted_loss' ORDER BY ALL"
    )
    return {**content(path), "vector": vectors, "params": params}


@pytest.fixture(scope="module")
def whole_once(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Path:
    """An archive made by one whole call of the comparing study, for nobody to write to."""
    path = Path(shutil.copy(empty_archive, tmp_path_factory.mktemp("compared")))
    assert go(path, COMPARING).state == "done"
    assert broken(Archive(path)) == []
    return path


@pytest.fixture(scope="module")
def whole(whole_once: Path) -> dict[str, list[dict[str, object]]]:
    return compared(whole_once)


def test_they_are_filled_in_the_same_call_after_training(whole: Content) -> None:
    cells = Counter((row["measure"], row["state"]) for row in whole["cell"])
    for name in ("restricted_loss", "weight_products", "logit_products", "loss"):
        assert cells[name, "done"] == 2 * len(STEPS)
    assert [json.loads(row["params_json"]) for row in whole["params"]] == [  # type: ignore[arg-type]
        {"frequencies": "final", "reference_step": 12, "rule": "W_L", "variant": "sum_directions"}
    ]
    for row in whole["vector"]:
        steps = STEPS[: STEPS.index(row["step"]) + 1]  # type: ignore[arg-type]
        assert len(row["values"]) == len(steps)  # type: ignore[arg-type]
        if row["part"] == "steps":
            assert row["values"] == steps


def test_products_are_those_of_the_stored_weights(whole_once: Path) -> None:
    folder = Layout.of(whole_once).checkpoints / "tiny" / "init1-data0-split1"
    models = [load_run(folder / f"step-{step:09d}.safetensors", RUNS[1]) for step in STEPS]
    flat = torch.stack([torch.cat([w.flatten().double() for w in m.weights.values()]) for m in models])
    rows = Archive(whole_once).rows(
        """SELECT step, "values" FROM v_vector
           WHERE run = $run AND measure = 'weight_products' AND part = 'products' ORDER BY step""",
        {"run": RUNS[1]},
    )
    assert len(rows) == len(STEPS)
    for i, row in enumerate(rows):
        assert row["values"] == pytest.approx((flat @ flat[i])[: i + 1].tolist(), rel=1e-12)


def test_back_filling_a_finished_run_gives_the_same(finished: Path, whole: Content) -> None:
    report = go(finished, COMPARING)
    assert (report.state, report.n_filled) == ("done", 2 * len(NAMES) * len(STEPS))
    assert compared(finished) == whole
    assert go(finished, COMPARING).state == "nothing to do"


def test_stopping_anywhere_and_units_of_any_size_change_nothing(path: Path, whole: Content) -> None:
    text = COMPARING.replace("seeds_per_process = 1", "seeds_per_process = 2").replace("unit = 2", "unit = 8")
    for _ in range(30):
        watcher = stopping_after(1)
        if go(path, text, watcher=watcher).state != "stopped":
            break
    assert compared(path) == whole


def test_training_on_compares_with_the_new_end_and_adds_rows_to_the_history(
    path: Path, whole_once: Path, whole: Content, empty_archive: Path
) -> None:
    copy_finished(whole_once, path)
    before = whole
    longer = COMPARING.replace("steps = 12", "steps = 20")
    report = go(path, longer)
    # 2 more checkpoints: everything of them, and all comparisons with another end
    assert report.n_filled == 2 * (N_LOGS + 4 * 2 + 6)
    after = compared(path)
    kept = [row for row in after["vector"] if row["step"] in STEPS]
    assert kept == before["vector"]
    fresh = Path(shutil.copy(empty_archive, path.with_name("fresh.duckdb")))
    go(fresh, longer)
    assert after["vector"] == compared(fresh)["vector"]
    references = [json.loads(row["params_json"])["reference_step"] for row in after["params"]]  # type: ignore[arg-type]
    assert sorted(references) == [12, 20]


def test_filling_before_training_is_over_waits_with_the_end_but_not_with_the_history(path: Path) -> None:
    assert go(path, COMPARING, watcher=stopping_after(2)).state == "stopped"
    report = go(path, COMPARING, fill=NAMES)
    assert report.exit_code == 0
    filled = Counter(row["measure"] for row in compared(path)["cell"] if row["measure"] != "log.loss")
    assert filled["restricted_loss"] == 0
    assert filled["weight_products"] == filled["logit_products"] == filled["loss"] > 0
    assert go(path, COMPARING).state == "done"


def test_a_run_that_is_tried_again_leaves_its_history_to_that(
    path: Path, whole: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers were lost before any result: not even the folder is there, and nothing is lost with it."""

    def lost(*args: object, **named: object) -> None:
        raise MemoryError("cannot allocate")

    with monkeypatch.context() as patch:
        patch.setattr(worker, "train_batch", lost)
        report = go(path, COMPARING)
    assert {(f.run, f.step, f.error_class) for f in report.failures} == {
        (r, None, "MemoryError") for r in RUNS
    }
    assert (report.n_given_up, report.n_left) == (0, report.n_wanted)
    assert not list((Layout.of(path).checkpoints / "tiny").glob("*/*.safetensors"))
    assert go(path, COMPARING).state == "done"
    assert compared(path) == whole


def test_a_run_that_died_has_a_history_and_no_end_to_compare_with(path: Path) -> None:
    diverging = COMPARING.replace('"0..1"', "[0]") + '[sweep]\n"optimizer.lr" = [0.01, 1e30]\n'
    diverging = diverging.replace("every = 4", "every = 1").replace("steps = 12", "steps = 6")
    watcher = Quiet()
    report = go(path, diverging, watcher=watcher)
    assert report.state == "failed"
    dead = "tiny/lr=1e+30/init0-data0-split0"
    said = [f for f in watcher.failures if f.error_class == "NoFinalCheckpoint"]
    assert {(f.run, f.step, f.measure, f.permanent) for f in said} == {
        (dead, None, "restricted_loss:final", True)
    }
    assert "has no final checkpoint at step 6 to compare with: training diverged at step" in said[0].message
    states = {
        name: Counter(
            row["state"] for row in content(path)["cell"] if (row["run"], row["measure"]) == (dead, name)
        )
        for name in ("loss", "restricted_loss", "weight_products", "logit_products")
    }
    n_there = states["loss"]["done"] + states["loss"]["failed (permanent)"]
    assert n_there > 0
    assert states["restricted_loss"] == {"failed (permanent)": n_there}
    assert states["weight_products"].total() == n_there
    alive = "tiny/lr=0.01/init0-data0-split0"
    done = Counter(row["measure"] for row in content(path)["cell"] if row["run"] == alive)
    assert done["restricted_loss"] == done["weight_products"] == 7
    again = go(path, diverging)
    assert (again.state, again.n_left) == ("nothing to do", 0)


def test_a_damaged_checkpoint_fails_its_own_rows_and_is_missing_from_the_others(finished: Path) -> None:
    folder = Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0"
    damaged = folder / "step-000000004.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:100])
    report = go(finished, COMPARING)
    assert {(f.run, f.step, f.error_class) for f in report.failures} == {(RUNS[0], 4, "CheckpointDamaged")}
    rows = Archive(finished).rows(
        """SELECT step, "values" FROM v_vector
           WHERE run = $run AND measure = 'weight_products' AND part = 'steps' ORDER BY step""",
        {"run": RUNS[0]},
    )
    assert [row["values"] for row in rows] == [[0], [0, 8], [0, 8, 12]]


def test_a_lost_end_is_named(finished: Path) -> None:
    (Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0" / "step-000000012.safetensors").unlink()
    report = go(finished, COMPARING)
    found = {(f.step, f.measure, f.error_class) for f in report.failures if f.run == RUNS[0]}
    assert (None, "restricted_loss:final", "CheckpointNotKept") in found
    assert (12, "weight_products", "CheckpointNotKept") in found


def test_what_is_stored_can_be_read_while_somebody_holds_the_folder(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FOLDER_PATIENCE", 0.0)
    with folder_lock(Layout.of(finished).checkpoints / "tiny" / "init0-data0-split0", patience=0.0):
        assert go(finished, COMPARING).state == "done"


def test_each_history_is_gone_over_once(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[tuple[str, str, str]] = Counter()
    real = late.load_tensor

    def counted(file: Path, run: str, tensor: str) -> torch.Tensor:
        read[file.name, run, tensor] += 1
        return real(file, run, tensor)

    monkeypatch.setattr(late, "load_tensor", counted)
    go(finished, COMPARING)
    assert set(read.values()) == {1}
    assert len({file for file, _, _ in read}) == len(STEPS)
