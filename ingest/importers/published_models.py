"""Trained weights of the published grokking runs: as checkpoints, measured where their task is known."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import ValidationError

from archive.records import Part
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.task import TEST, TRAIN, Task
from ingest.tasks.modular_arithmetic import ModularArithmetic

if TYPE_CHECKING:
    from ingest.measuring.measured import MeasuredValue
    from ingest.models.layout import Layout
    from ingest.models.loaded import LoadedModel

ACTIVATIONS: dict[str, Literal["relu", "gelu"]] = {"ReLU": "relu", "GeLU": "gelu"}
# measured and last logged training loss are one update apart; another split is off by a factor of 40
CLOSE = 0.05


@dataclass(frozen=True)
class Setting:
    """A task to measure a model on, and which of its examples the model was trained on."""

    task: Task
    splits: Mapping[Part, Bool[np.ndarray, " example"]]


def shuffled_split(p: int, frac_train: float, seed: int) -> dict[Part, Bool[np.ndarray, " example"]]:
    """The split of the published training program, over all pairs in row-major order.

    Python's `random.Random(seed).shuffle` of the pairs; the first int(frac_train · p²) are trained on.
    """
    order = list(range(p * p))
    random.Random(seed).shuffle(order)
    train = np.zeros(p * p, dtype=bool)
    train[order[: int(frac_train * p * p)]] = True
    return {TRAIN: train, TEST: ~train}


def setting_of(settings: Mapping[str, Any], layout: "Layout") -> Setting | str:
    """What a model is to be measured on, or why it cannot be."""
    config, data = settings.get("config"), settings.get("data_config")
    if isinstance(config, Mapping) and "p" in config:
        return _arithmetic(config, layout)
    if isinstance(data, Mapping) and {"seq_len", "subseq_len", "num_repeats", "vocab_size"} <= set(data):
        return _windows(data, layout)
    return "its settings do not say which task it was trained on"


def _arithmetic(config: Mapping[str, Any], layout: "Layout") -> Setting | str:
    operation = config.get("fn_name", "add")
    if operation not in ("add", "subtract"):
        return f"it was trained on {operation!r}, which is not among the tasks here"
    try:
        task = ModularArithmetic(operation=operation, p=config["p"], frac_train=config.get("frac_train", 0.3))
    except ValidationError as error:
        return f"its settings are none of modular arithmetic: {error.errors()[0]['msg']}"
    expected = (len(task.vocabulary), task.n_outputs, task.n_positions)
    if (found := (layout.n_tokens, layout.n_outputs, layout.n_positions)) != expected:
        return f"tokens, outputs and positions are {found}; arithmetic modulo {task.p} has {expected}"
    if not isinstance(config.get("seed"), int):
        return "no seed is recorded, so its split is not known"
    return Setting(task, shuffled_split(task.p, task.frac_train, config["seed"]))


def _windows(data: Mapping[str, Any], layout: "Layout") -> Setting | str:
    sizes = [data[key] for key in ("vocab_size", "seq_len", "num_repeats", "subseq_len")]
    n_tokens, length, n_repeats, n_copied = sizes
    if not all(isinstance(n, int) and n > 0 for n in sizes) or (length - 1) // n_repeats <= n_copied:
        return f"data_config has {sizes}; repeats do not fit their windows"
    if (found := (layout.n_tokens, layout.n_outputs, layout.n_positions)) != (n_tokens, n_tokens, length):
        return f"tokens, outputs and positions are {found}; data_config has {(n_tokens, n_tokens, length)}"
    task = RepeatedWindows(n_tokens=n_tokens, length=length, n_repeats=n_repeats, n_copied=n_copied)
    return Setting(task, task.splits(0))


def load_model(run: str, step: int, record: Mapping[Any, Any], settings: Mapping[str, Any]) -> "LoadedModel":
    """The model of a record; raises UnknownLayout when it is not the published small transformer."""
    from torch import Tensor

    from ingest.models.loaded import LoadedModel
    from ingest.models.published import UnknownLayout, from_published

    said: dict[str, Any] = {}
    for of in ("config", "model_config"):
        if isinstance(settings.get(of), Mapping):
            said |= settings[of]
    activation = ACTIVATIONS.get(said.get("act_type", "ReLU"))
    if activation is None:
        raise UnknownLayout(f"activation {said['act_type']!r} is none of {', '.join(ACTIVATIONS)}")
    if said.get("pos_embed_type", "orig") != "orig" or said.get("use_ln"):
        raise UnknownLayout("positions are not learned ones added once, or there is LayerNorm")
    tensors = {str(name): value for name, value in record.items()}
    if odd := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise UnknownLayout(f"{odd[0]} is not a tensor")
    layout, weights = from_published(tensors, activation)
    return LoadedModel(run, step, layout, weights)


def measure_model(model: "LoadedModel", setting: Setting) -> "list[MeasuredValue]":
    """Every measure of a run's only checkpoint; those without meaning for the task say so.

    All but the likely tokens of every position, which take more room than all others together.
    """
    from ingest.measure import MEASURES
    from ingest.measuring.checkpoint import measure_only_checkpoint

    measures = [e.thing for e in MEASURES.entries().values() if e.thing.reads != "distributions"]
    return measure_only_checkpoint(model, setting.task, setting.splits, measures)


def disagreement(values: "Sequence[MeasuredValue]", last_logged: float) -> str:
    """Words when the measured training loss is not what the run last logged; empty when they agree."""
    for value in values:
        if value.quantity.measure.name == "loss" and TRAIN in value.parts:
            measured = float(value.columns["value"][value.parts.index(TRAIN)])
            if abs(measured - last_logged) > CLOSE * last_logged:
                return (
                    f"the training loss measured here is {measured:.4g}, the last one logged {last_logged:.4g}: "
                    "the split or the model may not be what its settings say"
                )
    return ""
