"""What memory a worker of a load study takes, and how many of them fit beside each other. Imports no torch."""

from collections.abc import Collection, Iterable

from ingest.catalogue import Size
from ingest.planning.model_size import size_of
from ingest.planning.plan import Plan
from ingest.planning.wanted import Wanted, WantedMeasure
from ingest.studies.loading import LoadedRun, LoadSpec
from ingest.studies.parts import ExecutorChoice

# Python with torch and transformers, before anything is loaded
PROCESS_BYTES = 400_000_000
# weights are float32; once more while they are read, twice where the largest are folded or squared in float64
COPIES_OF_WEIGHTS = 3
# tokens that a sequence counts for, if it has fewer, where causal measures make batches
SHORT_BATCHED_AS = 512
# of free memory, left to everybody else
SPARE = 0.1


def worker_bytes(plan: Plan[LoadedRun], wanted: Wanted, load: LoadSpec, checkpoints_per_unit: int) -> int:
    """The most that one worker takes over the plan, rather too much than too little; 0 for an empty plan."""
    return max(
        (
            _bytes(size_of(task.run, load), wanted.conditions[task.run.label].measured, load.batch)
            + _results(wanted.conditions[task.run.label].measured, task.cells.values(), checkpoints_per_unit)
            for task in plan.tasks
        ),
        default=0,
    )


def _bytes(size: Size, measured: Collection[WantedMeasure], batch: int) -> int:
    """Process, weights, what a pass makes of a layer and of the logits of one sequence, and what is kept; in float32."""
    positions = max((one.n_positions for one in measured), default=0)
    layer = batch * positions * (3 * size.n_heads * positions + 2 * size.d_mlp + 6 * size.d_model)
    logits = 2 * positions * size.d_vocab
    kept = max((_kept(size, one, batch) for one in measured if one.further_tokens), default=0)
    return PROCESS_BYTES + 4 * (COPIES_OF_WEIGHTS * size.n_params + layer + logits + kept)


def _kept(size: Size, one: WantedMeasure, batch: int) -> int:
    """Numbers of all layers that a causal measure keeps: of two runs, of a gradient's pass, and of frozen patterns."""
    tokens = min(one.n_tokens, batch * max(one.n_positions, SHORT_BATCHED_AS))
    return size.n_layers * tokens * (16 * size.d_model + 3 * size.d_mlp + size.n_heads * one.n_positions)


def _results(
    measured: Iterable[WantedMeasure], cells: Iterable[tuple[str, ...]], checkpoints_per_unit: int
) -> int:
    """Rows of a unit's checkpoints wait in memory for the unit to end."""
    of_key = {one.key: one.row_bytes for one in measured}
    by_checkpoint = sorted((sum(of_key.get(key, 0) for key in keys) for keys in cells), reverse=True)
    return sum(by_checkpoint[:checkpoints_per_unit])


def fitting(
    choice: ExecutorChoice, per_worker: int, free: int | None, n_cores: int
) -> tuple[ExecutorChoice, tuple[str, ...]]:
    """The executor with as many processes as memory has room for, and what people should know of that.

    free: bytes, None where the system does not say. A number of processes that the study gives is kept, with a
    warning where they do not fit; so is whatever runs elsewhere. One process at least.
    """
    if free is None or not per_worker or choice.kind not in ("local", "inline") or choice.device != "cpu":
        return choice, ()
    room = int(free * (1 - SPARE) / per_worker)
    asked = 1 if choice.kind == "inline" else choice.processes or n_cores
    if asked <= room:
        return choice, ()
    words = f"a worker takes about {per_worker / 1e9:.3g} GB, {free / 1e9:.3g} GB of memory are free"
    if asked == 1 or room == 0:
        lighter = "a smaller load.batch or shorter sequences (context) take less"
        note = f"{words}: even one process may run out of it; {lighter}"
    elif choice.processes:
        note = f"{words}: {asked} processes may run out of it; {room} fit (executor.processes = {room})"
    else:
        note = f"{words}: {room} of {asked} possible processes (executor.processes says otherwise)"
    if choice.kind == "local" and choice.processes is None:
        choice = choice.model_copy(update={"processes": max(1, room)})
    return choice, (note,)
