"""Wanted cells − present cells = what is left to do. Pure: no torch, no disk, no archive."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from archive.ledger import KnownCell
from archive.manifest import Owner
from archive.schema.base import CellState
from ingest.planning.wanted import WantedCondition
from ingest.studies.parts import AnyRun

# a cell that failed this often for a passing reason is left alone until somebody asks with --retry-failed
MAX_ATTEMPTS = 5

Cells = Mapping[tuple[Owner, str], KnownCell]
# (run, quantity hash) -> last step up to which the run's log is stored without a gap; −1 or missing: nothing
LogReach = Mapping[tuple[str, str], int]


Run = TypeVar("Run", bound=AnyRun)


@dataclass(frozen=True)
class RunTask(Generic[Run]):
    """What one run still needs.

    cells: per checkpoint step, what is wanted there (`WantedMeasure.key`). log_after: the log is stored up to this step and
    wanted from there on; None when it is complete or given up. log_replace: what the ledger says of the log is to be
    replaced, because the study now trains longer or has other settings. started: the archive holds results of this
    run, failures aside. final_cells, history_cells: as cells, of measures that also need the run's final checkpoint or all of
    its checkpoints.
    """

    run: Run
    cells: Mapping[int, tuple[str, ...]]
    log_after: int | None
    log_replace: bool
    started: bool
    final_cells: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    history_cells: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def all_cells(self) -> Mapping[int, tuple[str, ...]]:
        """Measured cells still to be filled, whenever they can be."""
        kinds = (self.cells, self.final_cells, self.history_cells)
        steps = sorted({step for cells in kinds for step in cells})
        return {step: tuple(name for cells in kinds for name in cells.get(step, ())) for step in steps}

    @property
    def n_cells(self) -> int:
        """Number of measured cells still to be filled."""
        return sum(map(len, self.all_cells.values()))


@dataclass(frozen=True)
class Plan(Generic[Run]):
    """What is left of a study, and the count of what is not.

    n_wanted = n_present + n_given_up + n_todo. n_given_up: failed for good, absent upstream, or out of reach because the run's
    training did. n_retry: of n_todo, those that failed before for a passing reason.
    """

    tasks: tuple[RunTask[Run], ...]
    n_runs: int
    n_wanted: int
    n_present: int
    n_given_up: int
    n_retry: int

    @property
    def n_todo(self) -> int:
        """Cells to be filled, logs included."""
        return self.n_wanted - self.n_present - self.n_given_up


def make_plan(
    runs: Sequence[Run],
    wanted: Mapping[str, WantedCondition],
    cells: Cells,
    log_reach: LogReach,
    *,
    retry_failed: bool = False,
    only: Collection[str] = (),
    outdated: Collection[str] = (),
) -> Plan[Run]:
    """Compare what is wanted of every run with the ledger.

    only: fill these measures and leave everything else, training included, alone. outdated: runs whose training
    failed with settings that it has not any more, so that it is to be tried.
    """
    planner = _Planner(cells, log_reach, retry_failed, only, outdated)
    tasks = [planner.task(run, wanted[run.label]) for run in runs]
    return Plan(
        tasks=tuple(task for task in tasks if task.n_cells or task.log_after is not None),
        n_runs=len(runs),
        n_wanted=planner.n_wanted,
        n_present=planner.n_present,
        n_given_up=planner.n_given_up,
        n_retry=planner.n_retry,
    )


class _Planner:
    """Goes over the runs and counts."""

    def __init__(
        self,
        cells: Cells,
        log_reach: LogReach,
        retry_failed: bool,
        only: Collection[str],
        outdated: Collection[str],
    ) -> None:
        self.cells = cells
        self.outdated = outdated
        self.log_reach = log_reach
        self.retry_failed = retry_failed
        self.only = only
        self.n_wanted = self.n_present = self.n_given_up = self.n_retry = 0

    def task(self, run: Run, condition: WantedCondition) -> RunTask[Run]:
        """What the run still needs; empty when nothing."""
        owner = Owner("run", (run.name,))
        outdated = run.name in self.outdated
        logs = [None if outdated else self.cells.get((owner, quantity)) for quantity in condition.logs]
        # a run that is only loaded has no training log to wait for
        reaches = (self.log_reach.get((run.name, quantity), -1) for quantity in condition.logs)
        reach = min(reaches, default=condition.steps)
        given_up = any(map(self._hopeless, logs))
        done = reach >= condition.steps - 1 and all(k is not None and not _failed(k) for k in logs)
        if not self.only:
            self._count_logs(logs, done, given_up)
        todo: dict[str, dict[int, list[str]]] = {"checkpoint": {}, "final": {}, "history": {}}
        started = reach >= 0
        for m in condition.measured:
            if self.only and m.measure not in self.only:
                continue
            self.n_wanted += len(m.steps)
            for step in m.steps:
                known = self.cells.get((Owner("checkpoint", (run.name, step, "")), m.quantity))
                started = started or (known is not None and not _without_value(known))
                # where training was given up, checkpoints beyond the last logged step will never be there
                if self._hopeless(known) or (known is None and given_up and step > reach):
                    self.n_given_up += 1
                elif known is not None and not _without_value(known):
                    self.n_present += 1
                else:
                    self.n_retry += known is not None
                    todo[m.needs].setdefault(step, []).append(m.key)
        cells, final_cells, history_cells = (
            {step: tuple(found[step]) for step in sorted(found)} for found in todo.values()
        )
        return RunTask(
            run=run,
            cells=cells,
            final_cells=final_cells,
            history_cells=history_cells,
            log_after=None if done or given_up or self.only else reach,
            log_replace=outdated or any(known is not None and not _failed(known) for known in logs),
            started=started,
        )

    def _count_logs(self, logs: Sequence[KnownCell | None], done: bool, given_up: bool) -> None:
        self.n_wanted += len(logs)
        if done:
            self.n_present += len(logs)
        elif given_up:
            self.n_given_up += len(logs)
        else:
            self.n_retry += sum(known is not None and _failed(known) for known in logs)

    def _hopeless(self, known: KnownCell | None) -> bool:
        """True for a failure that is not to be tried again in this call."""
        if known is None or self.retry_failed or not _without_value(known):
            return False
        return known.state is not CellState.FAILED_TRANSIENT or known.attempts >= MAX_ATTEMPTS


def _without_value(known: KnownCell) -> bool:
    return _failed(known) or known.state is CellState.ABSENT_UPSTREAM


def _failed(known: KnownCell) -> bool:
    return known.state in (CellState.FAILED_TRANSIENT, CellState.FAILED_PERMANENT)
