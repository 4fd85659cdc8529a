"""What did not work, by kind of error: how often, where, the message, the first lines of the traceback, what to do."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archive.store import Archive
from archive.upkeep.status import retry_command

FIRST_LINES = 12
MOST_GROUPS = 40

FAILURES_SQL = """\
WITH subject AS (
  SELECT l.*, CASE WHEN l.state IN (2, 3) THEN 'failed' WHEN l.state = 4 THEN 'absent upstream'
                   WHEN l.state = 5 THEN 'not applicable' ELSE 'excluded' END AS outcome,
         CASE l.subject_kind WHEN 0 THEN l.subject_id WHEN 1 THEN c.run_id ELSE a.run_id END AS run_id,
         coalesce(c.step, a.step) AS step
  FROM cell l
  LEFT JOIN checkpoint c ON c.id = CASE WHEN l.subject_kind = 1 THEN l.subject_id END
  LEFT JOIN checkpoint_pair k ON k.id = CASE WHEN l.subject_kind = 2 THEN l.subject_id END
  LEFT JOIN checkpoint a ON a.id = k.checkpoint_a
  WHERE l.state <> 1
)
SELECT s.outcome, coalesce(x.error_class, '') AS error_class, count(*) AS n_cells, count(DISTINCT s.run_id) AS n_runs,
       list(DISTINCT m.name ORDER BY m.name) AS measures, max(s.attempts) AS max_attempts,
       list(DISTINCT {'state': s.state, 'source_id': q.source_id, 'study': coalesce(t.name, '')}) AS origins,
       coalesce(arg_max(x.message, x.happened_at), '') AS message, count(DISTINCT x.message) AS n_messages,
       coalesce(arg_max(x.traceback, x.happened_at), '') AS traceback,
       coalesce(arg_max(r.name, x.happened_at), any_value(r.name)) AS run, arg_max(s.step, x.happened_at) AS step,
       epoch(max(x.happened_at)) AS last
FROM subject s
LEFT JOIN failure x ON x.subject_kind = s.subject_kind AND x.subject_id = s.subject_id AND x.quantity_id = s.quantity_id
JOIN quantity q ON q.id = s.quantity_id JOIN measure m ON m.id = q.measure_id
JOIN shard h ON h.id = s.shard_id LEFT JOIN study t ON t.id = h.study_id
LEFT JOIN run r ON r.id = s.run_id
GROUP BY s.outcome, coalesce(x.error_class, '')
ORDER BY s.outcome = 'failed' DESC, n_cells DESC, error_class"""


@dataclass(frozen=True)
class FailureGroup:
    """Cells that went the same way. message, traceback, run, step: of the newest one; n_messages: different ones.

    outcome: failed, absent upstream, not applicable or excluded; only the first is something to mend.
    transient, permanent: of failed ones, whether the next call tries them by itself, or only when asked. studies: theirs.
    """

    outcome: str
    error_class: str
    n_cells: int
    n_runs: int
    measures: tuple[str, ...]
    max_attempts: int
    message: str
    n_messages: int
    traceback: str
    run: str
    step: int | None
    last: float | None
    transient: bool
    permanent: bool
    studies: tuple[str, ...]
    retries: tuple[str, ...]

    @property
    def title(self) -> str:
        """The error's class, or what became of the cells where there is none."""
        return self.error_class or self.outcome

    @property
    def first_lines(self) -> str:
        """The traceback's first lines and its last one, which names the error; "" where none was kept."""
        lines = self.traceback.rstrip().splitlines()
        if len(lines) <= FIRST_LINES + 1:
            return "\n".join(lines)
        n = len(lines) - FIRST_LINES - 1
        return "\n".join([*lines[:FIRST_LINES], f"… {n} more lines in the view v_failure …", lines[-1]])


def failures(archive: Archive) -> list[FailureGroup]:
    """Everything that is not done, by outcome and error class; failures first, the most frequent first."""
    return [_group(row) for row in archive.rows(FAILURES_SQL)]


def of_study(groups: Sequence[FailureGroup], study: str) -> list[FailureGroup]:
    """Groups with failures of that study; the counts are of all studies."""
    return [g for g in groups if g.outcome == "failed" and study in g.studies]


def with_archive(command: str, database: str) -> str:
    """The command for this archive."""
    return f"{command} --archive {shlex.quote(database)}"


def _group(row: dict[str, Any]) -> FailureGroup:
    origins = row.pop("origins")
    failed = [o for o in origins if o["state"] in (2, 3)]
    retries = sorted({retry_command(o["state"], o["source_id"], o["study"]) for o in failed})
    return FailureGroup(
        **{**row, "measures": tuple(row["measures"])},
        transient=any(o["state"] == 2 for o in failed),
        permanent=any(o["state"] == 3 for o in failed),
        studies=tuple(sorted({o["study"] for o in origins})),
        retries=tuple(retries),
    )
