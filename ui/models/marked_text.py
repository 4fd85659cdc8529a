"""Texts whose tokens have a coloured ground: pieces that pages share, every letter escaped, white space made visible."""

import html
from collections.abc import Mapping
from typing import Any

from ui.models.palette import see_through

# what stands for white space; the line break is kept after its sign where a text is shown in full
SIGNS = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽"}
FAINTEST, FULLEST = 0.06, 0.55  # words on the fullest ground keep a contrast above 4.5 : 1 on both grounds
N_STOPS = 12  # tokens that the tabulator key reaches: a stop at each of hundreds would be no help


def visible(token: str, *, spaces: bool) -> str:
    """A token as HTML, letter by letter. Line breaks and tabs always have their sign, spaces where asked for.

    An empty token is shown as ∅, for it has no letters to mark.
    """
    if not token:
        return '<i class="white">∅</i>'
    shown = []
    for letter in token:
        if letter == " " and not spaces:
            shown.append(" ")
        elif letter in SIGNS:
            shown.append(f'<i class="white">{SIGNS[letter]}</i>')
        elif not letter.isprintable():
            shown.append(f'<i class="white">&lt;{ord(letter):02X}&gt;</i>')
        else:
            shown.append(html.escape(letter))
    return "".join(shown)


def with_signs(token: str) -> str:
    """A token in one line: white space as its signs, ∅ where there is nothing."""
    return "".join(SIGNS.get(c, c if c.isprintable() else "�") for c in token) or "∅"


def plain(row: Mapping[str, Any]) -> str:
    """The token of a row of a text: its words, else its id, else a sign for a place without either."""
    if row["token"] is not None:
        return str(row["token"])
    return f" ⟨{row['token_id']}⟩" if row["token_id"] >= 0 else " ▪"


def mark(
    words: str,
    text: str,
    title: str,
    *,
    side: str = "",
    colour: str = "",
    share: float = 0.0,
    stop: bool = False,
) -> str:
    """A token as HTML. words: what is shown, as HTML; text: the token; title: what is said on hover, "" for nothing.

    side: the class that gives it a line of its own, "" for a token without a ground; share: how full the ground is, from
    0 to 1; stop: whether the tabulator key reaches it.
    """
    if "\n" in text:  # its sign stands where the line ends
        words += "<br>"
    if not title:
        return f"<span>{words}</span>"
    title = html.escape(title, quote=True)
    if not side:
        return f'<span title="{title}">{words}</span>'
    ground = see_through(colour, round(FAINTEST + (FULLEST - FAINTEST) * share, 3))
    focus = f' tabindex="0" role="note" aria-label="{title}"' if stop else ""
    return f'<mark class="{side}" style="background:{ground}" title="{title}"{focus}>{words}</mark>'
