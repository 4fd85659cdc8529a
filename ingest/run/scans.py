"""A piece of a load study's work: some checkpoints of one run and what is wanted of them. Imports no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ingest.evalsets.frozen import FrozenEvalSet
from ingest.family import CheckpointRef
from ingest.studies.loading import LoadedRun, LoadSpec


@dataclass(frozen=True)
class ScanWork:
    """Checkpoints of one run to be fetched, loaded and measured.

    origin: where the run is from, as the study writes it. refs: the checkpoints, by step. cells: (run, step) -> keys
    of what is wanted (`WantedMeasure.key`). eval_sets: by what the study calls them. known_hashes: of the weights
    that were measured before, by step. threads: for one worker; None leaves the process as it is. n_lost: workers
    that were lost over it.
    """

    run: LoadedRun
    load: LoadSpec
    origin: str
    refs: tuple[CheckpointRef, ...]
    cells: Mapping[tuple[str, int], tuple[str, ...]]
    eval_sets: Mapping[str, FrozenEvalSet]
    known_hashes: Mapping[int, str]
    threads: int | None = None
    n_lost: int = 0
    in_turn: bool = False

    @property
    def until(self) -> int:
        """The first step of the piece: what comes first is done first."""
        return self.refs[0].step

    @property
    def title(self) -> str:
        """What the log calls it."""
        return self.run.name

    @property
    def is_empty(self) -> bool:
        """True when there is nothing left in it."""
        return not self.cells

    def without(self, dead: Collection[str], again: Collection[str]) -> "ScanWork":
        """The same: no run that is only loaded dies."""
        return self

    def rest(self, left: Collection[tuple[str, int]], reached: int) -> "ScanWork":
        """What remains after a worker left these cells."""
        return replace(
            self,
            refs=tuple(ref for ref in self.refs if (ref.run, ref.step) in left),
            cells={key: wanted for key, wanted in self.cells.items() if key in left},
        )
