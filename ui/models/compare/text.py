"""A text whose tokens are coloured by how much their loss changed, as HTML and in words."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.per_token_delta import PerTokenDelta
from ui.models.marked_text import FULLEST, N_STOPS, mark, plain, visible, with_signs
from ui.models.palette import HUES, see_through
from ui.models.text import number, shorten

BETTER, WORSE = HUES[0], HUES[1]
UNMOVED = 0.02  # of the scale: below it a token has no colour

ENDS = ("A", "B")

Row = Mapping[str, Any]


def scale_of(found: PerTokenDelta) -> float:
    """The difference with full colour, in nats: 95 % of the eval set's tokens differ by less. 1 where none differs."""
    rows = found.summary.to_pylist() if found.summary is not None else []
    return float(rows[0]["spread95"] or 0.0) or 1.0 if rows else 1.0


def text_html(rows: Sequence[Row], scale: float, *, spaces: bool, ends: tuple[str, str] = ENDS) -> str:
    """Every token of a sequence; worse in B has an orange ground and a full line, better a blue one and a dashed line.

    The values are on hover; the tokens that moved most are stops for the keyboard and show theirs there. ends: what A and B
    are called.
    """
    known = [r for r in rows if r["delta"] is not None]
    stops = {
        r["place"]
        for r in sorted(known, key=lambda r: -abs(r["delta"]))[:N_STOPS]
        if _share(r, scale) > UNMOVED
    }
    pieces = [_token(r, scale, r["place"] in stops, spaces=spaces, ends=ends) for r in rows]
    return f'<div class="deltas">{"".join(pieces)}</div>'


def text_in_words(rows: Sequence[Row], limit: int = 3, ends: tuple[str, str] = ENDS) -> str:
    """The text's changes as a sentence, for those who do not see colours."""
    known = [r for r in rows if r["delta"] is not None]
    if not known:
        return f"No token of this text has a loss in {ends[0]} and in {ends[1]}."
    mean = sum(r["delta"] for r in known) / len(known)
    told = ", ".join(
        f"“{shorten(with_signs(plain(r)), 20)}” ({signed(r['delta'])})"
        for r in sorted(known, key=lambda r: -abs(r["delta"]))[:limit]
    )
    worse = sum(r["delta"] > 0 for r in known)
    return (
        f"{rows[0]['document']}: mean difference {signed(mean)} nats over {len(known)} tokens, "
        f"{worse} of them worse in {ends[1]}. Moved most: {told}."
    )


def legend_html(scale: float, ends: tuple[str, str] = ENDS) -> str:
    """What colours and lines mean."""
    worse, better = (f"{way} in {html.escape(ends[1])}" for way in ("worse", "better"))
    ground = [see_through(colour, FULLEST) for colour in (WORSE, BETTER)]
    return (
        '<div class="legend deltas-key">'
        f'<span><mark class="worse" style="background:{ground[0]}">{worse}</mark></span>'
        f'<span><mark class="better" style="background:{ground[1]}">{better}</mark></span>'
        f"<span>full colour from {html.escape(number(scale))} nats on</span>"
        "<span>hover for values, or Tab to the tokens that moved most</span></div>"
    )


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if value is None or not math.isfinite(value):
        return "—"
    return f"+{number(value)}" if value > 0 else number(value)


def told(row: Row, ends: tuple[str, str] = ENDS) -> str:
    """Losses and difference of one token, on hover."""
    losses = f"loss in {ends[0]} {number(row['loss_a'])}, in {ends[1]} {number(row['loss_b'])}"
    return f"{with_signs(plain(row))} | {losses}, difference {signed(row['delta'])} nats"


def _token(row: Row, scale: float, stop: bool, *, spaces: bool, ends: tuple[str, str]) -> str:
    text = plain(row)
    moved = row["delta"] is not None and _share(row, scale) > UNMOVED
    words = visible(text, spaces=spaces)
    title = "" if row["delta"] is None else told(row, ends)
    if not moved:
        return mark(words, text, title)
    side, colour = ("worse", WORSE) if row["delta"] > 0 else ("better", BETTER)
    return mark(words, text, title, side=side, colour=colour, share=_share(row, scale), stop=stop)


def _share(row: Row, scale: float) -> float:
    return min(abs(float(row["delta"])) / scale, 1.0)
