"""What is particular to a study that trains: groups of runs that share a batch, and their folders. Imports no torch."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeGuard

from archive.errors import UsageError
from archive.identity import canonical_json
from archive.shard import ShardBuilder
from ingest.planning.estimate import Estimate, estimate
from ingest.planning.plan import Plan, RunTask
from ingest.planning.wanted import Wanted, wanted_of
from ingest.run.conduct import Call, stored_wanted
from ingest.run.dispatch import Dispatch
from ingest.run.groups import Group, UnitWork, assign, cut, folder_name, stored_groups
from ingest.run.impossible import enter_impossible, failure_of
from ingest.run.present import Present
from ingest.run.unit import CellFailure, WeightsLost
from ingest.run.workers import n_processes
from ingest.studies.training import ImpossibleRun, PlannedRun, Study

AnyTrained: TypeAlias = PlannedRun | ImpossibleRun


@dataclass
class TrainingCall(Call[AnyTrained]):
    """Carries out a study that trains."""

    study: Study

    @property
    def _runs(self) -> Sequence[AnyTrained]:
        return (*self.study.runs, *self.study.impossible)

    def _work_out(self, present: Present, extra: tuple[str, ...]) -> Wanted:
        return wanted_of(self.study, stored_wanted(present), extra)

    def _estimate(self, plan: Plan[AnyTrained], present: Present) -> Estimate:
        possible = Plan[PlannedRun](
            tuple(filter(_is_possible, plan.tasks)),
            n_runs=plan.n_runs,
            n_wanted=plan.n_wanted,
            n_present=plan.n_present,
            n_given_up=plan.n_given_up,
            n_retry=plan.n_retry,
        )
        specs = {run.label: run.spec for run in self.study.runs}
        return estimate(possible, present.pace, n_processes(self.executor), self.executor.device, specs)

    def _check(self, present: Present) -> None:
        for run in self.study.runs:  # a run is what it was trained with: changed settings need another name
            stored = present.spec_hashes.get(run.name)
            if stored and stored != run.spec.hash:
                raise UsageError(
                    f"{self.study.path}: run {run.name!r} is in {self.layout.database} with other training settings "
                    f"(stored {stored[:12]}…, the file gives {run.spec.hash[:12]}…). Give the study another name, or "
                    f"`pathscope drop --study {self.study.name}` to train it again."
                )
        for impossible in self.study.impossible:
            if present.spec_hashes.get(impossible.name):
                raise UsageError(
                    f"{self.study.path}: run {impossible.name!r} is trained in {self.layout.database}, and with the "
                    f"file's settings it could not be: {impossible.settings.why}. Repair that, or give the study another "
                    "name."
                )

    def _foreseen(self, plan: Plan[AnyTrained]) -> list[CellFailure]:
        return [failure_of(run) for run in _impossible(plan)]

    def _outdated(self, present: Present) -> Collection[str]:
        now = {run.name: run.settings.why for run in self.study.impossible}
        return {name for name, why in present.impossible.items() if now.get(name) != why}

    def _missing_eval_sets(self, present: Present) -> Iterator[Callable[[ShardBuilder], None]]:
        entered = set(present.eval_sets)
        specs = {run.label: run.spec for run in self.study.runs}
        distinct = {canonical_json([s.task, s.task_params]): s for s in specs.values()}
        for task in (one for spec in distinct.values() for one in spec.make_task().evaluations):
            if task.eval_set.encoding.hash not in entered:
                from ingest.measuring.measured import add_eval_set  # imports torch

                entered.add(task.eval_set.encoding.hash)
                yield partial(add_eval_set, task=task)

    def _share_out(
        self, plan: Plan[AnyTrained], present: Present, dispatch: Dispatch, n_workers: int
    ) -> None:
        """Give every run a group and cut the groups' work into units; impossible runs and those without weights fail here."""
        if impossible := _impossible(plan):
            record = self._record(self._wanted(present))
            dispatch.tell(enter_impossible(impossible, record, self.layout.inbox))
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
            tuple(filter(_is_possible, plan.tasks)),
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

    def _lost(self, task: RunTask[PlannedRun], present: Present, dispatch: Dispatch) -> None:
        """Enter what a run without weights misses as failed; only checkpoints the archive knows can be named."""
        run = task.run
        folder = self.layout.checkpoints / self.study.name
        error = WeightsLost(
            f"the weights of {run.name} are not in {folder} any more, and the archive has results of it. Put the folder "
            f"back and give --retry-failed, or `pathscope drop --run {run.name}` and let the study train it again."
        )
        group = Group(
            folder / folder_name(self.study.name, [run.name]),
            run.spec,
            ((run.name, run.seeds),),
            0,
            run.apart,
        )
        if task.log_after is not None:
            dispatch.fail(UnitWork(group, run.spec.steps, {}, {run.name: task.log_after}), error)
        known = {
            owner.key[1]
            for owner, _ in present.cells
            if owner.kind == "checkpoint" and owner.key[0] == run.name
        }
        cells = {(run.name, step): measures for step, measures in task.all_cells.items() if step in known}
        if cells:
            dispatch.fail(UnitWork(group, max(s for _, s in cells), cells, {}), error)


def _is_possible(task: RunTask[AnyTrained]) -> TypeGuard[RunTask[PlannedRun]]:
    return isinstance(task.run, PlannedRun)


def _impossible(plan: Plan[AnyTrained]) -> list[ImpossibleRun]:
    """The runs of a plan that nobody can train."""
    return [task.run for task in plan.tasks if isinstance(task.run, ImpossibleRun)]
