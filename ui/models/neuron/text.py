"""The top examples of a neuron, with the token it peaks at marked, as HTML: every letter escaped."""

import html
import math
from collections.abc import Sequence
from typing import Any

from queries.neuron import Neuron
from ui.models.marked_text import visible
from ui.models.numbers import or_nan
from ui.models.palette import HUES, see_through
from ui.models.text import number, shorten

FAINTEST, FULLEST = 0.12, 0.55  # text on the fullest ground keeps a contrast above 4.5 : 1 on both grounds


def are_apart(tokens: Sequence[str]) -> bool:
    """Whether a gap is needed between tokens: words or numbers of a task, which have no white space of their own."""
    return max(map(len, tokens), default=0) > 1 and not any(c.isspace() for t in tokens for c in t)


def shade(value: float, peak: float) -> float:
    """How full the ground behind a token is: with its activation, as a share of the largest; 0 where that is unknown."""
    if not (math.isfinite(value) and math.isfinite(peak)) or peak <= 0:
        return FAINTEST
    return FAINTEST + (FULLEST - FAINTEST) * min(max(value / peak, 0.0), 1.0)


def marked_text(tokens: Sequence[str], at: int, value: float, peak: float, *, spaces: bool) -> str:
    """The tokens as HTML; the one at `at` is marked, its ground as full as its activation is high, its value on hover."""
    pieces = []
    for place, token in enumerate(tokens):
        words = visible(token, spaces=spaces or place == at)
        if place == at:
            ground = see_through(HUES[1], shade(value, peak))
            told = html.escape(f"activation {number(value)}", quote=True)
            pieces.append(f'<mark style="background:{ground}" title="{told}">{words}</mark>')
        else:
            pieces.append(words)
    return ("\u2002" if are_apart(tokens) else "").join(pieces)


def examples_html(
    found: Neuron, run: str, peak: float, *, spaces: bool, least: float = -math.inf, most: int | None = None
) -> str:
    """The top examples of one run as a list, best first: activation, document, since when it stays, text.

    least: only those with at least this activation. most: no more than so many, for two lists side by side.
    """
    rows = examples_of(found, run, least)[:most]
    narrow = "" if most is None else " narrow"
    items = [_example(row, peak, spaces=spaces) for row in rows]
    return f'<ol class="examples{narrow}">{"".join(items)}</ol>'


def example_item(row: dict[str, Any], value: float, peak: float, text: str, note: str) -> str:
    """An example as an item of the list. text: its tokens as HTML, "" without any; note: what is said of it beside that."""
    # a bar as long as the activation is high says the same without colour
    share = 100 * min(max(value / peak, 0.0), 1.0) if peak and math.isfinite(value / peak) else 0
    where = str(row["document"] or f"sequence {row['sequence']}, position {row['position']}")
    shown = text or '<i class="white">no text in the archive</i>'
    return (
        f'<li><div class="about"><b>{html.escape(number(value))}</b>'
        f'<span class="bar"><span style="width:{share:.0f}%"></span></span>'
        f'<span title="{html.escape(where, quote=True)}">{html.escape(shorten(where, 26))}</span>'
        f"<span>{html.escape(note)}</span></div>"
        f'<div class="text">{shown}</div></li>'
    )


def examples_of(found: Neuron, run: str, least: float = -math.inf) -> list[dict[str, Any]]:
    """Examples of one run with at least this activation, best first; without a threshold also those of unknown activation."""
    rows = [r for r in found.table.to_pylist() if r["run"] == run]
    if least == -math.inf:
        return rows
    return [r for r in rows if r["value"] is not None and r["value"] >= least]


def examples_in_words(found: Neuron, run: str, least: float = -math.inf) -> str:
    """The examples as a sentence, for those who do not see the marks."""
    every, rows = examples_of(found, run), examples_of(found, run, least)
    told = ", ".join(f"{shorten(r['token'] or '?', 20)!r} ({number(r['value'])})" for r in rows[:3])
    many = f"{len(rows)}" if len(rows) == len(every) else f"{len(rows)} of {len(every)}"
    return f"{many} examples, best first. " + (
        f"Marked tokens: {told}." if rows else "None reaches the threshold."
    )


def _example(row: dict[str, Any], peak: float, *, spaces: bool) -> str:
    value = or_nan(row["value"])
    text = marked_text(row["tokens"], row["at"], value, peak, spaces=spaces) if row["tokens"] else ""
    return example_item(row, value, peak, text, _since(row))


def _since(row: dict[str, Any]) -> str:
    if row["born_after"] is None:
        return "there from the first"
    if row["born"] == row["step"]:
        return f"new at {row['born']:,}"
    return f"stays since {row['born']:,}"
