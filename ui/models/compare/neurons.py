"""What neurons still fire on: overlap of top examples by layer, and the neurons that changed most and least."""

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.neuron_change import NeuronChange
from queries.reading.tables import floats
from ui.models.address import page_address
from ui.models.axes import GRID, LINE, NO_GRID
from ui.models.numbers import or_nan
from ui.models.palette import HUES, MUTED, see_through
from ui.models.text import number, plural

Floats = NDArray[np.float64]

COLUMNS = {"overlap": "overlap", "rank-biased": "rank_overlap"}
ORDERS = ("most changed", "most stable")
MOST_ROWS = 200
ROW_PIXELS, AROUND_PIXELS, TALLEST = 34, 76, 900


def layers_figure(found: NeuronChange, by: str) -> go.Figure:
    """A box a layer: median, quarters, 5 to 95 %; a diamond for what other neurons of the layer have in common.

    At the right the share of neurons with more in common than chance gives.
    """
    rows = found.summary.to_pylist() if found.summary is not None else []
    layers = found.table["layer"].to_numpy()
    values = floats(found.table, COLUMNS[by])
    names = [f"layer {r['layer']}" for r in rows]
    spread = [
        np.quantile(mine, (0.05, 0.25, 0.5, 0.75, 0.95)) if len(mine) else np.full(5, np.nan)
        for mine in (values[(layers == r["layer"]) & np.isfinite(values)] for r in rows)
    ]
    low, q1, median, q3, high = (np.array(column) for column in zip(*spread, strict=True))
    figure = go.Figure()
    figure.add_box(
        y=names,
        q1=q1,
        median=median,
        q3=q3,
        lowerfence=low,
        upperfence=high,
        orientation="h",
        line={"color": HUES[0], "width": 1.5},
        fillcolor=see_through(HUES[0], 0.3),
        width=0.55,
        hoverinfo="skip",
        showlegend=False,
    )
    # a box tells only one number at a time: points that cannot be seen tell all of them
    figure.add_scatter(
        x=median,
        y=names,
        mode="markers",
        marker={"size": 22, "opacity": 0, "color": MUTED},
        hovertext=[
            f"<b>layer {r['layer']}</b>, {plural(r['n_neurons'], 'neuron')}<br>median {number(m)}, half from {number(a)} to "
            f"{number(b)}<br>kept {r['kept']:.0%}, changed {r['changed']:.0%}, replaced {r['replaced']:.0%}"
            for r, m, a, b in zip(rows, median.tolist(), q1.tolist(), q3.tolist(), strict=True)
        ],
        hoverinfo="text",
        showlegend=False,
    )
    if by == "overlap":
        figure.add_scatter(
            x=[r["other_overlap"] for r in rows],
            y=names,
            mode="markers",
            marker={"symbol": "diamond-open", "size": 10, "color": HUES[1], "line": {"width": 2}},
            hovertemplate="another neuron of %{y}: %{x:.3g}<extra></extra>",
            name="with another neuron of the layer",
            showlegend=False,
        )
    for r, name in zip(rows, names, strict=True):
        figure.add_annotation(
            text="—" if r["above_chance"] is None else f"{r['above_chance']:.0%}",
            x=1.02,
            xref="paper",
            xanchor="left",
            y=name,
            showarrow=False,
            font={"size": 12},
        )
    figure.update_layout(
        height=min(TALLEST, AROUND_PIXELS + ROW_PIXELS * max(len(rows), 3)),
        margin={"l": 74, "t": 26, "b": 48, "r": 92},
        xaxis={
            "title": {"text": f"share of top {found.k} examples in common", "standoff": 6},
            "range": [-0.02, 1.02],
            "tickformat": ".0%",
            **LINE,
            **GRID,
        },
        yaxis={"autorange": "reversed", **LINE, **NO_GRID, "ticks": ""},
        annotations=[
            *figure.layout.annotations,
            {
                "text": "above chance",
                "x": 1.02,
                "xref": "paper",
                "xanchor": "left",
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11, "color": MUTED},
            },
        ],
    )
    return figure


def layers_in_words(found: NeuronChange) -> str:
    """The figure as a sentence, for those who do not see it."""
    rows = found.summary.to_pylist() if found.summary is not None else []
    told = "; ".join(
        f"layer {r['layer']}: median {number(or_nan(r['median_overlap']))}, "
        f"{'no' if r['above_chance'] is None else format(r['above_chance'], '.0%')} above chance "
        f"({plural(r['n_neurons'], 'neuron')})"
        for r in rows[:24]
    )
    return f"Boxes of the share of top examples in common by layer. {told}."


def layers_key(found: NeuronChange) -> str:
    """What boxes and diamonds mean."""
    return (
        f"Box: half of the neurons; whiskers: 5 to 95%. Diamond: another neuron of the layer, the control. Above chance: more "
        f"of the {found.k} in common than 1% of random choices from {found.n_places:,} tokens; chance is "
        f"{number(found.chance)}. {found.sentence}"
    )


def neurons_table(found: NeuronChange, order: str, here: str) -> tuple[pa.Table, int]:
    """(neurons with an address of their page each, how many there are), the most changed or the most stable first.

    here: the address of any page.
    """
    rows = [r for r in found.table.to_pylist() if r["overlap"] is not None]
    sign = 1 if order == ORDERS[0] else -1
    rows.sort(key=lambda r: (sign * r["overlap"], sign * r["rank_overlap"], r["layer"], r["unit"]))
    kept = [
        {
            "neuron": r["neuron"],
            "shared": r["shared"],
            "overlap": r["overlap"],
            "rank_overlap": r["rank_overlap"],
            "largest_a": r["largest_a"],
            "largest_b": r["largest_b"],
            "in_a": _address(here, r["run_a"], r["step_a"], r["layer"], r["unit"]),
            "in_b": _address(here, r["run_b"], r["step_b"], r["layer"], r["unit"]),
        }
        for r in rows[:MOST_ROWS]
    ]
    reals = [(name, pa.float64()) for name in ("overlap", "rank_overlap", "largest_a", "largest_b")]
    schema = [
        ("neuron", pa.string()),
        ("shared", pa.int64()),
        *reals,
        ("in_a", pa.string()),
        ("in_b", pa.string()),
    ]
    return pa.Table.from_pylist(kept, schema=pa.schema(schema)), len(rows)


def _address(here: str, run: str, step: int, layer: int, unit: int) -> str:
    return page_address(here, "neuron", focus=run, step=step, layer=layer, unit=unit)
