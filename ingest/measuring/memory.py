"""Going on in smaller batches where memory does not hold the larger ones. Imports no torch."""

from collections.abc import Callable, Iterator


def lacks_memory(error: BaseException) -> bool:
    """True for an error that a smaller batch may not run into."""
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or "allocate memory" in str(error)
    )


def in_batches(
    n: int,
    batch: int,
    work: Callable[[slice], None],
    *,
    again: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Call `work` on consecutive slices of range(n), at most `batch` long.

    Where memory does not suffice the batch is halved, `again` is called, `say` told, and the same rows come once
    more. The error stands when it happens with a batch of one.
    """
    start = 0
    for size in _halving(batch):
        try:
            while start < n:
                rows = slice(start, min(start + size, n))
                work(rows)
                start = rows.stop
            return
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not lacks_memory(error):
                raise
            again()
            say(f"memory does not hold a batch of {size} sequences; going on with {size // 2}")


def _halving(batch: int) -> Iterator[int]:
    while batch:
        yield batch
        batch //= 2
