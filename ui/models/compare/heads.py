"""Scores of heads at two checkpoints: the change of each where heads have common numbers, else both distributions."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.head_scores import HeadScores
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, NO_GRID, POWERS, decades, log_ticks
from ui.models.compare.text import signed
from ui.models.heads.cells import FULL, head_cells
from ui.models.palette import HUES, see_through
from ui.models.text import escape_plotly, number, plural

Floats = NDArray[np.float64]

MOST_ROWS = 500
SHORTEST, HEIGHT = 210, 340  # of the grid, of the distributions; pixels
PALE = 0.05


@dataclass(frozen=True)
class HeadChange:
    """Scores of the heads that both checkpoints have, (layer, head); NaN where one of them lacks it.

    se: of the change, as if A and B were measured on different items; NaN where it is not known.
    """

    a: Floats
    b: Floats
    se: Floats

    @property
    def change(self) -> Floats:
        """B − A."""
        found: Floats = self.b - self.a
        return found

    @property
    def reach(self) -> float:
        """The change with full colour: the largest, but no less than what is noise, so that a grid that stayed looks pale.

        Noise is 4 standard errors of a typical head, and a twentieth of the largest score.
        """
        errors, scores = self.se[np.isfinite(self.se)], np.abs([self.a, self.b])
        noise = max(
            4 * float(np.median(errors)) if len(errors) else 0.0,
            PALE * float(scores[np.isfinite(scores)].max(initial=0.0)),
        )
        every = np.abs(self.change)
        return max(float(every[np.isfinite(every)].max(initial=0.0)), noise) or 1.0

    @property
    def n_missing(self) -> int:
        """Heads without a finite score at both."""
        return int((~np.isfinite(self.change)).sum())


def change_of(a: HeadScores, b: HeadScores) -> HeadChange:
    """Head by head; only for runs whose heads have common numbers."""
    layers = [_columns(answer) for answer in (a, b)]
    shape = (1 + max(int(c[0].max()) for c in layers), 1 + max(int(c[1].max()) for c in layers))
    values: list[Floats] = []
    errors: list[Floats] = []
    for layer, head, value, se in layers:
        for known, kept in ((value, values), (se, errors)):
            grid = np.full(shape, np.nan)
            grid[layer, head] = known
            kept.append(grid)
    return HeadChange(values[0], values[1], np.sqrt(errors[0] ** 2 + errors[1] ** 2))


def change_figure(found: HeadChange, *, unit: str) -> go.Figure:
    """A cell a head: blue where the score fell, orange where it rose, pale where it stayed; the number in the cell."""
    return head_cells(
        found.change,
        low=-found.reach,
        high=found.reach,
        scale=_scale(),
        texts=_texts(found.change),
        title=f"B − A{f', {unit}' if unit else ''}",
        told=partial(_told, found),
        shortest=SHORTEST,
    )


def change_in_words(found: HeadChange, label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    table = change_table(found)
    told = ", ".join(f"{r['head']} ({signed(r['change'])})" for r in table.slice(0, 3).to_pylist())
    n_layers, n_heads = found.change.shape
    return f"Grid of changes of {label}, {n_layers} layers by {n_heads} heads. Changed most: {told or 'none is known'}."


def change_table(found: HeadChange) -> pa.Table:
    """head, a, b, change, se, z, those that changed most first; heads that one of the two lacks are not in it."""
    change = found.change
    rows = []
    for layer, head in zip(*np.nonzero(np.isfinite(change)), strict=True):
        se = float(found.se[layer, head])
        rows.append(
            {
                "head": f"L{layer}H{head}",
                "a": float(found.a[layer, head]),
                "b": float(found.b[layer, head]),
                "change": float(change[layer, head]),
                "se": se if np.isfinite(se) else None,
                "z": float(change[layer, head]) / se if np.isfinite(se) and se > 0 else None,
            }
        )
    rows.sort(key=lambda r: -abs(float(str(r["change"]))))
    reals = [(name, pa.float64()) for name in ("a", "b", "change", "se", "z")]
    return pa.Table.from_pylist(rows, schema=pa.schema([("head", pa.string()), *reals]))


def sorted_figure(
    a: HeadScores,
    b: HeadScores,
    names: tuple[str, str],
    *,
    label: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
) -> go.Figure:
    """Scores of all heads of A and of B, each sorted: a full line and a dashed one.

    Scores at or below 0 have no place on a log axis; `hidden_scores` counts them.
    """
    figure = go.Figure()
    every = np.concatenate([_finite(a), _finite(b)])
    across = {"type": x_scale, **(log_ticks(np.array([1.0, len(every)])) if x_scale == "log" else {})}
    up: dict[str, object] = {"type": y_scale}
    if y_scale == "log":
        up |= log_ticks(every) | (POWERS if decades(every) >= 2 else {})
    for k, (answer, name) in enumerate(zip((a, b), names, strict=True)):
        values = np.sort(_finite(answer))[::-1]
        figure.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=np.where(values > 0, values, np.nan) if y_scale == "log" else values,
            mode="lines+markers",
            line={"color": HUES[k], "width": 2, "dash": "solid" if k == 0 else "dash"},
            marker={"symbol": "circle" if k == 0 else "diamond", "size": 7},
            name=escape_plotly(name),
            hovertemplate="%{y:.4g}, rank %{x}<extra>" + escape_plotly(name) + "</extra>",
        )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 62, "t": 28, "b": 52, "r": 8},
        xaxis={"title": {"text": "heads, highest first", "standoff": 8}, **LINE, **NO_GRID, **across},
        yaxis={"title": {"text": escape_plotly(label), "standoff": 8}, **LINE, **GRID, **up},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    return figure


def hidden_scores(a: HeadScores, b: HeadScores) -> int:
    """Scores that a log y axis cannot show."""
    return int((np.concatenate([_finite(a), _finite(b)]) <= 0).sum())


def sorted_in_words(a: HeadScores, b: HeadScores, label: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    told = []
    for end, answer in (("A", a), ("B", b)):
        values = _finite(answer)
        if len(values):
            told.append(
                f"{end}: highest {number(float(values.max()))}, median {number(float(np.median(values)))} of "
                f"{plural(len(values), 'head')}"
            )
    return f"Sorted scores of {label}. {'; '.join(told)}."


def _columns(answer: HeadScores) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    layer, head = (answer.table[name].to_numpy().astype(np.int64) for name in ("layer", "head"))
    return layer, head, floats(answer.table, "value"), floats(answer.table, "se")


def _finite(answer: HeadScores) -> Floats:
    values = floats(answer.table, "value")
    return values[np.isfinite(values)]


def _texts(change: Floats) -> list[list[str]]:
    return [[f"{v:+.2f}".replace("-", "−") if np.isfinite(v) else "✕" for v in row] for row in change]


def _told(found: HeadChange, layer: int, head: int) -> str:
    a, b, change, se = (float(m[layer, head]) for m in (found.a, found.b, found.change, found.se))
    words = f"<b>L{layer}H{head}</b><br>A {number(a)}, B {number(b)}<br>change {signed(change)}"
    return words + (f" ± {number(se)}" if np.isfinite(se) else "<br>its error is not known")


def _scale() -> list[list[object]]:
    """Two hues that fade to nothing between them, so that it reads on light and dark ground."""
    shares = (1.0, 0.5, 0.0)
    down = [see_through(HUES[0], FULL * s) for s in shares]
    up = [see_through(HUES[1], FULL * s) for s in reversed(shares)]
    return [[at, c] for at, c in zip((0.0, 0.25, 0.5, 0.5, 0.75, 1.0), [*down, *up], strict=True)]
