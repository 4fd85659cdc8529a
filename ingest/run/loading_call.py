"""What is particular to a study that loads: nothing is trained, every run is cut into pieces of its own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from archive.errors import UsageError
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.stored import stored_eval_set
from ingest.planning.estimate import Estimate
from ingest.planning.freezing import Freezer
from ingest.planning.load_cost import estimate_loading
from ingest.planning.load_wanted import wanted_of_loaded
from ingest.planning.plan import Plan, RunTask
from ingest.planning.wanted import Wanted
from ingest.planning.worker_memory import fitting, worker_bytes
from ingest.run.conduct import Call, stored_wanted
from ingest.run.dispatch import Dispatch
from ingest.run.free_memory import free_memory
from ingest.run.present import Present
from ingest.run.scans import ScanWork
from ingest.run.workers import n_cores, n_processes
from ingest.studies.loading import LoadedRun, LoadStudy
from ingest.studies.parts import ExecutorChoice


@dataclass
class LoadingCall(Call[LoadedRun]):
    """Carries out a study that loads."""

    study: LoadStudy
    _notes: list[str] = field(default_factory=list)

    @property
    def _runs(self) -> Sequence[LoadedRun]:
        return self.study.runs

    @cached_property
    def _freezer(self) -> Freezer:
        there = self.layout.database.exists()
        return Freezer(self.study, Archive(self.layout.database) if there else None)

    def _work_out(self, present: Present, extra: tuple[str, ...]) -> Wanted:
        return wanted_of_loaded(self.study, stored_wanted(present), extra, self._freezer)

    def _executor(self, plan: Plan[LoadedRun], present: Present) -> tuple[ExecutorChoice, tuple[str, ...]]:
        """With no more processes than memory holds, unless the study insists."""
        wanted = self._wanted(present, *self._extra)
        per_worker = worker_bytes(plan, wanted, self.study.load, self.executor.checkpoints_per_unit)
        return fitting(self.executor, per_worker, self._free_memory, n_cores())

    @cached_property
    def _free_memory(self) -> int | None:
        return free_memory()

    def _estimate(self, plan: Plan[LoadedRun], present: Present) -> Estimate:
        n_workers = n_processes(self._executor(plan, present)[0])
        wanted = self._wanted(present, *self._extra)
        return estimate_loading(plan, wanted, self.study.load, present.pace, n_workers)

    def _check(self, present: Present) -> None:
        """A run is where it was loaded from: other weights under the same name would count as measured."""
        load = self.study.file.load
        for run in self._runs:
            known, found = present.origins.get(run.name, ""), load.origin(run.spec)
            if known and known != found and not load.moved:
                raise UsageError(
                    f"{self.study.path}: run {run.name!r} in {self.layout.database} was loaded from {known}, the file says "
                    f"{found}. Give the run another name (family_params.run), or write load.moved = true if only its place "
                    "is new; weights are then compared as they are read."
                )

    def _missing_eval_sets(self, present: Present) -> Iterator[Callable[[ShardBuilder], None]]:
        entered = set(present.eval_sets)
        for run in self._runs:
            for frozen in self._freezer.of_run(run).values():
                if frozen.encoding.hash not in entered:
                    entered.add(frozen.encoding.hash)
                    self._notes += [f"{frozen.encoding.name}: {note}" for note in frozen.notes]
                    yield frozen.add_to

    def _share_out(self, plan: Plan[LoadedRun], present: Present, dispatch: Dispatch, n_workers: int) -> None:
        wanted = self._wanted(present, *self._extra)
        archive = Archive(self.layout.database)
        frozen: dict[str, FrozenEvalSet] = {}
        for note in (*self._executor(plan, present)[1], *self._notes):
            dispatch.journal.line(note)
        threads = None if self.executor.kind == "inline" else max(1, n_cores() // n_workers)
        for task in plan.tasks:
            encodings = {
                m.eval_set: m.encoding for m in wanted.conditions[task.run.label].measured if m.eval_set
            }
            for encoding in set(encodings.values()) - set(frozen):
                frozen[encoding] = stored_eval_set(archive, encoding)
            eval_sets = {label: frozen[encoding] for label, encoding in encodings.items()}
            dispatch.add(self._pieces(task, eval_sets, self._known_hashes(archive, task.run), threads))

    def _known_hashes(self, archive: Archive, run: LoadedRun) -> dict[int, str]:
        rows = archive.rows(
            """SELECT c.step, c.weights_hash FROM checkpoint c JOIN run r ON r.id = c.run_id
               WHERE r.name = $run AND c.snapshot = '' AND c.weights_hash <> ''""",
            {"run": run.name},
        )
        return {row["step"]: row["weights_hash"] for row in rows}

    def _pieces(
        self,
        task: RunTask[LoadedRun],
        eval_sets: Mapping[str, FrozenEvalSet],
        known_hashes: Mapping[int, str],
        threads: int | None,
    ) -> Iterator[ScanWork]:
        """The run's checkpoints in pieces of at most so many, by step."""
        refs = [ref for ref in task.run.refs if ref.step in task.cells]
        size = self.executor.checkpoints_per_unit
        for start in range(0, len(refs), size):
            some = tuple(refs[start : start + size])
            yield ScanWork(
                run=task.run,
                load=self.study.load,
                origin=self.study.file.load.origin(task.run.spec),
                refs=some,
                cells={(task.run.name, ref.step): task.cells[ref.step] for ref in some},
                eval_sets=eval_sets,
                known_hashes=known_hashes,
                threads=threads,
            )
