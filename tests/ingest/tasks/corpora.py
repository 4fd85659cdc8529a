"""Small texts on disk."""

WORDS = (
    "the",
    "old",
    "grey",
    "mill",
    "by",
    "river",
    "turns",
    "slow",
    "when",
    "rain",
    "falls",
    "née",
    "1,024",
)


def write_texts(folder, n=12, n_words=120):
    """n different files of some 600 characters each; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        words = [WORDS[(i * i + k * (i + 3)) % len(WORDS)] for i in range(n_words)]
        (folder / f"{k:02d}.txt").write_text(f"Tale {k}: " + " ".join(words) + ".\n", encoding="utf-8")
    return folder
