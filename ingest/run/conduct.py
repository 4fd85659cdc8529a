"""Carrying out a study from plan to committed results: what `pathscope ingest` calls.

The parent plans, hands out units, commits what workers hand in, and is the only one to touch the archive.
Whatever is killed whenever, the same call again goes on where the archive and the disk say it was.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, Protocol

from archive.committer import commit_inbox, pending_shards
from archive.layout import Layout
from archive.records import Study as StudyRecord
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.planning.estimate import Estimate, check_budget
from ingest.planning.plan import Plan, Run, make_plan
from ingest.planning.row_budget import rows_of_plan
from ingest.planning.wanted import Wanted
from ingest.provenance import provenance
from ingest.run.dispatch import Dispatch, Tally
from ingest.run.journal import Journal
from ingest.run.present import Present, look
from ingest.run.stopping import Stopper
from ingest.run.unit import CellFailure, Unit, Work
from ingest.run.workers import make_executor
from ingest.studies.parts import AnyStudy, ExecutorChoice

State = Literal["nothing to do", "done", "planned", "stopped", "failed"]


@dataclass(frozen=True)
class Options:
    """How this call differs from what the study says.

    fill: only back-fill these measures from stored checkpoints. deadline: seconds since the epoch.
    executor: in place of the study's.
    """

    fill: tuple[str, ...] = ()
    deadline: float | None = None
    executor: ExecutorChoice | None = None
    retry_failed: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class IngestReport:
    """What a call did for one study.

    Cells by the ledger, after the call: wanted = present + given_up + left; filled of the present ones are
    new. given_up: failed for good, or never to be reached. left: what the next call will try.
    """

    study: str
    archive: Path
    state: State
    n_runs: int
    n_wanted: int
    n_present: int
    n_filled: int
    n_given_up: int
    n_left: int
    seconds: float
    estimated: Estimate | None = None
    failures: tuple[CellFailure, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    reason: str = ""

    @property
    def exit_code(self) -> int:
        """0 done or nothing to do; 1 some work failed, or will; 75 work left."""
        if self.failures:
            return 1
        return {"failed": 1, "stopped": 75}.get(self.state, 0)


class Watcher(Protocol):
    """Who is told how it goes; the command line draws bars."""

    def planned(self, study: AnyStudy, plan: Plan[Any], estimated: Estimate) -> None:
        """Called once, before the first unit."""

    def progressed(self, tally: Tally) -> None:
        """Called after every unit and about twice a second."""

    def failed(self, failure: CellFailure) -> None:
        """Called for every piece of work that failed."""


@dataclass
class Call(ABC, Generic[Run]):
    """One call for one study, whatever kind it is."""

    study: AnyStudy
    layout: Layout
    options: Options
    watcher: Watcher
    started: float = field(default_factory=time.monotonic)
    _known: dict[tuple[str, ...], Wanted] = field(default_factory=dict)

    @property
    def executor(self) -> ExecutorChoice:
        """Where units run."""
        return self.options.executor or self.study.settings.executor

    def plan_only(self) -> IngestReport:
        """Say what would be done; touches nothing."""
        present = self._look()
        plan = self._plan(present)
        estimated = self._cost(plan, present)
        state: State = "planned" if plan.tasks else "nothing to do"
        foreseen = self._foreseen(plan)
        for failure in foreseen:
            self.watcher.failed(failure)
        return self._report(plan, plan, state, estimated=estimated, tally=Tally(failures=foreseen))

    def run(self, stopper: Stopper) -> IngestReport:
        """Do it, with the study's lock held and the stopper listening."""
        if pending_shards(self.layout):  # of a call that was killed
            commit_inbox(self.layout)
        present = self._look()
        plan = self._plan(present)
        wanted = self._wanted(present)
        record = self._record(wanted)
        if not plan.tasks:
            self._declare(record, wanted, present)
            return self._report(plan, plan, "nothing to do")
        estimated = self._cost(plan, present)
        check_budget(estimated, self.study.settings.budget, self.study.path, self.layout.database)
        executor, n_workers = make_executor(self._executor(plan, present)[0])
        self._declare(record, wanted, present)
        self.watcher.planned(self.study, plan, estimated)
        dispatch = Dispatch(
            layout=self.layout,
            make_unit=lambda work: self._unit(work, record, stopper),
            stopper=stopper,
            journal=Journal(self.layout.logs, self.study.name),
            on_progress=self.watcher.progressed,
            on_failure=self.watcher.failed,
        )
        self._share_out(plan, present, dispatch, n_workers)
        dispatch.run(executor, n_workers)
        after = self._plan(self._look(), retry_failed=False)
        state, reason = self._outcome(dispatch.tally, after, stopper)
        return self._report(plan, after, state, estimated=estimated, tally=dispatch.tally, reason=reason)

    def _look(self) -> Present:
        if not self.layout.database.exists():
            return Present()
        present = look(Archive(self.layout.database), self.study.name, [run.name for run in self._runs])
        self._check(present)
        return present

    @property
    def _extra(self) -> tuple[str, ...]:
        """Measures to back-fill that the study does not name."""
        named = self.study.settings.measures.names
        return tuple(name for name in self.options.fill if name not in named)

    @property
    @abstractmethod
    def _runs(self) -> Sequence[Run]:
        """The study's runs."""

    def _plan(self, present: Present, *, retry_failed: bool | None = None) -> Plan[Run]:
        return make_plan(
            self._runs,
            self._wanted(present, *self._extra).conditions,
            present.cells,
            present.log_reach,
            retry_failed=self.options.retry_failed if retry_failed is None else retry_failed,
            only=self.options.fill,
            outdated=self._outdated(present),
        )

    def _wanted(self, present: Present, *extra: str) -> Wanted:
        if extra not in self._known:
            self._known[extra] = self._work_out(present, extra)
        return self._known[extra]

    def _record(self, wanted: Wanted) -> StudyRecord:
        return StudyRecord(
            name=self.study.name,
            toml=self.study.toml,
            resolved={**self.study.resolved(), "wanted": wanted.as_plain()},
            n_cells_wanted=sum(wanted.conditions[run.label].n_cells for run in self._runs),
        )

    def _declare(self, record: StudyRecord, wanted: Wanted, present: Present) -> None:
        """Enter the study and the tokens of its eval sets, before any result refers to them; nothing if known."""
        known = stored_wanted(present) or {}
        if known.get("fingerprint") == wanted.fingerprint and present.study_toml == self.study.toml:
            return
        ShardBuilder(kind="content", study=record, provenance=provenance(0.0)).write(self.layout.inbox)
        for add in self._missing_eval_sets(present):
            # a shard for each: several may bring the same vocabulary
            builder = ShardBuilder(kind="content", study=record, provenance=provenance(0.0))
            add(builder)
            builder.write(self.layout.inbox)
        commit_inbox(self.layout)

    @abstractmethod
    def _share_out(self, plan: Plan[Run], present: Present, dispatch: Dispatch, n_workers: int) -> None:
        """Cut the plan's work into units and hand them to the dispatch."""

    def _executor(self, plan: Plan[Run], present: Present) -> tuple[ExecutorChoice, tuple[str, ...]]:
        """Where this plan's units run, and what people should know of it."""
        return self.executor, ()

    def _cost(self, plan: Plan[Run], present: Present) -> Estimate:
        rows = rows_of_plan(plan, self._wanted(present, *self._extra), self.study.settings.measures.max_rows)
        return replace(self._estimate(plan, present), rows=rows, notes=self._executor(plan, present)[1])

    @abstractmethod
    def _estimate(self, plan: Plan[Run], present: Present) -> Estimate:
        """What is left costs."""

    @abstractmethod
    def _work_out(self, present: Present, extra: tuple[str, ...]) -> Wanted:
        """What the study asks for, with these measures besides those it names."""

    def _foreseen(self, plan: Plan[Run]) -> list[CellFailure]:
        """What of the plan is known to fail before it is tried; nothing by default."""
        return []

    def _outdated(self, present: Present) -> Collection[str]:
        """Runs whose stored failure is about settings that the study does not have any more; none by default."""
        return ()

    @abstractmethod
    def _check(self, present: Present) -> None:
        """Raise UsageError for runs that contradict what the archive has of them."""

    @abstractmethod
    def _missing_eval_sets(self, present: Present) -> Iterator[Callable[[ShardBuilder], None]]:
        """For each eval set that the archive does not have, what puts it into a shard."""

    def _unit(self, work: Work, record: StudyRecord, stopper: Stopper) -> Unit:
        return Unit(
            work=work,
            study=record,
            root=self.layout.folder,
            inbox=self.layout.inbox,
            stop_file=stopper.file,
            deadline=stopper.deadline,
            device=self.executor.device,
        )

    def _outcome(self, tally: Tally, after: Plan[Run], stopper: Stopper) -> tuple[State, str]:
        """The state by what failed and by what the ledger still lacks, and why it lacks it."""
        if tally.failures or tally.refused:
            return "failed", stopper.reason
        if after.tasks and self.options.fill and not stopper.reason:
            return "done", "at checkpoints that are not trained yet, which the study does without --fill"
        return "stopped" if after.tasks else "done", stopper.reason

    def _report(
        self,
        before: Plan[Run],
        after: Plan[Run],
        state: State,
        *,
        estimated: Estimate | None = None,
        tally: Tally | None = None,
        reason: str = "",
    ) -> IngestReport:
        tally = tally or Tally()
        return IngestReport(
            study=self.study.name,
            archive=self.layout.database,
            state=state,
            n_runs=before.n_runs,
            n_wanted=after.n_wanted,
            n_present=after.n_present,
            n_filled=after.n_present - before.n_present,
            n_given_up=after.n_given_up,
            n_left=after.n_todo,
            seconds=time.monotonic() - self.started,
            estimated=estimated,
            failures=tuple(tally.failures),
            refused=tuple(tally.refused),
            reason=reason,
        )


def stored_wanted(present: Present) -> Mapping[str, Any] | None:
    """What the study wanted when it was last entered."""
    stored: Mapping[str, Any] | None = (present.study or {}).get("wanted")
    return stored
