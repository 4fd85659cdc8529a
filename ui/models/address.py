"""The address that brings a page's choices back, and what of an address means nothing to a page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ui.models.text import shorten

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Words = Mapping[str, Sequence[str]]  # of an address, each with all its values

# Choices of any number and texts of one's own: `word=` says that there is none. It says nothing where one of a few
# is always chosen, which Streamlit does not know.
MAY_BE_EMPTY = {"condition", "events", "family", "file", "like", "measure", "options", "part", "run", "sql"}
MAY_BE_EMPTY |= {"state", "task", "text"}

# Words that do not say the same on all pages that have them, with the groups of pages on which they do. What is chosen
# goes along from page to page; these words only within their group.
APART: Mapping[str, Sequence[tuple[str, ...]]] = {
    "axis": (("curves",), ("sizes",)),
    "colours": (("seeds",), ("benchmarks",)),
    "level": (("grokking",), ("transitions",)),
    "like": (("questions",), ("benchmarks",)),
    "measure": (("curves", "sizes"), ("transitions",), ("heads", "compare")),
    "picture": (("sizes",), ("trajectory",)),
    "rule": (("grokking",), ("transitions",)),
    "show": (("grokking",), ("heads",)),
    "sort": (("seeds",), ("heads",)),
    "step": (("benchmarks",), ("sizes",), ("grokking", "heads", "neuron", "search", "seeds")),
}


def permalink(base: str, *choices: "DataclassInstance") -> str:
    """All choices as an address: also what equals the defaults, which may differ when data came in.

    base: the page's address; words it has are dropped. A field's name is its word; switches that are off and empty
    fields are left out, steps 0 are not.
    """
    words: list[tuple[str, str]] = []
    for choice in choices:
        for field in fields(choice):
            value = getattr(choice, field.name)
            if isinstance(value, bool):
                words += [(field.name, "true")] if value else []
            elif isinstance(value, tuple):
                words += [(field.name, str(v)) for v in value]
            elif value not in ("", None):
                words.append((field.name, str(value)))
    return f"{base.split('?')[0]}?{urlencode(words)}"


def page_address(here: str, page: str, **words: object) -> str:
    """Address of another page of the explorer with some of its choices; those that are off or empty are left out.

    here: the address of any page.
    """
    folder = here.split("?")[0].rpartition("/")[0]
    # steps, layers and neurons 0 stay: 0 == False
    told = {name: v for name, v in words.items() if v is not False and v not in ("", None)}
    return f"{folder}/{page}?{urlencode({k: 'true' if v is True else v for k, v in told.items()})}"


def filled(asked: Words) -> dict[str, Sequence[str]]:
    """The words of an address that say something: none is empty, and no number is infinite, at which Streamlit fails."""
    return {
        name: values
        for name, values in asked.items()
        if name in MAY_BE_EMPTY or (any(values) and not any(map(_is_infinite, values)))
    }


def _is_infinite(word: str) -> bool:
    try:
        return math.isinf(float(word))
    except ValueError:
        return False


def ignored(asked: Words, kept: Words, chosen: Mapping[str, object]) -> list[str]:
    """What of an address is not there, and what the page shows instead: a sentence each.

    asked: its words before the page was drawn; kept: after it, less what Streamlit could not take and what equals a
    default. chosen: what is chosen now, by word; words that the page did not ask for are not judged.
    """
    lines = []
    for name, values in asked.items():
        if name not in chosen or kept.get(name) == values or not any(values):
            continue
        if not _says(values, shown := chosen[name]):
            instead = "nothing" if shown in (None, "", [], ()) else _text(shown)
            lines.append(f"{name} = {shorten(', '.join(values), 60)} is not there: {instead} is chosen.")
    return lines


def _says(values: Sequence[str], shown: object) -> bool:
    if isinstance(shown, list | tuple):
        return set(values) <= {str(v) for v in shown}
    if isinstance(shown, int | float) and not isinstance(shown, bool):
        try:
            return float(values[-1]) == shown
        except ValueError:
            return False
    return values[-1] == _text(shown) or "…" in values[-1]  # shortened words are not the value's own


def _text(shown: object) -> str:
    if isinstance(shown, list | tuple):
        return ", ".join(str(v) for v in shown)
    return str(shown).lower() if isinstance(shown, bool) else str(shown)
