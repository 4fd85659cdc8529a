"""Registered hypotheses in a table, each with how it stands."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from queries.reading.registration import Hypothesis, Standing, read_hypotheses, standing
from ui.models.text import plural

HYPOTHESES_SQL = """\
SELECT name, statement, primary_measure, alpha, runs_json, who, registered_at FROM v_hypothesis ORDER BY registered_at"""


@dataclass(frozen=True)
class Registered:
    """A hypothesis and what is there of its runs."""

    hypothesis: Hypothesis
    standing: Standing

    @property
    def state(self) -> str:
        """Whether results came before or after it, in words."""
        runs = plural(self.standing.n_runs, "run")
        first = self.standing.first
        if not self.standing.n_runs:
            return "waiting: none of its runs is here"
        if first is None:
            return f"waiting: {runs}, no result"
        if self.hypothesis.registered_at >= first:
            return f"too late: results of its {runs} were there ({first:%Y-%m-%d %H:%M}), so exploratory"
        return f"in time: before the first result of its {runs} ({first:%Y-%m-%d %H:%M})"


def every_hypothesis(archive: Archive) -> list[Registered]:
    """All that are registered, the oldest first."""
    return [Registered(one, standing(archive, one)) for one in read_hypotheses(archive)]


def hypothesis_table(found: Sequence[Registered]) -> pa.Table:
    """One row a hypothesis."""
    every = [one.hypothesis for one in found]
    return pa.table(
        {
            "name": [one.name for one in every],
            "statement": [one.statement for one in every],
            "measure": [one.primary_measure for one in every],
            "alpha": [one.alpha for one in every],
            "state": [one.state for one in found],
            "registered": [f"{one.registered_at:%Y-%m-%d %H:%M}" for one in every],
            "runs": [", ".join(one.runs) for one in every],
            "who": [one.who for one in every],
        }
    )


def register_command(archive: Archive) -> str:
    """The command that registers one, to be filled in."""
    return (
        "pathscope hypothesis add NAME --statement 'what is claimed' --primary-measure MEASURE --alpha 0.05 "
        f"--runs 'mine/*' --archive {shlex.quote(str(archive.layout.database))}"
    )
