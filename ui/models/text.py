"""Words and numbers for people: short, and safe where names come from strangers."""

import math
import re
from collections.abc import Sequence

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&@])")
# icons and emoji are looked for after Markdown has taken the backslashes away; a sign without width comes between
_ICON = re.compile(r":(?=[\w/+-]+:)")
_NO_BREAK = "\u2060"


def escape_markdown(text: str) -> str:
    """The text so that Streamlit's Markdown shows it letter by letter: no HTML, links, LaTeX or icons.

    Line breaks stay as they are. What would be an icon or emoji (`:material/home:`) gets a word joiner after its colon.
    """
    return _MARKDOWN.sub(r"\\\1", _ICON.sub(f":{_NO_BREAK}", text))


def with_code(text: str) -> str:
    """A sentence as Markdown that shows it letter by letter, but for commands between backticks, which are code."""
    return "".join(
        piece if k % 2 else escape_markdown(piece) for k, piece in enumerate(re.split(r"(`[^`\n]+`)", text))
    )


def escape_plotly(text: str) -> str:
    """The text so that plotly shows it letter by letter: its labels read a subset of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def shorten(text: str, width: int = 40) -> str:
    """At most `width` characters; what is cut is the middle, because ends tell names apart."""
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    head = (width - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def distinguish(names: Sequence[str], width: int = 30) -> list[str]:
    """Short labels that tell the names apart: what all of them share is dropped, phrase by phrase.

    Phrases end at ", " or "; "; of what is left, a shared path goes too, and where the labels would still be cut to the
    same letters, the pieces that all of them end with. Names that would no longer differ are shortened instead.
    """
    phrases = [re.split(r"[,;] ", name) for name in names]
    shared = set(phrases[0]).intersection(*phrases[1:]) if len(names) > 1 else set()
    labels = [", ".join(p for p in own if p not in shared) for own in phrases]
    if not all(labels):
        labels = list(names)
    if len(names) > 1:
        paths = [label.split("/") for label in labels]
        n = 0
        while all(len(p) > n + 1 for p in paths) and len({p[n] for p in paths}) == 1:
            n += 1
        labels = ["/".join(p[n:]) for p in paths]
    for candidates in (labels, _without_shared_end(labels)):
        short = [shorten(label, width) for label in candidates]
        if len(set(short)) == len(set(names)):
            return short
    return [shorten(name, width) for name in names]


def _without_shared_end(labels: Sequence[str]) -> list[str]:
    """The labels without the pieces (after / or -) that all of them end with; the first piece always stays."""
    pieces = [re.findall(r"[/-]?[^/-]*", label)[:-1] for label in labels]
    n = 0
    while all(len(p) > n + 1 for p in pieces) and len({p[-1 - n] for p in pieces}) == 1:
        n += 1
    return ["".join(p[: len(p) - n]) for p in pieces]


def fold(text: str, width: int = 60, lines: int = 4) -> str:
    """The text for a hover box: escaped for plotly, broken after `width` characters, at most `lines` long."""
    text = shorten(text, width * lines)
    return "<br>".join(escape_plotly(text[i : i + width]) for i in range(0, len(text), width)) or " "


def count(n: float) -> str:
    """A count with three digits and a unit: 999, 12.3 k, 4.56 M, 7.89 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e4)):
        if abs(n) >= size:
            scaled = n / (1e3 if unit == "k" else size)
            return f"{scaled:.3g} {unit}" if scaled < 999.5 else f"{scaled:.0f} {unit}"
    return f"{n:,.0f}".replace(",", " ")


def size(n_bytes: float) -> str:
    """Bytes in decimal units, as file managers show them."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= power:
            return f"{n_bytes / power:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        n = math.floor(seconds / length)
        if n >= 1:
            return f"{n} {unit}{'s' if n > 1 else ''} ago"
    return "just now"


def number(value: float) -> str:
    """A measured value with four significant digits; — where there is none."""
    if not math.isfinite(value):
        return "—" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    return f"{value:.4g}".replace("-", "−")


def plural(n: int, noun: str, many: str = "") -> str:
    """`1 run`, `5 runs`."""
    return f"{count(n)} {noun if n == 1 else many or noun + 's'}"
