"""What is wrong with a study file, in words: file, key, value found, what is allowed. Imports no torch."""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Union, cast

from pydantic import BaseModel, ValidationError

from ingest.evalset import EVAL_SETS
from ingest.task import TASKS
from ingest.train.spec import TrainSpec

Loc = tuple[int | str, ...]


def worded(
    error: ValidationError,
    model: type[BaseModel],
    path: Path,
    settings: Mapping[str, Any],
    place: Loc = (),
) -> str:
    """One line for every mistake; the other parameters as in `worded_each`."""
    lines = worded_each(error, model, settings, place)
    if len(lines) == 1:
        return f"{path}: {lines[0]}"
    return f"{path} has {len(lines)} mistakes:\n" + "\n".join(f"  {line}" for line in lines)


def worded_each(
    error: ValidationError, model: type[BaseModel], settings: Mapping[str, Any], place: Loc = ()
) -> list[str]:
    """Every mistake in words.

    settings: the file as read. place: the table of it that `model` was made of; empty for the whole file.
    """
    places: dict[str, list[str]] = {}
    for loc, found in mistakes(error):
        key, text = _worded(loc, found, model, settings, place)
        places.setdefault(key, []).append(text)
    # a value that fits none of several alternatives gives one mistake for each of them
    return [key + "; or ".join(texts) for key, texts in places.items()]


def mistakes(error: ValidationError, prefix: Loc = ()) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """Every mistake with its place; one inside a value that is itself a model is unfolded."""
    for found in error.errors():
        loc = (*prefix, *found["loc"])
        inner = found.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from mistakes(inner, loc)
        else:
            yield loc, cast(Mapping[str, Any], found)


def _worded(
    loc: Loc, found: Mapping[str, Any], model: type[BaseModel], settings: Mapping[str, Any], place: Loc
) -> tuple[str, str]:
    """The place with the value found, and what is wrong with it."""
    key = dotted((*place, *loc))
    if dotted(loc) in settings.get("sweep", {}):
        key = f'sweep."{dotted(loc)}"'
    if found["type"] == "extra_forbidden":
        table = (*place, *loc[:-1])
        where = f"[{dotted(table)}]" if table else "a study"
        if table == ("eval_sets",):
            kind, allowed = _of_eval_set(str(loc[-1]), settings)
            where = f"[[eval_sets]] of kind {kind!r}"
        else:
            allowed = _allowed(loc[:-1], model, settings)
        near = difflib.get_close_matches(str(loc[-1]), allowed, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key} = {found['input']!r}; ", f"{hint}{where} knows {', '.join(allowed)}"
    if found["type"] == "missing":
        return f"{key} ", "is missing"
    message = str(found["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:] if message.startswith("Input should") else message
    if isinstance(found["input"], Mapping):  # a rule about a whole table; its text names the values
        return f"[{key}]: " if key else "", message
    return f"{key} = {found['input']!r}: ", message


def dotted(loc: Loc) -> str:
    """A place in the file as one writes it: train.optimizer.lr, seeds.init[2]."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not _is_branch(part):
            text += f".{part}" if text else part
    return text


def _is_branch(part: str) -> bool:
    """True for the names pydantic gives to the alternatives of a union, which are not in the file."""
    return part in ("constrained-int", "int", "str") or "[" in part


def _allowed(loc: Loc, model: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Keys of the table at `loc`."""
    if loc == ("task_params",):
        one = settings["train"].get("task", TrainSpec.model_fields["task"].default)
        tasks = settings.get("sweep", {}).get("task", (one,))
        return sorted({key for task in tasks for key in TASKS.get(task).model_fields})
    for part in loc:
        inner = _model_in(model.model_fields[str(part)].annotation) if part in model.model_fields else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _of_eval_set(unknown: str, settings: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The kind of the eval set that has an unknown key, and the keys that its table takes."""
    kind = str(next(table["kind"] for table in settings["eval_sets"] if unknown in table))
    return kind, ["kind", *EVAL_SETS.get(kind).model_fields, "measures"]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (Union, types.UnionType):
        options: Sequence[object] = typing.get_args(annotation)
        return next((m for m in map(_model_in, options) if m is not None), None)
    return None
