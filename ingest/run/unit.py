"""A unit of work and its report, both by value; carrying it out imports torch, describing it does not."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from archive.errors import NoSpace, PathscopeError, TryAgain
from archive.records import Study
from ingest.measuring.memory import lacks_memory
from ingest.run.groups import UnitWork
from ingest.run.pair_work import PairWork
from ingest.run.scans import ScanWork

Work: TypeAlias = UnitWork | ScanWork | PairWork


@dataclass(frozen=True)
class Unit:
    """Everything a worker needs to know.

    root: locations of checkpoints are stored relative to it. stop_file, deadline: as StopCheck takes them.
    """

    work: Work
    study: Study
    root: Path
    inbox: Path
    stop_file: Path
    deadline: float | None
    device: str = "cpu"


@dataclass(frozen=True)
class CellFailure:
    """A named piece of work that failed. step and measure: None where it is the run's training."""

    run: str
    step: int | None
    measure: str | None
    error_class: str
    message: str
    permanent: bool


@dataclass(frozen=True)
class UnitReport:
    """What a worker did.

    reached: updates the group has behind it. n_cells: cells settled, logs included. dead: runs whose training
    has ended for good before `until`. left: (run, step) of cells not looked at. stopped: somebody asked for it;
    what was done is in the shard. notes: what people may want to know, such as a batch that memory did not hold.
    """

    reached: int
    n_cells: int
    failures: tuple[CellFailure, ...]
    dead: frozenset[str]
    left: tuple[tuple[str, int], ...]
    stopped: bool
    seconds: float
    shard: str
    notes: tuple[str, ...] = ()


def run_unit(unit: Unit) -> UnitReport:
    """Carry out a unit and write its shard; failures are in the report and in the shard, never raised."""
    if isinstance(unit.work, ScanWork):
        from ingest.run.scan_worker import carry_out_scan

        return carry_out_scan(unit, unit.work)
    if isinstance(unit.work, PairWork):
        from ingest.run.pair_worker import carry_out_pairs

        return carry_out_pairs(unit, unit.work)
    from ingest.run.worker import carry_out

    return carry_out(unit, unit.work)


def fail_unit(unit: Unit, error: BaseException) -> UnitReport:
    """Enter into the ledger that a unit came to nothing."""
    if isinstance(unit.work, ScanWork):
        from ingest.run.scan_worker import enter_scan_failure

        return enter_scan_failure(unit, unit.work, error, seconds=0.0)
    if isinstance(unit.work, PairWork):
        from ingest.run.pair_worker import enter_pair_failure

        return enter_pair_failure(unit, unit.work, error, seconds=0.0)
    from ingest.run.entry import enter_failure

    return enter_failure(unit, unit.work, error, seconds=0.0)


def is_permanent(error: BaseException) -> bool:
    """Whether doing the same again would fail the same way: not so for memory, disks, locks and lost workers."""
    return not any(
        isinstance(each, OSError | TryAgain | NoSpace | WorkerLost) or lacks_memory(each)
        for each in (error, error.__cause__)
        if each is not None
    )


class WorkerLost(Exception):
    """A worker process ended without an answer: killed, out of memory, or crashed."""


class WeightsLost(PathscopeError):
    """The archive has results of a run whose checkpoint folder is gone."""
