"""How long work shows itself: bars on a terminal, plain lines otherwise, nothing when asked to be quiet.

Everything goes to stderr, so stdout holds results only.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ingest.planning.estimate import Estimate, needs
from ingest.planning.plan import Plan
from ingest.run.dispatch import Tally, describe_failure
from ingest.run.unit import CellFailure
from ingest.studies.parts import AnyStudy

LINE_SECONDS = 10.0
# one measure that fails everywhere must not fill a mailbox
MOST_FAILURES = 20


class IngestProgress:
    """Watches one study. Failures are told at once, also when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.console = Console(stderr=True)
        self._bars: Progress | None = None
        self._study = ""
        self._total = 0
        self._said_at = time.monotonic()
        self._n_failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def planned(self, study: AnyStudy, plan: Plan[Any], estimated: Estimate) -> None:
        """Say what is about to be done."""
        self._study, self._total = study.name, plan.n_todo
        if self.quiet:
            return
        self.say(
            f"{study.name}: {needs(plan.tasks)}, {plan.n_todo} of {plan.n_wanted} cells; "
            f"about {duration(estimated.hours * 3600)} on {estimated.n_workers} process(es), "
            f"{estimated.gigabytes * 1000:.3g} MB"
        )
        for note in estimated.notes:
            self.say(f"{study.name}: {note}")
        if self.console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("cells"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._bars.start()
            self._bars.add_task(study.name, total=plan.n_todo)

    def progressed(self, tally: Tally) -> None:
        """Move the bar, or say a line now and then."""
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], completed=tally.n_filled)
        elif not self.quiet and time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            self.say(f"{self._study}: {tally.n_filled} of {self._total} cells")

    def failed(self, failure: CellFailure) -> None:
        """Name a piece of work that failed; after many, say where the others are named."""
        self._n_failures += 1
        if self._n_failures <= MOST_FAILURES:
            self.say(f"FAILED {describe_failure(failure)}")
        elif self._n_failures == MOST_FAILURES + 1:
            self.say("FAILED: more; all are named in the log beside the archive and in the view v_failure")

    def say(self, text: str) -> None:
        """One line for people, unwrapped so that logs and pipes keep it whole."""
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds for people: 12 s, 3 min, 5.2 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
