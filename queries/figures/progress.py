"""Figures of grokking: progress measures over training, and which frequencies are in use when."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import pyarrow.compute as pc

from queries.figures.axes import GREY, Scale, TimeAxis, colour, dash, finish
from queries.reading.tables import floats, shared_folder

if TYPE_CHECKING:
    from queries.grokking_progress import GrokkingProgress
    from queries.key_frequency_history import KeyFrequencyHistory

LOSSES = ("train_loss", "test_loss", "restricted_loss", "excluded_loss")


def progress(answer: "GrokkingProgress", *, x_scale: Scale = "log") -> go.Figure:
    """Four losses of every run on a log axis, a colour a loss; medians of the ends of phases as lines."""
    axis = TimeAxis([floats(answer.table, "step")], x_scale)
    figure = go.Figure()
    gap = np.array([np.nan])
    for k, name in enumerate(LOSSES):
        times, values, texts = [], [], []
        for run in answer.table["run"].unique().to_pylist():
            rows = answer.table.filter(pc.equal(answer.table["run"], run))
            y = floats(rows, name)
            if not np.isfinite(y).any():
                continue
            times += [floats(rows, "step"), gap]
            # what a log axis cannot show is a gap, not a point at its foot
            values += [np.where(y > 0, y, np.nan), gap]
            texts += [run] * (len(y) + 1)
        if not times:
            continue
        at = np.concatenate(times)
        figure.add_scatter(
            x=axis.place(at),
            y=np.concatenate(values),
            mode="lines",
            name=name.replace("_", " "),
            line={"color": colour(k), "dash": dash(k), "width": 1.2},
            text=texts,
            customdata=at,
            hovertemplate="%{y:.4g} at step %{customdata:,}<extra>%{text}</extra>",
        )
    for row in answer.summary.to_pylist() if answer.summary is not None else []:
        if row["median"] is not None:
            figure.add_vline(x=row["median"], line={"color": GREY, "dash": "dash", "width": 1})
            figure.add_annotation(
                # annotations of a log axis are placed by the logarithm
                x=math.log10(row["median"]) if x_scale == "log" else row["median"],
                y=0,
                yref="paper",
                yanchor="bottom",
                xanchor="right",
                textangle=-90,
                showarrow=False,
                text=f"end of {row['phase'].replace('_', ' ')}",
                font={"size": 11, "color": GREY},
            )
    axis.apply(figure, "step")
    figure.update_yaxes(title="loss [nats]", type="log")
    return finish(figure, "progress measures and phases")


def key_frequencies(answer: "KeyFrequencyHistory", *, x_scale: Scale = "log") -> go.Figure:
    """A line from the first to the last step at which a run used a frequency; thick since a final one stays strongest."""
    rows = answer.table.to_pylist()
    stays = [_stays(r) for r in rows if r["final"]]
    ends = np.array([*(v for r in rows for v in (r["first_step"], r["last_step"])), *stays], float)
    axis = TimeAxis([ends], x_scale)
    cut = len(shared_folder(r["run"] for r in rows))
    figure = go.Figure()
    for k, run in enumerate(dict.fromkeys(r["run"] for r in rows)):
        for final in (True, False):
            mine = [r for r in rows if r["run"] == run and (r["final"] or not final)]
            starts = [r["first_step"] if not final else _stays(r) for r in mine]
            x = np.array(
                [v for start, r in zip(starts, mine, strict=True) for v in (start, r["last_step"], np.nan)],
                float,
            )
            figure.add_scatter(
                x=axis.place(x),
                y=[v for r in mine for v in (r["frequency"], r["frequency"], None)],
                mode="lines+markers",
                line={"color": colour(k), "width": 3 if final else 1},
                marker={"size": 5 if final else 3},
                opacity=1.0 if final else 0.5,
                name=run[cut:],
                legendgroup=run,
                showlegend=final,
                hovertemplate=f"frequency %{{y}}{', final' if final else ''}<extra>{run}</extra>",
            )
    axis.apply(figure, "step")
    figure.update_yaxes(title="frequency")
    return finish(figure, answer.label)


def _stays(row: Mapping[str, Any]) -> int:
    """Since when a final frequency stays among the strongest; where no strengths are known, since when it stays key."""
    top: int | None = row["top_since"]
    return int(row["since_step"]) if top is None else top
