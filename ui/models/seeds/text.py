"""A text whose tokens are coloured by how much repeated runs disagree on their loss, as HTML and in words."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ui.models.marked_text import FULLEST, N_STOPS, mark, plain, visible, with_signs
from ui.models.palette import HUES, see_through
from ui.models.seeds.tokens import MOST_TOLD
from ui.models.text import distinguish, number, shorten

APART = HUES[3]
CLASS = "apart"  # its line in style.css
LEAST = 0.02  # of the scale: below it a token has no colour

Row = Mapping[str, Any]


def text_html(rows: Sequence[Row], scale: float, *, spaces: bool) -> str:
    """Every token of a sequence; the fuller its ground, the more its loss differs between runs. Values are on hover.

    The tokens that differ most are stops for the keyboard and show theirs there.
    """
    known = sorted((r for r in rows if r["spread"] is not None), key=lambda r: -r["spread"])
    stops = {r["place"] for r in known[:N_STOPS] if r["spread"] / scale > LEAST}
    pieces = []
    for row in rows:
        text = plain(row)
        words = visible(text, spaces=spaces)
        share = 0.0 if row["spread"] is None else min(row["spread"] / scale, 1.0)
        title = told(row) if row["losses"] else ""
        if share <= LEAST:
            pieces.append(mark(words, text, title))
        else:
            pieces.append(
                mark(words, text, title, side=CLASS, colour=APART, share=share, stop=row["place"] in stops)
            )
    return f'<div class="deltas">{"".join(pieces)}</div>'


def legend_html(scale: float) -> str:
    """What the colour means."""
    ground = see_through(APART, FULLEST)
    return (
        '<div class="legend deltas-key">'
        f'<span><mark class="{CLASS}" style="background:{ground}">runs disagree</mark></span>'
        f"<span>full colour from a spread of {html.escape(number(float(f'{scale:.3g}')))} nats on</span>"
        "<span>hover for the loss of every run, or Tab to the tokens they disagree on most</span></div>"
    )


def text_in_words(rows: Sequence[Row], limit: int = 3) -> str:
    """The text's disagreements as a sentence, for those who do not see colours."""
    known = [r for r in rows if r["spread"] is not None]
    if not known:
        return "No token of this text has a loss in all runs."
    mean = sum(r["spread"] for r in known) / len(known)
    told_of = ", ".join(
        f"“{shorten(with_signs(plain(r)), 20)}” (spread {r['spread']:.3g})"
        for r in sorted(known, key=lambda r: -r["spread"])[:limit]
    )
    return (
        f"{known[0]['document']}: mean spread {mean:.3g} nats over {len(known)} tokens. Largest: {told_of}."
    )


def told(row: Row) -> str:
    """The spread of one token, its losses by run, and what runs think most likely, on hover."""
    words = f"{with_signs(plain(row))} | "
    words += (
        "no spread: some run has no loss" if row["spread"] is None else f"spread {row['spread']:.3g} nats"
    )
    losses = row["losses"]
    labels = distinguish([run for run, _ in losses], 34)
    tops = dict(row["tops"])
    if len(losses) <= MOST_TOLD:
        for label, (run, loss) in zip(labels, losses, strict=True):
            likely = f" “{with_signs(tops[run])}”" if run in tops else ""
            words += f" | {label}: {loss:.3g}{likely}"
        return words + (" (most likely token in quotes)" if tops else "")
    values = [loss for _, loss in losses]
    words += f" | loss {min(values):.3g} to {max(values):.3g} over {len(values)} runs"
    if tops:
        common = Counter(tops.values()).most_common(4)
        words += f" | most likely: {', '.join(f'“{with_signs(t)}” ({n})' for t, n in common)}"
    return words
