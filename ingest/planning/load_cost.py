"""What a load study will cost, roughly: forward passes, bytes fetched and rows written. Imports no torch."""

from ingest.planning.estimate import FLOPS_PER_SECOND, Estimate
from ingest.planning.model_size import size_of
from ingest.planning.plan import Plan
from ingest.planning.wanted import Wanted
from ingest.run.present import Pace
from ingest.studies.loading import LoadedRun, LoadSpec

# reading weights from a disk and turning them into tensors
WEIGHT_BYTES_PER_SECOND = 5e8
# everything that is measured costs about a quarter of the pass it rides along with
PASS = 1.25
# a ledger entry with its Parquet overhead
CELL_BYTES = 600


def estimate_loading(
    plan: Plan[LoadedRun], wanted: Wanted, load: LoadSpec, pace: Pace, n_workers: int
) -> Estimate:
    """Cost of what is left."""
    seconds = written = 0.0
    for task in plan.tasks:
        size = size_of(task.run, load)
        condition = wanted.conditions[task.run.label]
        tokens = {m.eval_set: m.n_tokens for m in condition.measured}
        rows = {m.key: m.row_bytes for m in condition.measured}
        further = {m.key: m.further_tokens for m in condition.measured}
        for keys in task.cells.values():
            on = {key.partition("@")[2] for key in keys}
            passes = sum(2 * size.n_params * tokens.get(label, 0) for label in on) * PASS
            passes += 2 * size.n_params * sum(further.get(key, 0) for key in keys)
            by_rule = passes / FLOPS_PER_SECOND["cpu"] + 4 * size.n_params / WEIGHT_BYTES_PER_SECOND
            seconds += by_rule if pace.measure is None else pace.measure
            written += sum(rows.get(key, 0) + CELL_BYTES for key in keys)
    busy = max(1, min(n_workers, sum(len(task.cells) for task in plan.tasks)))
    return Estimate(plan.n_todo, seconds / busy / 3600, written / 1e9, n_workers, pace.measure is not None)
