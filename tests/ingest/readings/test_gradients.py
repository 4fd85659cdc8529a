"""The pass before an update: recorded as a graph it must do what it does as it stands."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import ingest.train.trainer as trainer
from ingest.models.small import initial_rows
from ingest.train.checkpoints import iter_checkpoints, load_run
from ingest.train.gradients import ACCURACY, LOSS, WEIGHT_NORM, Gradients, RecordedGradients, cross_entropy
from ingest.train.spec import TrainSpec
from ingest.train.stack import Stack
from ingest.train.trainer import train_batch
from tests.ingest.training import BATCHES, SMALL, hashes, logs, poisoned, runs, same_log


class Replaying:
    """Stands in for a CUDA graph on machines without a GPU: the recorded pass again, into the same memory."""

    def replay(self):
        self.output.copy_(self.work())


class RecordedHere(RecordedGradients):
    """RecordedGradients with its stand-in told what was recorded."""

    def _record(self):
        graph = super()._record()
        graph.output = self._columns
        graph.work = lambda: self._gradients(self._tokens, self._targets)
        return graph


@pytest.fixture
def recorded(monkeypatch):
    """Training as on a GPU: recorded passes, and a look at the losses only now and then."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda aside: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Replaying)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext())
    monkeypatch.setattr(trainer, "gradients_of", lambda stack, read: RecordedHere(Gradients(stack, read)))
    monkeypatch.setitem(trainer.LOOK_EVERY, "cpu", 7)


@pytest.mark.parametrize(
    "settings",
    [SMALL, BATCHES, {**SMALL, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}],
    ids=["full batch", "minibatch", "sgd"],
)
def test_recorded_passes_train_to_the_same_bits(tmp_path, request, settings):
    spec = TrainSpec(**settings)
    train_batch(spec, runs(0, 1), tmp_path / "plain")
    request.getfixturevalue("recorded")
    train_batch(spec, runs(0, 1), tmp_path / "recorded", should_stop=iter([False] * 12 + [True]).__next__)
    train_batch(spec, runs(0, 1), tmp_path / "recorded")
    assert hashes(tmp_path / "recorded") == hashes(tmp_path / "plain")
    assert same_log(logs(tmp_path / "recorded"), logs(tmp_path / "plain"))


def test_a_run_seen_late_to_have_diverged_is_cut_off_where_it_did(tmp_path, monkeypatch, request):
    spec = TrainSpec(**{**SMALL, "checkpoints": {"per_octave": 0, "every": None}})
    train_batch(spec, runs(0, 2), tmp_path / "healthy")
    monkeypatch.setattr(trainer, "initial_rows", poisoned)
    request.getfixturevalue("recorded")
    outcome = train_batch(spec, runs(0, 1, 2), tmp_path / "mixed")
    assert [(f.run, f.step) for f in outcome.failures] == [("run1", 0)]
    mixed = hashes(tmp_path / "mixed")
    assert mixed.pop(("run1", 0))
    assert mixed == hashes(tmp_path / "healthy")
    log = logs(tmp_path / "mixed")
    assert len(log.pop(("run1", "log.loss"))) == 1
    assert same_log({k: v for k, v in log.items() if k[0] != "run1"}, logs(tmp_path / "healthy"))


def test_where_a_pass_cannot_be_recorded_it_is_made_as_it_stands_after_one_warning(
    tmp_path, monkeypatch, request
):
    spec = TrainSpec(**BATCHES)
    train_batch(spec, runs(0, 1), tmp_path / "plain")
    request.getfixturevalue("recorded")
    monkeypatch.setattr(torch.cuda, "graph", Refusing)
    monkeypatch.setattr(trainer, "gradients_of", lambda *stack: RecordedGradients(Gradients(*stack)))
    with pytest.warns(
        UserWarning, match="without a CUDA graph, which is slower: operation not permitted"
    ) as told:
        train_batch(spec, runs(0, 1), tmp_path / "refused")
    assert len(told) == 1
    assert hashes(tmp_path / "refused") == hashes(tmp_path / "plain")
    assert same_log(logs(tmp_path / "refused"), logs(tmp_path / "plain"))


class Refusing(nullcontext):
    """A recording that fails as an operation that waits for the GPU makes it fail."""

    def __exit__(self, *error):
        raise RuntimeError("operation not permitted when stream is capturing")


class Operations(TorchDispatchMode):
    """Names of the operations carried out."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.add(operation.overloadpacket.__name__)
        return operation(*args, **(kwargs or {}))


# a number or a size goes to Python, so Python must wait; a new tensor of Python's numbers comes from the CPU
NOT_IN_A_GRAPH = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "lift_fresh"}
SEVERAL_READ = {"task": "digit_addition", "task_params": {"n_digits": 2}, "batch": 8}
REPEATED = {"n_tokens": 8, "length": 9, "min_period": 3, "max_period": 5}
RECORDABLE = {
    "one layer": SMALL,
    "batches": BATCHES,
    "every position": {
        "task": "repeated_tokens", "task_params": REPEATED, "batch": 8,
        "model": {"n_layers": 2, "d_model": 16, "d_mlp": 0, "positions": "attention", "layer_norm": True},
    },
    "several positions": SEVERAL_READ | {"model": {"d_model": 16, "activation": "solu_ln"}},
    "a sum": {**SMALL, "model": {"n_heads": 0, "d_model": 16, "input": "sum", "activation": "gelu"}},
}  # fmt: skip


@pytest.mark.parametrize("settings", RECORDABLE.values(), ids=RECORDABLE)
def test_a_pass_does_nothing_that_cannot_be_recorded(settings):
    spec = TrainSpec.model_validate(settings)
    stack = Stack(spec, runs(0, 1), initial_rows(spec.layout(), [0, 1], torch.float32), {})
    data = trainer.TrainingData(spec, [seeds for _, seeds in stack.runs], torch.device("cpu"))
    gradients = Gradients(stack, data.task.read_positions)
    before = gradients(*data.at(0))  # what is made once is made in the passes before the recorded one
    batch = data.at(0)
    with Operations() as seen:
        again = gradients(*batch)
    assert {"bmm", "_log_softmax", "_foreach_copy_"} <= seen.names
    assert seen.names & NOT_IN_A_GRAPH == set()
    assert torch.equal(again, before)


def test_norms_are_summed_in_float64():
    spec = TrainSpec(**SMALL)
    rows = initial_rows(spec.layout(), [0, 1], torch.float32)
    rows[1] *= 1e25  # squares are beyond float32
    expected = rows.double().square().sum(1).sqrt()
    stack = Stack(spec, runs(0, 1), rows, {})
    data = trainer.TrainingData(spec, [seeds for _, seeds in stack.runs], torch.device("cpu"))
    columns = Gradients(stack, data.task.read_positions)(*data.at(0))
    torch.testing.assert_close(columns[:, WEIGHT_NORM], expected, rtol=1e-13, atol=0)


def test_a_model_that_says_nothing_has_the_loss_of_guessing():
    spec = TrainSpec(**SMALL)
    rows = torch.zeros_like(initial_rows(spec.layout(), [0, 1], torch.float32))
    stack = Stack(spec, runs(0, 1), rows, {})
    data = trainer.TrainingData(spec, [seeds for _, seeds in stack.runs], torch.device("cpu"))
    columns = Gradients(stack, data.task.read_positions)(*data.at(0))
    assert columns[:, LOSS].tolist() == pytest.approx([torch.log(torch.tensor(8.0)).item()] * 2)
    answered_zero = (data.at(0)[1] == 0).double().mean((1, 2))  # argmax of equal logits is the first
    assert torch.equal(columns[:, ACCURACY], answered_zero)


def test_cross_entropy_resolves_losses_that_float32_cannot():
    logits = torch.tensor([30.0, 0.0]).view(1, 1, 1, 2)
    targets = torch.zeros(1, 1, 1, dtype=torch.int64)
    assert cross_entropy(logits, targets, torch.float64).item() == pytest.approx(9.3576e-14, rel=1e-3)
    assert cross_entropy(logits, targets, torch.float32).item() == 0


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@needs_gpu
@pytest.mark.parametrize("settings", [SMALL, BATCHES], ids=["full batch", "minibatch"])
def test_cuda_follows_the_cpu_for_twenty_steps(tmp_path, settings):
    spec = TrainSpec(**{**settings, "steps": 20})
    train_batch(spec, runs(0, 1), tmp_path / "cpu")
    train_batch(spec, runs(0, 1), tmp_path / "cuda", device="cuda")
    for name, _ in runs(0, 1):
        cpu, cuda = (load_run(iter_checkpoints(tmp_path / d)[-1][1], name) for d in ("cpu", "cuda"))
        for tensor in cpu.weights:
            torch.testing.assert_close(cpu.weights[tensor], cuda.weights[tensor], atol=1e-3, rtol=1e-3)


@needs_gpu
def test_a_run_that_diverges_on_cuda_leaves_the_others(tmp_path, monkeypatch):
    spec = TrainSpec(**{**SMALL, "steps": 120})
    monkeypatch.setattr(trainer, "initial_rows", poisoned)
    outcome = train_batch(spec, runs(0, 1, 2), tmp_path, device="cuda")
    assert [(f.run, f.step) for f in outcome.failures] == [("run1", 0)]
    assert {len(values) for (run, _), values in logs(tmp_path).items() if run != "run1"} == {120}
