"""Checkpoint files that were copied, exchanged, cut off or filled with NaN: all found, and out of the curves."""

import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import pathscope
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.acceptance import accept
from archive.upkeep.integrity import find_runs, read_ledger, record
from tests.ingest.run.running import go

RUN = "tiny/init0-data0-split0"
TOML = """
name = "tiny"
[train]
steps = 100
task_params = { p = 5, frac_train = 0.5 }
model = { d_model = 8, n_heads = 2, d_mlp = 8 }
optimizer = { lr = 0.01 }
checkpoints = { per_octave = 2, every = 5 }
[seeds]
init = [0]
[measures]
names = ["loss"]
schedule = { loss = "final" }
[executor]
kind = "inline"
"""
MEASURED = TOML.replace('["loss"]', '["loss", "head.previous_token", "weight_products:sketch"]').replace(
    '"final"', '"all"'
)
COPIED, EXCHANGED, CUT, NAN = 60, (35, 90), 75, 50
FAULTS = {
    35: ("out_of_order", "looks exchanged with step 90"),
    50: ("defect", "weights are NaN or infinite: weight_products:sketch is nan"),
    60: ("duplicate", "of step 20"),
    75: ("defect", "CheckpointDamaged"),
    90: ("out_of_order", "looks exchanged with step 35"),
}


def plant(path: Path) -> None:
    folder = Layout.of(path).checkpoints / "tiny" / "init0-data0-split0"

    def file(step: int) -> Path:
        return folder / f"step-{step:09d}.safetensors"

    shutil.copy(file(20), file(COPIED))
    first, second = (file(step).read_bytes() for step in EXCHANGED)
    file(EXCHANGED[0]).write_bytes(second)
    file(EXCHANGED[1]).write_bytes(first)
    file(CUT).write_bytes(file(CUT).read_bytes()[:-100])
    with safe_open(file(NAN), "pt") as stored:
        header = stored.metadata()
    weights = load_file(file(NAN))
    weights["embed.W_E"][0, 0, 0] = float("nan")
    save_file(weights, file(NAN), header)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Path:
    """Trained whole, damaged, then measured everywhere."""
    path = tmp_path_factory.mktemp("planted") / "x.duckdb"
    shutil.copy(empty_archive, path)
    assert go(path, TOML).state == "done"
    plant(path)
    report = go(path, MEASURED)
    assert report.state == "failed"
    assert {failure.step for failure in report.failures} == {CUT, NAN}
    return path


@pytest.fixture(scope="module")
def verified(measured: Path) -> Path:
    assert _verify(measured) == len(FAULTS)
    return measured


def _verify(path: Path) -> int:
    archive = Archive(path)
    ledgers = [read_ledger(archive, run_id, run) for run_id, run in find_runs(archive, "all")]
    return record(Layout.of(path), ledgers)


def test_all_faults_are_found_and_nothing_else(verified: Path) -> None:
    rows = Archive(verified).rows("SELECT step, integrity, integrity_note FROM v_checkpoint WHERE suspect")
    found = {row["step"]: (row["integrity"], row["integrity_note"]) for row in rows}
    assert found.keys() == FAULTS.keys()
    for step, (integrity, words) in FAULTS.items():
        assert found[step][0] == integrity
        assert words in found[step][1]


def test_verifying_again_finds_nothing_new(verified: Path) -> None:
    assert _verify(verified) == 0


def test_curves_leave_them_out_and_say_so(verified: Path) -> None:
    archive = pathscope.open_archive(verified)
    for answer in (
        pathscope.loss_curves(archive),
        pathscope.head_score_history(archive, measure="head.previous_token"),
    ):
        assert not FAULTS.keys() & set(answer.table["step"].to_pylist())
        said = " ".join(answer.limits)
        assert f"2 checkpoint(s) left out as suspect (out_of_order) (first: {RUN} step 35" in said
        assert f"1 checkpoint(s) left out as suspect (duplicate) (first: {RUN} step 60" in said
        assert "2 checkpoint(s) have no value: failed permanent" in said


def test_an_accepted_one_is_in_curves_again(verified: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.duckdb"
    shutil.copy(verified, path)
    Layout.of(path).make_folders()
    accept(Layout.of(path), RUN, COPIED, "copied on purpose")
    assert _verify(path) == 0
    steps = pathscope.loss_curves(pathscope.open_archive(path)).table["step"].to_pylist()
    assert FAULTS.keys() & set(steps) == {COPIED}
