"""Small shards for tests of the archive: a toy run with two layers of four heads, and its training log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from archive.committer import CommitReport, commit_inbox
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Part, Quantity, Run, Source, SourceFile
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive

N_LAYERS, N_HEADS = 2, 4
ROWS = N_LAYERS * N_HEADS
LAYERS = np.repeat(np.arange(N_LAYERS), N_HEADS)
HEADS = np.tile(np.arange(N_HEADS), N_LAYERS)

TRAIN = Part(kind="split", name="train")
HEAD_MEASURE = Measure(
    name="head.previous_token",
    scope="head",
    table="fact_head",
    unit="probability",
    summary="Attention to i - 1.",
)
LOG_MEASURE = Measure(name="log.loss", scope="run", table="fact_log", unit="nats", summary="Logged loss.")
LOSS_MEASURE = Measure(name="loss", scope="none", table="fact_scalar", unit="nats", summary="Mean loss.")
HEAD = Quantity(measure=HEAD_MEASURE)
LOG = Quantity(measure=LOG_MEASURE)
LOSS = Quantity(measure=LOSS_MEASURE)
PUBLISHED = Source(name="published", licence="MIT")


def run_record(name: str = "r1", **fields: Any) -> Run:
    return Run(name=name, **{"family": "toy", "condition": "c", **fields})


def head_shard(
    steps: Sequence[int],
    *,
    run: str = "r1",
    value: float = 0.5,
    replace: bool = False,
    quantity: Quantity = HEAD,
) -> ShardBuilder:
    """Head scores, all of one value, at every step."""
    b = ShardBuilder(kind="measure", replace=replace)
    b.run(run_record(run))
    q = b.quantity(quantity)
    for step in steps:
        owner = b.checkpoint(Checkpoint(run=run, step=step))
        b.add("fact_head", owner, q, layer=LAYERS, head=HEADS, value=np.full(ROWS, value))
        b.cell(owner, q)
    return b


def failed_shard(
    step: int, *, run: str = "r1", state: CellState = CellState.FAILED_TRANSIENT, message: str = "boom"
) -> ShardBuilder:
    b = ShardBuilder(kind="measure")
    b.run(run_record(run))
    q = b.quantity(HEAD)
    owner = b.checkpoint(Checkpoint(run=run, step=step))
    b.failed_cell(owner, q, state, error_class="RuntimeError", message=message, trace="Traceback ...")
    return b


def log_shard(
    after: int, last: int, *, run: str = "r1", value: float = 1.0, final: bool = False, replace: bool = False
) -> ShardBuilder:
    """A segment (after, last] of a training log; `final` also enters its cell."""
    b = ShardBuilder(kind="train", replace=replace)
    owner = b.run(run_record(run))
    q = b.quantity(LOG)
    steps = np.arange(after + 1, last + 1)
    b.add("fact_log", owner, q, part=b.part(TRAIN), step=steps, value=np.full(len(steps), value))
    b.segment(owner, q, after, last)
    if final:
        b.cell(owner, q)
    return b


def file_shard(
    path: str, sha256: str, steps: Sequence[int], *, value: float, run: str = "r1"
) -> ShardBuilder:
    """An imported file that gives one scalar at every step of a run."""
    b = ShardBuilder(kind="import")
    b.source(PUBLISHED)
    b.run(run_record(run, source=PUBLISHED.name))
    q = b.quantity(Quantity(measure=LOSS_MEASURE, source=PUBLISHED))
    f = b.file(
        SourceFile(source=PUBLISHED.name, path=path, sha256=sha256, bytes=1, format="toy", n_rows=len(steps))
    )
    for step in steps:
        owner = b.checkpoint(Checkpoint(run=run, step=step))
        b.add("fact_scalar", owner, q, value=value)
        b.cell(owner, q, file=f)
    return b


def put(layout: Layout, *builders: ShardBuilder) -> list[Path]:
    """Write shards into the inbox without committing them."""
    return [b.write(layout.inbox) for b in builders]


def commit(layout: Layout, *builders: ShardBuilder) -> CommitReport:
    """Write shards and commit the inbox; every one of them must go in."""
    put(layout, *builders)
    report = commit_inbox(layout, patience=5)
    assert report.refused == []
    return report


def refusals(layout: Layout, *builders: ShardBuilder) -> list[str]:
    """Write shards, commit the inbox, and return why some were refused."""
    put(layout, *builders)
    return [reason for _, reason in commit_inbox(layout, patience=5).refused]


def head_values(archive: Archive) -> dict[int, tuple[int, float]]:
    """step -> (rows, value) of all head scores; every score of a step has one value here."""
    rows = archive.rows(
        "SELECT step, count(*) AS n, max(value) AS value, max(value) - min(value) AS spread FROM v_head_score GROUP BY step"
    )
    assert all(r["spread"] == 0 for r in rows)
    return {r["step"]: (r["n"], r["value"]) for r in rows}
