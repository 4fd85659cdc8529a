"""Two studies half way, with failures of two kinds, units that wait and a unit that was refused."""

import shutil
from pathlib import Path

import numpy as np

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.records import Checkpoint, Family, Quantity, Run, Study
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.upkeep.waiting import reason_file
from tests.ui.archives import ACCURACY, GRID, HOSTILE, LOSS, new_archive

STEPS = (0, 10, 20, 30)
WANTED = 40  # of the study "half way"
N_DONE, N_OUT_OF_MEMORY, N_DAMAGED, N_ABSENT, N_NOT_APPLICABLE = 13, 2, 1, 1, 1
TRACE = "Traceback (most recent call last):\n" + "".join(
    f'  File "deep.py", line {k}, in f{k}\n' for k in range(20)
)
TRACE += "RuntimeError: out of memory"


def unit(study: str, runs: tuple[str, ...], n_wanted: int, *, odd: bool = False) -> ShardBuilder:
    """Loss at every checkpoint, and accuracy of the first run; odd: two of them fail in each way there is."""
    shard = ShardBuilder(kind="train", study=Study(name=study, n_cells_wanted=n_wanted))
    shard.family(Family(name="toy", summary="a toy task"))
    loss, accuracy = (shard.quantity(Quantity(measure=m, encoding=GRID)) for m in (LOSS, ACCURACY))
    for k, run in enumerate(runs):
        last = STEPS[-1] if k == 0 else 2 * STEPS[-1]
        shard.run(Run(name=run, family="toy", condition=study, init_seed=k, final_step=last))
        for step in STEPS:
            point = shard.checkpoint(Checkpoint(run=run, step=step))
            kinds = {
                (1, 20): (
                    CellState.FAILED_TRANSIENT,
                    "OutOfMemoryError",
                    "no memory left: 3 <b>GB</b> wanted",
                ),
                (1, 30): (
                    CellState.FAILED_TRANSIENT,
                    "OutOfMemoryError",
                    "no memory left: 4 <b>GB</b> wanted",
                ),
                (2, 10): (CellState.FAILED_PERMANENT, "CheckpointDamaged", HOSTILE),
                (2, 20): (CellState.ABSENT_UPSTREAM, "CheckpointNotAvailable", "no revision step20"),
                (2, 30): (CellState.NOT_APPLICABLE, "NotApplicable", "the model has no heads"),
            }
            if odd and (k, step) in kinds:
                state, error_class, message = kinds[k, step]
                trace = TRACE if state is CellState.FAILED_TRANSIENT else ""
                shard.failed_cell(point, loss, state, error_class=error_class, message=message, trace=trace)
                continue
            for quantity in (loss, accuracy) if k == 0 else (loss,):
                shard.add(
                    "fact_scalar", point, quantity, part=shard.part(), value=np.array([1.0 / (step + 1)])
                )
                shard.cell(point, quantity)
    return shard


def ingestion(path: Path) -> Path:
    """One study half way with failures, one done, a unit in the inbox, and one set aside with its reason."""
    layout = new_archive(path)
    unit("half way", ("h0", "h1", "h2"), WANTED, odd=True).write(layout.inbox)
    assert not commit_inbox(layout).refused
    unit("done", ("d0", "d1"), 12).write(layout.inbox)
    assert not commit_inbox(layout).refused
    waiting = unit("half way", ("h3",), WANTED).write(layout.inbox)
    refuse(layout, waiting, "its checksum is <i>wrong</i>")
    return path


def refuse(layout: Layout, unit: Path, reason: str) -> None:
    """Set a copy of a unit aside, as the committer does."""
    aside = layout.failed / unit.name
    shutil.copytree(unit, aside)
    reason_file(aside).write_text(reason)


INGESTION_ARCHIVES = {"ingestion": ingestion}
