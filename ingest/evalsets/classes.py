"""What kind of token a token is, from the characters it stands for."""

import unicodedata
from enum import IntEnum

import numpy as np
from jaxtyping import Int, Int8


class TokenClass(IntEnum):
    """Classes as stored in `token_classes`: decided by the first character of a token that is not white space.

    WORD_START: a letter with no letter or digit before it in the text; WORD_CONTINUATION: any other letter, or the
    rest of one. NUMBER: a digit. PUNCTUATION: punctuation and symbols. WHITESPACE: nothing but white space.
    SPECIAL: a token that stands for no text. OTHER: control characters, unassigned ones, nothing at all.
    """

    OTHER = 0
    WORD_START = 1
    WORD_CONTINUATION = 2
    NUMBER = 3
    PUNCTUATION = 4
    WHITESPACE = 5
    SPECIAL = 6


_OF_CATEGORY = {
    "L": TokenClass.WORD_START,
    "M": TokenClass.WORD_START,
    "N": TokenClass.NUMBER,
    "P": TokenClass.PUNCTUATION,
    "S": TokenClass.PUNCTUATION,
    "Z": TokenClass.WHITESPACE,
    "C": TokenClass.OTHER,
}


def classes_of(text: str, byte_lengths: Int[np.ndarray, " token"]) -> Int8[np.ndarray, " token"]:
    """The class of every token of a text, from how many of its bytes each one stands for.

    A token in the middle of a character has the class of what the character continues: for a letter that is
    WORD_CONTINUATION.
    """
    if not len(byte_lengths):  # a tokenizer may make nothing of a text
        return np.zeros(0, dtype=np.int8)
    n_bytes = int(byte_lengths.sum())
    kinds = np.full(n_bytes + 1, TokenClass.OTHER, dtype=np.int8)  # one more: for tokens at the very end
    kinds[:n_bytes] = _byte_classes(text)
    ends = np.cumsum(byte_lengths)
    starts = ends - byte_lengths
    # position of the next byte that is not white space, counted from every byte
    solid = np.where(kinds != TokenClass.WHITESPACE, np.arange(n_bytes + 1), n_bytes)
    next_solid = np.minimum.accumulate(solid[::-1])[::-1]
    deciding = next_solid[starts]
    classes = np.where(deciding < ends, kinds[np.minimum(deciding, n_bytes)], TokenClass.WHITESPACE)
    return np.where(byte_lengths > 0, classes, TokenClass.OTHER).astype(np.int8)


def _byte_classes(text: str) -> Int8[np.ndarray, " byte"]:
    """The class of every byte of a text, were it the first of a token."""
    known: dict[str, tuple[TokenClass, int]] = {}
    for character in set(text):
        category = unicodedata.category(character)[0]
        kind = TokenClass.WHITESPACE if character.isspace() else _OF_CATEGORY[category]
        known[character] = (kind, len(character.encode()))
    kinds = np.array([known[character][0] for character in text], dtype=np.int8)
    lengths = np.array([known[character][1] for character in text], dtype=np.int64)
    inside_word = np.isin(kinds, (TokenClass.WORD_START, TokenClass.NUMBER))
    continues = np.concatenate([[False], inside_word[:-1]]) & (kinds == TokenClass.WORD_START)
    first = np.where(continues, TokenClass.WORD_CONTINUATION, kinds)
    per_byte = np.repeat(
        np.where(kinds == TokenClass.WORD_START, TokenClass.WORD_CONTINUATION, kinds), lengths
    )
    per_byte[np.cumsum(lengths) - lengths] = first
    return per_byte.astype(np.int8)
