"""`verify --recompute`: a random sample of results is measured again and compared. Writes nothing.

Who can measure is handed in (`Recompute`): this layer knows no model. It enters what it measured into a unit as a
worker would, so that numbers are rounded and sorted as stored ones are; the unit never comes near an inbox.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq

from archive.manifest import FACT_TABLES, read_manifest
from archive.records import Provenance
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.drift import CellDrift, DriftGroup, compare, describe_change, grouped
from archive.upkeep.integrity import find_runs
from archive.upkeep.sampled import Rows, StoredCell, draw, shard_rows

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class NotMeasured:
    """A cell that was not measured again, and why. wrong: that is a finding; else it is only left out."""

    cell: StoredCell
    reason: str
    wrong: bool


class Recompute(Protocol):
    """Measures cells again."""

    def __call__(
        self, archive: Archive, cells: Sequence[StoredCell], builder: ShardBuilder, on_step: OnStep
    ) -> tuple[list[NotMeasured], dict[StoredCell, Provenance]]:
        """Enter the rows of these cells, under their own run, step, snapshot and quantity.

        archive: where they are from. Returns the cells left out, and of the others what they were measured
        with now.
        """


@dataclass(frozen=True)
class Recomputation:
    """What came out. n_cells: that could have been drawn; drift: of every cell compared or found wrong."""

    share: float
    seed: int
    n_cells: int
    drift: tuple[CellDrift, ...]
    left_out: tuple[NotMeasured, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """True when nothing differs by more than it may."""
        return not self.beyond

    @property
    def beyond(self) -> tuple[CellDrift, ...]:
        """What differs by more than it may."""
        return tuple(one for one in self.drift if one.beyond)

    @property
    def groups(self) -> list[DriftGroup]:
        """By what has changed since."""
        return grouped(self.drift)

    @property
    def reasons(self) -> Counter[str]:
        """Why cells were left out."""
        return Counter(one.reason for one in self.left_out)

    def as_plain(self) -> dict[str, Any]:
        """For --json."""
        return {
            "share": self.share,
            "seed": self.seed,
            "cells": self.n_cells,
            "compared": len(self.drift),
            "groups": [asdict(group) for group in self.groups],
            "beyond": [
                {
                    "run": one.cell.run,
                    "step": one.cell.step,
                    "measure": one.cell.measure,
                    "change": one.change,
                    "largest_absolute": one.largest_absolute,
                    "largest_relative": one.largest_relative,
                    "allowed": one.allowed,
                    "wrong": one.wrong,
                }
                for one in self.beyond
            ],
            "left_out": dict(self.reasons),
            "seconds": round(self.seconds, 3),
            "ok": self.ok,
        }


def recompute(
    path: Path,
    share: float,
    seed: int,
    runs: str,
    measure_again: Recompute,
    now: Callable[[], Provenance],
    *,
    on_step: OnStep = lambda _: None,
) -> Recomputation:
    """Draw, measure again and compare. runs: as `find_runs` takes them; now: what measures here, for cells that fail.

    Raises UnknownName for runs that are not there.
    """
    started = time.monotonic()
    archive = Archive(path)
    sample = draw(archive, [i for i, _ in find_runs(archive, runs)], share, seed)
    builder = ShardBuilder(kind="measure")
    not_measured, how = measure_again(archive, sample.cells, builder, on_step)
    fresh = _rows_of(builder)
    drift = [
        CellDrift(one.cell, describe_change(one.cell.provenance, now()), wrong=one.reason)
        for one in not_measured
        if one.wrong
    ]
    out = {one.cell.key for one in not_measured}
    for cell in sample.cells:
        if cell.key not in out:
            drift.append(compare(cell, sample.rows[cell.key], fresh.get(cell.key, {}), how[cell]))
    return Recomputation(
        share,
        seed,
        sample.n_cells,
        tuple(drift),
        tuple(one for one in not_measured if not one.wrong),
        time.monotonic() - started,
    )


def _rows_of(builder: ShardBuilder) -> dict[tuple[str, int, str, str], Rows]:
    """What was entered, by cell, after a way through a file."""
    if builder.is_empty:
        return {}
    found: dict[tuple[str, int, str, str], Rows] = {}
    with tempfile.TemporaryDirectory() as folder:
        manifest = read_manifest(builder.write(Path(folder)))
        quantities = [record["hash"] for record in manifest.records.get("quantity", [])]
        for table, info in manifest.tables.items():
            if table == "cells" or not FACT_TABLES[table].has_quantity:
                continue
            rows = pq.read_table(manifest.path / info["file"])
            parts = manifest.records.get("part", [])
            for owner, quantity, key, numbers in shard_rows(FACT_TABLES[table], rows, parts):
                run, step, snapshot = manifest.owners[owner].key
                found.setdefault((run, step, snapshot, quantities[quantity]), {})[key] = numbers
    return found
