"""When each run gets there, as a table of initial weights × data splits."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import plotly.graph_objects as go

from queries.grokking_progress import GrokkingProgress
from queries.reading.select import RunRow
from queries.transition_times import TransitionTimes
from ui.models.axes import SEPARATORS
from ui.models.palette import HUES, see_through
from ui.models.text import escape_plotly, fold, plural

CELL_PIXELS, AROUND_PIXELS = 44, 92
MOST_LEVELS = 30  # rows and columns that can be read
TEST_ACCURACY = "test accuracy reaches a level"
EVENTS = (TEST_ACCURACY, "end of memorization", "end of circuit formation", "end of cleanup")


@dataclass(frozen=True)
class Time:
    """When one run got there: in (after, reached]; reached None = not by `after`, its last measurement."""

    run: str
    after: int | None
    reached: int | None

    @property
    def words(self) -> str:
        """The bracket in words."""
        if self.reached is None:
            return f"not by step {self.after:,}" if self.after is not None else "not measured"
        return (
            f"after step {self.after:,}, by {self.reached:,}"
            if self.after is not None
            else f"by step {self.reached:,}"
        )


@dataclass(frozen=True)
class Grid:
    """Times by (init seed, split seed), with the runs that have no place because a seed of theirs is not known."""

    inits: tuple[int, ...]
    splits: tuple[int, ...]
    cells: Mapping[tuple[int, int], tuple[Time, ...]]
    homeless: tuple[str, ...]

    @property
    def n_runs(self) -> int:
        """Runs in the table."""
        return sum(len(times) for times in self.cells.values())

    @property
    def is_crossed(self) -> bool:
        """True where at least two inits and two splits meet, so that their effects can be told apart."""
        shared = [sum((i, s) in self.cells for i in self.inits) for s in self.splits]
        return len(self.inits) > 1 and sum(n > 1 for n in shared) > 1


def times_of_level(answer: TransitionTimes) -> list[Time]:
    """Times from the query `transition_times`; runs without data are left out."""
    return [
        Time(row["run"], _whole(row["after"]), _whole(row["reached"]) if row["kind"] != "never" else None)
        for row in answer.table.to_pylist()
        if row["kind"] in ("observed", "never", "before")
    ]


def times_of_phase(progress: GrokkingProgress, event: str) -> list[Time]:
    """Times of an event such as `end of cleanup`; runs in which it is unresolved are left out."""
    phase = event.removeprefix("end of ")
    return [
        Time(row["run"], row["after"], row["reached"])
        for row in progress.ends.to_pylist()
        if row["phase"].replace("_", " ") == phase and row["kind"] in ("observed", "never", "before")
    ]


def grid(times: Iterable[Time], runs: Sequence[RunRow]) -> Grid:
    """Sort the times into a table; runs of several data orders or conditions share a cell."""
    by_name = {r.run: r for r in runs}
    cells: dict[tuple[int, int], list[Time]] = {}
    homeless = []
    for time in times:
        row = by_name.get(time.run)
        if row is None or row.init_seed is None or row.split_seed is None:
            homeless.append(time.run)
        else:
            cells.setdefault((row.init_seed, row.split_seed), []).append(time)
    return Grid(
        tuple(sorted({i for i, _ in cells})),
        tuple(sorted({s for _, s in cells})),
        {at: tuple(mine) for at, mine in cells.items()},
        tuple(homeless),
    )


def grid_figure(found: Grid) -> go.Figure:
    """A row an init, a column a split; each cell says its step, the darker the later, on a log scale."""
    inits, splits = found.inits[:MOST_LEVELS], found.splits[:MOST_LEVELS]
    values = np.full((len(inits), len(splits)), np.nan)
    words = [["" for _ in splits] for _ in inits]
    hover = [["no run" for _ in splits] for _ in inits]
    for r, init in enumerate(inits):
        for c, split in enumerate(splits):
            mine = found.cells.get((init, split), ())
            if mine:
                values[r, c], shown = _cell(mine)
                words[r][c] = shown
                hover[r][c] = "<br>".join(f"{fold(t.run, 50, 2)}: {t.words}" for t in mine[:8])
    rows, columns = [f"init {i}" for i in inits], [f"split {s}" for s in splits]
    logs = np.log2(np.maximum(values, 1))
    low, high = (float(np.nanmin(logs)), float(np.nanmax(logs))) if np.isfinite(logs).any() else (0.0, 1.0)
    figure = go.Figure(
        go.Heatmap(
            z=logs,
            x=columns,
            y=rows,
            customdata=hover,
            hovertemplate="%{y}, %{x}<br>%{customdata}<extra></extra>",
            zmin=low - 0.3 * max(high - low, 0.5),
            zmax=high + 0.3 * max(high - low, 0.5),
            colorscale=[[0, see_through(HUES[0], 0.02)], [1, see_through(HUES[0], 0.42)]],
            showscale=False,
            xgap=3,
            ygap=3,
        )
    )
    # a trace of their own: style.css gives it the page's ink, and it is drawn at once where annotations take minutes
    figure.add_scatter(
        x=np.tile(columns, len(inits)),
        y=np.repeat(rows, len(splits)),
        text=[escape_plotly(word or "–") for row in words for word in row],
        mode="text",
        textfont={"size": 14},
        hoverinfo="skip",
        cliponaxis=False,
        showlegend=False,
    )
    figure.update_layout(
        height=AROUND_PIXELS + CELL_PIXELS * len(inits),
        margin={"l": 16 + 8 * max(map(len, rows)), "t": 36, "b": 16, "r": 16},
        separators=SEPARATORS,
        xaxis={"side": "top", "type": "category", "showgrid": False, "ticks": ""},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False, "ticks": ""},
    )
    return figure


def grid_in_words(found: Grid, event: str) -> str:
    """The table as a sentence, for those who do not see it."""
    told = "; ".join(
        f"init {i}, split {s}: {_cell(times)[1]}" for (i, s), times in sorted(found.cells.items())[:24]
    )
    return (
        f"Table of the step of {event} by initial weights and split, {plural(found.n_runs, 'run')}. {told}."
    )


def grid_notes(found: Grid) -> list[str]:
    """What is not in the table, and what it cannot tell."""
    lines = []
    if found.homeless:
        first = found.homeless[0]
        lines.append(
            f"{plural(len(found.homeless), 'run')} without a known init seed or split seed (first: {first}) have no place in it."
        )
    cut = max(len(found.inits), len(found.splits))
    if cut > MOST_LEVELS:
        lines.append(f"The first {MOST_LEVELS} of {cut} rows or columns are shown.")
    if found.cells and not found.is_crossed:
        lines.append(
            "The seeds are not crossed (no two inits share two splits), so the table cannot tell the init's part from the "
            "split's: train a study with several init_seeds and several split_seeds."
        )
    if any(len(times) > 1 for times in found.cells.values()):
        lines.append("A cell with several runs shows their median and n; hover for each.")
    return lines


def _cell(times: Sequence[Time]) -> tuple[float, str]:
    """(step to colour by, words); a run that never got there counts as later than its last measurement."""
    steps = sorted(math.inf if t.reached is None else float(t.reached) for t in times)
    middle = median(steps)
    last = max((t.after for t in times if t.reached is None and t.after is not None), default=0)
    shown = (f"> {last:,}" if math.isinf(middle) else f"{middle:,.0f}").replace(",", "\u202f")
    several = f" (n = {len(times)})" if len(times) > 1 else ""
    return float(last) if math.isinf(middle) else middle, shown + several


def _whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else int(value)
