"""The examples of a neuron with what was searched for marked in them, as HTML: every letter escaped."""

import html
from collections.abc import Sequence
from typing import Any

from queries.neuron import Neuron
from queries.reading.text_matches import BLANK, By
from ui.models.marked_text import visible
from ui.models.neuron.text import example_item, shade
from ui.models.numbers import or_nan
from ui.models.palette import HUES, see_through
from ui.models.text import number

MOST_EXAMPLES = 10  # the page of the neuron has all of them


def marked(tokens: Sequence[str], text: str, by: By, *, same_case: bool) -> list[bool]:
    """Which of some neighbouring tokens match a search, by the rule of the query.

    A text that reaches beyond the window is not seen there.
    """
    if not text:
        return [False] * len(tokens)
    if by == "token":
        return [_is_token(token, text, same_case=same_case) for token in tokens]
    folded = [t if same_case else t.lower() for t in tokens]
    needle = text if same_case else text.lower()
    owners = [k for k, token in enumerate(folded) for _ in token]
    whole, found = "".join(folded), set()
    at = whole.find(needle)
    while at >= 0:
        found |= set(owners[at : at + len(needle)])
        at = whole.find(needle, at + len(needle))
    return [k in found for k in range(len(tokens))]


def examples_html(
    found: Neuron, run: str, peak: float, *, text: str, by: By, within: int, same_case: bool
) -> str:
    """The examples, those that match first: the token it peaks at has an orange ground, what was searched for a blue line."""
    rows = [r for r in found.table.to_pylist() if r["run"] == run]
    flags = [marked(r["tokens"] or [], text, by, same_case=same_case) for r in rows]
    judged = [(row, flag, _matches(flag, row["at"], within)) for row, flag in zip(rows, flags, strict=True)]
    judged.sort(key=lambda j: (not j[2], j[0]["rank"]))
    items = [_example(row, peak, flag, yes) for row, flag, yes in judged[:MOST_EXAMPLES]]
    return f'<ol class="examples">{"".join(items)}</ol>'


def examples_in_words(found: Neuron, run: str, *, text: str, by: By, within: int, same_case: bool) -> str:
    """How many of them match, for those who do not see the marks."""
    rows = [r for r in found.table.to_pylist() if r["run"] == run]
    n = sum(_matches(marked(r["tokens"] or [], text, by, same_case=same_case), r["at"], within) for r in rows)
    more = f" The first {MOST_EXAMPLES} are shown." if len(rows) > MOST_EXAMPLES else ""
    return f"{n} of {len(rows)} examples of {found.label} match; they come first.{more}"


def _is_token(token: str, text: str, *, same_case: bool) -> bool:
    known = token.strip(BLANK) if text == text.strip(BLANK) else token
    return known == text or (not same_case and known.lower() == text.lower())


def _matches(flags: Sequence[bool], at: int | None, within: int) -> bool:
    """Whether the peak lies in a match or at most `within` tokens behind one."""
    return at is not None and any(flags[max(0, at - within) : at + 1])


def _example(row: dict[str, Any], peak: float, flags: Sequence[bool], yes: bool) -> str:
    value = or_nan(row["value"])
    tokens, at = row["tokens"] or [], row["at"]
    pieces = []
    for place, (token, flag) in enumerate(zip(tokens, flags, strict=True)):
        words = visible(token, spaces=flag or place == at)
        style = f"border-bottom:2px solid {HUES[0]};" if flag else ""
        if place == at:
            style += f"background:{see_through(HUES[1], shade(value, peak))};"
            told = html.escape(f"activation {number(value)}", quote=True)
            pieces.append(f'<mark style="{style}" title="{told}">{words}</mark>')
        else:
            pieces.append(f'<span style="{style}">{words}</span>' if style else words)
    note = f"rank {row['rank']}: {'✓ match' if yes else 'no match'}"
    return example_item(row, value, peak, "".join(pieces), note)
