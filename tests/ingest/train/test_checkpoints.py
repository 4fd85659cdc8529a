import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from archive.errors import UnknownName
from ingest.models.small import initial_rows, stack_views
from ingest.train.checkpoints import (
    CheckpointDamaged,
    ResumeState,
    checkpoint_runs,
    iter_checkpoints,
    load_run,
    read_resume_state,
    resume_step,
    write_checkpoint,
    write_resume_state,
)
from ingest.train.files import CheckpointFolderLost, write_durably
from ingest.train.outcome import RunFailure
from ingest.train.spec import Seeds, TrainSpec

SPEC = TrainSpec(task_params={"p": 5}, model={"d_model": 16, "d_mlp": 20}, steps=10)
RUNS = tuple((name, Seeds(init=k, data_order=k, split=k)) for k, name in enumerate("abc"))


def rows(dtype=torch.float32):
    return initial_rows(SPEC.layout(), [0, 1, 2], dtype)


def state(**changes):
    values = {
        "step": 7,
        "spec_hash": SPEC.hash,
        "runs": RUNS,
        "alive": ("a", "c"),
        "failures": (RunFailure("b", 3, "loss nan"),),
        "rows": rows()[:2],
        "optimizer": {"exp_avg": rows()[:2] * 2, "step": torch.tensor(7.0)},
    }
    return ResumeState(**{**values, **changes})


def test_a_stacked_file_gives_each_run_back(tmp_path):
    stack = rows()
    path = write_checkpoint(tmp_path, SPEC, 3, RUNS, stack)
    assert path.name == "step-000000003.safetensors"
    assert checkpoint_runs(path) == ("a", "b", "c")
    views = stack_views(SPEC.layout(), stack)
    for index, (name, _) in enumerate(RUNS):
        model = load_run(path, name)
        assert (model.run, model.step, model.layout) == (name, 3, SPEC.layout())
        assert model.weights.keys() == views.keys()
        for tensor, view in zip(model.weights.values(), views.values(), strict=True):
            assert torch.equal(tensor, view[index])
    assert len({load_run(path, name).weights_hash for name in "abc"}) == 3


def test_a_run_has_one_weights_hash_whichever_file_holds_it(tmp_path):
    (tmp_path / "alone").mkdir()
    together = write_checkpoint(tmp_path, SPEC, 3, RUNS, rows())
    alone = write_checkpoint(tmp_path / "alone", SPEC, 3, RUNS[1:2], rows()[1:2])
    assert load_run(together, "b").weights_hash == load_run(alone, "b").weights_hash


def test_the_header_says_what_is_inside_without_the_archive(tmp_path):
    path = write_checkpoint(tmp_path, SPEC, 3, RUNS, rows())
    with safe_open(path, framework="pt") as stored:
        header = stored.metadata()
        assert stored.get_slice("blocks.0.attn.W_Q").get_shape() == [3, 16, 4, 4]
    assert TrainSpec.model_validate_json(header["spec"]) == SPEC
    assert header["spec_hash"] == SPEC.hash
    assert [Seeds(**seeds) for seeds in json.loads(header["seeds"])] == [seeds for _, seeds in RUNS]


def test_checkpoints_are_listed_by_step(tmp_path):
    for step in (100, 2, 0):
        write_checkpoint(tmp_path, SPEC, step, RUNS, rows())
    (tmp_path / ".step-000000005.safetensors.tmp").write_bytes(b"a crash left this")
    assert [step for step, _ in iter_checkpoints(tmp_path)] == [0, 2, 100]


def test_an_unknown_run_names_those_there_are(tmp_path):
    path = write_checkpoint(tmp_path, SPEC, 0, RUNS, rows())
    with pytest.raises(UnknownName, match=r"no run 'd'.*lists 3"):
        load_run(path, "d")


def test_a_resume_state_comes_back_whole(tmp_path):
    assert read_resume_state(tmp_path) is None
    assert resume_step(tmp_path) is None
    write_resume_state(tmp_path, state(step=1))
    write_resume_state(tmp_path, state())
    back = read_resume_state(tmp_path)
    assert resume_step(tmp_path) == 7
    assert (back.step, back.spec_hash, back.runs, back.alive, back.failures) == (
        7, SPEC.hash, RUNS, ("a", "c"), (RunFailure("b", 3, "loss nan"),)
    )  # fmt: skip
    assert torch.equal(back.rows, rows()[:2])
    assert back.optimizer.keys() == {"exp_avg", "step"}
    assert torch.equal(back.optimizer["exp_avg"], rows()[:2] * 2)
    assert back.optimizer["step"].shape == ()


@pytest.mark.parametrize("kept", [0, 5, 200, -1])
def test_a_cut_file_is_named_with_the_way_out(tmp_path, kept):
    path = write_checkpoint(tmp_path, SPEC, 0, RUNS, rows())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointDamaged, match=r"step-000000000.safetensors cannot be read .*delete it"):
        load_run(path, "a")


def test_a_file_of_somebody_else_and_a_missing_one_are_named(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "step-000000001.safetensors")
    with pytest.raises(CheckpointDamaged, match="has format None, this version reads 'pathscope-stacked-1'"):
        load_run(tmp_path / "step-000000001.safetensors", "a")
    with pytest.raises(CheckpointDamaged, match=r"step-000000002.safetensors is gone"):
        load_run(tmp_path / "step-000000002.safetensors", "a")


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    target = tmp_path / "state"
    write_durably(target, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ingest.train.files.os.fsync", full)
    with pytest.raises(CheckpointFolderLost, match=r"cannot write state into .*: No space left on device"):
        write_durably(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
