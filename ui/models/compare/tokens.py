"""Differences of token losses over a whole eval set: numbers, histogram, kinds of token, the largest."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from queries.per_token_delta import FALSE_SHARE, PerTokenDelta
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, NO_GRID, POWERS
from ui.models.compare.text import BETTER, WORSE, signed
from ui.models.marked_text import with_signs
from ui.models.palette import MUTED, see_through
from ui.models.text import escape_plotly, number, plural, shorten

Floats = NDArray[np.float64]

HEIGHT = 320
ROW_PIXELS, AROUND_PIXELS = 26, 66
DIRECTIONS = ("worse in B", "better in B")
_AROUND = 40  # characters of text either side of a token


def whole(found: PerTokenDelta) -> dict[str, Any]:
    """The numbers of all tokens of the one pair."""
    rows: list[dict[str, Any]] = found.summary.to_pylist() if found.summary is not None else []
    return rows[0]


def metrics(found: PerTokenDelta) -> list[tuple[str, str, str]]:
    """(what, number in words, what it means)."""
    r = whole(found)
    return [
        ("Loss in A", f"{r['loss_a']:.4g}", "Mean over all tokens that both have, in nats."),
        ("Loss in B", f"{r['loss_b']:.4g}", "Mean over all tokens that both have, in nats."),
        (
            "B − A",
            f"{signed(_round(r['mean_delta'], 3))}",
            "Mean difference in nats: below 0 where B is better.",
        ),
        (
            "Worse / better",
            f"{r['worse']:.0%} / {r['better']:.0%}",
            "Shares of tokens whose loss is higher, and lower, in B.",
        ),
        (
            "Top 1%",
            "—" if r["share_top1pct"] is None else f"{r['share_top1pct']:.0%}",
            "Share of the sum of absolute differences that the 1% largest of them have. 1% where all are equal.",
        ),
    ]


def metrics_note(found: PerTokenDelta) -> str:
    """What the numbers rest on."""
    r = whole(found)
    known = r["ci_low"] is not None
    band = f"{found.ci_level:.0%} interval of B − A over documents: {signed(_round(r['ci_low'], 3))} to "
    band += f"{signed(_round(r['ci_high'], 3))} nats. " if known else ""
    n_sequences = found.sequences.num_rows
    return (
        f"{band if known else 'One document: no interval. '}{plural(r['n_tokens'], 'token')}, "
        f"{plural(n_sequences, 'sequence')}, {plural(r['n_documents'], 'document')}, {plural(found.n_runs, 'run')}."
    )


def histogram_figure(found: PerTokenDelta) -> go.Figure:
    """Bars of a log height; worse to the right, better to the left; the outer bars take what lies beyond."""
    lower, upper, counts = (floats(found.histogram, name) for name in ("lower", "upper", "count"))
    middle = (lower + upper) / 2
    side = np.select([lower >= 0, upper <= 0], [1.0, -1.0], 0.0)
    figure = go.Figure(
        go.Bar(
            x=middle,
            y=np.where(counts > 0, counts, np.nan),
            width=upper - lower,
            marker={"color": [_colour(s) for s in side.tolist()], "line": {"width": 0}},
            hovertext=[
                f"{signed(a)} to {signed(b)} nats: {plural(int(n), 'token')}"
                for a, b, n in zip(lower.tolist(), upper.tolist(), counts.tolist(), strict=True)
            ],
            hoverinfo="text",
        )
    )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_layout(
        height=_height(found),
        margin={"l": 62, "t": 8, "b": 52, "r": 8},
        bargap=0,
        xaxis={"title": {"text": "B − A, nats", "standoff": 8}, **LINE, **NO_GRID},
        yaxis={
            "title": {"text": "tokens", "standoff": 8},
            "type": "log",
            "dtick": 1,
            "range": [-0.3, float(np.log10(max(counts.max(initial=1.0), 1.0))) + 0.15],
            **LINE,
            **GRID,
            **POWERS,
        },
        showlegend=False,
    )
    return figure


def histogram_in_words(found: PerTokenDelta) -> str:
    """The figure as a sentence, for those who do not see it."""
    r = whole(found)
    return (
        f"Histogram of differences of the loss of {plural(r['n_tokens'], 'token')}: {r['worse']:.0%} are worse in B, "
        f"{r['better']:.0%} better; the median is {signed(r['median_delta'])} nats, 95% are within {number(r['spread95'])}."
    )


def slices_figure(found: PerTokenDelta) -> go.Figure:
    """A row a kind of token: mean difference with its interval, a full disc where it differs from the other tokens."""
    rows = found.table.to_pylist()
    names = [_slice_name(r) for r in rows]
    sure = [r["slice_by"] == "" or (r["beyond_q"] is not None and r["beyond_q"] < FALSE_SHARE) for r in rows]
    means = [r["mean_delta"] for r in rows]
    ends = [(_or(r["ci_low"], r["mean_delta"]), _or(r["ci_high"], r["mean_delta"])) for r in rows]
    colour = [_colour(0.0 if r["slice_by"] == "" else r["mean_delta"]) for r in rows]
    figure = go.Figure()
    for k, (mean, (low, high), full) in enumerate(zip(means, ends, sure, strict=True)):
        figure.add_scatter(
            x=[low, high],
            y=[k, k],
            mode="lines",
            line={"color": colour[k], "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=[mean],
            y=[k],
            mode="markers",
            marker={
                "color": colour[k],
                "size": 11,
                "symbol": "circle" if full else "circle-open",
                "line": {"width": 2, "color": colour[k]},
            },
            hovertext=[_slice_told(rows[k])],
            hoverinfo="text",
            showlegend=False,
        )
    figure.add_vline(x=0, line={"color": MUTED, "width": 1})
    if len(rows) > 1:
        figure.add_vline(x=means[0], line={"color": see_through(MUTED, 0.8), "width": 1, "dash": "dot"})
    figure.update_layout(
        height=_height(found),
        margin={"l": 16 + int(6.9 * max(len(name) for name in names)), "t": 8, "b": 52, "r": 12},
        xaxis={"title": {"text": "B − A, nats", "standoff": 8}, **LINE, **GRID},
        yaxis={
            "tickvals": list(range(len(rows))),
            "ticktext": [escape_plotly(name) for name in names],
            "range": [len(rows) - 0.4, -0.6],
            **LINE,
            **NO_GRID,
            "ticks": "",
        },
    )
    return figure


def slices_in_words(found: PerTokenDelta) -> str:
    """The figure as a sentence, for those who do not see it."""
    rows = found.table.to_pylist()
    told = "; ".join(
        f"{r['slice']} {signed(_round(r['mean_delta'], 3))} ({plural(r['n_tokens'], 'token')})"
        for r in rows[:16]
    )
    return f"Mean difference of the loss by kind of token, in nats: {told}."


def slices_key(found: PerTokenDelta) -> str:
    """What discs, lines and dots mean, and what was found."""
    r = whole(found)
    if not r["n_slices"]:
        return "The archive knows no kind of token for this eval set."
    return (
        f"Full discs: unlike all other tokens (q < {FALSE_SHARE:g} over {r['n_slices']} kinds, Benjamini–Hochberg): "
        f"{r['n_beyond']} of {r['n_slices']}. Lines: {found.ci_level:.0%} intervals over documents. Dotted: the mean of all."
    )


def largest(found: PerTokenDelta, direction: str) -> pa.Table:
    """The tokens that moved most one way: token, text around, difference, losses, document, sequence."""
    side = "worse" if direction == DIRECTIONS[0] else "better"
    rows = [
        {
            "token": shown_token(r),
            "delta": r["delta"],
            "loss_a": r["loss_a"],
            "loss_b": r["loss_b"],
            "text": around(r),
            "document": shorten(r["document"] or f"sequence {r['sequence']}", 40),
            "sequence": r["sequence"],
        }
        for r in found.largest.to_pylist()
        if r["direction"] == side
    ]
    reals = [(name, pa.float64()) for name in ("delta", "loss_a", "loss_b")]
    words = [(name, pa.string()) for name in ("text", "document")]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([("token", pa.string()), *reals, *words, ("sequence", pa.int64())])
    )


def sequences(found: PerTokenDelta) -> list[int]:
    """Numbers of the sequences that both checkpoints have, ascending."""
    return [int(s) for s in found.sequences["sequence"].to_pylist()]


def _colour(change: float) -> str:
    return WORSE if change > 0 else BETTER if change < 0 else MUTED


def _height(found: PerTokenDelta) -> int:
    """Both figures lie side by side: as high as the rows of the one need."""
    rows: int = found.table.num_rows
    return max(HEIGHT, AROUND_PIXELS + ROW_PIXELS * rows)


def _slice_name(row: dict[str, Any]) -> str:
    return f"{row['slice'] if row['slice_by'] else 'all tokens'} ({row['n_tokens']:,})".replace(",", "\u202f")


def _slice_told(row: dict[str, Any]) -> str:
    words = (
        f"<b>{escape_plotly(row['slice'])}</b>: {signed(row['mean_delta'])} nats"
        f"<br>{number(_or(row['loss_a'], math.nan))} in A, {number(_or(row['loss_b'], math.nan))} in B"
        f"<br>{plural(row['n_tokens'], 'token')}, {plural(row['n_documents'], 'document')}"
        f"<br>worse {row['worse']:.0%}, better {row['better']:.0%}"
    )
    if row["beyond"] is not None:
        words += f"<br>{signed(row['beyond'])} beyond the other tokens"
        words += f" (q {number(row['beyond_q'])})" if row["beyond_q"] is not None else ""
    return words


def shown_token(row: dict[str, Any]) -> str:
    """A token in one line, or what is known of it without a vocabulary."""
    if row["token"] is None:
        return f"token {row['token_id']}" if row["token_id"] >= 0 else f"position {row['position']}"
    return with_signs(row["token"])


def around(row: dict[str, Any]) -> str:
    """A token in quotation marks with some letters either side; "" where the archive has no text."""
    if row["before"] is None:
        return ""
    token = row["token"] or ""
    gap = token[: len(token) - len(token.lstrip())]
    shown = token.strip() or with_signs(token)
    text = f"{row['before'][-_AROUND:]}{gap}«{shown}»{row['after'][:_AROUND]}"
    return " ".join(text.split())


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
