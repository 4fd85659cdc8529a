"""Which runs the Grokking page asks about: where there are more than a page can hold, the first that have its measures."""

from dataclasses import dataclass

from archive.store import Archive
from queries.reading.select import select_runs
from ui.models.series import RunChoice
from ui.models.transitions.page import MOST_RUNS

_HAVING_SQL = """\
SELECT DISTINCT c.run_id
FROM cell l JOIN checkpoint c ON c.id = l.subject_id JOIN v_quantity q ON q.quantity_id = l.quantity_id
WHERE l.subject_kind = 1 AND l.state = 1 AND q.measure IN ('loss', 'accuracy', 'restricted_loss', 'excluded_loss')"""


@dataclass(frozen=True)
class RunsAsked:
    """What to ask for instead of all that was chosen; words: what to say where that is less."""

    runs: RunChoice
    words: tuple[str, ...] = ()


def runs_asked(archive: Archive, *, runs: RunChoice) -> RunsAsked:
    """The runs chosen, at most `MOST_RUNS`; raises what `select_runs` does."""
    chosen = select_runs(archive, runs.selection).runs
    if len(chosen) <= MOST_RUNS:
        return RunsAsked(runs)
    having = {row["run_id"] for row in archive.rows(_HAVING_SQL)}
    there = [r.run for r in chosen if r.run_id in having] or [r.run for r in chosen]
    words = (f"The first {MOST_RUNS} of {len(there):,} runs are used; choose others in the sidebar.",)
    first = RunChoice(run=tuple(there[:MOST_RUNS]), excluded=runs.excluded, suspect=runs.suspect)
    return RunsAsked(first, words if len(there) > MOST_RUNS else ())
