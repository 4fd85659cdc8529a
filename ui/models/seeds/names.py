"""Short names of conditions, whose full names are lists of settings."""

from collections.abc import Sequence

from ui.models.text import distinguish


def condition_labels(names: Sequence[str], width: int = 40) -> dict[str, str]:
    """Full name -> the settings that not all of them have; the whole name, shortened, where that would not tell them apart.

    A hash of all settings (`#671a7194`) stays only where nothing else does.
    """
    known = list(dict.fromkeys(names))
    words = [name.split() for name in known]
    shared = set(words[0]).intersection(*words[1:]) if len(known) > 1 else set()
    labels = []
    for own in words:
        mine = [word for word in own if word not in shared]
        settings = [word for word in mine if not word.startswith("#")]
        labels.append(" ".join(settings or mine))
    if len(known) < 2 or not all(labels) or len(set(labels)) < len(known):
        labels = known
    return dict(zip(known, distinguish(labels, width) if labels else [], strict=True))
