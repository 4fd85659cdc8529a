"""What a worker does: train on, measure, hand in one shard. Never opens the archive."""

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archive.errors import PathscopeError
from archive.records import Checkpoint, Provenance
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.measure import MEASURES
from ingest.measuring import measure_checkpoint
from ingest.provenance import provenance
from ingest.run.groups import RESUME
from ingest.run.lock import folder_lock
from ingest.run.records import family_record, run_record
from ingest.run.stopping import StopCheck
from ingest.run.unit import CellFailure, Unit, UnitReport, is_permanent
from ingest.train.checkpoints import iter_checkpoints, load_run, resume_step
from ingest.train.files import CheckpointFolderLost
from ingest.train.log import LOG_METRICS, log_files, log_steps, read_log_segment
from ingest.train.outcome import LogSegment, RunFailure
from ingest.train.trainer import train_batch

# a parent that was killed takes its workers along within moments; the next one waits for that
FOLDER_PATIENCE = 30.0
# a unit that takes longer ends at its next wanted checkpoint, so that results and progress keep coming
UNIT_SECONDS = 30.0


class CheckpointNotKept(PathscopeError):
    """The run passed the step, but its weights were not kept there."""


class TrainingDiverged(PathscopeError):
    """A run's loss or gradient stopped being a number."""


class LogLost(PathscopeError):
    """A part of the training log is neither in the archive nor on disk."""


def carry_out(unit: Unit) -> UnitReport:
    """Carry out a unit; an error that ends it is entered as its failure."""
    started = time.monotonic()
    try:
        with folder_lock(unit.work.group.folder, patience=FOLDER_PATIENCE):
            return _Worker(unit).run()
    except Exception as error:
        return enter_failure(unit, error, seconds=time.monotonic() - started)


def enter_failure(unit: Unit, error: BaseException, *, seconds: float) -> UnitReport:
    """Hand in a shard that says that this unit failed: the training of its runs, else each of its cells."""
    work = unit.work
    entry = _Entry(unit)
    runs = sorted(set(work.log_after) or {run for run, _ in work.cells})
    if work.log_after:
        # where training is what failed, checkpoints of this unit may not exist
        for run in runs:
            entry.fail_log(run, error)
    else:
        for (run, step), measures in work.cells.items():
            entry.fail_checkpoint(run, step, measures, error)
    # one line a run is enough for people
    entry.failures = [
        CellFailure(run, None, None, type(error).__name__, str(error), is_permanent(error)) for run in runs
    ]
    shard = entry.write(provenance(seconds))
    return UnitReport(
        reached=work.group.reached or 0,
        n_cells=0,
        failures=tuple(entry.failures),
        dead=frozenset(work.log_after),
        left=(),
        stopped=False,
        seconds=seconds,
        shard=shard,
    )


def _init_hash(folder: Path, run: str) -> str:
    first = dict(iter_checkpoints(folder)).get(0)
    try:
        return load_run(first, run).weights_hash if first is not None else ""
    except PathscopeError:  # damaged: the cells of step 0 say so
        return ""


class _Entry:
    """A shard in the making, with the records every unit needs."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.spec = unit.work.group.spec
        self.task = self.spec.make_task()
        self.failures: list[CellFailure] = []
        self.n_cells = 0
        self.builder = ShardBuilder(
            kind="train" if unit.work.log_after else "measure",
            study=unit.study,
            replace=bool(unit.work.log_replace),
        )
        self.builder.family(family_record(self.spec))
        self.builder.tokenizer(self.task.eval_set.tokenizer)
        self._init_hashes: dict[str, str] = {}

    def run_owner(self, run: str) -> int:
        """Declare a run of the unit's group, with the hash of its initial weights where they are on disk."""
        group = self.unit.work.group
        if run not in self._init_hashes:
            self._init_hashes[run] = _init_hash(group.folder, run)
        return self.builder.run(run_record(run, dict(group.runs)[run], self.spec, self._init_hashes[run]))

    def fail_log(self, run: str, error: BaseException) -> None:
        """Enter that a run's training log, and so its training, failed."""
        owner = self.run_owner(run)
        for metric in LOG_METRICS:
            self._fail(owner, self.builder.quantity(metric.quantity(self.spec)), error)
        self.failures.append(
            CellFailure(run, None, None, type(error).__name__, str(error), is_permanent(error))
        )

    def fail_checkpoint(self, run: str, step: int, measures: Sequence[str], error: BaseException) -> None:
        """Enter that all these measures of one checkpoint failed alike."""
        self.run_owner(run)
        owner = self.builder.checkpoint(Checkpoint(run=run, step=step))
        for name in measures:
            quantity = MEASURES.get(name).quantity(self.task, dtype=self.spec.dtype)
            self._fail(owner, self.builder.quantity(quantity), error)
            self.failures.append(
                CellFailure(run, step, name, type(error).__name__, str(error), is_permanent(error))
            )

    def _fail(self, owner: int, quantity: int, error: BaseException) -> None:
        self.builder.failed_cell(
            owner,
            quantity,
            CellState.FAILED_PERMANENT if is_permanent(error) else CellState.FAILED_TRANSIENT,
            error_class=type(error).__name__,
            message=str(error),
            trace="".join(traceback.format_exception(error)),
        )

    def write(self, how: Provenance) -> str:
        """Hand the shard in; returns its name."""
        self.builder.provenance = how
        return self.builder.write(self.unit.inbox).name


class _Worker(_Entry):
    """One unit under way."""

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self.work = unit.work
        self.folder = unit.work.group.folder
        self.stop = StopCheck(unit.stop_file, unit.deadline)
        self.started = time.monotonic()
        self.dead: dict[str, RunFailure] = {}

    def run(self) -> UnitReport:
        """Train as far as asked, then log and measure as far as trained."""
        reached, n_steps = self._train()
        trained = time.monotonic()
        if self.work.log_after:
            self._log(reached)
        left = self._measure(reached)
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
        if not self.work.in_turn:  # checkpoints that are stored are to be measured
            return self.work.until, 0
        if group.reached is not None and not (self.folder / RESUME).exists():
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
            raise CheckpointNotKept(
                f"no weights of {run} at step {step} in {self.folder}: the schedule it was trained with did not keep "
                f"them, or the file is gone. `pathscope drop` of the runs of that folder lets the study train them again."
            )
        model = load_run(file, run, device=self.unit.device)
        split_seed = dict(self.work.group.runs)[run].split
        values = measure_checkpoint(model, self.task, split_seed, [MEASURES.get(name) for name in measures])
        self.run_owner(run)
        owner = self.builder.checkpoint(
            Checkpoint(
                run=run,
                step=step,
                tokens_seen=float(step * self.spec.tokens_per_step),
                weights_hash=model.weights_hash,
                location=file.relative_to(self.unit.root).as_posix(),
            )
        )
        for value in values:
            value.add_to(self.builder, owner)
            if value.state is CellState.FAILED_PERMANENT:
                measure = value.quantity.measure.name
                self.failures.append(CellFailure(run, step, measure, value.error_class, value.message, True))
            else:
                self.n_cells += 1
