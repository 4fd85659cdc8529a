"""Carrying out a study from plan to committed results: what `pathscope ingest` calls.

The parent plans, hands out units, commits what workers hand in, and is the only one to touch the archive.
Whatever is killed whenever, the same call again goes on where the archive and the disk say it was.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from archive.committer import commit_inbox, pending_shards
from archive.create import ensure_archive
from archive.errors import UsageError
from archive.identity import canonical_json
from archive.layout import Layout
from archive.records import Study as StudyRecord
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.estimate import Estimate, check_budget, estimate
from ingest.plan import Plan, RunTask, make_plan
from ingest.provenance import provenance
from ingest.run.dispatch import Dispatch, Tally
from ingest.run.groups import Group, UnitWork, assign, cut, folder_name, stored_groups
from ingest.run.journal import Journal
from ingest.run.lock import study_lock
from ingest.run.present import Present, look
from ingest.run.stopping import Stopper
from ingest.run.unit import CellFailure, Unit, WeightsLost
from ingest.run.workers import make_executor, n_processes
from ingest.study import ExecutorChoice, Study
from ingest.wanted import Wanted, wanted_of

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
        """0 done or nothing to do; 1 some work failed; 75 work left."""
        return {"failed": 1, "stopped": 75}.get(self.state, 0)


class Watcher(Protocol):
    """Who is told how it goes; the command line draws bars."""

    def planned(self, study: Study, plan: Plan, estimated: Estimate) -> None:
        """Called once, before the first unit."""

    def progressed(self, tally: Tally) -> None:
        """Called after every unit and about twice a second."""

    def failed(self, failure: CellFailure) -> None:
        """Called for every piece of work that failed."""


def ingest(study: Study, archive: Path, options: Options, watcher: Watcher) -> IngestReport:
    """Fill what is missing of a study, or plan it with `dry_run`.

    Raises UsageError for a study that contradicts the archive or exceeds its budget, StudyLocked when
    another process is at it, ArchiveBusy or NoSpace as the committer does.
    """
    layout = Layout.of(archive)
    call = _Call(study, layout, options, watcher)
    if options.dry_run:
        return call.plan_only()
    ensure_archive(layout.database)
    with study_lock(layout.folder / f"study-{study.name}.lock", study.name):
        stopper = Stopper(layout.folder / f"study-{study.name}.stop", options.deadline)
        with stopper.listening():
            return call.run(stopper)


@dataclass
class _Call:
    study: Study
    layout: Layout
    options: Options
    watcher: Watcher
    started: float = field(default_factory=time.monotonic)
    _known: dict[tuple[str, ...], Wanted] = field(default_factory=dict)

    @property
    def executor(self) -> ExecutorChoice:
        return self.options.executor or self.study.file.executor

    def plan_only(self) -> IngestReport:
        """Say what would be done; touches nothing."""
        present = self._look()
        plan = self._plan(present)
        estimated = estimate(plan, present.pace, n_processes(self.executor))
        return self._report(plan, plan, "planned" if plan.tasks else "nothing to do", estimated=estimated)

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
        estimated = estimate(plan, present.pace, n_processes(self.executor))
        check_budget(estimated, self.study.file.budget, self.study.path, self.layout.database)
        executor, n_workers = make_executor(self.executor)
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
        runs = self.study.runs
        present = look(Archive(self.layout.database), self.study.name, [run.name for run in runs])
        for run in runs:  # a run is what it was trained with: changed settings need another name
            stored = present.spec_hashes.get(run.name)
            if stored and stored != run.spec.hash:
                raise UsageError(
                    f"{self.study.path}: run {run.name!r} is in {self.layout.database} with other training settings "
                    f"(stored {stored[:12]}…, the file gives {run.spec.hash[:12]}…). Give the study another name, or "
                    f"`pathscope drop --study {self.study.name}` to train it again."
                )
        return present

    def _plan(self, present: Present, *, retry_failed: bool | None = None) -> Plan:
        named = self.study.file.measures.names
        return make_plan(
            self.study.runs,
            self._wanted(present, *(name for name in self.options.fill if name not in named)).conditions,
            present.cells,
            present.log_reach,
            retry_failed=self.options.retry_failed if retry_failed is None else retry_failed,
            only=self.options.fill,
        )

    def _wanted(self, present: Present, *extra: str) -> Wanted:
        if extra not in self._known:
            self._known[extra] = wanted_of(self.study, _stored(present), extra)
        return self._known[extra]

    def _record(self, wanted: Wanted) -> StudyRecord:
        return StudyRecord(
            name=self.study.name,
            toml=self.study.toml,
            resolved={**self.study.resolved(), "wanted": wanted.as_plain()},
            n_cells_wanted=sum(wanted.conditions[run.label].n_cells for run in self.study.runs),
        )

    def _declare(self, record: StudyRecord, wanted: Wanted, present: Present) -> None:
        """Enter the study and the tokens of its eval sets, before any result refers to them; nothing if known."""
        known = _stored(present) or {}
        if known.get("fingerprint") == wanted.fingerprint and present.study_toml == self.study.toml:
            return
        builder = ShardBuilder(kind="content", study=record, provenance=provenance(0.0))
        entered = set(present.eval_sets)
        distinct = {canonical_json([s.task, s.task_params]): s for _, s in self.study.file.specs()}
        for task in (spec.make_task() for spec in distinct.values()):
            if task.eval_set.encoding.hash not in entered:
                from ingest.measuring import add_eval_set  # imports torch

                add_eval_set(builder, task)
                entered.add(task.eval_set.encoding.hash)
        builder.write(self.layout.inbox)
        commit_inbox(self.layout)

    def _share_out(self, plan: Plan, present: Present, dispatch: Dispatch, n_workers: int) -> None:
        """Give every run a group and cut the groups' work into units; runs without weights fail here."""
        checkpoints = self.layout.checkpoints
        stored = stored_groups(checkpoints, self.study.name)
        specs = {run.name: run.spec for run in self.study.runs}
        for found in stored:
            for name, _ in found.runs:
                if name in specs and specs[name].hash != found.spec_hash:
                    raise UsageError(
                        f"{found.folder} holds training of {name!r} with other settings, of which the archive has "
                        "nothing. Delete that folder, or give the study another name."
                    )
        groups = assign(
            plan.tasks,
            stored,
            checkpoints,
            self.study.name,
            seeds_per_group=self.executor.seeds_per_process,
            n_workers=n_workers,
            device=self.executor.device,
        )
        for task in groups.lost:
            self._lost(task, present, dispatch)
        for group, tasks in groups.with_tasks:
            dispatch.add(cut(group, tasks, self.executor.checkpoints_per_unit))

    def _lost(self, task: RunTask, present: Present, dispatch: Dispatch) -> None:
        """Enter what a run without weights misses as failed; only checkpoints the archive knows can be named."""
        run = task.run
        folder = self.layout.checkpoints / self.study.name
        error = WeightsLost(
            f"the weights of {run.name} are not in {folder} any more, and the archive has results of it. Put the folder "
            f"back and give --retry-failed, or `pathscope drop --run {run.name}` and let the study train it again."
        )
        group = Group(
            folder / folder_name(self.study.name, [run.name]), run.spec, ((run.name, run.seeds),), 0
        )
        if task.log_after is not None:
            dispatch.fail(UnitWork(group, run.spec.steps, {}, {run.name: task.log_after}), error)
        known = {
            owner.key[1]
            for owner, _ in present.cells
            if owner.kind == "checkpoint" and owner.key[0] == run.name
        }
        cells = {(run.name, step): measures for step, measures in task.cells.items() if step in known}
        if cells:
            dispatch.fail(UnitWork(group, max(s for _, s in cells), cells, {}), error)

    def _unit(self, work: UnitWork, record: StudyRecord, stopper: Stopper) -> Unit:
        return Unit(
            work=work,
            study=record,
            root=self.layout.folder,
            inbox=self.layout.inbox,
            stop_file=stopper.file,
            deadline=stopper.deadline,
            device=self.executor.device,
        )

    def _outcome(self, tally: Tally, after: Plan, stopper: Stopper) -> tuple[State, str]:
        """The state by what failed and by what the ledger still lacks, and why it lacks it."""
        if tally.failures or tally.refused:
            return "failed", stopper.reason
        if after.tasks and self.options.fill and not stopper.reason:
            return "done", "at checkpoints that are not trained yet, which the study does without --fill"
        return "stopped" if after.tasks else "done", stopper.reason

    def _report(
        self,
        before: Plan,
        after: Plan,
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


def _stored(present: Present) -> Mapping[str, Any] | None:
    """What the study wanted when it was last entered."""
    stored: Mapping[str, Any] | None = (present.study or {}).get("wanted")
    return stored
