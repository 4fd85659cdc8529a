"""What is in an archive, what waits, what failed and what to do about it: the numbers behind `status`."""

import shlex
import time
from dataclasses import dataclass
from typing import Any

from archive.errors import ArchiveBusy, ArchiveNotFound
from archive.layout import Layout
from archive.store import SCHEMA_REVISION, Archive
from archive.upkeep.waiting import Queue, read_queue

# a person waits for this answer, and there may be a published copy to answer from
PATIENCE = 5.0
STATES = {
    1: "done",
    2: "failed (transient)",
    3: "failed (permanent)",
    4: "absent upstream",
    5: "not applicable",
    6: "excluded",
}


def _count(states: str, name: str) -> str:
    return f"coalesce(sum(n) FILTER (state IN ({states})), 0)::BIGINT AS {name}"


# every subject of a cell with the run it belongs to (for a pair, its first checkpoint's)
_SUBJECTS = """
  SELECT 0 AS kind, id, id AS run_id FROM run
  UNION ALL SELECT 1, id, run_id FROM checkpoint
  UNION ALL SELECT 2, k.id, a.run_id FROM checkpoint_pair k JOIN checkpoint a ON a.id = k.checkpoint_a"""
_COVERAGE = f"""
WITH subject AS ({_SUBJECTS}),
per_cell AS (
  SELECT s.run_id, l.quantity_id, l.state, count(*) AS n, sum(l.n_rows) AS n_rows
  FROM cell l JOIN subject s ON s.kind = l.subject_kind AND s.id = l.subject_id GROUP BY ALL)
SELECT f.name AS family, m.name AS measure, m.version, o.name AS source, count(DISTINCT c.run_id) AS n_runs,
       {_count("1", "n_done")}, {_count("2, 3", "n_failed")}, {_count("4", "n_absent")},
       {_count("5, 6", "n_not_wanted")}, sum(c.n_rows)::BIGINT AS n_rows
FROM per_cell c
JOIN run r ON r.id = c.run_id JOIN family f ON f.id = r.family_id
JOIN quantity q ON q.id = c.quantity_id JOIN measure m ON m.id = q.measure_id JOIN source o ON o.id = q.source_id
GROUP BY f.name, m.name, m.version, o.name ORDER BY ALL"""
_FAMILIES = """
SELECT f.name AS family, count(DISTINCT r.id) AS n_runs, count(c.id) AS n_checkpoints,
       count(c.id) FILTER (c.integrity <> 'ok') AS n_suspect
FROM family f JOIN run r ON r.family_id = f.id LEFT JOIN checkpoint c ON c.run_id = r.id
GROUP BY f.name ORDER BY f.name"""
_FAILURES = """
SELECT coalesce(x.error_class, '') AS error_class, l.state, m.name AS measure, o.name AS source, o.id AS source_id,
       coalesce(t.name, '') AS study,
       count(*) AS n_cells, max(l.attempts) AS max_attempts, coalesce(any_value(x.message), '') AS example
FROM cell l
LEFT JOIN failure x ON x.subject_kind = l.subject_kind AND x.subject_id = l.subject_id
  AND x.quantity_id = l.quantity_id
JOIN quantity q ON q.id = l.quantity_id JOIN measure m ON m.id = q.measure_id JOIN source o ON o.id = q.source_id
JOIN shard s ON s.id = l.shard_id LEFT JOIN study t ON t.id = s.study_id
WHERE l.state IN (2, 3) GROUP BY ALL ORDER BY n_cells DESC, error_class, measure"""
_STUDIES = f"""
WITH subject AS ({_SUBJECTS}),
own AS (
  SELECT s.study_id, count(*) FILTER (l.state NOT IN (2, 3)) AS n_done, count(*) FILTER (l.state IN (2, 3)) AS n_failed
  FROM cell l JOIN shard s ON s.id = l.shard_id GROUP BY s.study_id),
others AS (
  SELECT x.study_id, count(*) AS n FROM cell l
  JOIN subject j ON j.kind = l.subject_kind AND j.id = l.subject_id JOIN study_run x ON x.run_id = j.run_id
  JOIN shard s ON s.id = l.shard_id JOIN quantity q ON q.id = l.quantity_id
  WHERE s.study_id <> x.study_id AND l.state NOT IN (2, 3) AND q.source_id = 0 GROUP BY x.study_id)
SELECT t.name AS study, (SELECT count(*) FROM study_run x WHERE x.study_id = t.id) AS n_runs, t.n_cells_wanted,
       coalesce(own.n_done, 0) AS n_done, coalesce(own.n_failed, 0) AS n_failed, coalesce(others.n, 0) AS n_by_others
FROM study t LEFT JOIN own ON own.study_id = t.id LEFT JOIN others ON others.study_id = t.id ORDER BY t.name"""
_EXCLUDED = (
    "SELECT run, exclusion_reason AS reason, excluded_by AS who FROM v_run WHERE excluded ORDER BY run"
)
_SOURCES = "SELECT source, licence, n_files, n_rows FROM v_source ORDER BY source_id"
_COMMITS = """
SELECT count(*) AS n_shards, epoch(max(committed_at)) AS last_commit,
       (SELECT value FROM archive_info WHERE key = 'verified_at') AS verified_at,
       (SELECT epoch(value::TIMESTAMPTZ) FROM archive_info WHERE key = 'created_at') AS created
FROM shard"""


@dataclass(frozen=True)
class Family:
    """Runs and checkpoints of a series of models; n_suspect: checkpoints whose integrity is not ok."""

    family: str
    n_runs: int
    n_checkpoints: int
    n_suspect: int


@dataclass(frozen=True)
class Coverage:
    """Cells of one measure in one family, by what became of them; n_not_wanted: not applicable or excluded."""

    family: str
    measure: str
    version: int
    source: str
    n_runs: int
    n_done: int
    n_failed: int
    n_absent: int
    n_not_wanted: int
    n_rows: int


@dataclass(frozen=True)
class StudyProgress:
    """Cells a study asked for and has; n_by_others: finished cells of its runs that other studies brought."""

    study: str
    n_runs: int
    n_cells_wanted: int
    n_done: int
    n_failed: int
    n_by_others: int


@dataclass(frozen=True)
class Failures:
    """Cells that failed alike, the first message, and the command that tries them again."""

    error_class: str
    state: str
    measure: str
    source: str
    study: str
    n_cells: int
    max_attempts: int
    example: str
    retry: str


@dataclass(frozen=True)
class ExcludedRun:
    """A run that answers leave out, why, and who said so."""

    run: str
    reason: str
    who: str


@dataclass(frozen=True)
class SourceCount:
    """Who measured, under which licence; files and rows imported."""

    source: str
    licence: str
    n_files: int
    n_rows: int


@dataclass(frozen=True)
class Contents:
    """What the database says; cells: number by state in words."""

    schema: str
    n_runs: int
    n_checkpoints: int
    n_shards: int
    cells: dict[str, int]
    families: list[Family]
    coverage: list[Coverage]
    studies: list[StudyProgress]
    failures: list[Failures]
    excluded: list[ExcludedRun]
    sources: list[SourceCount]
    last_commit_seconds: float | None
    age_seconds: float
    verified_at: str | None


@dataclass(frozen=True)
class Status:
    """Everything `status` shows; `contents` is None while the archive is held and nothing is published.

    busy: why the live file could not be read; "" when it could. read_from: the file that was read.
    snapshot_seconds: age of the published copy.
    """

    layout: Layout
    read_from: str
    busy: str
    contents: Contents | None
    queue: Queue
    snapshot_seconds: float | None

    @property
    def quiet_seconds(self) -> float | None:
        """Time since the last commit, or since the archive was made when nothing was ever committed."""
        if self.contents is None:
            return None
        last = self.contents.last_commit_seconds
        return self.contents.age_seconds if last is None else last


def read_status(layout: Layout, *, patience: float = PATIENCE) -> Status:
    """Read coverage from the live file, or from the published copy while the live file stays held.

    Raises ArchiveNotFound, ArchiveTooOld, ArchiveDamaged; never ArchiveBusy, which becomes `busy`.
    """
    busy, contents, read_from = "", None, layout.database
    try:
        contents = _contents(Archive(layout.database, patience=patience))
    except ArchiveBusy as error:
        busy = str(error)
        try:
            contents = _contents(Archive(layout.database, snapshot=True, patience=patience))
            read_from = layout.current_snapshot
        except ArchiveNotFound:
            contents = None
    try:
        snapshot_seconds = max(time.time() - layout.current_snapshot.stat().st_mtime, 0.0)
    except FileNotFoundError:
        snapshot_seconds = None
    return Status(layout, str(read_from), busy, contents, read_queue(layout), snapshot_seconds)


def _contents(archive: Archive) -> Contents:
    with archive.session():
        states = archive.rows("SELECT state, count(*) AS n FROM cell GROUP BY state ORDER BY state")
        families = [Family(**row) for row in archive.rows(_FAMILIES)]
        commits = archive.rows(_COMMITS)[0]
        now, last = time.time(), commits["last_commit"]
        return Contents(
            schema=SCHEMA_REVISION,
            n_runs=sum(f.n_runs for f in families),
            n_checkpoints=sum(f.n_checkpoints for f in families),
            n_shards=commits["n_shards"],
            cells={STATES[s["state"]]: s["n"] for s in states},
            families=families,
            coverage=[Coverage(**row) for row in archive.rows(_COVERAGE)],
            studies=[StudyProgress(**row) for row in archive.rows(_STUDIES)],
            failures=[_failures(row) for row in archive.rows(_FAILURES)],
            excluded=[ExcludedRun(**row) for row in archive.rows(_EXCLUDED)],
            sources=[SourceCount(**row) for row in archive.rows(_SOURCES)],
            last_commit_seconds=None if last is None else max(now - last, 0.0),
            age_seconds=max(now - commits["created"], 0.0),
            verified_at=commits["verified_at"],
        )


def _failures(row: dict[str, Any]) -> Failures:
    state, source_id = row.pop("state"), row.pop("source_id")
    return Failures(**row, state=STATES[state], retry=retry_command(state, source_id, row["study"]))


def retry_command(state: int, source_id: int, study: str) -> str:
    """The command that tries failed cells again."""
    if source_id != 0:
        return "pathscope import auto PATH"
    again = "" if state == 2 else " --retry-failed"  # transient failures are repeated without being asked for
    file = shlex.quote(f"{study or 'STUDY'}.toml")
    return f"pathscope ingest {file}{again}"
