"""What came in, study by study: the ledger's counts, the last commits, and what is still to come."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from ui.models.ingestion.pace import LAST_COMMITS, Pace, pace
from ui.models.text import plural

OTHERS = "no study"

# whose a cell is: the study of the unit that brought it; 0 is an import, or a unit entered without a study
STUDIES_SQL = """\
WITH own AS (
  SELECT s.study_id, count(*) FILTER (l.state = 1) AS n_done, count(*) FILTER (l.state IN (2, 3)) AS n_failed,
         count(*) FILTER (l.state = 4) AS n_absent, count(*) FILTER (l.state IN (5, 6)) AS n_not_wanted
  FROM cell l JOIN shard s ON s.id = l.shard_id GROUP BY s.study_id
), subject AS (
  SELECT 0 AS kind, id, id AS run_id FROM run
  UNION ALL SELECT 1, id, run_id FROM checkpoint
  UNION ALL SELECT 2, k.id, a.run_id FROM checkpoint_pair k JOIN checkpoint a ON a.id = k.checkpoint_a
), others AS (
  SELECT x.study_id, count(*) AS n FROM cell l
  JOIN subject j ON j.kind = l.subject_kind AND j.id = l.subject_id JOIN study_run x ON x.run_id = j.run_id
  JOIN shard s ON s.id = l.shard_id JOIN quantity q ON q.id = l.quantity_id
  WHERE s.study_id <> x.study_id AND l.state NOT IN (2, 3) AND q.source_id = 0 GROUP BY x.study_id
), reached AS (
  SELECT x.study_id, count(*) AS n_runs,
         count(*) FILTER (r.final_step IS NOT NULL AND r.final_step <= c.last_step) AS n_ended
  FROM study_run x JOIN run r ON r.id = x.run_id
  LEFT JOIN (SELECT run_id, max(step) AS last_step FROM checkpoint WHERE integrity <> 'absent' GROUP BY run_id) c
    ON c.run_id = r.id
  GROUP BY x.study_id
), brought AS (
  SELECT study_id, count(*) AS n_units, count(DISTINCT committed_at) AS n_commits, epoch(max(committed_at)) AS last_commit
  FROM shard GROUP BY study_id
), named AS (
  SELECT id AS study_id, name AS study, n_cells_wanted AS n_wanted FROM study
  UNION ALL SELECT 0, '', NULL WHERE EXISTS (FROM shard WHERE study_id = 0)
)
SELECT n.study, n.n_wanted, coalesce(r.n_runs, 0) AS n_runs, coalesce(r.n_ended, 0) AS n_ended,
       coalesce(o.n_done, 0) AS n_done, coalesce(o.n_failed, 0) AS n_failed, coalesce(o.n_absent, 0) AS n_absent,
       coalesce(o.n_not_wanted, 0) AS n_not_wanted, coalesce(t.n, 0) AS n_by_others,
       coalesce(b.n_units, 0) AS n_units, coalesce(b.n_commits, 0) AS n_commits, b.last_commit
FROM named n LEFT JOIN own o USING (study_id) LEFT JOIN others t USING (study_id) LEFT JOIN reached r USING (study_id)
LEFT JOIN brought b USING (study_id)
ORDER BY b.last_commit DESC NULLS LAST, n.study"""

_COMMITS_SQL = """\
SELECT coalesce(t.name, '') AS study, epoch(s.committed_at) AS moment, sum(s.n_cells)::BIGINT AS n_cells
FROM shard s LEFT JOIN study t ON t.id = s.study_id
WHERE s.n_cells > 0 GROUP BY t.name, s.committed_at
QUALIFY row_number() OVER (PARTITION BY t.name ORDER BY s.committed_at DESC) <= $last
ORDER BY study, moment"""


@dataclass(frozen=True)
class IngestChoices:
    """Everything that was chosen on the page; the fields' names are the address's."""

    study: str = ""
    paused: bool = False
    y_scale: str = ""


@dataclass(frozen=True)
class StudyState:
    """One study by the ledger. n_wanted: None where nobody said how many cells there should be.

    n_ended: runs with a checkpoint at their last step. n_not_wanted: not applicable or excluded. n_by_others: settled
    cells of its runs that other studies brought, some of which it may want too. last_commit: seconds since 1970.
    """

    study: str
    n_wanted: int | None
    n_runs: int
    n_ended: int
    n_done: int
    n_failed: int
    n_absent: int
    n_not_wanted: int
    n_by_others: int
    n_units: int
    n_commits: int
    last_commit: float | None
    commits: tuple[tuple[float, int], ...] = ()

    @property
    def label(self) -> str:
        """Its name; for what came without a study, words that say so."""
        return self.study or OTHERS

    @property
    def n_settled(self) -> int:
        """Cells that need no more work: there, absent upstream, or not applicable."""
        return self.n_done + self.n_absent + self.n_not_wanted

    @property
    def n_missing(self) -> int | None:
        """Cells that nobody has tried yet; at most, where other studies brought some of them."""
        return None if self.n_wanted is None else max(self.n_wanted - self.n_settled - self.n_failed, 0)

    @property
    def share(self) -> float | None:
        """Settled cells over wanted ones, at most 1: a back-fill brings more than the study's file names."""
        if not self.n_wanted:
            return None
        return min(self.n_settled / self.n_wanted, 1.0)

    @property
    def is_complete(self) -> bool:
        """True where nothing is missing and nothing failed."""
        return not self.n_missing and not self.n_failed

    def pace(self, *, now: float, running: bool) -> Pace:
        """How fast it goes, and when it will be done."""
        return pace(self.commits, left=self.n_missing, now=now, running=running)


@dataclass(frozen=True)
class Progress:
    """Everything the ledger says, at one moment; the study with the newest commit first."""

    studies: tuple[StudyState, ...]
    last_commit: float | None

    def study(self, label: str) -> StudyState | None:
        """The study of that label."""
        return next((s for s in self.studies if s.label == label), None)


def progress(archive: Archive) -> Progress:
    """Count the ledger by study; one pass over it for each."""
    commits: dict[str, list[tuple[float, int]]] = {}
    for row in archive.rows(_COMMITS_SQL, {"last": LAST_COMMITS}):
        commits.setdefault(row["study"], []).append((row["moment"], row["n_cells"]))
    studies = tuple(
        StudyState(**row, commits=tuple(commits.get(row["study"], ()))) for row in archive.rows(STUDIES_SQL)
    )
    return Progress(studies, max((s.last_commit for s in studies if s.last_commit is not None), default=None))


def studies_table(studies: Sequence[StudyState], paces: Mapping[str, Pace]) -> pa.Table:
    """A row a study: study, share, n_done, n_missing, n_failed, n_absent, n_not_wanted, n_wanted, runs, rate, eta, basis."""
    return pa.table(
        {
            "study": [s.label for s in studies],
            "share": pa.array([None if s.share is None else 100 * s.share for s in studies], pa.float64()),
            "n_done": [s.n_done for s in studies],
            "n_missing": pa.array([s.n_missing for s in studies], pa.int64()),
            "n_failed": [s.n_failed for s in studies],
            "n_absent": [s.n_absent for s in studies],
            "n_not_wanted": [s.n_not_wanted for s in studies],
            "n_wanted": pa.array([s.n_wanted for s in studies], pa.int64()),
            "n_runs": [s.n_runs for s in studies],
            "n_ended": [s.n_ended for s in studies],
            "rate": [paces[s.label].rate_words for s in studies],
            "eta": [paces[s.label].eta_words for s in studies],
            "basis": [paces[s.label].basis for s in studies],
        }
    )


def notes(studies: Sequence[StudyState]) -> list[str]:
    """What the counts do not show by themselves."""
    found = []
    for s in studies:
        if s.n_by_others and s.n_missing:
            found.append(
                f"{s.label}: other studies brought {plural(s.n_by_others, 'cell')} of its runs; what of that it wants too is "
                "not missing, so it lacks at most what is shown."
            )
        if s.n_wanted is not None and s.n_settled > s.n_wanted:
            found.append(
                f"{s.label}: {plural(s.n_settled - s.n_wanted, 'cell')} more than its file names: back-fills, or an "
                "earlier version of the file."
            )
    return found


def commands(study: StudyState, database: str, *, transient: bool, permanent: bool) -> list[tuple[str, str]]:
    """(what it does, command) for a study: go on where it stopped, and try again what failed for good.

    transient, permanent: whether it has failures of that kind.
    """
    to = f"--archive {shlex.quote(database)}"
    file = shlex.quote(f"{study.study}.toml")
    found = []
    if not study.study:
        return [("More published results:", f"pathscope import auto PATH {to}")]
    if study.n_missing or transient:
        words = "Goes on where it stopped, and tries transient failures again; the same command starts and resumes:"
        found.append((words, f"pathscope ingest {file} {to}"))
    if permanent:
        found.append(("Also tries what failed for good:", f"pathscope ingest {file} --retry-failed {to}"))
    return found
