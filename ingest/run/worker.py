"""What a worker does: train on, measure, hand in one shard. Never opens the archive."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from archive.errors import PathscopeError
from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.provenance import provenance
from ingest.run.entry import Entry, enter_failure, not_kept
from ingest.run.groups import RESUME, UnitWork
from ingest.run.late import measure_late
from ingest.run.lock import folder_lock
from ingest.run.stopping import StopCheck
from ingest.run.unit import Unit, UnitReport
from ingest.train.checkpoints import iter_checkpoints, load_run, resume_step
from ingest.train.files import CheckpointFolderLost
from ingest.train.log import LOG_METRICS, log_files, log_steps, read_log_segment
from ingest.train.outcome import LogSegment, RunFailure
from ingest.train.trainer import train_batch

# a parent that was killed takes its workers along within moments; the next one waits for that
FOLDER_PATIENCE = 30.0
# a unit that takes longer ends at its next wanted checkpoint, so that results and progress keep coming
UNIT_SECONDS = 30.0


class TrainingDiverged(PathscopeError):
    """A run's loss or gradient stopped being a number."""


class LogLost(PathscopeError):
    """A part of the training log is neither in the archive nor on disk."""


def carry_out(unit: Unit, work: UnitWork) -> UnitReport:
    """Carry out a unit; an error that ends it is entered as its failure."""
    started = time.monotonic()
    try:
        with (
            folder_lock(work.group.folder, patience=FOLDER_PATIENCE)
            if work.trains
            else nullcontext()  # stored files do not change, so any number of workers may read them
        ):
            return _Worker(unit, work).run()
    except Exception as error:
        return enter_failure(unit, work, error, seconds=time.monotonic() - started)


class _Worker(Entry):
    """One unit under way."""

    def __init__(self, unit: Unit, work: UnitWork) -> None:
        super().__init__(unit, work)
        self.folder = work.group.folder
        self.stop = StopCheck(unit.stop_file, unit.deadline)
        self.started = time.monotonic()
        self.dead: dict[str, RunFailure] = {}

    def run(self) -> UnitReport:
        """Train as far as asked, then log and measure as far as trained."""
        reached, n_steps = self._train()
        trained = time.monotonic()
        if self.work.log_after:
            self._log(reached)
        left = measure_late(self, self.stop, self._overtime) if self.work.late else self._measure(reached)
        now = time.monotonic()
        shard = self.write(
            provenance(
                now - self.started,
                device=self.unit.device,
                train_seconds=trained - self.started,
                run_steps=n_steps * len(self.work.group.runs),
                measure_seconds=now - trained,
                n_checkpoints=len(self.work.cells) - len(left),
            )
        )
        return UnitReport(
            reached=reached,
            n_cells=self.n_cells,
            failures=tuple(self.failures),
            dead=frozenset(self.dead),
            left=left,
            stopped=self.stop(),
            seconds=now - self.started,
            shard=shard,
        )

    def _train(self) -> tuple[int, int]:
        """Updates the group has behind it, and those made now."""
        group = self.work.group
        if not self.work.trains:  # checkpoints that are stored are to be measured
            return self.work.until, 0
        begun = group.reached or any(after >= 0 for after in self.work.log_after.values())
        if begun and not (self.folder / RESUME).exists():
            raise CheckpointFolderLost(
                f"{self.folder / RESUME} has vanished, so training cannot go on; put it back, or `pathscope drop` the "
                "runs of that folder to train them again"
            )
        reached = resume_step(self.folder)
        if reached is not None and reached >= self.work.until and not self.work.log_after:
            return reached, 0
        done = reached or 0
        wanted = {step for _, step in self.work.cells}

        def on_step(step: int) -> None:
            nonlocal done
            done = step

        def should_stop() -> bool:
            return done >= self.work.until or self.stop() or (done in wanted and self._overtime())

        outcome = train_batch(
            self.spec,
            group.runs,
            self.folder,
            should_stop=should_stop,
            on_step=on_step,
            device=self.unit.device,
        )
        self.dead = {f.run: f for f in outcome.failures if f.step < self.work.until}
        return outcome.last_step, outcome.n_steps

    def _log(self, reached: int) -> None:
        """Hand in the log of steps (log_after, until − 1] and close it where the run has come to its end."""
        earliest = min(self.work.log_after.values())
        segments: dict[str, list[LogSegment]] = {}
        for path in log_files(self.folder):
            if earliest < log_steps(path)[1] < reached:
                for segment in read_log_segment(path):
                    segments.setdefault(segment.run, []).append(segment)
        for run, after in self.work.log_after.items():
            dead = self.dead.get(run)
            last = dead.step if dead is not None else min(reached, self.work.until) - 1
            try:
                self._log_rows(run, segments.get(run, []), after, last)
            except LogLost as error:
                self.fail_log(run, error)
                continue
            if dead is not None:
                self.fail_log(run, TrainingDiverged(dead.reason))
            elif last == self.spec.steps - 1:
                owner = self.run_owner(run)
                for metric in LOG_METRICS:
                    self.builder.cell(owner, self.builder.quantity(metric.quantity(self.spec)))
                    self.n_cells += 1

    def _log_rows(self, run: str, segments: Sequence[LogSegment], after: int, last: int) -> None:
        if last <= after:
            if last < self.spec.steps - 1:
                return
            after = last - 1  # the log is whole; its last row again lets its cell be closed
        steps = np.concatenate([s.steps for s in segments]) if segments else np.empty(0, np.int64)
        chosen = (steps > after) & (steps <= last)
        if chosen.sum() != last - after:
            raise LogLost(
                f"the training log of {run} has {int(chosen.sum())} of the rows for steps {after + 1} to {last} in "
                f"{self.folder}; `pathscope drop` of the runs of that folder lets the study train them again"
            )
        owner = self.run_owner(run)
        for metric in LOG_METRICS:
            quantity = self.builder.quantity(metric.quantity(self.spec))
            values = np.concatenate([s.values[metric.name] for s in segments])[chosen]
            part = self.builder.part(metric.part)
            self.builder.add("fact_log", owner, quantity, step=steps[chosen], value=values, part=part)
            self.builder.segment(owner, quantity, after, last)

    def _measure(self, reached: int) -> tuple[tuple[str, int], ...]:
        """Fill the cells of every checkpoint there is; returns those that are left, for want of time or training."""
        files = dict(iter_checkpoints(self.folder))
        left = []
        n = 0
        for (run, step), measures in sorted(self.work.cells.items(), key=lambda item: item[0][::-1]):
            if run in self.dead and step > self.dead[run].step:
                continue
            if step > reached or (n and (self.stop() or self._overtime())):
                left.append((run, step))
                continue
            try:
                self._measure_one(run, step, measures, files.get(step))
            except Exception as error:
                self.fail_checkpoint(run, step, measures, error)
            n += 1
        return tuple(left)

    def _overtime(self) -> bool:
        return time.monotonic() - self.started > UNIT_SECONDS

    def _measure_one(self, run: str, step: int, measures: Sequence[str], file: Path | None) -> None:
        if file is None:
            raise not_kept(run, step, self.folder)
        model = load_run(file, run, device=self.unit.device)
        named = [MEASURES.get(name) for name in measures]
        values = measure_checkpoint(model, self.task, self.split_seed(run), named)
        self.values(run, step, values, weights_hash=model.weights_hash, file=file)
