"""Handing out units, committing what comes back, until all is done or somebody wants to stop. Imports no torch."""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace

from archive.committer import CommitReport, commit_inbox, pending_shards
from archive.errors import ArchiveBusy, NoSpace
from archive.layout import Layout
from ingest.run.journal import Journal
from ingest.run.stopping import Stopper
from ingest.run.unit import CellFailure, Unit, UnitReport, Work, WorkerLost, fail_unit, run_unit
from ingest.run.workers import WorkerProcesses

COMMIT_SECONDS = 3.0
# while units are running, a reader that keeps the archive open only delays the commit to the next round
BUSY_PATIENCE = 1.0
LOOK_SECONDS = 0.5
# a unit whose worker was lost is tried again at once; lost twice, it is a failure
MOST_LOSSES = 2


@dataclass
class Tally:
    """How it goes: cells settled by units so far, and what went wrong."""

    n_filled: int = 0
    n_units: int = 0
    failures: list[CellFailure] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Queue:
    """Units of one group, in step order."""

    works: deque[Work]
    n_running: int = 0

    @property
    def ready(self) -> bool:
        return bool(self.works) and not (self.works[0].in_turn and self.n_running)


@dataclass
class Dispatch:
    """The parent's loop. `on_progress` is called after every unit and about twice a second."""

    layout: Layout
    make_unit: Callable[[Work], Unit]
    stopper: Stopper
    journal: Journal
    on_progress: Callable[[Tally], None]
    on_failure: Callable[[CellFailure], None]
    tally: Tally = field(default_factory=Tally)
    _queues: list[_Queue] = field(default_factory=list)
    _running: dict[Future[UnitReport], tuple[_Queue, Work]] = field(default_factory=dict)
    _losses: dict[int, int] = field(
        default_factory=dict
    )  # by identity of the work, which its queue keeps alive
    _committed_at: float = field(default_factory=time.monotonic)

    def add(self, works: Iterable[Work]) -> None:
        """Take on the units of one group."""
        self._queues.append(_Queue(deque(works)))

    def run(self, executor: Executor, n_workers: int) -> None:
        """Work until nothing is left, or until the stopper says so; then commit everything."""
        try:
            while self._running or (not self.stopper.stopping and any(q.works for q in self._queues)):
                self._submit(executor, n_workers)
                self._collect()
                self._commit()
                self.on_progress(self.tally)
        except BaseException as error:
            # a second Ctrl-C, a full disk: what workers wrote is whole, what they are at can be done again
            self.stopper.stop(f"{type(error).__name__}")
            if isinstance(executor, WorkerProcesses):
                executor.kill()
            if not isinstance(error, KeyboardInterrupt):
                raise
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
        self._take(commit_inbox(self.layout))

    def fail(self, work: Work, error: BaseException) -> UnitReport:
        """Enter a unit's failure into the ledger and tell of it."""
        report = fail_unit(self.make_unit(work), error)
        self.tell(report)
        return report

    def _submit(self, executor: Executor, n_workers: int) -> None:
        while len(self._running) < n_workers and not self.stopper.stopping:
            ready = [q for q in self._queues if q.ready]
            if not ready:
                return
            queue = min(ready, key=lambda q: q.works[0].until)  # all groups advance alike
            work = queue.works.popleft()
            queue.n_running += 1
            self._running[executor.submit(run_unit, self.make_unit(work))] = (queue, work)

    def _collect(self) -> None:
        done, _ = wait(self._running, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            queue, work = self._running.pop(future)
            queue.n_running -= 1
            error = future.exception()
            if error is not None:
                self._lost(queue, work, error)
            else:
                self._done(queue, work, future.result())

    def _lost(self, queue: _Queue, work: Work, error: BaseException) -> None:
        """The worker gave no answer."""
        if self.stopper.stopping:  # killed together with us
            return
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise NoSpace(
                f"the disk of {self.layout.folder} is full; what is committed is safe. Free space, then give the same "
                "command again."
            ) from error
        if isinstance(error, BrokenProcessPool):
            work = replace(work, n_lost=work.n_lost + 1)
            if work.n_lost < MOST_LOSSES:
                self.journal.line(f"{work.title}: a worker was lost before step {work.until}; trying again")
                queue.works.appendleft(work)
                return
            error = WorkerLost(
                f"the worker process ended without an answer {work.n_lost} times (killed, or out of memory); the next "
                "`pathscope ingest` tries again"
            )
        self._forget(queue, self.fail(work, error))

    def _done(self, queue: _Queue, work: Work, report: UnitReport) -> None:
        self.tell(report)
        self.journal.line(
            f"{work.title}: at step {min(report.reached, work.until)}, {report.n_cells} cells, "
            f"{report.seconds:.1f} s, {report.shard}"
        )
        for note in report.notes:
            self.journal.line(f"{work.title}: {note}")
        if report.stopped:
            self.stopper.stop("a worker was told to stop")
            return
        rest = work.rest(report.left, report.reached)
        if not rest.is_empty:
            queue.works.appendleft(rest)
        self._forget(queue, report)

    def _forget(self, queue: _Queue, report: UnitReport) -> None:
        if report.dead:
            again = report.dead & {f.run for f in report.failures if f.measure is None and not f.permanent}
            lighter = (work.without(report.dead, again) for work in queue.works)
            queue.works = deque(work for work in lighter if not work.is_empty)

    def tell(self, report: UnitReport) -> None:
        """Count what was done and name what failed."""
        self.tally.n_units += 1
        self.tally.n_filled += report.n_cells
        for failure in report.failures:
            self.tally.failures.append(failure)
            self.journal.line(f"FAILED {describe_failure(failure)}")
            self.on_failure(failure)

    def _commit(self) -> None:
        if time.monotonic() - self._committed_at < COMMIT_SECONDS or not pending_shards(self.layout):
            return
        try:
            self._take(commit_inbox(self.layout, patience=BUSY_PATIENCE))
        except ArchiveBusy as error:
            self.journal.line(f"commit put off: {error}")
        except NoSpace:
            self.journal.line("the disk is full; stopping")
            raise
        self._committed_at = time.monotonic()

    def _take(self, report: CommitReport) -> None:
        for name, reason in report.refused:
            self.tally.refused.append((name, reason))
            self.journal.line(f"REFUSED {name}: {reason}")


def describe_failure(failure: CellFailure) -> str:
    """One line: what, where, why."""
    place = failure.run if failure.step is None else f"{failure.run} step {failure.step}"
    what = f" {failure.measure}" if failure.measure else ""
    lasting = "" if failure.permanent else " (will be tried again)"
    return f"{place}{what}: {failure.error_class}: {failure.message}{lasting}"
