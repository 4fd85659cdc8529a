"""Training, on one page: many runs of one condition side by side, kept, logged and resumed.

Run k's numbers do not depend on which other runs ride along: bit for bit with one CPU thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from archive.errors import UsageError
from ingest.models.small import initial_rows
from ingest.train.checkpoints import (
    ResumeState,
    discard_log_from,
    read_resume_state,
    write_checkpoint,
    write_resume_state,
)
from ingest.train.data import TrainingData
from ingest.train.gradients import GRADIENT_NORM, LOSS, gradients_of
from ingest.train.log import LogBuffer
from ingest.train.outcome import RunFailure, TrainOutcome
from ingest.train.spec import Seeds, TrainSpec
from ingest.train.stack import Stack

# a crash loses at most this much work; saving at every checkpoint would double the time that writing takes
SAVE_SECONDS = 60.0
# updates between two looks at the losses: to look, Python waits until a GPU has done all it was told
LOOK_EVERY = {"cpu": 1, "cuda": 50}


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
    with _one_thread():
        training = _Training(spec, runs, folder, torch.device(device))
        kept = set(spec.checkpoint_steps())
        first_step, saved_at = training.step, time.monotonic()
        stopped = False
        while training.step < spec.steps and training.stack.runs:
            if should_stop():
                stopped = True
                break
            training.update()
            keep, save = training.step in kept, time.monotonic() - saved_at > SAVE_SECONDS
            if keep or save or training.n_unseen == LOOK_EVERY[training.device.type]:
                training.look()
            if keep and training.stack.runs:
                write_checkpoint(folder, spec, training.step, training.stack.runs, training.stack.rows)
            if save:
                training.save()
                saved_at = time.monotonic()
            if on_step is not None:
                on_step(training.step)
        if training.step > first_step:
            training.look()
            training.save()
    return TrainOutcome(
        finished=not stopped,
        last_step=training.step,
        failures=tuple(training.failures),
        seconds=time.monotonic() - started,
        n_steps=training.step - first_step,
    )


class _Training:
    """A batch of runs under way, from the start or from the folder's resume state."""

    def __init__(
        self, spec: TrainSpec, runs: Sequence[tuple[str, Seeds]], folder: Path, device: torch.device
    ) -> None:
        self.spec, self.runs, self.folder, self.device = spec, tuple(runs), folder, device
        state = read_resume_state(folder)
        if state is None:
            self.step, self.failures = 0, list[RunFailure]()
            init_seeds = [seeds.init for _, seeds in runs]
            rows = initial_rows(spec.layout(), init_seeds, getattr(torch, spec.dtype))
            self._work_on(Stack(spec, runs, rows.to(device), {}))
        else:
            _same_training(folder, state, spec, runs)
            self.step, self.failures = state.step, list(state.failures)
            alive = [run for run in runs if run[0] in state.alive]
            optimizer = {name: value.to(device) for name, value in state.optimizer.items()}
            self._work_on(Stack(spec, alive, state.rows.to(device), optimizer))
        discard_log_from(folder, self.step)
        self.log = LogBuffer(first_step=self.step)
        self._unseen: list[tuple[float, Tensor]] = []
        if state is None:
            write_checkpoint(folder, spec, 0, self.stack.runs, self.stack.rows)
            self.save()

    def _work_on(self, stack: Stack) -> None:
        self.stack = stack
        self.data = TrainingData(self.spec, [seeds for _, seeds in stack.runs], self.device)
        self.gradients = gradients_of(stack, self.data.task.read_positions)

    @property
    def n_unseen(self) -> int:
        """Updates made since the last look."""
        return len(self._unseen)

    def update(self) -> None:
        """One update of every run."""
        rate = self.spec.optimizer.learning_rate(self.step)
        columns = self.gradients(*self.data.at(self.step))
        self._unseen.append((rate, columns.clone()))
        self.stack.update(rate)
        self.step += 1

    def look(self) -> None:
        """Log the updates since the last look, and leave out the runs that diverged in them."""
        if not self._unseen:
            return
        rates = np.array([rate for rate, _ in self._unseen])
        columns = torch.stack([values for _, values in self._unseen], dim=1).cpu().numpy()
        first, self._unseen = self.step - self.n_unseen, []
        finite = np.isfinite(columns[..., (LOSS, GRADIENT_NORM)]).all(axis=2)
        for name, values, good in zip(self.stack.names, columns, finite, strict=True):
            n_good = len(good) if good.all() else int(good.argmin())
            self.log.add(name, rates, values[: n_good + 1])  # a failing row is the last
            if n_good < len(good):
                loss, norm = values[n_good, LOSS], values[n_good, GRADIENT_NORM]
                at = first + n_good
                reason = f"training diverged at step {at}: loss {loss:g}, gradient norm {norm:g}"
                self.failures.append(RunFailure(name, at, reason))
        alive = finite.all(axis=1)
        if not alive.all():
            self._work_on(self.stack.keep(alive))

    def save(self) -> None:
        """Make everything up to this step durable: what a crash goes back to."""
        self.log.flush(self.folder, self.step)
        state = ResumeState(
            step=self.step,
            spec_hash=self.spec.hash,
            runs=self.runs,
            alive=self.stack.names,
            failures=tuple(self.failures),
            rows=self.stack.rows,
            optimizer=self.stack.optimizer_state,
        )
        write_resume_state(self.folder, state)


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
