"""Results of studies that load, measured again: the checkpoint is fetched once more from where it came."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from archive.errors import PathscopeError
from archive.records import NO_ENCODING
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.sampled import StoredCell
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.nothing import NOTHING
from ingest.evalsets.stored import stored_eval_set
from ingest.measure import MEASURES, RegisteredMeasure
from ingest.measuring.measured_again import MeasuredAgain
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.sources.base import CheckpointNotAvailable
from ingest.studies.loading import LoadSpec


class LoadedAgain(MeasuredAgain):
    """One checkpoint of a study that loads."""

    def __init__(self, archive: Archive, cells: Sequence[StoredCell], builder: ShardBuilder) -> None:
        super().__init__(cells, builder)
        self.archive = archive
        self.load: Mapping[str, Any] = cells[0].load or {}

    def measure(self) -> None:
        """Enter what can be measured, and say why the rest cannot."""
        place = self.load.get("family_params", {}).get("folder") or self.load.get("source", "hub")
        where = f"{self.first.run} step {self.first.step} ({self.load.get('family')}, {place})"
        try:
            load = LoadSpec.model_validate(self.load)
            family = load.make_family()
            family.check()
            refs = family.checkpoints_in(family.find(self.first.run), load.source)
        except (PathscopeError, ValidationError, OSError) as error:  # such as a folder of runs that is gone
            self.leave_out(self.cells.values(), f"{where} cannot be found again: {_line(error)}", wrong=False)
            return
        ref = next((ref for ref in refs if ref.step == self.first.step), None)
        if ref is None:
            self.leave_out(self.cells.values(), f"{where} is not there any more", wrong=False)
            return
        try:
            source = load.make_source()
            snapshot = source.get(ref.repository, ref.revision)
            try:
                model = family.load(ref, snapshot)
                if not self.is_other(model.weights_hash, where):
                    self._measure(model, load.batch)
            finally:
                source.release(snapshot)
        except (CheckpointNotAvailable, OSError) as error:
            self.leave_out(self.cells.values(), f"{where} cannot be had again: {_line(error)}", wrong=False)
        except PathscopeError as error:
            self.leave_out(self.cells.values(), f"{type(error).__name__}: {error}", wrong=True)

    def _measure(self, model: HookedModel, batch: int) -> None:
        entered: set[str] = set()
        for task, measures in self._passes():
            entered |= self.enter(scan(model, task, measures, batch=batch))
        lost = [cell for hash_, cell in self.cells.items() if hash_ not in entered]
        self.leave_out(lost, "this version has no such measure", wrong=False)

    def _passes(self) -> Iterator[tuple[NextTokens, list[RegisteredMeasure]]]:
        """What one pass over each eval set took then."""
        of_any = [e.thing for e in MEASURES.entries().values() if e.thing.any_model]
        for encoding in sorted({cell.encoding_hash for cell in self.cells.values()}):
            none = encoding == NO_ENCODING.hash
            task = NextTokens(frozen=NOTHING if none else stored_eval_set(self.archive, encoding))
            fitting = [one for one in of_any if one.of_weights == none and self._fits(one, task)]
            yield task, [one for one in fitting if one.quantity(task).hash in self.first.together]

    @staticmethod
    def _fits(one: RegisteredMeasure, task: NextTokens) -> bool:
        of_any = one.of_weights or one.taken_on == "prompts first"
        return of_any or (one.taken_on == "prompts") == (task.frozen.items is not None)


def _line(error: Exception) -> str:
    """Why, on one line; pydantic tells its mistakes on several."""
    if isinstance(error, ValidationError):
        return "; ".join(str(found["msg"]) for found in error.errors())
    return str(error)
