"""Lists of words, pairs of words that belong together, and those of them that a tokenizer keeps whole."""

from collections.abc import Sequence

from ingest.evalsets.tokenizing import TextTokenizer


def words_of(text: str) -> tuple[str, ...]:
    """Words as a list is written down: "hot cold big"."""
    return tuple(text.split())


def pairs_of(text: str) -> tuple[tuple[str, str], ...]:
    """Pairs as a list is written down: "hot cold, big small"; raises ValueError for one that is not two words."""
    found = []
    for entry in text.split(","):
        first, second = entry.split()
        found.append((first, second))
    return tuple(found)


def fitting(tokenizer: TextTokenizer, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of two tokens, with the space before; no token is in two pairs or twice in one."""
    used: set[int] = set()
    kept = []
    for pair in pairs:
        ids = {found for word in pair if (found := tokenizer.single(f" {word}")) is not None}
        if len(ids) == len(pair) and not ids & used:
            used |= ids
            kept.append(pair)
    return kept
