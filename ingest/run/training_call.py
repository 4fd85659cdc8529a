"""What is particular to a study that trains: groups of runs that share a batch, and their folders. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from archive.errors import UsageError
from archive.identity import canonical_json
from archive.records import Run
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.planning.estimate import Estimate, estimate
from ingest.planning.plan import Plan, RunTask
from ingest.planning.wanted import Wanted, wanted_of
from ingest.run.conduct import Call, stored_wanted
from ingest.run.dispatch import Dispatch
from ingest.run.groups import Group, UnitWork, assign, cut, folder_name, stored_groups
from ingest.run.present import Present
from ingest.run.unit import CellFailure, WeightsLost
from ingest.run.workers import n_processes
from ingest.studies.naming import run_name
from ingest.studies.training import PlannedRun, Study
from ingest.train.spec import Seeds


@dataclass
class TrainingCall(Call[PlannedRun]):
    """Carries out a study that trains."""

    study: Study

    @property
    def _runs(self) -> Sequence[PlannedRun]:
        return self.study.runs

    def _work_out(self, present: Present, extra: tuple[str, ...]) -> Wanted:
        return wanted_of(self.study, stored_wanted(present), extra)

    def _estimate(self, plan: Plan[PlannedRun], present: Present) -> Estimate:
        return estimate(plan, present.pace, n_processes(self.executor), self.executor.device)

    def _check(self, present: Present) -> None:
        for run in self._runs:  # a run is what it was trained with: changed settings need another name
            stored = present.spec_hashes.get(run.name)
            if stored and stored != run.spec.hash:
                raise UsageError(
                    f"{self.study.path}: run {run.name!r} is in {self.layout.database} with other training settings "
                    f"(stored {stored[:12]}…, the file gives {run.spec.hash[:12]}…). Give the study another name, or "
                    f"`pathscope drop --study {self.study.name}` to train it again."
                )

    def _missing_eval_sets(self, present: Present) -> Iterator[Callable[[ShardBuilder], None]]:
        entered = set(present.eval_sets)
        distinct = {canonical_json([s.task, s.task_params]): s for _, s in self.study.file.specs()}
        for task in (spec.make_task() for spec in distinct.values()):
            if task.eval_set.encoding.hash not in entered:
                from ingest.measuring.measured import add_eval_set  # imports torch

                entered.add(task.eval_set.encoding.hash)
                yield partial(add_eval_set, task=task)
        if self.study.file.refused():
            yield self._enter_refused

    def _refused(self) -> list[CellFailure]:
        return [
            CellFailure(f"{self.study.name}/{label}", None, None, UsageError.__name__, why, permanent=True)
            for label, why in self.study.file.refused()
        ]

    def _enter_refused(self, builder: ShardBuilder) -> None:
        """Enter the training of runs whose settings are impossible as failed for good."""
        from ingest.train.log import LOG_METRICS  # imports torch

        file = self.study.file
        for label, why in file.refused():
            for init, data_order, split in file.seeds.combinations():
                seeds = Seeds(init=init, data_order=data_order, split=split)
                run = Run(name=run_name(self.study.name, label, seeds), condition=label, notes=(why,))
                owner = builder.run(run)
                for metric in LOG_METRICS:
                    builder.failed_cell(
                        owner,
                        builder.quantity(metric.quantity(file.train)),
                        CellState.FAILED_PERMANENT,
                        error_class=UsageError.__name__,
                        message=why,
                    )

    def _share_out(
        self, plan: Plan[PlannedRun], present: Present, dispatch: Dispatch, n_workers: int
    ) -> None:
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

    def _lost(self, task: RunTask[PlannedRun], present: Present, dispatch: Dispatch) -> None:
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
        cells = {(run.name, step): measures for step, measures in task.all_cells.items() if step in known}
        if cells:
            dispatch.fail(UnitWork(group, max(s for _, s in cells), cells, {}), error)
