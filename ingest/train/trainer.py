"""Training, on one page: many runs of one condition side by side, kept, logged and resumed.

Run k's numbers do not depend on which other runs ride along: bit for bit with one CPU thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archive.errors import UsageError
from ingest.models.small import forward_each, initial_rows
from ingest.train.checkpoints import (
    ResumeState,
    discard_log_from,
    read_resume_state,
    write_checkpoint,
    write_resume_state,
)
from ingest.train.data import TrainingData
from ingest.train.log import LogBuffer
from ingest.train.outcome import RunFailure, TrainOutcome
from ingest.train.spec import Seeds, TrainSpec
from ingest.train.stack import Stack, learning_rate

# a crash loses at most this much work between checkpoints
SAVE_SECONDS = 60.0


def train_batch(
    spec: TrainSpec,
    runs: Sequence[tuple[str, Seeds]],
    folder: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int], None] | None = None,
    device: str = "cpu",
) -> TrainOutcome:
    """Train these runs into `folder`, or go on from where an earlier call was stopped or killed.

    runs: (name, seeds), names distinct. should_stop is asked before every update; when true, the state is
    saved and the outcome says unfinished. on_step gets the updates done. A run whose loss or gradient is
    not finite is reported in `failures` and left out; the others carry on unchanged.

    Raises UsageError when `folder` holds other runs or another condition, CheckpointFolderLost when it
    vanishes or is full, CheckpointDamaged when its resume state cannot be read.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    place = torch.device(device)
    state = read_resume_state(folder)
    layout = spec.layout()
    with _one_thread():
        if state is None:
            step, failures = 0, []
            rows = initial_rows(layout, [seeds.init for _, seeds in runs], getattr(torch, spec.dtype))
            stack = Stack(spec, runs, rows.to(place), {})
        else:
            _same_training(folder, state, spec, runs)
            step, failures = state.step, list(state.failures)
            alive = [run for run in runs if run[0] in state.alive]
            optimizer = {name: value.to(place) for name, value in state.optimizer.items()}
            stack = Stack(spec, alive, state.rows.to(place), optimizer)
        discard_log_from(folder, step)
        log = LogBuffer(first_step=step)
        kept = set(spec.checkpoint_steps())
        saved_at = time.monotonic()

        def save() -> None:
            log.flush(folder, step)
            now = ResumeState(
                step=step,
                spec_hash=spec.hash,
                runs=tuple(runs),
                alive=stack.names,
                failures=tuple(failures),
                rows=stack.rows,
                optimizer=stack.optimizer_state,
            )
            write_resume_state(folder, now)

        if state is None:
            write_checkpoint(folder, spec, 0, stack.runs, stack.rows)
            save()
        data = TrainingData(spec, [seeds for _, seeds in stack.runs], place)
        first_step = step
        stopped = False
        while step < spec.steps and stack.runs:
            if should_stop():
                stopped = True
                break
            tokens, targets = data.at(step)
            logits = forward_each(layout, stack.weights, tokens, data.task.read_positions)
            logits = logits[:, : targets.shape[1]]
            losses = cross_entropy(logits, targets, getattr(torch, spec.loss_dtype))
            stack.differentiate(losses)
            rate = learning_rate(spec.optimizer, step)
            accuracies = (logits.argmax(-1) == targets).double().mean((1, 2))
            gradient_norms, weight_norms = _row_norms(stack.rows.grad), _row_norms(stack.rows)
            rates = torch.full_like(weight_norms, rate)
            columns = [losses.detach().double(), accuracies, rates, gradient_norms, weight_norms]
            log.add(stack.names, torch.stack(columns, dim=1).tolist())  # the order of LOG_METRICS
            finite = losses.isfinite() & gradient_norms.isfinite()
            if not finite.all():
                failures += _failures(stack, step, finite, losses, gradient_norms)
                stack = stack.keep(finite)
                data = TrainingData(spec, [seeds for _, seeds in stack.runs], place)
            if stack.runs:
                stack.update(rate)
            step += 1
            if step in kept and stack.runs:
                write_checkpoint(folder, spec, step, stack.runs, stack.rows)
            if step in kept or time.monotonic() - saved_at > SAVE_SECONDS:
                save()
                saved_at = time.monotonic()
            if on_step is not None:
                on_step(step)
        if step > first_step:
            save()
    return TrainOutcome(
        finished=not stopped,
        last_step=step,
        failures=tuple(failures),
        seconds=time.monotonic() - started,
        n_steps=step - first_step,
    )


def cross_entropy(
    logits: Float[Tensor, "run example read output"],
    targets: Int[Tensor, "run example read"],
    dtype: torch.dtype,
) -> Float[Tensor, " run"]:
    """Each run's mean of −log p(target) in nats, over examples and the positions read; softmax in `dtype`."""
    log_probabilities = logits.to(dtype).log_softmax(-1)
    return -log_probabilities.gather(-1, targets[..., None]).mean((1, 2, 3))


def _row_norms(rows: Tensor | None) -> Float[Tensor, " run"]:
    assert rows is not None
    norms: Tensor = torch.linalg.vector_norm(rows.detach(), dim=1, dtype=torch.float64)
    return norms


def _failures(
    stack: Stack, step: int, finite: Bool[Tensor, " run"], losses: Tensor, gradient_norms: Tensor
) -> list[RunFailure]:
    return [
        RunFailure(name, step, f"training diverged at step {step}: loss {loss:g}, gradient norm {norm:g}")
        for name, ok, loss, norm in zip(
            stack.names, finite.tolist(), losses.tolist(), gradient_norms.tolist(), strict=True
        )
        if not ok
    ]


def _same_training(
    folder: Path, state: ResumeState, spec: TrainSpec, runs: Sequence[tuple[str, Seeds]]
) -> None:
    if state.spec_hash != spec.hash:
        raise UsageError(
            f"{folder} holds training of other settings (spec {state.spec_hash[:12]}…, asked for "
            f"{spec.hash[:12]}…); train into another folder or delete this one"
        )
    if state.runs != tuple(runs):
        held = ", ".join(name for name, _ in state.runs)
        asked = ", ".join(name for name, _ in runs)
        raise UsageError(
            f"{folder} holds runs {held}, asked for {asked} (or other seeds); train into another folder"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    # more threads split a single run's matrix products but not a batch's, so bits would depend on the batch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
