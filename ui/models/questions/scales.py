"""Scales of an answer's figure: as it was made for its numbers, or as somebody wants to look at it."""

import math
from collections.abc import Iterator
from inspect import signature
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from queries.results import Answer

SCALES = ("as drawn", "linear", "log")


def draw(answer: Answer, *, x: str, y: str) -> tuple[go.Figure, list[str]]:
    """The figure with one of `SCALES` on each axis, and what to say of them.

    An answer that draws its figure on either scale by itself does so: it knows where step 0 goes.
    Raises NotImplementedError where the answer has no figure.
    """
    own = signature(answer.plot).parameters
    wanted = {axis: scale for axis, scale in (("x", x), ("y", y)) if scale != SCALES[0]}
    given = {f"{axis}_scale": scale for axis, scale in wanted.items() if f"{axis}_scale" in own}
    figure = answer.plot(**given)
    notes = [rescale(figure, axis, scale) for axis, scale in wanted.items() if f"{axis}_scale" not in own]
    return figure, [note for note in notes if note]


def rescale(figure: go.Figure, letter: str, scale: str) -> str:
    """Change every axis of numbers in place; gives what to say of it, empty where everything is as it was asked for.

    Axes of names stay, and those that write something of their own beside their ticks, such as 0 on a log axis.
    """
    hidden = n_changed = 0
    for axis in figure.select_xaxes() if letter == "x" else figure.select_yaxes():
        name = axis.plotly_name.replace("axis", "")
        values = [v for v in _along(figure, letter, name) if v.size]
        if axis.ticktext is not None or not values or any(v.dtype.kind not in "biuf" for v in values):
            continue
        numbers = np.concatenate(values).astype(float)
        if scale == "log" and not (numbers > 0).any():
            continue
        n_changed += 1
        _move_words(figure, letter, name, was=axis.type or "linear", now=scale)
        axis.update(
            type=scale,
            range=None,
            tickvals=None,
            autorange=None if axis.autorange != "reversed" else "reversed",
        )
        hidden += int((numbers <= 0).sum()) if scale == "log" else 0
    if not n_changed:
        return f"The {letter} axis stays as it is."
    return f"{hidden:,} values at or below 0 are not on the log {letter} axis." if hidden else ""


def _along(figure: go.Figure, letter: str, name: str) -> Iterator[NDArray[Any]]:
    """What traces have along the axis."""
    for trace in figure.data:
        # a trace without a word of its own is on the first axis
        if (
            f"{letter}axis" in trace
            and (trace[f"{letter}axis"] or letter) == name
            and trace[letter] is not None
        ):
            given = [v for v in trace[letter] if v is not None]
            yield np.array(given) if given else np.empty(0)


def _move_words(figure: go.Figure, letter: str, name: str, *, was: str, now: str) -> None:
    """Plotly wants the logarithm of where words stand on a log axis."""
    if was == now:
        return
    for words in figure.layout.annotations:
        if words[f"{letter}ref"] != name or words[letter] is None:
            continue
        if now == "linear":
            words[letter] = 10 ** words[letter]
        elif words[letter] > 0:
            words[letter] = math.log10(words[letter])
        else:
            words.visible = False
