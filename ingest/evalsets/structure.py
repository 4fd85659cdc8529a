"""What belongs together in a text: brackets, lines with one indentation, a word that comes again.

Everything is told from what single tokens read as, so that it works on stored tokens and with every tokenizer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ingest.evalsets.classes import TokenClass

CLOSES = {")": "(", "]": "[", "}": "{"}
_OPENS = frozenset(CLOSES.values())
NONE = -1


@dataclass(frozen=True, eq=False)
class Structure:
    """For every token: where the bracket is that it closes, how its line is indented, which word it begins.

    Positions, and numbers that are the same for what is the same within a sequence; -1 for none.
    """

    opening: Int[np.ndarray, "sequence position"]
    indentation: Int[np.ndarray, "sequence position"]
    word: Int[np.ndarray, "sequence position"]

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], classes: Int[np.ndarray, "sequence position"]) -> "Structure":
        """From what the tokens of each sequence read as, and their classes."""
        return cls(
            np.array([opening(row) for row in texts], dtype=np.int32),
            np.array([indentation(row) for row in texts], dtype=np.int32),
            np.array([words(row, kinds) for row, kinds in zip(texts, classes, strict=True)], dtype=np.int32),
        )


def opening(texts: Sequence[str]) -> list[int]:
    """For each token with a closing bracket the place of the token with the bracket that it closes, else -1.

    Of several closing brackets in one token the last counts, which closes the outermost. One that does not match the
    innermost open bracket is passed over; brackets that open and close within one token make no pair.
    """
    found = [NONE] * len(texts)
    open_now: list[tuple[str, int]] = []
    for token, text in enumerate(texts):
        for character in text:
            if character in _OPENS:
                open_now.append((character, token))
            elif character in CLOSES and open_now and open_now[-1][0] == CLOSES[character]:
                _, opened = open_now.pop()
                found[token] = opened if opened < token else found[token]
    return found


def indentation(texts: Sequence[str]) -> list[int]:
    """A number for the white space that a line begins with, at the first token that has more than that; else -1.

    Blank lines have none, nor has the first line, which may be the end of one.
    """
    found = [NONE] * len(texts)
    numbers: dict[str, int] = {}
    space: str | None = None  # None: inside a line
    for token, text in enumerate(texts):
        for character in text:
            if character == "\n":
                space = ""
            elif space is not None and character.isspace():
                space += character
            elif space is not None:
                found[token] = numbers.setdefault(space, len(numbers))
                space = None
    return found


def words(texts: Sequence[str], classes: Int[np.ndarray, " position"]) -> list[int]:
    """A number for the word that a token begins, the same for those that read alike but for case and spaces; else -1.

    Of a word of several tokens only the first is compared.
    """
    numbers: dict[str, int] = {}
    return [
        numbers.setdefault(text.strip().casefold(), len(numbers)) if kind == TokenClass.WORD_START else NONE
        for text, kind in zip(texts, classes.tolist(), strict=True)
    ]
