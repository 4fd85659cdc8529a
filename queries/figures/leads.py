"""Leads of measures over an event, drawn: what each run's brackets leave open."""

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from queries.figures.axes import GREY, colour, finish, symbol
from queries.reading.tables import shared_words

if TYPE_CHECKING:
    from queries.lead_lag import LeadLag

# of a measure's row that its runs spread over
HEIGHT = 0.7


def lead_brackets(answer: "LeadLag") -> go.Figure:
    """A bar per run from the least to the most it may lead, a row a measure; an open triangle where there is no such end."""
    rows = [r for r in answer.table.to_pylist() if r["order"] in ("leads", "follows", "untold")]
    measures = list(dict.fromkeys(answer.table["measure"].to_pylist()))
    groups = list(dict.fromkeys(answer.table["group"].to_pylist()))
    cut = len(shared_words(groups))
    known = [abs(v) for r in rows for v in (r["lead_least"], r["lead_most"]) if v is not None]
    far = 1.1 * max(known, default=1.0)
    figure = go.Figure()
    runs = list(dict.fromkeys(r["run"] for r in rows))
    for k, group in enumerate(groups):
        mine = [r for r in rows if r["group"] == group]
        places = [
            measures.index(r["measure"]) + HEIGHT * ((runs.index(r["run"]) + 0.5) / len(runs) - 0.5)
            for r in mine
        ]
        figure.add_scatter(
            x=[x for r in mine for x in (_or(r["lead_least"], -far), _or(r["lead_most"], far), None)],
            y=[y for place in places for y in (place, place, None)],
            mode="lines",
            line={"color": colour(k), "width": 2},
            name=group[cut:],
            legendgroup=group,
            customdata=[name for r in mine for name in (r["run"], r["run"], None)],
            hovertemplate="%{x:.2f} octaves<extra>%{customdata}</extra>",
        )
        ends = [
            (p, r) for p, r in zip(places, mine, strict=True) if None in (r["lead_least"], r["lead_most"])
        ]
        figure.add_scatter(
            x=[-far if r["lead_least"] is None else far for _, r in ends],
            y=[p for p, _ in ends],
            mode="markers",
            marker={
                "color": colour(k),
                "size": 10,
                "symbol": [
                    "triangle-left-open" if r["lead_least"] is None else "triangle-right-open"
                    for _, r in ends
                ],
            },
            legendgroup=group,
            showlegend=False,
            hovertemplate="no end on this side<extra></extra>",
        )
    for r in answer.summary.to_pylist() if answer.summary is not None else []:
        if r["lead_octaves"] is None:
            continue
        # pooled runs are of several groups, so their mean has the colour of none
        own = groups.index(r["group"]) if r["group"] in groups else None
        figure.add_scatter(
            x=[r["lead_octaves"]],
            y=[measures.index(r["measure"])],
            mode="markers",
            marker={
                "color": GREY if own is None else colour(own),
                "symbol": "diamond" if own is None else symbol(own),
                "size": 11,
                "line": {"width": 1, "color": GREY},
            },
            legendgroup=r["group"],
            showlegend=False,
            customdata=[[r["n_leading"], r["n_runs"], r["verdict"]]],
            hovertemplate="mean %{x:.2f} octaves, leads in %{customdata[0]} of %{customdata[1]}: %{customdata[2]}<extra></extra>",
        )
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot", "width": 1})
    shown = [v for r in rows for v in (_or(r["lead_least"], -far), _or(r["lead_most"], far))] or [-1.0, 1.0]
    room = 0.04 * (max(shown) - min(shown))
    figure.update_xaxes(
        title="octaves by which the measure is earlier", range=[min(shown) - room, max(shown) + room]
    )
    figure.update_yaxes(
        tickvals=list(range(len(measures))),
        ticktext=measures,
        range=[len(measures) - 0.5, -0.5],
        zeroline=False,
    )
    finish(figure, f"lead over {answer.event}")
    return figure.update_layout(height=max(360, 160 + 40 * len(measures) + 6 * len(rows)))


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
