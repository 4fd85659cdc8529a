"""Measuring stored results again, as the worker measured them; nothing is written (`pathscope verify --recompute`)."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import torch

from archive.errors import PathscopeError
from archive.layout import Layout
from archive.records import Provenance
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.recomputing import NotMeasured, OnStep
from archive.upkeep.sampled import StoredCell
from ingest.measure import MEASURES, Needs, RegisteredMeasure
from ingest.measuring.checkpoint import measure_checkpoint, measure_history
from ingest.measuring.measured_again import Again, MeasuredAgain
from ingest.measuring.recompute_loaded import LoadedAgain
from ingest.models.loaded import LoadedModel
from ingest.provenance import provenance
from ingest.run.late import StoredRuns
from ingest.tasks.corpus import CorpusChanged
from ingest.train.checkpoints import load_run
from ingest.train.spec import Seeds, TrainSpec

DEVICE = "cpu"


def now() -> Provenance:
    """What measures here."""
    return provenance(0.0, device=DEVICE)


def recompute_cells(
    archive: Archive, cells: Sequence[StoredCell], builder: ShardBuilder, on_step: OnStep
) -> Again:
    """Measure cells again, on the processor, with as many threads as they were measured with.

    A checkpoint that cannot be had any more is left out; one that cannot be read, holds other weights than were
    measured, or fails to be measured now, is wrong.
    """
    root = Layout.of(archive.file).folder
    not_measured: list[NotMeasured] = []
    how: dict[StoredCell, Provenance] = {}
    threads = torch.get_num_threads()
    try:
        for together in _by_checkpoint(cells):
            on_step(f"{together[0].run} step {together[0].step}")
            torch.set_num_threads(together[0].provenance.threads or threads)
            again = (
                _Checkpoint(root, together, builder)
                if together[0].load is None
                else LoadedAgain(archive, together, builder)
            )
            again.measure()
            not_measured += again.not_measured
            measured_with = now()
            how |= dict.fromkeys(together, measured_with)
    finally:
        torch.set_num_threads(threads)
    return not_measured, how


def _by_checkpoint(cells: Sequence[StoredCell]) -> Iterator[list[StoredCell]]:
    """Cells that one unit measured of one checkpoint."""

    def what(cell: StoredCell) -> tuple[object, ...]:
        how = (cell.together, cell.provenance.model_dump_json(), json.dumps(cell.load))
        return (cell.run, cell.step, cell.snapshot, *how)

    for _, group in groupby(sorted(cells, key=what), key=what):
        yield list(group)


class _Checkpoint(MeasuredAgain):
    """One checkpoint of a run trained here."""

    def __init__(self, root: Path, cells: Sequence[StoredCell], builder: ShardBuilder) -> None:
        super().__init__(cells, builder)
        self.file = root / self.first.location

    def measure(self) -> None:
        """Enter what can be measured, and say why the rest cannot."""
        try:
            if not self.file.exists():
                self.leave_out(self.cells.values(), f"{self.first.location} is gone", wrong=False)
                return
            model = load_run(self.file, self.first.run, device=DEVICE)
            if not self.is_other(model.weights_hash, self.first.location):
                self._measure(model)
        except CorpusChanged as error:
            # such as under another Python, which brings other texts along: nothing is wrong with the archive
            self.leave_out(self.cells.values(), str(error), wrong=False)
        except PathscopeError as error:
            self.leave_out(self.cells.values(), f"{type(error).__name__}: {error}", wrong=True)

    def _measure(self, model: LoadedModel) -> None:
        spec = TrainSpec.model_validate(self.first.config["train"])
        split = Seeds.model_validate(self.first.config["seeds"]).split
        task = spec.make_task()
        stored = StoredRuns(self.file.parent, spec, DEVICE)
        wanted = self._registered(spec)
        entered: set[str] = set()
        for reference, needs, measures in self._passes(wanted):
            if needs == "history":
                kept = [step for step in spec.checkpoint_steps() if step <= self.first.step]
                if not {*kept} <= {*stored.steps(self.first.run)}:
                    continue
                history = stored.history(self.first.run, (self.first.step,))
                values = measure_history(history, task, measures)[self.first.step]
            else:
                final = None
                if reference is not None:
                    if reference not in stored.steps(self.first.run):
                        continue
                    final = load_run(stored.files[reference], self.first.run, device=DEVICE)
                values = measure_checkpoint(model, task, split, measures, final=final)
            entered |= self.enter(values)
        lost = [cell for hash_, cell in self.cells.items() if hash_ not in entered]
        why = "this version has no such measure, or checkpoints that it compares with are gone or damaged"
        self.leave_out(lost, why, wrong=False)

    def _registered(self, spec: TrainSpec) -> dict[str, tuple[int | None, RegisteredMeasure]]:
        """By hash, all quantities that the unit measured: the reference step in them, and the measure."""
        task = spec.make_task()
        references = {spec.steps} | {
            int(cell.params.get("reference_step", spec.steps)) for cell in self.cells.values()
        }
        found: dict[str, tuple[int | None, RegisteredMeasure]] = {}
        for entry in MEASURES.entries().values():
            one = entry.thing
            for reference in references if one.needs == "final" else (None,):
                quantity = one.quantity(task, dtype=spec.dtype, reference_step=reference)
                if quantity.hash in self.first.together:
                    found[quantity.hash] = (reference, one)
        return found

    def _passes(
        self, wanted: dict[str, tuple[int | None, RegisteredMeasure]]
    ) -> Iterator[tuple[int | None, Needs, list[RegisteredMeasure]]]:
        """What goes through the model together; passes that no cell asks for are left out."""
        kinds = {(wanted[hash_][0], wanted[hash_][1].needs) for hash_ in self.cells if hash_ in wanted}
        for reference, needs in sorted(kinds, key=repr):
            yield (
                reference,
                needs,
                [one for at, one in wanted.values() if (at, one.needs) == (reference, needs)],
            )
