"""Measures that compare checkpoints of a run: filled from stored files when there are no more to come."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from archive.errors import PathscopeError
from ingest.measure import MEASURES, Needs
from ingest.measuring.checkpoint import measure_checkpoint, measure_history
from ingest.measuring.measured import MeasuredValue
from ingest.models.loaded import LoadedModel
from ingest.readings.history import WeightHistory
from ingest.run.entry import Entry, not_kept
from ingest.train.checkpoints import (
    CheckpointDamaged,
    ResumeState,
    checkpoint_runs,
    iter_checkpoints,
    load_run,
    load_tensor,
    read_resume_state,
)
from ingest.train.spec import TrainSpec

Cells = Mapping[int, Sequence[str]]


class NoFinalCheckpoint(PathscopeError):
    """A run ended before its last step, so nothing can be compared with its final checkpoint."""


def measure_late(
    entry: Entry, stop: Callable[[], bool], overtime: Callable[[], bool]
) -> tuple[tuple[str, int], ...]:
    """Fill the cells of a late unit; returns those that are left for want of time.

    Cells of checkpoints that the run does not have, because it ended before or is not trained so far, are
    neither filled nor left.
    """
    work = entry.work
    stored = StoredRuns(work.group.folder, entry.spec, entry.unit.device)
    left: list[tuple[str, int]] = []
    n = 0
    for run in sorted({run for run, _ in work.cells}):
        cells = {step: measures for (r, step), measures in sorted(work.cells.items()) if r == run}
        if n and stop():
            left += [(run, step) for step in cells]
            continue
        n += _by_history(entry, run, _needing("history", cells), stored)
        to_final = _needing("final", cells)
        try:
            final = stored.final(run) if to_final else None
        except PathscopeError as error:
            there = stored.steps(run)
            entry.fail_alike(run, {step: cells for step, cells in to_final.items() if step in there}, error)
            continue
        for step, measures in to_final.items() if final is not None else ():
            if n and (stop() or overtime()):
                left.append((run, step))
                continue
            _by_final(entry, run, step, measures, stored, final)
            n += 1
    return tuple(left)


def _by_final(
    entry: Entry,
    run: str,
    step: int,
    measures: Sequence[str],
    stored: "StoredRuns",
    final: LoadedModel | None,
) -> None:
    if step not in stored.steps(run):
        if (error := stored.why_missing(run, step)) is not None:
            entry.fail_checkpoint(run, step, measures, error)
        return
    try:
        model = load_run(stored.files[step], run, device=entry.unit.device)
        named = [MEASURES.get(name) for name in measures]
        values = measure_checkpoint(model, entry.task, entry.split_seed(run), named, final=final)
        entry.values(run, step, values, weights_hash=model.weights_hash, file=stored.files[step])
    except Exception as error:
        entry.fail_checkpoint(run, step, measures, error)


def _by_history(entry: Entry, run: str, cells: Cells, stored: "StoredRuns") -> int:
    """Checkpoints done; each measure goes once over all checkpoints of the run, however many are wanted."""
    done: dict[int, list[MeasuredValue]] = {}
    for step, measures in cells.items():
        if step in stored.steps(run):
            done[step] = []
        elif (missing := stored.why_missing(run, step)) is not None:
            entry.fail_checkpoint(run, step, measures, missing)
    for name in sorted({name for step in done for name in cells[step]}):
        steps = tuple(step for step in done if name in cells[step])
        try:
            found = measure_history(stored.history(run, steps), entry.task, [MEASURES.get(name)])
        except Exception as error:
            entry.fail_alike(run, {step: [name] for step in steps}, error)
            continue
        for step, values in found.items():
            done[step] += values
    for step, values in done.items():
        if values:
            weights_hash = load_run(stored.files[step], run).weights_hash
            entry.values(run, step, values, weights_hash=weights_hash, file=stored.files[step])
    return len(done)


def _needing(needs: Needs, cells: Cells) -> dict[int, tuple[str, ...]]:
    """Of the cells those whose measures need this."""
    chosen = {
        step: tuple(name for name in measures if MEASURES.get(name).needs == needs)
        for step, measures in cells.items()
    }
    return {step: measures for step, measures in chosen.items() if measures}


class StoredRuns:
    """What a training folder holds of each run. files: of checkpoints, by step."""

    def __init__(self, folder: Path, spec: TrainSpec, device: str) -> None:
        self.folder = folder
        self.spec = spec
        self.device = device
        self.files = dict(iter_checkpoints(folder))

    @cached_property
    def _runs(self) -> dict[int, tuple[str, ...]]:
        """Names of the runs by step; a damaged file holds none."""
        found = {}
        for step, path in self.files.items():
            try:
                found[step] = checkpoint_runs(path)
            except CheckpointDamaged:
                found[step] = ()
        return found

    @cached_property
    def _state(self) -> ResumeState | None:
        return read_resume_state(self.folder)

    def steps(self, run: str) -> tuple[int, ...]:
        """Of the run's readable checkpoints, increasing."""
        return tuple(step for step, runs in self._runs.items() if run in runs)

    def why_missing(self, run: str, step: int) -> PathscopeError | None:
        """Why a checkpoint that was to be kept is not there; None where the run has not come that far, or never will."""
        if step in self.files:
            try:
                checkpoint_runs(self.files[step])
            except CheckpointDamaged as error:
                return error
            return None
        state = self._state
        ended = [failure.step for failure in state.failures if failure.run == run] if state else []
        if state is not None and step > min([state.step, *ended]):
            return None
        return not_kept(run, step, self.folder)

    def final(self, run: str) -> LoadedModel | None:
        """The model at the last step; None where training is not over.

        Raises NoFinalCheckpoint where the run ended before, CheckpointNotKept or CheckpointDamaged where the
        file is gone or damaged.
        """
        last = self.spec.steps
        if last in self.steps(run):
            return load_run(self.files[last], run, device=self.device)
        for failure in self._state.failures if self._state is not None else ():
            if failure.run == run:
                raise NoFinalCheckpoint(
                    f"{run} ended at step {failure.step} and has no final checkpoint at step {last} to compare with: "
                    f"{failure.reason}"
                )
        if (error := self.why_missing(run, last)) is not None:
            raise error
        return None

    def history(self, run: str, wanted: tuple[int, ...]) -> WeightHistory:
        """All readable checkpoints of the run, on disk until they are looked at."""
        steps = self.steps(run)
        return WeightHistory(
            layout=self.spec.layout(),
            steps=steps,
            wanted=wanted,
            load=lambda step: load_run(self.files[step], run, device=self.device),
            load_tensor=lambda step, name: load_tensor(self.files[step], run, name),
        )
