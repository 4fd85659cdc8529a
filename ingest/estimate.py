"""What a plan will cost, roughly, before anything runs: cells, hours, gigabytes. Imports no torch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archive.errors import NoSpace, UsageError
from ingest.plan import Plan, RunTask
from ingest.run.present import Pace
from ingest.study import Budget
from ingest.train.spec import TrainSpec

# one core of 2025 on small matrices, and the fixed cost of a step (docs/studies.md says how far off this is)
FLOPS_PER_SECOND = 3e10
SECONDS_PER_STEP = 3e-4
SECONDS_PER_CHECKPOINT = 1e-2
# ledger, facts and their Parquet shard, per measured cell and per logged value
BYTES_PER_CELL = 600
BYTES_PER_LOG_VALUE = 40
N_LOG_METRICS = 5


class BudgetExceeded(UsageError):
    """A plan beyond what the study allows; nothing was run."""


@dataclass(frozen=True)
class Estimate:
    """Cells to fill, wall-clock hours on `n_workers` workers, gigabytes (10^9 bytes) to write.

    timed: the hours come from earlier units of this study on this archive, not from a rule of thumb.
    """

    cells: int
    hours: float
    gigabytes: float
    n_workers: int
    timed: bool


def estimate(plan: Plan, pace: Pace, n_workers: int) -> Estimate:
    """Cost of what is left."""
    seconds = written = 0.0
    for task in plan.tasks:
        spec = task.run.spec
        steps = _steps_to_train(task)
        seconds += steps * (pace.train if pace.train is not None else _step_seconds(spec))
        seconds += len(task.cells) * (pace.measure if pace.measure is not None else _checkpoint_seconds(spec))
        kept = sum(step >= spec.steps - steps for step in spec.checkpoint_steps()) if steps else 0
        number_bytes = 8 if spec.dtype == "float64" else 4
        written += kept * spec.layout().n_params * number_bytes
        written += task.n_cells * BYTES_PER_CELL + steps * N_LOG_METRICS * BYTES_PER_LOG_VALUE
    busy = max(1, min(n_workers, len(plan.tasks)))
    return Estimate(plan.n_todo, seconds / busy / 3600, written / 1e9, n_workers, pace.train is not None)


def check_budget(estimated: Estimate, budget: Budget, study: Path, archive: Path) -> None:
    """Raise BudgetExceeded with the numbers, or NoSpace when the disk cannot hold the results."""
    limits = (
        ("max_cells", estimated.cells, budget.max_cells, "cells"),
        ("max_hours", estimated.hours, budget.max_hours, "hours"),
        ("max_gb", estimated.gigabytes, budget.max_gb, "GB"),
    )
    beyond = [(k, found, limit, unit) for k, found, limit, unit in limits if found > limit]
    if beyond:
        words = "; ".join(f"{found:,.4g} {unit}, allowed {limit:,.4g}" for _, found, limit, unit in beyond)
        keys = " and ".join(f"budget.{k}" for k, *_ in beyond)
        raise BudgetExceeded(
            f"{study} would take an estimated {words}. Nothing was run. Raise {keys}, or ask for fewer runs, checkpoints "
            "or measures (`pathscope ingest --dry-run` prints the numbers)."
        )
    free = shutil.disk_usage(nearest_folder(archive)).free / 1e9
    if estimated.gigabytes > free:
        raise NoSpace(
            f"{study} would write an estimated {estimated.gigabytes:.3g} GB, the disk of {archive} has {free:.3g} GB free. "
            "Nothing was run."
        )


def nearest_folder(path: Path) -> Path:
    """The closest ancestor that exists."""
    return next(p for p in path.absolute().parents if p.exists())


def _steps_to_train(task: RunTask) -> int:
    if task.log_after is None:
        return 0
    return max(0, task.run.spec.steps - 1 - task.log_after)


def _step_seconds(spec: TrainSpec) -> float:
    task = spec.make_task()
    examples = spec.batch or task.n_train or 1
    # a one-layer model is computed at the positions read only
    positions = task.n_positions if spec.model.n_layers > 1 else len(task.read_positions)
    return SECONDS_PER_STEP + 6 * spec.layout().n_params * examples * positions / FLOPS_PER_SECOND


def _checkpoint_seconds(spec: TrainSpec) -> float:
    task = spec.make_task()
    tokens = task.eval_set.encoding.n_tokens
    return SECONDS_PER_CHECKPOINT + 2 * spec.layout().n_params * tokens / FLOPS_PER_SECOND


def needs(tasks: Sequence[RunTask]) -> str:
    """How many runs are to be trained and how many only measured, in words."""
    training = sum(task.log_after is not None for task in tasks)
    filling = len(tasks) - training
    words = [f"{training} run{'s' * (training != 1)} to train"] if training else []
    words += [f"{filling} trained run{'s' * (filling != 1)} to measure"] if filling else []
    return " and ".join(words) or "nothing to do"
