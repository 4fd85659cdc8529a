"""What training leaves behind, as plain records for whoever orchestrates it. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class RunFailure:
    """A run that stopped for good: at `step` updates its loss or gradient was not a number."""

    run: str
    step: int
    reason: str


@dataclass(frozen=True)
class TrainOutcome:
    """How far a batch of runs got in one call.

    finished: every run reached the last step or failed. last_step: updates done by the runs still alive.
    failures: all so far, also of earlier calls. seconds: wall clock of this call. n_steps: updates it made.
    """

    finished: bool
    last_step: int
    failures: tuple[RunFailure, ...]
    seconds: float
    n_steps: int


@dataclass(frozen=True)
class LogSegment:
    """The whole training log of one run for steps (after_step, last_step].

    A row at step t is taken in the update from t to t + 1, before it: it describes the weights of
    checkpoint t. The first segment starts at step 0, so its after_step is −1. values: by metric name
    (`train.log.LOG_METRICS`), float64; a failed run's last row may hold NaN or infinity.
    """

    path: Path
    run: str
    after_step: int
    last_step: int
    steps: Int[np.ndarray, " step"]
    values: Mapping[str, Float[np.ndarray, " step"]]
