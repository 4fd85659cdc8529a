"""A unit's shard in the making: the records every unit needs, results, and failures with their reasons."""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from archive.errors import PathscopeError
from archive.records import Checkpoint, Provenance
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.measure import MEASURES
from ingest.measuring.measured import MeasuredValue
from ingest.provenance import provenance
from ingest.run.groups import UnitWork
from ingest.run.records import family_record, run_record
from ingest.run.unit import CellFailure, Unit, UnitReport, is_permanent
from ingest.train.checkpoints import iter_checkpoints, load_run
from ingest.train.log import LOG_METRICS


class CheckpointNotKept(PathscopeError):
    """The run passed the step, but its weights were not kept there."""


def not_kept(run: str, step: int, folder: Path) -> CheckpointNotKept:
    """The error for weights that should be in the folder."""
    return CheckpointNotKept(
        f"no weights of {run} at step {step} in {folder}: the schedule it was trained with did not keep "
        f"them, or the file is gone. `pathscope drop` of the runs of that folder lets the study train them again."
    )


class Entry:
    """A shard in the making, with the records every unit needs."""

    def __init__(self, unit: Unit, work: UnitWork) -> None:
        self.unit = unit
        self.work = work
        self.spec = work.group.spec
        self.task = self.spec.make_task()
        self.failures: list[CellFailure] = []
        self.n_cells = 0
        self.builder = ShardBuilder(
            kind="train" if work.log_after else "measure",
            study=unit.study,
            replace=bool(work.log_replace),
        )
        self.builder.family(family_record(self.spec))
        self.builder.tokenizer(self.task.eval_set.tokenizer)
        self._init_hashes: dict[str, str] = {}

    def run_owner(self, run: str) -> int:
        """Declare a run of the unit's group, with the hash of its initial weights where they are on disk."""
        group = self.work.group
        if run not in self._init_hashes:
            self._init_hashes[run] = _init_hash(group.folder, run)
        seeds = dict(group.runs)[run]
        return self.builder.run(run_record(run, seeds, self.spec, self._init_hashes[run], group.apart))

    def fail_log(self, run: str, error: BaseException) -> None:
        """Enter that a run's training log, and so its training, failed."""
        owner = self.run_owner(run)
        for metric in LOG_METRICS:
            self._fail(owner, self.builder.quantity(metric.quantity(self.spec)), error)
        self.failures.append(
            CellFailure(run, None, None, type(error).__name__, str(error), is_permanent(error))
        )

    def values(
        self, run: str, step: int, values: Iterable[MeasuredValue], *, weights_hash: str, file: Path
    ) -> None:
        """Enter what was measured of a checkpoint; file: where its weights are."""
        self.run_owner(run)
        owner = self.builder.checkpoint(
            Checkpoint(
                run=run,
                step=step,
                tokens_seen=float(step * self.spec.tokens_per_step),
                weights_hash=weights_hash,
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

    def split_seed(self, run: str) -> int:
        """Of a run of the unit's group."""
        return dict(self.work.group.runs)[run].split

    def fail_checkpoint(self, run: str, step: int, measures: Sequence[str], error: BaseException) -> None:
        """Enter that all these measures of one checkpoint failed alike."""
        self.run_owner(run)
        owner = self.builder.checkpoint(Checkpoint(run=run, step=step))
        for name in measures:
            quantity = MEASURES.get(name).quantity(
                self.task, dtype=self.spec.dtype, reference_step=self.spec.steps
            )
            self._fail(owner, self.builder.quantity(quantity), error)
            self.failures.append(
                CellFailure(run, step, name, type(error).__name__, str(error), is_permanent(error))
            )

    def fail_alike(self, run: str, cells: Mapping[int, Sequence[str]], error: BaseException) -> None:
        """Enter that all these cells of a run failed for one reason, which people are told once."""
        before = len(self.failures)
        for step, measures in cells.items():
            self.fail_checkpoint(run, step, measures, error)
        named = sorted({name for measures in cells.values() for name in measures})
        if named:
            self.failures[before:] = [
                CellFailure(
                    run, None, ", ".join(named), type(error).__name__, str(error), is_permanent(error)
                )
            ]

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


def enter_failure(unit: Unit, work: UnitWork, error: BaseException, *, seconds: float) -> UnitReport:
    """Hand in a shard that says that this unit failed: the training of its runs, else each of its cells."""
    entry = Entry(unit, work)
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
