"""A piece of a compare study's work: some pairs of checkpoints and what is wanted of them. Imports no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from ingest.evalsets.frozen import FrozenEvalSet
from ingest.studies.comparing import ComparedPair
from ingest.studies.loading import LoadSpec


@dataclass(frozen=True)
class PairWork:
    """Pairs of checkpoints to be fetched, loaded and compared, those that share one near each other.

    origins: where each run is from, as the study writes it. cells: name of the pair -> keys of what is wanted
    (`WantedMeasure.key`). known_hashes: of weights that were measured before, by run and step. threads, n_lost: as ScanWork.
    """

    pairs: tuple[ComparedPair, ...]
    load: LoadSpec
    origins: Mapping[str, str]
    cells: Mapping[str, tuple[str, ...]]
    eval_sets: Mapping[str, FrozenEvalSet]
    known_hashes: Mapping[tuple[str, int], str]
    threads: int | None = None
    n_lost: int = 0
    in_turn: bool = False

    @property
    def until(self) -> int:
        """The first step of the piece: what comes first is done first."""
        return self.pairs[0].a.step

    @property
    def title(self) -> str:
        """What the log calls it."""
        more = f" +{len(self.pairs) - 1}" if len(self.pairs) > 1 else ""
        return self.pairs[0].name + more

    @property
    def is_empty(self) -> bool:
        """True when there is nothing left in it."""
        return not self.pairs

    def without(self, dead: Collection[str], again: Collection[str]) -> "PairWork":
        """The same: no run that is only loaded dies."""
        return self

    def rest(self, left: Collection[tuple[str, int]], reached: int) -> "PairWork":
        """What remains after a worker left these pairs, named as runs are."""
        names = {name for name, _ in left}
        return replace(self, pairs=tuple(pair for pair in self.pairs if pair.name in names))
