"""Which frequencies each run settles on, side by side."""

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from queries.key_frequency_history import KeyFrequencyHistory, Rule
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, SEPARATORS, name_rows
from ui.models.palette import HUES
from ui.models.text import fold, plural

RULES: tuple[Rule, ...] = ("W_L", "neurons", "W_E", "logits")
MOST_ROWS = 40
ROW_PIXELS, AROUND_PIXELS = 26, 84
SMALLEST, LARGEST = 9, 19  # diameters in pixels


def seeds_figure(found: KeyFrequencyHistory, n_frequencies: int) -> go.Figure:
    """A row a run, a column a frequency: a disc where it is key at the end, as large as it is strong there.

    Those that were key earlier are left out: at first nearly all are. At most `MOST_ROWS` runs.
    """
    rows = found.table.to_pylist()
    runs = list(dict.fromkeys(r["run"] for r in rows))[:MOST_ROWS]
    row = {run: at for at, run in enumerate(runs)}
    strongest = {
        run: max(
            (abs(r["final_strength"]) for r in rows if r["run"] == run and r["final_strength"] is not None),
            default=0.0,
        )
        for run in runs
    }
    mine = [r for r in rows if r["final"] and r["run"] in row]
    figure = go.Figure(
        go.Scatter(
            x=[r["frequency"] for r in mine],
            y=[row[r["run"]] for r in mine],
            mode="markers",
            marker={
                "color": HUES[0],
                "size": [_diameter(r["final_strength"], strongest[r["run"]]) for r in mine],
                "line": {"width": 0},
                "opacity": 1,
            },
            hovertext=[_told(r) for r in mine],
            hoverinfo="text",
        )
    )
    figure.update_layout(
        height=AROUND_PIXELS + ROW_PIXELS * len(runs),
        margin={"t": 8, "b": 52, "r": 16},
        separators=SEPARATORS,
        xaxis={
            "title": {"text": "frequency", "standoff": 8},
            "range": [0.4, n_frequencies + 0.6],
            "tickmode": "linear",
            "tick0": 1,
            "dtick": max(1, round(n_frequencies / 28)),
            **LINE,
            **GRID,
        },
        showlegend=False,
    )
    name_rows(figure, runs, grid=True)
    return figure


def most_frequencies(found: KeyFrequencyHistory) -> int:
    """The highest frequency that any run ever used."""
    return int(np.max(floats(found.table, "frequency"))) if found.table.num_rows else 1


def seeds_in_words(found: KeyFrequencyHistory) -> str:
    """The figure as a sentence, for those who do not see it."""
    finals: dict[str, list[int]] = {}
    for row in found.table.to_pylist():
        if row["final"]:
            finals.setdefault(row["run"], []).append(row["frequency"])
    told = "; ".join(f"{run}: {', '.join(map(str, keys))}" for run, keys in list(finals.items())[:12])
    return f"Dots of the {found.label} of {plural(found.n_runs, 'run')}, a row a run. {told}."


def seeds_table(found: KeyFrequencyHistory) -> pa.Table:
    """One row per run and frequency that is key at its last checkpoint."""
    table = found.table.filter(found.table["final"])
    columns = ["run", "frequency", "final_strength", "first_step", "n_switches", "early_rank"]
    return table.select(columns)


def _diameter(strength: float | None, strongest: float) -> float:
    if strength is None or not strongest:
        return (SMALLEST + LARGEST) / 2
    return float(max(SMALLEST, LARGEST * np.sqrt(abs(strength) / strongest)))


def _told(row: dict[str, object]) -> str:
    strength = row["final_strength"]
    words = f"<b>{fold(str(row['run']))}</b><br>frequency {row['frequency']}: "
    words += (
        f"key from step {row['first_step']:,} to {row['last_step']:,}, switched {row['n_switches']} times"
    )
    return words + (f"<br>strength at the end {float(str(strength)):.4g}" if strength is not None else "")
