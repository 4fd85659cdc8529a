"""Texts with fields in braces: filled in, and where in them each field ends."""

import string
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Filled:
    """A text, and for each field the UTF-8 byte that its words end with (of one that comes twice, the last time)."""

    text: str
    last_byte: Mapping[str, int]


def fill(template: str, words: Mapping[str, str]) -> Filled:
    """Put words into a template; raises KeyError for a field without any."""
    text, last_byte = "", {}
    for before, name, _, _ in string.Formatter().parse(template):
        text += before
        if name is not None:
            text += words[name]
            last_byte[name] = len(text.encode()) - 1
    return Filled(text, last_byte)


def named(template: str, kind: str = "") -> str:
    """A template as answers name it: "[FIRST] and [SECOND] went", with the kind of words before it if there is one."""
    shown = "".join(
        before + (f"[{name.upper()}]" if name is not None else "")
        for before, name, _, _ in string.Formatter().parse(template)
    )
    return f"{kind}: {shown}" if kind else shown
