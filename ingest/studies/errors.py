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

Loc = tuple[int | str, ...]


def worded(error: ValidationError, model: type[BaseModel], path: Path, settings: Mapping[str, Any]) -> str:
    """One line for every mistake; `settings` is the file as read, `model` what it should have been."""
    places: dict[str, list[str]] = {}
    for loc, found in _mistakes(error):
        key, text = _worded(loc, found, model, settings)
        places.setdefault(key, []).append(text)
    # a value that fits none of several alternatives gives one mistake for each of them
    lines = [key + "; or ".join(texts) for key, texts in places.items()]
    if len(lines) == 1:
        return f"{path}: {lines[0]}"
    return f"{path} has {len(lines)} mistakes:\n" + "\n".join(f"  {line}" for line in lines)


def _mistakes(error: ValidationError, prefix: Loc = ()) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    """Every mistake with its place; one inside a value that is itself a model is unfolded."""
    for found in error.errors():
        loc = (*prefix, *found["loc"])
        inner = found.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from _mistakes(inner, loc)
        else:
            yield loc, cast(Mapping[str, Any], found)


def _worded(
    loc: Loc, found: Mapping[str, Any], model: type[BaseModel], settings: Mapping[str, Any]
) -> tuple[str, str]:
    """The place with the value found, and what is wrong with it."""
    key = dotted(loc)
    if found["type"] == "extra_forbidden":
        place = f"[{dotted(loc[:-1])}]" if loc[:-1] else "a study"
        if loc[:-1] == ("eval_sets",):
            kind, allowed = _of_eval_set(str(loc[-1]), settings)
            place = f"[[eval_sets]] of kind {kind!r}"
        else:
            allowed = _allowed(loc[:-1], model, settings)
        near = difflib.get_close_matches(str(loc[-1]), allowed, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key} = {found['input']!r}; ", f"{hint}{place} knows {', '.join(allowed)}"
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
    if loc == ("train", "task_params"):
        train = settings.get("train", {})
        task = TASKS.get(train.get("task", "modular_arithmetic"))
        return sorted(task.model_fields)
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
