"""What a load study will cost, roughly: forward passes, bytes fetched and rows written. Imports no torch."""

from collections.abc import Mapping
from math import prod

from ingest.catalogue import Size
from ingest.planning.estimate import FLOPS_PER_SECOND, Estimate
from ingest.planning.plan import Plan
from ingest.planning.wanted import Wanted
from ingest.run.present import Pace
from ingest.studies.loading import LoadedRun

# reading weights from a disk and turning them into tensors
WEIGHT_BYTES_PER_SECOND = 5e8
# everything that is measured costs about a quarter of the pass it rides along with
PASS = 1.25
# of a model whose sizes nobody says before it is loaded
UNKNOWN = Size(
    n_layers=6,
    d_model=512,
    n_heads=8,
    d_mlp=2048,
    d_vocab=50304,
    context=2048,
    n_params=70_000_000,
    evidence="a guess",
)
# a ledger entry with its Parquet overhead
CELL_BYTES = 600


def estimate_loading(plan: Plan[LoadedRun], wanted: Wanted, pace: Pace, n_workers: int) -> Estimate:
    """Cost of what is left."""
    seconds = written = 0.0
    for task in plan.tasks:
        size = task.run.spec.size or UNKNOWN
        condition = wanted.conditions[task.run.label]
        tokens = {m.eval_set: m.n_tokens for m in condition.measured}
        rows = {m.key: _row_bytes(m.scope, size, m.n_tokens) for m in condition.measured}
        for keys in task.cells.values():
            on = {key.partition("@")[2] for key in keys}
            passes = sum(2 * size.n_params * tokens.get(label, 0) for label in on) * PASS
            by_rule = passes / FLOPS_PER_SECOND["cpu"] + 4 * size.n_params / WEIGHT_BYTES_PER_SECOND
            seconds += by_rule if pace.measure is None else pace.measure
            written += sum(rows.get(key, 0) + CELL_BYTES for key in keys)
    busy = max(1, min(n_workers, sum(len(task.cells) for task in plan.tasks)))
    return Estimate(plan.n_todo, seconds / busy / 3600, written / 1e9, n_workers, pace.measure is not None)


def _row_bytes(scope: str, size: Size, n_tokens: int) -> float:
    """What a measure of that scope writes for a checkpoint, before compression."""
    layers, heads, units = size.n_layers, size.n_heads, size.d_mlp
    of_scope: Mapping[str, float] = {
        "head": prod((layers, heads, 40)),
        "head vector": prod((layers, heads, 16, 8)),
        "head pair": prod((layers, layers - 1, heads, heads, 12)) / 2,
        "token": 4.0 * n_tokens,
        "token top": 65 * 8.0 * n_tokens,
        "unit": prod((layers, units, 5, 4)),
        "unit top": prod((layers, units, 20, 12)),
        "unit histogram": prod((layers, units, 256, 2)),
        "unit vector": prod((layers, units, 40, 8)),
        "attention": prod((layers, heads, 4, 64, 64, 4)),
        "item": 40.0 * n_tokens / 16,
    }
    return of_scope.get(scope, 100.0)
