"""Measuring one checkpoint: one forward pass over the frozen eval set, shared by all measures."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from archive.records import WHOLE, Part, Quantity, Tokenizer
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.evaluation import WholeEvaluation
from ingest.measure import NotApplicable, RegisteredMeasure
from ingest.models.loaded import Activations, LoadedModel
from ingest.task import Task

# examples in one piece of the forward pass: bounds memory, does not change values beyond rounding
PIECE = 4096

Splits = Mapping[Part, Bool[np.ndarray, " example"]]


@dataclass(frozen=True)
class MeasuredValue:
    """What one measure says about one checkpoint: rows for a shard, or why there are none.

    columns: as ShardBuilder.add takes them, without `part`; parts: one per row where the table has parts.
    """

    quantity: Quantity
    tokenizer: Tokenizer
    columns: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    state: CellState = CellState.DONE
    error_class: str = ""
    message: str = ""
    trace: str = ""

    @property
    def table(self) -> str:
        """The fact table that holds the rows."""
        return self.quantity.measure.table

    @property
    def n_rows(self) -> int:
        """Number of rows; 0 where there is no value."""
        return max((np.shape(column)[0] for column in self.columns.values() if np.ndim(column)), default=0)

    def add_to(self, builder: ShardBuilder, owner: int, *, file: int = -1) -> None:
        """Enter rows and ledger cell of this value for the checkpoint with that owner index.

        file: index of the imported file that holds the weights, so that the cell goes when the file changes.
        """
        builder.tokenizer(self.tokenizer)
        quantity = builder.quantity(self.quantity)
        if self.state is not CellState.DONE:
            builder.failed_cell(
                owner,
                quantity,
                self.state,
                error_class=self.error_class,
                message=self.message,
                trace=self.trace,
                file=file,
            )
            return
        columns = dict(self.columns)
        if self.parts:
            columns["part"] = np.array([builder.part(part) for part in self.parts], dtype=np.int32)
        builder.add(self.table, owner, quantity, **columns)
        builder.cell(owner, quantity, file=file)


def add_eval_set(builder: ShardBuilder, task: Task) -> None:
    """Put the tokens, right answers and vocabulary of a task's eval set into a shard, to be stored once."""
    frozen = task.eval_set
    builder.add("content_vocab", builder.tokenizer(frozen.tokenizer), **frozen.words)
    encoding = builder.encoding(frozen.encoding)
    builder.add("content_sequence", encoding, **frozen.sequences)
    builder.add("content_item", encoding, **frozen.items)


def measure_checkpoint(
    model: LoadedModel,
    task: Task,
    split: int | Splits,
    measures: Sequence[RegisteredMeasure],
    *,
    piece: int = PIECE,
) -> list[MeasuredValue]:
    """All these measures of one model, in the order given; none is lost because another one fails.

    split: which examples count as train and test: the run's split seed, or the split itself where another
    program made it. A measure that does not apply comes back NOT_APPLICABLE with its reason; one that raises
    or gives a value that is not finite, FAILED_PERMANENT with class, message and traceback.
    """
    dtype = str(next(iter(model.weights.values())).dtype).removeprefix("torch.")
    parts = task.splits(split) if isinstance(split, int) else split
    splits = {part: torch.from_numpy(inside) for part, inside in parts.items()}
    jobs = [_Job(one, one.quantity(task, dtype=dtype), task, splits) for one in measures]
    for job in jobs:
        if job.measure.reads == "weights":
            job.read_weights(model)
    reading = [job for job in jobs if job.measure.reads == "examples"]
    looking = [job for job in jobs if job.measure.reads == "evaluation"]
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
                job.read_evaluation(whole)
    return [job.result() for job in jobs]


def _pieces(
    model: LoadedModel, task: Task, *, traced: bool, piece: int
) -> Iterator[tuple[slice, Activations]]:
    examples = task.evaluation()
    device = next(iter(model.weights.values())).device
    tokens = torch.from_numpy(examples.tokens.astype(np.int64)).to(device)
    targets = torch.from_numpy(examples.targets.astype(np.int64)).to(device)
    for start in range(0, len(examples), piece):
        rows = slice(start, min(start + piece, len(examples)))
        yield rows, model.activations(tokens[rows], targets[rows], task.read_positions, traced=traced)


class _Job:
    """One measure on its way through a checkpoint."""

    def __init__(
        self,
        measure: RegisteredMeasure,
        quantity: Quantity,
        task: Task,
        splits: Mapping[Part, Bool[Tensor, " example"]],
    ) -> None:
        self.measure = measure
        self.quantity = quantity
        self.task = task
        self.groups = dict(splits) if measure.scope == "split" else {}
        if self.groups and measure.reads == "evaluation":
            self.groups |= {WHOLE: torch.ones_like(next(iter(splits.values())))}
        self.moments: dict[Part, Moments] = {}
        self.by_part: Mapping[Part, float] | Mapping[Part, Tensor] = {}
        self.trouble: MeasuredValue | None = None

    def read_weights(self, model: LoadedModel) -> None:
        try:
            with torch.no_grad():
                self.by_part = self.measure.function(model)  # type: ignore[arg-type,assignment] # reads says so
        except Exception as error:
            self.trouble = self._trouble(error)

    def read_examples(self, activations: Activations, rows: slice) -> None:
        if self.trouble is not None:
            return
        try:
            with torch.no_grad():
                values: Tensor = self.measure.function(activations)  # type: ignore[arg-type,assignment] # as above
        except Exception as error:
            self.trouble = self._trouble(error)
            return
        self._add(values.double().cpu(), rows)

    def read_evaluation(self, whole: WholeEvaluation) -> None:
        try:
            with torch.no_grad():
                found = self.measure.function(whole)  # type: ignore[arg-type] # reads says so
        except Exception as error:
            self.trouble = self._trouble(error)
            return
        if isinstance(found, Tensor):
            self._add(found.double().cpu(), slice(None))
        else:
            self.by_part = found

    def _add(self, values: Float[Tensor, "example ..."], rows: slice) -> None:
        for part, inside in self.groups.items() or [(WHOLE, None)]:
            chosen = values if inside is None else values[inside[rows]]
            self.moments.setdefault(part, Moments.none()).add(chosen)

    def result(self) -> MeasuredValue:
        if self.trouble is not None:
            return self.trouble
        columns, parts = self._rows_of_examples() if self.moments else self._rows_of_parts()
        values = np.asarray(columns["values" if self.measure.scope == "vector" else "value"])
        if not np.isfinite(values).all():
            first = tuple(np.argwhere(~np.isfinite(values))[0].tolist())
            where = f" of {parts[first[0]].kind} {parts[first[0]].name}" if parts else f" in row {first[0]}"
            where += f" at index {first[1]}" if len(first) > 1 else ""
            return self._trouble(
                FloatingPointError(f"{self.measure.name} is {values[first]}{where}; expected a finite number")
            )
        return MeasuredValue(self.quantity, self.task.eval_set.tokenizer, columns, parts)

    def _rows_of_parts(self) -> tuple[dict[str, Any], tuple[Part, ...]]:
        if self.measure.scope == "vector":
            vectors = [torch.as_tensor(v, dtype=torch.float64).cpu() for v in self.by_part.values()]
            return {"layer": -1, "unit": -1, "values": torch.stack(vectors).numpy()}, tuple(self.by_part)
        return {"value": np.array(list(self.by_part.values()), dtype=np.float64)}, tuple(self.by_part)

    def _rows_of_examples(self) -> tuple[dict[str, Any], tuple[Part, ...]]:
        moments = list(self.moments.values())
        columns: dict[str, Any] = {
            "value": np.concatenate([each.mean.reshape(-1).numpy() for each in moments]),
            "se": [se for each in moments for se in _standard_errors(each)],
            "n_items": np.concatenate([np.full(each.mean.numel(), each.n) for each in moments]),
        }
        if self.measure.chance is not None:
            columns["chance"] = self.measure.chance(self.task)
        if self.measure.scope == "head":
            n_layers, n_heads = moments[0].mean.shape
            columns["layer"] = np.repeat(np.arange(n_layers), n_heads)
            columns["head"] = np.tile(np.arange(n_heads), n_layers)
            return columns, ()
        return columns, tuple(self.moments)

    def _trouble(self, error: Exception) -> MeasuredValue:
        applies = not isinstance(error, NotApplicable)
        return MeasuredValue(
            self.quantity,
            self.task.eval_set.tokenizer,
            state=CellState.FAILED_PERMANENT if applies else CellState.NOT_APPLICABLE,
            error_class=type(error).__name__,
            message=str(error),
            trace="".join(traceback.format_exception(error)) if applies else "",
        )


def _standard_errors(moments: "Moments") -> Sequence[float | None]:
    # NULL, not NaN, where one example leaves it unknown
    return [se if moments.n > 1 else None for se in moments.standard_error.reshape(-1).tolist()]


@dataclass
class Moments:
    """Count, mean and sum of squared deviations over examples, merged piece by piece (Chan et al. 1983)."""

    n: int
    mean: Float[Tensor, "..."]
    squares: Float[Tensor, "..."]

    @classmethod
    def none(cls) -> "Moments":
        """Nothing seen yet."""
        return cls(0, torch.zeros(()), torch.zeros(()))

    def add(self, values: Float[Tensor, "example ..."]) -> None:
        """Take in more examples, float64."""
        n = len(values)
        if n == 0:
            return
        mean = values.mean(0)
        squares = (values - mean).square().sum(0)
        total = self.n + n
        shift = mean - self.mean
        self.squares = self.squares + squares + shift.square() * (self.n * n / total)
        self.mean = self.mean + shift * (n / total)
        self.n = total

    @property
    def standard_error(self) -> Float[Tensor, "..."]:
        """Of the mean, taking examples as independent; NaN for a single example."""
        return (
            (self.squares / (self.n * (self.n - 1))).sqrt()
            if self.n > 1
            else torch.full_like(self.mean, torch.nan)
        )
