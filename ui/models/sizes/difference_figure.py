"""Log-probabilities of two sizes drawn against one another, their difference, and both in words."""

import math

import numpy as np
import plotly.graph_objects as go

from ui.models.axes import GRID, LINE, NO_GRID, POWERS
from ui.models.compare.text import BETTER, WORSE, signed
from ui.models.palette import HUES, MUTED, see_through
from ui.models.sizes.difference import LEVEL, REACH, TokenDifference
from ui.models.text import plural

HEIGHT = 380
PICTURES = ("one against the other", "difference")


def squares_figure(found: TokenDifference) -> go.Figure:
    """A square a small range of both log-probabilities, the fuller the more tokens; above the diagonal the small is better."""
    middle = (found.edges[1:] + found.edges[:-1]) / 2
    counts = found.counts.astype(float)
    logs = np.full(counts.shape, np.nan)
    np.log10(counts, out=logs, where=counts > 0)
    top = float(np.nanmax(logs)) if np.isfinite(logs).any() else 0.0
    ticks = list(range(math.floor(top) + 1))
    figure = go.Figure()
    figure.add_heatmap(
        x=middle,
        y=middle,
        z=logs,
        zmin=0,
        zmax=top or 1.0,
        colorscale=[(share, see_through(HUES[0], 0.12 + 0.88 * share)) for share in (0.0, 0.5, 1.0)],
        hovertext=_told(found),
        hoverinfo="text",
        hoverongaps=False,
        colorbar={
            "title": {"text": "tokens", "side": "right", "font": {"size": 11}},
            "tickvals": ticks,
            "ticktext": [f"{10**k:,}".replace(",", "\u202f") for k in ticks],
            "tickfont": {"size": 10},
            "thickness": 9,
            "outlinewidth": 0,
            "ypad": 0,
        },
    )
    ends = [float(found.edges[0]), 0.0]
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": MUTED, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    for words, x, y in (("small better", 0.04, 0.96), ("large better", 0.96, 0.04)):
        figure.add_annotation(
            text=words,
            xref="x domain",
            yref="y domain",
            x=x,
            y=y,
            xanchor="left" if x < 0.5 else "right",
            yanchor="top" if y > 0.5 else "bottom",
            showarrow=False,
            font={"size": 12, "color": MUTED},
        )
    axis = {"range": ends, **LINE, **NO_GRID}
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 58, "t": 8, "b": 52, "r": 8},
        xaxis={"title": {"text": "log-probability, large [nats]", "standoff": 8}, **axis},
        yaxis={"title": {"text": "log-probability, small [nats]", "standoff": 8}, **axis},
    )
    return figure


def bars_figure(found: TokenDifference) -> go.Figure:
    """Bars of a log height: to the right of 0 the small is better, to the left the large."""
    lower, upper = found.bars[:-1], found.bars[1:]
    heights = found.heights.astype(float)
    side = np.select([lower >= 0, upper <= 0], [1, -1], 0).tolist()
    colours = {1: BETTER, -1: WORSE, 0: MUTED}
    figure = go.Figure(
        go.Bar(
            x=(lower + upper) / 2,
            y=np.where(heights > 0, heights, np.nan),
            width=upper - lower,
            marker={"color": [colours[s] for s in side], "line": {"width": 0}},
            hovertext=[
                f"{signed(_three(a))} to {signed(_three(b))} nats: {plural(int(n), 'token')}"
                for a, b, n in zip(lower.tolist(), upper.tolist(), heights.tolist(), strict=True)
            ],
            hoverinfo="text",
        )
    )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1, "dash": "dot"})
    for words, x in (("large better", 0.02), ("small better", 0.98)):
        figure.add_annotation(
            text=words,
            xref="x domain",
            yref="y domain",
            x=x,
            y=1.0,
            xanchor="left" if x < 0.5 else "right",
            yanchor="top",
            showarrow=False,
            font={"size": 12, "color": MUTED},
        )
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 58, "t": 8, "b": 52, "r": 8},
        bargap=0,
        xaxis={"title": {"text": "small − large, log-probability [nats]", "standoff": 8}, **LINE, **NO_GRID},
        yaxis={
            "title": {"text": "tokens", "standoff": 8},
            "type": "log",
            "dtick": 1,
            "range": [-0.3, float(np.log10(max(heights.max(), 1.0))) + 0.3],
            **LINE,
            **GRID,
            **POWERS,
        },
        showlegend=False,
    )
    return figure


def share_in_words(found: TokenDifference) -> str:
    """On how many tokens the small is better, with what that rests on."""
    share, low, high = found.share
    band = f" ({LEVEL:.0%} interval over documents {low:.1%} to {high:.1%})" if math.isfinite(low) else ""
    least, most = found.pairs
    single = (
        f"; of one small and one large run {least:.1%} to {most:.1%}"
        if math.isfinite(least) and math.prod(found.n_runs) > 1
        else ""
    )
    equal = f", equally good on {found.equal:.1%}" if found.equal else ""
    return f"better on {share:.1%}{band}{equal}{single}"


def basis_in_words(found: TokenDifference) -> str:
    """How many runs, tokens, documents, and at which step."""
    small, large = found.n_runs
    first, last = found.steps[0], found.steps[-1]
    step = f"step {first:,}" if first == last else f"each run's last step ({first:,} to {last:,})"
    return (
        f"{plural(small, 'small run')}, {plural(large, 'large run')}; {plural(found.n_tokens, 'token')}, "
        f"{plural(found.n_documents, 'document')}; {step}."
    )


def squares_in_words(found: TokenDifference) -> str:
    """The figure as a sentence, for those who do not see it."""
    return (
        f"Squares of the log-probability in the small against that in the large models, with the number of tokens in each: "
        f"the small are {share_in_words(found)}. {basis_in_words(found)}"
    )


def bars_in_words(found: TokenDifference) -> str:
    """The figure as a sentence, for those who do not see it."""
    return (
        f"Histogram of the log-probability in the small less that in the large models: the small are {share_in_words(found)}; "
        f"the median is {signed(_three(found.median))} nats, 95% are within {found.spread95:.3g}. {basis_in_words(found)}"
    )


def picture_key(picture: str, found: TokenDifference) -> str:
    """What is drawn and how much of it."""
    outer = f"The outermost take the {1 - REACH:.1%} beyond."
    if picture == PICTURES[0]:
        n = len(found.edges) - 1
        return (
            f"Each token's log-probability, mean over the runs of a size, counted in {n} × {n} squares: none is left out. "
            f"{outer}"
        )
    return f"Each token's difference of the means over runs, counted in {len(found.heights)} bars: none is left out. {outer}"


def difference_limits(found: TokenDifference) -> list[str]:
    """What the pictures cannot tell."""
    lines = [
        "Which model is better on a token is partly luck: between seeds of one size each is better on about half. A share "
        "above 0 is no evidence that sizes differ in what they can do; the section below tests that.",
        "The interval is over documents and of these runs: other seeds may differ by as much as single pairs of runs do.",
    ]
    if found.n_runs[0] != found.n_runs[1]:
        lines.append(
            "Means over many runs are steadier than those over few: as the sizes have different numbers of runs, part of the "
            "share may come from that."
        )
    if found.n_documents < 10:
        lines.append("Fewer than 10 documents: intervals over so few are themselves hardly known.")
    return lines


def _told(found: TokenDifference) -> list[list[str]]:
    ends = [f"{_three(a):g} to {_three(b):g}" for a, b in zip(found.edges[:-1], found.edges[1:], strict=True)]
    ends = [e.replace("-", "−") for e in ends]
    return [
        [
            f"small {ends[y]}<br>large {ends[x]}<br>{plural(int(n), 'token')}" if n else ""
            for x, n in enumerate(row)
        ]
        for y, row in enumerate(found.counts.tolist())
    ]


def _three(value: float | np.floating) -> float:
    return float(f"{float(value):.3g}")
