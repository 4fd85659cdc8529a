"""Short names of conditions, whose full names are lists of settings."""

import re
from collections.abc import Sequence

from ui.models.text import distinguish


def condition_labels(names: Sequence[str], width: int = 40) -> dict[str, str]:
    """Full name -> the settings that not all of them have; the whole name, shortened, where that would not tell them apart.

    A hash of all settings (`#671a7194`) stays only where nothing else tells. A name leaves out settings that have their
    defaults, so the one that lacks what others name is `default n_layers`.
    """
    known = list(dict.fromkeys(names))
    # settings with blanks in them are parted by commas, and `distinguish` drops those that all share
    labels = known if any(re.search(r"[,;] ", name) for name in known) else _settings(known)
    if len(known) < 2 or not all(labels) or len(set(labels)) < len(known):
        labels = known
    return dict(zip(known, distinguish(labels, width) if labels else [], strict=True))


def _settings(names: Sequence[str]) -> list[str]:
    """Of each name the words that not all have, without the hash unless it is all there is."""
    words = [name.split() for name in names]
    shared = set(words[0]).intersection(*words[1:]) if len(names) > 1 else set()
    own = [[word for word in mine if word not in shared] for mine in words]
    settings = [[word for word in mine if not word.startswith("#")] for mine in own]
    keys = dict.fromkeys(word.partition("=")[0] for mine in settings for word in mine if "=" in word)
    without = f"default {', '.join(keys)}" if keys and settings.count([]) == 1 else ""
    return [" ".join(said) or without or " ".join(mine) for said, mine in zip(settings, own, strict=True)]
