"""A text whose tokens are coloured by how much their loss changed, as HTML and in words."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.per_token_delta import PerTokenDelta
from ui.models.neuron.text import SIGNS, visible
from ui.models.palette import HUES, see_through
from ui.models.text import number, shorten

BETTER, WORSE = HUES[0], HUES[1]
FAINTEST, FULLEST = 0.06, 0.55  # words on the fullest ground keep a contrast above 4.5 : 1 on both grounds
N_STOPS = 12  # tokens that the tabulator key reaches: a stop at each of hundreds would be no help
UNMOVED = 0.02  # of the scale: below it a token has no colour

Row = Mapping[str, Any]


def scale_of(found: PerTokenDelta) -> float:
    """The difference with full colour, in nats: 95 % of the eval set's tokens differ by less. 1 where none differs."""
    rows = found.summary.to_pylist() if found.summary is not None else []
    return float(rows[0]["spread95"] or 0.0) or 1.0 if rows else 1.0


def text_html(rows: Sequence[Row], scale: float, *, spaces: bool) -> str:
    """Every token of a sequence; worse in B has an orange ground and a full line, better a blue one and a dashed line.

    The values are on hover; the tokens that moved most are stops for the keyboard and show theirs there.
    """
    known = [r for r in rows if r["delta"] is not None]
    stops = {
        r["place"]
        for r in sorted(known, key=lambda r: -abs(r["delta"]))[:N_STOPS]
        if _share(r, scale) > UNMOVED
    }
    pieces = [_token(r, scale, r["place"] in stops, spaces=spaces) for r in rows]
    return f'<div class="deltas">{"".join(pieces)}</div>'


def text_in_words(rows: Sequence[Row], limit: int = 3) -> str:
    """The text's changes as a sentence, for those who do not see colours."""
    known = [r for r in rows if r["delta"] is not None]
    if not known:
        return "No token of this text has a loss at both checkpoints."
    mean = sum(r["delta"] for r in known) / len(known)
    told = ", ".join(
        f"“{shorten(with_signs(_plain(r)), 20)}” ({signed(r['delta'])})"
        for r in sorted(known, key=lambda r: -abs(r["delta"]))[:limit]
    )
    worse = sum(r["delta"] > 0 for r in known)
    return (
        f"{rows[0]['document']}: mean difference {signed(mean)} nats over {len(known)} tokens, {worse} of them worse in B. "
        f"Moved most: {told}."
    )


def legend_html(scale: float) -> str:
    """What colours and lines mean."""
    ground = [see_through(colour, FULLEST) for colour in (WORSE, BETTER)]
    return (
        '<div class="legend deltas-key">'
        f'<span><mark class="worse" style="background:{ground[0]}">worse in B</mark></span>'
        f'<span><mark class="better" style="background:{ground[1]}">better in B</mark></span>'
        f"<span>full colour from {html.escape(number(scale))} nats on</span>"
        "<span>hover for values, or Tab to the tokens that moved most</span></div>"
    )


def with_signs(token: str) -> str:
    """A token in one line: white space as its signs, ∅ where there is nothing."""
    return "".join(SIGNS.get(c, c if c.isprintable() else "�") for c in token) or "∅"


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if value is None or not math.isfinite(value):
        return "—"
    return f"+{number(value)}" if value > 0 else number(value)


def told(row: Row) -> str:
    """Losses and difference of one token, on hover."""
    losses = f"loss in A {number(row['loss_a'])}, in B {number(row['loss_b'])}"
    return f"{with_signs(_plain(row))} | {losses}, difference {signed(row['delta'])} nats"


def _token(row: Row, scale: float, stop: bool, *, spaces: bool) -> str:
    text = _plain(row)
    moved = row["delta"] is not None and _share(row, scale) > UNMOVED
    words = visible(text, spaces=spaces)
    if "\n" in text:  # its sign stands where the line ends
        words += "<br>"
    if row["delta"] is None:
        return f"<span>{words}</span>"
    title = html.escape(told(row), quote=True)
    if not moved:
        return f'<span title="{title}">{words}</span>'
    side = "worse" if row["delta"] > 0 else "better"
    alpha = FAINTEST + (FULLEST - FAINTEST) * _share(row, scale)
    ground = see_through(WORSE if side == "worse" else BETTER, round(alpha, 3))
    focus = f' tabindex="0" role="note" aria-label="{title}"' if stop else ""
    return f'<mark class="{side}" style="background:{ground}" title="{title}"{focus}>{words}</mark>'


def _share(row: Row, scale: float) -> float:
    return min(abs(float(row["delta"])) / scale, 1.0)


def _plain(row: Row) -> str:
    if row["token"] is not None:
        return str(row["token"])
    return f" ⟨{row['token_id']}⟩" if row["token_id"] >= 0 else " ▪"
