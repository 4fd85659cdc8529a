"""Which of the texts that an eval set has losses of: the one asked for, and its neighbours."""


def nearest(known: list[int], sequence: int) -> int:
    """The sequence asked for, or the next one there is; the last beyond the end."""
    return next((s for s in known if s >= sequence), known[-1])


def next_to(known: list[int], sequence: int, by: int) -> int:
    """The sequence `by` further on (or back); after the last comes the first."""
    return known[(known.index(nearest(known, sequence)) + by) % len(known)]
