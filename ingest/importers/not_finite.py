"""What a file writes as NaN or as an infinity: such a value gives no row, and is counted by measure and run."""

from collections.abc import Collection, Iterator

MOST_RUNS = 5


class NotFinite:
    """The steps of such values, as a file is gone through."""

    def __init__(self) -> None:
        # measure -> run -> how many, first and last step
        self._found: dict[str, dict[str, tuple[int, int, int]]] = {}

    def add(self, measure: str, run: str, steps: Collection[int]) -> None:
        """Count the values of these steps."""
        if len(steps):
            of_runs = self._found.setdefault(measure, {})
            n, first, last = of_runs.get(run, (0, min(steps), max(steps)))
            of_runs[run] = n + len(steps), min(first, min(steps)), max(last, max(steps))

    def notes(self) -> list[str]:
        """A line for each measure, which names the first runs."""
        return [f"{measure}: {self._words(of_runs)}" for measure, of_runs in self._found.items()]

    def _words(self, of_runs: dict[str, tuple[int, int, int]]) -> str:
        said = ", ".join(_said(of_runs))
        more = f", and {len(of_runs) - MOST_RUNS:,} more runs" if len(of_runs) > MOST_RUNS else ""
        return f"{sum(n for n, _, _ in of_runs.values()):,} NaN or infinite values gave no row: {said}{more}"


def _said(of_runs: dict[str, tuple[int, int, int]]) -> Iterator[str]:
    for run, (n, first, last) in list(of_runs.items())[:MOST_RUNS]:
        where = f"step {first}" if first == last else f"steps {first} to {last}"
        yield f"{n:,} of run {run} ({where})"
