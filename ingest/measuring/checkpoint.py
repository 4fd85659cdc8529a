"""Measuring one checkpoint: one forward pass over the frozen eval set, shared by all measures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from archive.records import Part
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.next_tokens import NextTokens
from ingest.measure import RegisteredMeasure, Rows
from ingest.measuring.job import AT_ONCE, Job
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.loaded import Activations, LoadedModel
from ingest.models.own import OwnModel
from ingest.readings.evaluation import WholeEvaluation
from ingest.readings.history import EvaluationHistory, WeightHistory
from ingest.task import Task

# examples in one piece of the forward pass: bounds memory, does not change values beyond rounding
PIECE = 4096
# ... and tokens, where examples are sequences of text
PIECE_TOKENS = 8192

Splits = Mapping[Part, Bool[np.ndarray, " example"]]


def measure_checkpoint(
    model: LoadedModel,
    task: Task,
    split: int | Splits,
    measures: Sequence[RegisteredMeasure],
    *,
    final: LoadedModel | None = None,
    piece: int = PIECE,
) -> list[MeasuredValue]:
    """All these measures of one model, in the order given; none is lost because another one fails.

    split: which examples count as train and test: the run's split seed, or the split itself where another
    program made it. final: the model at the end of the run, for measures that need it. A measure that does
    not apply comes back NOT_APPLICABLE with its reason; one that raises or gives a value that is not finite,
    FAILED_PERMANENT with class, message and traceback. Raises ValueError for a measure that needs the final
    model where there is none, or the run's history (those are for `measure_history`).
    """
    found: dict[int, MeasuredValue] = {}
    for part in task.evaluations:
        mine = [at for at, one in enumerate(measures) if task.evaluated_on(one.taken_on) is part]
        values = _measure_on(part, model, split, [measures[at] for at in mine], final, piece)
        found |= dict(zip(mine, values, strict=True))
    return [found[at] for at in range(len(measures))]


def _measure_on(
    task: Task,
    model: LoadedModel,
    split: int | Splits,
    measures: Sequence[RegisteredMeasure],
    final: LoadedModel | None,
    piece: int,
) -> list[MeasuredValue]:
    """As `measure_checkpoint`, on one evaluation set."""
    if isinstance(task, NextTokens):  # sequences are long, and have more logits than a toy task's
        piece = min(piece, max(1, PIECE_TOKENS // task.n_positions))
    parts = task.splits(split) if isinstance(split, int) else split
    splits = {part: torch.from_numpy(inside) for part, inside in parts.items()}
    if unfit := [one.name for one in measures if one.needs == "history"]:
        raise ValueError(f"{unfit[0]} compares all checkpoints of a run: `measure_history` takes it")
    reference = final.step if final is not None else None
    jobs = [
        Job(one, one.quantity(task, dtype=_dtype(model), reference_step=reference), task, splits)
        for one in measures
        if not _as_any_model(one, task)
    ]
    as_any_model = iter(
        _scanned(model, task, [one for one in measures if _as_any_model(one, task)], piece, final)
    )
    for job in jobs:
        if job.measure.reads == "weights":
            job.read(model)
    reading = [job for job in jobs if job.measure.reads == "examples"]
    looking = [job for job in jobs if job.measure.reads in AT_ONCE]
    if reading or looking:
        traced = any(job.measure.traced for job in reading + looking)
        logits, neurons = [], []
        for rows, activations in _pieces(model, task, traced=traced, piece=piece):
            for job in reading:
                job.read_examples(activations, rows)
            if looking:
                logits.append(activations.logits)
                at = torch.tensor(task.read_positions, device=activations.mlp.device)
                neurons.append(activations.mlp.index_select(2, at))
        if looking:
            whole = WholeEvaluation(model, task, splits, torch.cat(logits).cpu(), torch.cat(neurons).cpu())
            for job in looking:
                if job.measure.reads == "predictions":
                    job.read(whole.predictions)
                else:
                    job.read(whole, *([final] if job.measure.needs == "final" else []))
    as_own = (job.result() for job in jobs)
    return [next(as_any_model if _as_any_model(one, task) else as_own) for one in measures]


def _as_any_model(one: RegisteredMeasure, task: Task) -> bool:
    """Whether it is taken as of a language model: always so on text, where a model trained here is one."""
    return one.of_models or (isinstance(task, NextTokens) and one.any_model)


def _scanned(
    model: LoadedModel,
    task: Task,
    measures: Sequence[RegisteredMeasure],
    piece: int,
    final: LoadedModel | None,
) -> list[MeasuredValue]:
    """Measures that the small transformer shares with language models: taken in the same way."""
    if not measures:
        return []
    next_tokens = task if isinstance(task, NextTokens) else NextTokens(frozen=FrozenEvalSet.of_task(task))
    last = None if final is None else OwnModel(final)
    return scan(OwnModel(model), next_tokens, measures, batch=piece, dtype=_dtype(model), final=last)


def measure_history(
    history: WeightHistory, task: Task, measures: Sequence[RegisteredMeasure]
) -> dict[int, list[MeasuredValue]]:
    """These measures of the run's wanted checkpoints, by step; trouble as in `measure_checkpoint`.

    Each measure goes over all kept checkpoints once, however many of them are wanted.
    """
    dtype = _dtype(history.load(history.steps[-1]))
    found: dict[int, list[MeasuredValue]] = {step: [] for step in history.wanted}
    tokenizer = task.eval_set.tokenizer
    for one in measures:
        quantity, on = one.quantity(task, dtype=dtype), task.evaluated_on(one.taken_on)
        try:
            with torch.no_grad():
                reads = history if one.reads == "weight history" else EvaluationHistory(history, on)
                rows: Rows = one.function(reads)  # type: ignore[arg-type,call-arg,assignment] # reads says so
        except Exception as error:
            for values in found.values():
                values.append(MeasuredValue.trouble(quantity, tokenizer, error))
            continue
        for step, values in found.items():
            job = Job(one, quantity, on, {})
            job.take(rows[step])
            values.append(job.result())
    return found


def measure_only_checkpoint(
    model: LoadedModel,
    task: Task,
    split: int | Splits,
    measures: Sequence[RegisteredMeasure],
    *,
    piece: int = PIECE,
) -> list[MeasuredValue]:
    """As `measure_checkpoint`, for a run with no other checkpoint: this one is its last, and all its history."""
    alone = [one for one in measures if one.needs != "history"]
    values = iter(measure_checkpoint(model, task, split, alone, final=model, piece=piece))
    together = [one for one in measures if one.needs == "history"]
    of_history = iter(measure_history(WeightHistory.of_one(model), task, together)[model.step])
    return [next(of_history if one.needs == "history" else values) for one in measures]


def _dtype(model: LoadedModel) -> str:
    return str(next(iter(model.weights.values())).dtype).removeprefix("torch.")


def _pieces(
    model: LoadedModel, task: Task, *, traced: bool, piece: int
) -> Iterator[tuple[slice, Activations]]:
    examples, copies = task.evaluation(), task.copies()
    device = next(iter(model.weights.values())).device

    def placed(ids: np.ndarray, rows: slice) -> Tensor:
        return torch.from_numpy(ids[rows].astype(np.int64)).to(device)

    for start in range(0, len(examples), piece):
        rows = slice(start, min(start + piece, len(examples)))
        activations = model.activations(
            placed(examples.tokens, rows), placed(examples.targets, rows), task.read_positions, traced=traced
        )
        yield rows, activations if copies is None else replace(activations, copies=placed(copies, rows))
