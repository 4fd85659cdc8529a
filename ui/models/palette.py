"""Colours and strokes for figures that must read on light and dark ground, in print, and without colour sight.

Four hues only: each keeps a contrast above 3.5 : 1 on both grounds and stays apart from the others under
protanopia, deuteranopia and tritanopia (tests/ui/test_palette.py computes it). More groups than hues repeat
them with another dash, and lines carry their name at their end, so colour never stands alone.
"""

from dataclasses import dataclass

HUES = ("#1f83d6", "#dd5f12", "#0f9a6b", "#c95aa6")
DASHES = ("solid", "dash", "dot")
MUTED = "#7b858f"
LIGHT_GROUND = "#ffffff"
DARK_GROUND = "#11161c"


@dataclass(frozen=True)
class Stroke:
    """How one group is drawn."""

    colour: str
    dash: str


STROKES = tuple(Stroke(colour, dash) for dash in DASHES for colour in HUES)


def see_through(colour: str, alpha: float) -> str:
    """`#rrggbb` with an opacity from 0 to 1, as plotly takes it."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"
