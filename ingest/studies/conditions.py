"""The combinations of settings that a study trains with, and those that no run can be trained with. Imports no torch."""

import difflib
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from archive.errors import PathscopeError, UnknownName, UsageError
from archive.identity import canonical_json
from ingest.studies.errors import mistakes, worded_each
from ingest.studies.naming import sweep_label, with_value
from ingest.task import TASKS
from ingest.train.spec import TrainSpec

# what pydantic calls mistakes that a value of the right type can make; all others are mistakes of the file
_OF_VALUES = frozenset(
    {
        "value_error",
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "finite_number",
        "multiple_of",
        "too_short",
        "too_long",
    }
)
# swept, these make runs of their own of what is otherwise the same training
_OF_LENGTH = ("steps", "checkpoints")


class ImpossibleSettings(PathscopeError):
    """Settings of the right types that no run can be trained with."""


@dataclass(frozen=True)
class Condition:
    """Settings that runs are trained with.

    label: the swept ones in words, empty when nothing is swept. apart: those of them that `TrainSpec.hash`
    does not tell apart, in words.
    """

    label: str
    spec: TrainSpec
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Impossible:
    """Settings that no run can be trained with, and why. dtype, loss_dtype: what its log would have had."""

    label: str
    why: str
    dtype: str
    loss_dtype: str


def combinations(
    train: Mapping[str, Any], sweep: Mapping[str, Collection[Any]], folder: Path
) -> Iterator[Condition | Impossible]:
    """Every combination of swept settings with the others, in order; the one there is when nothing is swept.

    train, sweep: as written. folder: what paths in the settings of a task are relative to. A setting of
    `task_params` goes to the tasks that have it, so none is trained twice over a value that means nothing to it.
    Raises pydantic's ValidationError for an unknown setting or a wrong type, UnknownName for an unknown task, and
    UsageError for two combinations of one name or with the same settings.
    """
    tasks = tuple(sweep.get("task", (train.get("task", TrainSpec.model_fields["task"].default),)))
    takes = {task: frozenset(TASKS.get(task).model_fields) for task in tasks if isinstance(task, str)}
    known = frozenset(itertools.chain(*takes.values()))
    _refuse_unknown(sweep, sorted(known))
    params = train.get("task_params", {})
    labels: set[str] = set()
    settings_of: dict[str, str] = {}
    for task in tasks:
        foreign = known - takes.get(str(task), frozenset())
        written = dict(train)
        if isinstance(params, Mapping) and foreign:
            written["task_params"] = {key: value for key, value in params.items() if key not in foreign}
        axes = {
            key: (task,) if key == "task" else values
            for key, values in sweep.items()
            if key not in {f"task_params.{name}" for name in foreign}
        }
        for values in itertools.product(*axes.values()):
            found = _condition(written, dict(zip(axes, values, strict=True)), folder)
            if found.label in labels:
                raise UsageError(f"sweep: two combinations are called {found.label}; take one of them out")
            labels.add(found.label)
            if isinstance(found, Condition):
                other = settings_of.setdefault(
                    canonical_json(found.spec.model_dump(mode="json")), found.label
                )
                if other != found.label:
                    raise UsageError(f"sweep: {other} and {found.label} are the same settings")
            yield found


def _condition(written: Mapping[str, Any], chosen: Mapping[str, Any], folder: Path) -> Condition | Impossible:
    """The settings with the chosen values; raises ValidationError where they are no such settings at all."""
    label = sweep_label(chosen)
    settings = dict(written)
    for key, value in chosen.items():
        settings = with_value(settings, key.split("."), value)
    try:
        spec = TrainSpec.model_validate(settings, context={"folder": folder})
    except ValidationError as error:
        if any(found["type"] not in _OF_VALUES for _, found in mistakes(error)):
            raise
        file = {"train": settings, "sweep": chosen}
        why = "; ".join(worded_each(error, TrainSpec, file, place=("train",)))
    except UnknownName:
        raise
    except UsageError as error:
        why = str(error)
    else:
        apart = {key: value for key, value in chosen.items() if key.split(".")[0] in _OF_LENGTH}
        return Condition(label, spec, (sweep_label(apart),) if apart else ())
    fields = TrainSpec.model_fields
    dtypes = {name: settings.get(name, fields[name].default) for name in ("dtype", "loss_dtype")}
    return Impossible(label, why, **dtypes)


def _refuse_unknown(sweep: Collection[str], of_tasks: Collection[str]) -> None:
    """Raise UsageError for a swept key that is no setting, with those there are."""
    known = []
    for name, field in TrainSpec.model_fields.items():
        inner = field.annotation
        if name == "task_params":
            known += [f"task_params.{key}" for key in of_tasks]
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            known += [f"{name}.{key}" for key in inner.model_fields]
        else:
            known.append(name)
    for key in sweep:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UsageError(f'sweep."{key}" is no setting of [train]; {hint}those are {", ".join(known)}')
