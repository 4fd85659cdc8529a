"""The training log: one row per update, buffered, written in durable segments. Imports no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Float

from archive.records import WHOLE, Measure, Part, Quantity
from ingest.task import TRAIN
from ingest.train.files import write_durably
from ingest.train.outcome import LogSegment


class Precision(Protocol):
    """What a log's quantities depend on: training settings, or those that came to nothing."""

    @property
    def dtype(self) -> str:
        """Of weights and activations."""

    @property
    def loss_dtype(self) -> str:
        """Of the log-softmax."""


@dataclass(frozen=True)
class LogMetric:
    """One column of the training log: what it means and which part of the data it is about."""

    measure: Measure
    part: Part

    @property
    def name(self) -> str:
        """Key in `LogSegment.values`."""
        return self.measure.name

    def quantity(self, spec: Precision) -> Quantity:
        """The quantity its values are stored under."""
        of_loss = self.measure.name in ("log.loss", "log.accuracy")
        return Quantity(measure=self.measure, dtype=spec.loss_dtype if of_loss else spec.dtype)


def _metric(
    name: str, unit: str, summary: str, *, upper: float | None = None, part: Part = WHOLE
) -> LogMetric:
    direction = {"log.loss": "lower is better", "log.accuracy": "higher is better"}.get(name, "neither")
    return LogMetric(
        Measure.model_validate(
            {
                "name": name,
                "scope": "run",
                "table": "fact_log",
                "unit": unit,
                "lower_bound": 0.0,
                "upper_bound": upper,
                "direction": direction,
                "summary": summary,
                "citation": "pathscope trainer",
            }
        ),
        part,
    )


LOG_METRICS: tuple[LogMetric, ...] = (
    _metric("log.loss", "nats", "Mean cross-entropy of the batch, before the update.", part=TRAIN),
    _metric(
        "log.accuracy",
        "share",
        "Share of the batch answered right, before the update.",
        upper=1.0,
        part=TRAIN,
    ),
    _metric("log.learning_rate", "1", "Learning rate of the update."),
    _metric("log.grad_norm", "1", "L2 norm of the gradient over all parameters."),
    _metric("log.weight_norm", "1", "L2 norm of all parameters, before the update."),
)


class LogBuffer:
    """Rows not yet on disk. A run that fails ends with its failing row while others go on."""

    def __init__(self, first_step: int) -> None:
        self.first_step = first_step
        self._rows: dict[str, list[np.ndarray]] = {}

    def add(self, run: str, rates: Float[np.ndarray, " step"], columns: Float[np.ndarray, "given 4"]) -> None:
        """Append a run's next steps: loss, accuracy, gradient norm and weight norm, and the learning rates.

        A run that failed has fewer steps than there are rates.
        """
        order = (*columns.T[:2], rates[: len(columns)], *columns.T[2:])  # that of LOG_METRICS
        self._rows.setdefault(run, []).append(np.stack(order, axis=1))

    def flush(self, folder: Path, next_step: int) -> None:
        """Write rows first_step … next_step − 1 durably as one segment; nothing if there are none."""
        if not self._rows:
            return
        arrays: dict[str, np.ndarray] = {"runs": np.array(list(self._rows))}
        for i, rows in enumerate(self._rows.values()):
            arrays[f"values_{i}"] = np.concatenate(rows)
        stream = BytesIO()
        np.savez(stream, metrics=np.array([m.name for m in LOG_METRICS]), allow_pickle=False, **arrays)
        write_durably(folder / f"log-{self.first_step:09d}-{next_step - 1:09d}.npz", stream.getvalue())
        self._rows.clear()
        self.first_step = next_step


def read_log_segment(path: Path) -> Iterator[LogSegment]:
    """The segments of all runs in one file."""
    first = log_steps(path)[0]
    with np.load(path, allow_pickle=False) as stored:
        metrics = [str(name) for name in stored["metrics"]]
        for i, run in enumerate(stored["runs"]):
            values = stored[f"values_{i}"]
            steps = np.arange(first, first + len(values))
            yield LogSegment(
                path=path,
                run=str(run),
                after_step=first - 1,
                last_step=int(steps[-1]),
                steps=steps,
                values={name: values[:, column] for column, name in enumerate(metrics)},
            )


def log_files(folder: Path) -> list[Path]:
    """All segment files, in order of steps."""
    return sorted(folder.glob("log-*.npz"))


def log_steps(path: Path) -> tuple[int, int]:
    """First and last step of a segment file, from its name."""
    _, first, last = path.stem.split("-")
    return int(first), int(last)
