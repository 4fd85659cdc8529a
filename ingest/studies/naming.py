"""How runs and their conditions are called: readable, unique, the same on every machine. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from archive.identity import canonical_json
from ingest.train.spec import Seeds, TrainSpec


def run_name(study: str, label: str, seeds: Seeds) -> str:
    """The canonical name of a run: `demo/init0-data0-split0`, with the swept settings in the middle."""
    middle = f"{label}/" if label else ""
    return f"{study}/{middle}init{seeds.init}-data{seeds.data_order}-split{seeds.split}"


def sweep_label(values: Mapping[str, object]) -> str:
    """Swept settings as a part of a run's name: `lr=0.005,frac_train=0.4`."""
    labels = short_names(list(values))
    return ",".join(f"{labels[key]}={_spelt(value)}" for key, value in values.items())


def condition_of(spec: TrainSpec, apart: Sequence[str] = ()) -> str:
    """Everything but the seeds, in words: the task with its settings, what differs from the defaults, a hash.

    Equal for two runs exactly when the same training settings made them (`TrainSpec.hash`), so training on
    or keeping other checkpoints does not change it. apart: what tells conditions of one study apart beyond that.
    """
    said = {"task", "task_params", "steps", "checkpoints"}
    ours = leaves(spec.model_dump(mode="json", exclude=said))
    # the default batch is the whole training set, which only some tasks have
    default = leaves(
        TrainSpec(task=spec.task, task_params=spec.task_params, batch=spec.batch).model_dump(
            mode="json", exclude=said
        )
    )
    changed = {k: v for k, v in ours.items() if v != default.get(k) or (k == "batch" and v is not None)}
    labels = short_names(list(changed))
    words = [f"{key}={_spelt(value)}" for key, value in spec.make_task().identity().items()]
    words += [f"{labels[key]}={_spelt(value)}" for key, value in changed.items()]
    return " ".join([spec.task, *words, *apart, f"#{spec.hash[:8]}"])


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key, or the whole key where two end alike."""
    last = {key: key.rsplit(".", 1)[-1] for key in keys}
    ends = list(last.values())
    return {key: short if ends.count(short) == 1 else key for key, short in last.items()}


def leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def with_value(settings: Mapping[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    """A copy of nested settings with one of them changed; unchanged where a value stands in place of a table."""
    head, *rest = path
    inner = settings.get(head, {})
    if rest and not isinstance(inner, Mapping):
        return dict(settings)
    return {**settings, head: with_value(inner, rest, value) if rest else value}


def _spelt(value: object) -> str:
    text = value if isinstance(value, str) else canonical_json(value)
    return text.replace("/", "_").replace(" ", "")
