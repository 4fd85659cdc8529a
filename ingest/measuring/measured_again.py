"""Results measured again on their way to being compared; never near an inbox."""

from collections.abc import Iterable, Sequence

from archive.records import Checkpoint, Provenance
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.upkeep.recomputing import NotMeasured
from archive.upkeep.sampled import StoredCell
from ingest.measuring.measured import MeasuredValue

Again = tuple[list[NotMeasured], dict[StoredCell, Provenance]]


class MeasuredAgain:
    """Cells of one checkpoint that one unit measured together."""

    def __init__(self, cells: Sequence[StoredCell], builder: ShardBuilder) -> None:
        self.cells = {cell.quantity_hash: cell for cell in cells}
        self.first = cells[0]
        self.builder = builder
        self.not_measured: list[NotMeasured] = []

    def enter(self, values: Sequence[MeasuredValue]) -> set[str]:
        """Hashes of the cells that are settled by these values."""
        owner = self.builder.checkpoint(
            Checkpoint(run=self.first.run, step=self.first.step, snapshot=self.first.snapshot)
        )
        settled = set()
        for value in values:
            cell = self.cells.get(value.quantity.hash)
            if cell is None:
                continue
            settled.add(cell.quantity_hash)
            if value.state is CellState.DONE:
                value.add_to(self.builder, owner)
            else:
                self.leave_out([cell], f"fails now: {value.error_class}: {value.message}", wrong=True)
        return settled

    def is_other(self, weights_hash: str, where: str) -> bool:
        """True, with all cells left out as wrong, when these are not the weights that were measured."""
        if self.first.weights_hash in ("", weights_hash):
            return False
        said = f"{where} holds weights {weights_hash[:8]}…, {self.first.weights_hash[:8]}… were measured"
        self.leave_out(self.cells.values(), said, wrong=True)
        return True

    def leave_out(self, cells: Iterable[StoredCell], reason: str, *, wrong: bool) -> None:
        """Say why these cells have no value."""
        self.not_measured += [NotMeasured(cell, reason, wrong) for cell in cells]
