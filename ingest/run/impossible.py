"""Runs that nobody can train: their failure, and how it comes into the ledger. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path

from archive.records import Run, Study
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.provenance import provenance
from ingest.run.unit import CellFailure, UnitReport
from ingest.studies.conditions import ImpossibleSettings
from ingest.studies.training import ImpossibleRun
from ingest.train.log import LOG_METRICS


def failure_of(run: ImpossibleRun) -> CellFailure:
    """What people are told."""
    return CellFailure(run.name, None, None, ImpossibleSettings.__name__, run.settings.why, permanent=True)


def enter_impossible(runs: Sequence[ImpossibleRun], study: Study, inbox: Path) -> UnitReport:
    """Hand in a shard that says that the training of these runs failed for good.

    The runs are entered with nothing but their seeds, so that the archive learns the rest of them when
    the study is repaired.
    """
    # the reason may be another one than last time
    builder = ShardBuilder(kind="train", study=study, replace=True, provenance=provenance(0.0))
    for run in runs:
        seeds = run.seeds
        owner = builder.run(
            Run(name=run.name, init_seed=seeds.init, data_order_seed=seeds.data_order, split_seed=seeds.split)
        )
        for metric in LOG_METRICS:
            builder.failed_cell(
                owner,
                builder.quantity(metric.quantity(run.settings)),
                CellState.FAILED_PERMANENT,
                error_class=ImpossibleSettings.__name__,
                message=run.settings.why,
            )
    return UnitReport(
        reached=0,
        n_cells=0,
        failures=tuple(map(failure_of, runs)),
        dead=frozenset(run.name for run in runs),
        left=(),
        stopped=False,
        seconds=0.0,
        shard=builder.write(inbox).name,
    )
