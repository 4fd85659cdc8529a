"""What to train: every setting that changes the numbers, and the seeds. Imports no torch."""

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from archive.identity import content_hash
from ingest.models.layout import Activation, Input, Layout, Positions
from ingest.task import Task, make_task
from ingest.train.schedule import checkpoint_steps

# part of every spec hash: raise it when the same settings and seeds give other weights than before
TRAINER_VERSION = 1

# environment for a worker process, set before Python starts in it: without the two MALLOC settings a step
# of 5 seeds took 31.9 ms instead of 22.8 (3,014 page faults instead of 100); more threads lose on a shared
# machine and would cost bit-identity between batches
WORKER_ENV = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


class Settings(BaseModel):
    """Base of all settings: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelSettings(Settings):
    """The small transformer; the task adds vocabulary and length."""

    n_layers: int = Field(1, ge=0)
    """0: embedding straight to unembedding."""
    d_model: int = Field(48, ge=1)
    n_heads: int = Field(4, ge=0)
    """0: no attention (MLP-only)."""
    d_head: int | None = Field(None, ge=1)
    """Default: d_model / n_heads."""
    d_mlp: int = Field(192, ge=0)
    """0: attention-only."""
    activation: Activation = "relu"
    """solu: x · softmax(x) over a layer's neurons; solu_ln: that, then a LayerNorm of its own."""
    layer_norm: bool = False
    positions: Positions = "learned"
    """learned: added to the embeddings once; attention: to the inputs of queries and keys only, in every layer."""
    input: Input = "token"
    """token: a position starts as its embedding; sum: as the sum of the embeddings up to it (for n_heads = 0)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.n_heads and self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(
                f"d_model = {self.d_model} is not a multiple of n_heads = {self.n_heads}; change one or give d_head"
            )
        if self.positions == "attention" and not (self.n_heads and self.n_layers):
            raise ValueError(
                f"positions = 'attention' adds positions to queries and keys, and n_heads = {self.n_heads} with "
                f"n_layers = {self.n_layers} has none; use positions = 'learned'"
            )
        if self.activation == "solu_ln" and self.d_mlp == 1:
            raise ValueError(
                "activation = 'solu_ln' norms over the neurons of a layer, which d_mlp = 1 makes constant; "
                "raise d_mlp or use activation = 'solu'"
            )
        return self

    def layout(self, task: Task) -> Layout:
        """Names, shapes and places of all weights of this model on that task."""
        d_head = self.d_head or (self.d_model // self.n_heads if self.n_heads else 0)
        return Layout(
            n_tokens=task.n_inputs,
            n_outputs=task.n_outputs,
            n_positions=task.n_positions,
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            d_head=d_head,
            d_mlp=self.d_mlp,
            activation=self.activation,
            layer_norm=self.layer_norm,
            positions=self.positions,
            input=self.input,
        )


class OptimizerSettings(Settings):
    """The optimizer and its learning rate over time."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    """adamw decouples weight decay; adam and sgd add it to the gradient."""
    lr: float = Field(5e-3, gt=0)
    weight_decay: float = Field(2.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    """adamw and adam only."""
    eps: float = Field(1e-8, gt=0)
    """adamw and adam only."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """sgd only."""
    warmup_steps: int = Field(10, ge=0)
    """Update number t (from 1) uses lr · min(1, t / warmup_steps)."""
    decay: Literal["none", "linear", "cosine"] = "none"
    """How the learning rate falls after the warm-up, from lr to decay_to · lr."""
    decay_steps: int | None = Field(None, ge=1)
    """Updates after which it has fallen, warm-up included. Not `steps`: to train on must not change what was done."""
    decay_to: float = Field(0.0, ge=0, le=1)
    """Share of lr that is left in the end."""

    @model_validator(mode="after")
    def _decays(self) -> Self:
        if self.decay == "none":
            if self.decay_steps is not None or self.decay_to:
                raise ValueError('decay_steps and decay_to mean nothing without decay = "linear" or "cosine"')
        elif self.decay_steps is None:
            raise ValueError(
                f"decay = {self.decay!r} needs decay_steps, the updates after which the rate has fallen"
            )
        elif self.decay_steps <= self.warmup_steps:
            raise ValueError(
                f"decay_steps = {self.decay_steps} counts the {self.warmup_steps} updates of the warm-up, "
                "so it must be larger"
            )
        return self

    def learning_rate(self, step: int) -> float:
        """Learning rate of the update from `step` to `step + 1`: linear warm-up, then constant or falling."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        if self.decay == "none":
            return self.lr * warm
        assert self.decay_steps is not None  # _decays
        done = min(1.0, max(0.0, (step - self.warmup_steps) / (self.decay_steps - self.warmup_steps)))
        left = 1 - done if self.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.lr * warm * (self.decay_to + (1 - self.decay_to) * left)


class CheckpointSchedule(Settings):
    """When to keep the weights: step 0, the last step, dense at first, evenly later."""

    per_octave: int = Field(4, ge=0)
    """Checkpoints per doubling of the step at first; 0: none."""
    every: int | None = Field(50, ge=1)
    """Once the doubling schedule is coarser than this, one every so many steps; None: never."""
    at: tuple[int, ...] = ()
    """Further steps, each at most the last."""


class TrainSpec(Settings):
    """One condition: everything about a training run but its seeds.

    The defaults are the quick start: every seed memorises by step 100-125 and generalises (test accuracy
    > 0.99) long after, seeds 0-4 at 675, 2,375, 1,375, 875 and 1,925. About 7 in 10 seeds are through by
    step 1,200, 9 in 10 by 2,000. Rounding moves these steps, so other processors give others.
    """

    task: str = "modular_arithmetic"
    task_params: dict[str, Any] = Field(default={}, validate_default=True)
    """Settings of the task; resolved, so its defaults are filled in."""
    model: ModelSettings = ModelSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    steps: int = Field(3000, ge=1)
    """Optimizer updates."""
    batch: int | None = Field(None, ge=1)
    """Examples per update; None: the whole training set, which only a finite one allows."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of weights and activations."""
    loss_dtype: Literal["float32", "float64"] = "float64"
    """Of the log-softmax: float32 can only return multiples of 1.2e-7 near zero."""
    checkpoints: CheckpointSchedule = CheckpointSchedule()

    @field_validator("task_params")
    @classmethod
    def _resolve(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "task" not in info.data:  # its own error is reported already
            return params
        folder = (info.context or {}).get("folder")
        return make_task(info.data["task"], params).resolved(folder).model_dump(mode="json")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_train = self.make_task().n_train
        if self.batch is None and n_train is None:
            raise ValueError(f"task {self.task!r} has endless data: give batch, the examples per update")
        if self.batch is not None and n_train is not None and self.batch > n_train:
            raise ValueError(
                f"batch = {self.batch} exceeds the {n_train} training examples of {self.task!r}; "
                "leave batch out to train on all of them"
            )
        falls_until = self.optimizer.decay_steps
        if falls_until is not None and falls_until < self.steps and not self.optimizer.decay_to:
            raise ValueError(
                f"the learning rate is 0 from step {falls_until} on (optimizer.decay_steps), but training runs to "
                f"step {self.steps}; lower steps, or give a larger decay_steps or a decay_to above 0 (another condition)"
            )
        self.checkpoint_steps()
        return self

    def make_task(self) -> Task:
        """The task with these settings."""
        return make_task(self.task, self.task_params)

    def layout(self) -> Layout:
        """Names, shapes and places of all weights; `.n_params` is their number."""
        return self.model.layout(self.make_task())

    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps whose weights are kept, increasing, from 0 to `steps`."""
        return checkpoint_steps(
            self.steps,
            per_octave=self.checkpoints.per_octave,
            every=self.checkpoints.every,
            at=self.checkpoints.at,
        )

    @property
    def hash(self) -> str:
        """SHA-256 of everything that changes the numbers at a step, so not of `steps` or `checkpoints`.

        Training on, or keeping other checkpoints, is therefore the same condition.
        """
        settings = self.model_dump(mode="json", exclude={"steps", "checkpoints"})
        settings["task_params"] = self.make_task().identity()
        return content_hash({"trainer": TRAINER_VERSION, **settings})

    @property
    def tokens_per_step(self) -> int:
        """Tokens one update sees."""
        task = self.make_task()
        n = self.batch if self.batch is not None else task.n_train
        assert n is not None  # _fits
        return n * task.n_positions

    def data_order_hash(self, seeds: "Seeds") -> str:
        """Equal for two runs exactly when they see the same examples in the same order."""
        task = self.make_task()
        used: dict[str, int] = {}
        if task.n_train is not None:
            used["split"] = seeds.split
        if self.batch is not None:
            used["data_order"] = seeds.data_order
        return content_hash({"task": self.task, "params": task.identity(), "batch": self.batch, **used})


class Seeds(Settings):
    """The three independent sources of randomness of a run."""

    init: int = Field(ge=0)
    """Initial weights."""
    data_order: int = Field(ge=0)
    """Which examples come when; without effect on full-batch training."""
    split: int = Field(ge=0)
    """Which examples are trained on; without effect on endless data."""
