"""Steps along one axis: linear, or logarithmic with step 0 kept left of a break."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ui.models.axes import LINE, NO_GRID, log_ticks
from ui.models.palette import MUTED

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StepAxis:
    """Where steps are drawn. On a log axis step 0, which has no logarithm, stands at `zero_at`.

    `curve_figure` gives step 0 an axis of its own; here several panels share one axis, so it has a place on it.
    """

    scale: str
    first: float
    last: float
    has_zero: bool

    @classmethod
    def of(cls, steps: Floats, scale: str) -> "StepAxis":
        """For all steps of a figure."""
        positive = steps[np.isfinite(steps) & (steps > 0)]
        first = float(positive.min()) if len(positive) else 1.0
        last = float(positive.max()) if len(positive) else 1.0
        return cls(scale, first, last, bool((steps <= 0).any()))

    @property
    def broken(self) -> bool:
        """True where step 0 stands left of a break."""
        return self.scale == "log" and self.has_zero

    @property
    def zero_at(self) -> float:
        """Where step 0 is drawn on a log axis: a twelfth of the axis before the first step, at least a factor of 2."""
        return float(self.first / max(2.0, (self.last / self.first) ** (1 / 12)))

    @property
    def break_at(self) -> float:
        """The middle of the gap between step 0 and the rest."""
        return math.sqrt(self.zero_at * self.first)

    def place(self, steps: Floats) -> Floats:
        """Steps as they are drawn."""
        if self.scale == "linear":
            return steps
        return np.where(steps <= 0, self.zero_at, steps)

    def edges(self, steps: Floats) -> Floats:
        """Borders between the columns of increasing steps, one more than steps; the outer ones mirror their inner ones."""
        at = self.place(steps)
        at = np.log10(at) if self.scale == "log" else at
        if len(at) == 1:
            half = 0.02 if self.scale == "log" else 0.5
            borders = np.array([at[0] - half, at[0] + half])
        else:
            middle = (at[1:] + at[:-1]) / 2
            borders = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
        return 10**borders if self.scale == "log" else borders

    def cut(self, steps: Floats, values: Floats) -> tuple[Floats, Floats]:
        """(places, values) with a gap in the line where the axis is broken."""
        places = self.place(steps)
        if not self.broken:
            return places, values
        after = int((steps <= 0).sum())
        return np.insert(places, after, self.break_at), np.insert(values, after, np.nan)

    def layout(self, title: str = "optimiser step") -> dict[str, object]:
        """The axis for plotly."""
        axis: dict[str, object] = {
            "title": {"text": title, "standoff": 8},
            "type": self.scale,
            "exponentformat": "none" if self.scale == "log" else "SI",
            "separatethousands": True,
            **LINE,
            **NO_GRID,
        }
        if self.scale == "linear":
            return axis
        low, high = self.zero_at if self.broken else self.first, self.last
        axis["range"] = [math.log10(low) - 0.04, math.log10(high) + 0.04]
        ticks = log_ticks(np.array([self.first, self.last]))
        if not self.broken:
            return axis | ticks
        if "dtick" in ticks:
            powers = range(
                math.ceil(math.log10(self.first)),
                math.floor(math.log10(self.last)) + 1,
                int(str(ticks["dtick"])),
            )
            values = [10.0**power for power in powers]
        else:
            values = [t for t in np.asarray(ticks.get("tickvals", []), float) if self.first <= t <= self.last]
        return axis | {
            "tickvals": [self.zero_at, *values],
            "ticktext": ["0", *(f"{v:,.0f}".replace(",", "\u202f") for v in values)],
        }

    def mark(self, y: float = 0.0) -> list[dict[str, object]]:
        """The sign of the break as plotly annotations, on the ground of a panel; none where nothing is broken."""
        if not self.broken:
            return []
        sign = {
            "text": "//",
            "xref": "x",
            "x": math.log10(self.break_at),
            "yref": "y domain",
            "y": y,
            "yanchor": "middle",
            "showarrow": False,
            "font": {"size": 13, "color": MUTED},
        }
        return [sign]
