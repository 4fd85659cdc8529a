"""What is known against checkpoints and runs, and what that knowledge rests on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from archive.records import ACCEPTED
from archive.store import Archive
from archive.upkeep.chain_order import FEWEST
from archive.upkeep.integrity import SKETCHED
from queries.reading.select import RunSelection, select_runs
from queries.reading.tables import in_order
from ui.models.text import count, plural

MOST_SUSPECTS = 2000
MOST_EQUAL = 500

# of several snapshots of one step the newest counts, as in answers
CHECKED_SQL = """\
WITH newest AS (
  SELECT c.id, c.run_id, c.step, c.integrity, c.integrity_note, c.weights_hash FROM checkpoint c
  WHERE c.run_id IN (SELECT unnest($ids))
  QUALIFY row_number() OVER (PARTITION BY c.run_id, c.step ORDER BY c.id DESC) = 1
), sketch AS (
  SELECT DISTINCT f.checkpoint_id AS id FROM fact_vector f
  WHERE f.run_id IN (SELECT unnest($ids))
    AND f.quantity_id IN (SELECT q.id FROM quantity q JOIN measure m ON m.id = q.measure_id WHERE m.name = $sketched)
    AND f.part_id IN (SELECT id FROM part WHERE kind = 'gram' AND name = 'sketch')
), measured AS (
  SELECT DISTINCT l.subject_id AS id FROM cell l JOIN newest n ON n.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT id FROM quantity WHERE source_id = 0)
)
SELECT r.run_id, r.run, r.family, r.condition, r.excluded, count(n.id) AS n_checkpoints,
       count(n.id) FILTER (n.integrity <> 'ok') AS n_suspect,
       count(n.id) FILTER (n.weights_hash <> '') AS n_hashed,
       count(n.id) FILTER (n.id IN (SELECT id FROM sketch)) AS n_sketched,
       count(n.id) FILTER (n.id IN (SELECT id FROM measured)) AS n_measured
FROM v_run r LEFT JOIN newest n ON n.run_id = r.run_id
WHERE r.run_id IN (SELECT unnest($ids))
GROUP BY ALL ORDER BY r.run_id"""

SUSPECTS_SQL = f"""\
WITH said AS (
  SELECT target, arg_max(who, id) AS who, max(happened_at) AS happened_at FROM audit
  WHERE action IN ('accept', 'suspect') GROUP BY target
)
SELECT c.run, c.step, c.snapshot,
       CASE WHEN c.suspect THEN replace(c.integrity, '_', ' ') WHEN starts_with(c.integrity_note, '{ACCEPTED}') THEN 'accepted'
            ELSE 'remark' END AS state,
       c.integrity_note AS reason, c.integrity_link AS link, s.who, s.happened_at, c.weights_hash
FROM v_checkpoint c
LEFT JOIN said s
  ON s.target = c.run || ' step ' || c.step || CASE WHEN c.snapshot <> '' THEN ' snapshot ' || c.snapshot ELSE '' END
WHERE c.run_id IN (SELECT unnest($ids)) AND (c.suspect OR c.integrity_note <> '')
ORDER BY c.suspect DESC, c.run, c.step, c.snapshot"""

EXCLUSIONS_SQL = """\
SELECT r.name AS run, e.reason, e.who, e.happened_at, e.lifted
FROM exclusion e JOIN run r ON r.id = e.run_id
WHERE e.run_id IN (SELECT unnest($ids)) ORDER BY e.lifted, e.happened_at DESC, e.id DESC"""

# equal starts are what equal seeds are for; equal weights later, or of other inits, are not
EQUAL_SQL = """\
WITH same AS (
  SELECT c.weights_hash, count(*) AS n_checkpoints, count(DISTINCT c.run_id) AS n_runs, max(c.step) AS last_step,
         count(DISTINCT coalesce(nullif(r.init_hash, ''), r.init_seed::VARCHAR, r.name)) = 1 AS one_init,
         bool_or(r.parent_run <> '' AND c.step = 0) AS goes_on,
         bool_or(c.run_id IN (SELECT unnest($ids))) AS asked_for,
         list({'run': r.name, 'step': c.step} ORDER BY c.run_id, c.step) AS members
  FROM checkpoint c JOIN run r ON r.id = c.run_id
  WHERE c.weights_hash <> '' GROUP BY c.weights_hash HAVING count(*) > 1
)
SELECT weights_hash, n_checkpoints, n_runs,
       CASE WHEN n_runs = 1 THEN 'within one run' WHEN last_step = 0 AND one_init THEN 'same initial weights'
            WHEN goes_on THEN 'a run that goes on from another' ELSE 'across runs' END AS kind,
       list_aggregate(list_transform(members[:6], m -> m.run || ' step ' || m.step), 'string_agg', '; ') AS members
FROM same WHERE asked_for
ORDER BY kind IN ('same initial weights', 'a run that goes on from another'), n_checkpoints DESC, weights_hash"""

_KEPT_SQL = """\
SELECT (SELECT value FROM archive_info WHERE key = 'verified_at') AS verified_at,
       (SELECT epoch(max(committed_at)) FROM shard
        WHERE provenance_json->'facts'->>'command' = 'verify --checkpoints') AS found_at"""

HARMLESS = ("same initial weights", "a run that goes on from another")


@dataclass(frozen=True)
class IntegrityChoices:
    """Everything that was chosen on the page; the fields' names are the address's."""

    focus: str
    x_scale: str
    y_scale: str
    judge_all: bool


@dataclass(frozen=True)
class RunChecks:
    """One run and what its checkpoints can be checked by.

    n_hashed: with the hash of their weights. n_sketched: with a sketch of them, for distances. n_measured: that were read,
    because something was measured on them here.
    """

    run_id: int
    run: str
    family: str
    condition: str
    excluded: bool
    n_checkpoints: int
    n_suspect: int
    n_hashed: int
    n_sketched: int
    n_measured: int

    @property
    def is_ordered(self) -> bool:
        """Whether there are enough sketches to judge the order."""
        return self.n_sketched >= FEWEST


@dataclass(frozen=True)
class Kept:
    """What is stored of checks.

    verified_at: the last `verify` that passed, as ISO time; None: never. found_at: seconds since 1970 of the last
    findings that `verify --checkpoints` recorded.
    """

    verified_at: str | None
    found_at: float | None


def checked(archive: Archive, *, selection: RunSelection) -> list[RunChecks]:
    """The runs asked for, excluded ones too. Raises UnknownName and UsageError as `select_runs` does."""
    selected = select_runs(archive, selection.model_copy(update={"with_excluded": True}))
    rows = archive.rows(CHECKED_SQL, {"ids": selected.ids, "sketched": SKETCHED})
    found = {row["run_id"]: RunChecks(**row) for row in rows}
    return [found[run] for run in in_order(selected, found)]


def of_runs(archive: Archive, *, sql: str, run_ids: tuple[int, ...]) -> pa.Table:
    """One of this module's statements for these runs."""
    return archive.query(sql, {"ids": list(run_ids)})


def kept(archive: Archive) -> Kept:
    """What the archive remembers of checks."""
    row: dict[str, Any] = archive.rows(_KEPT_SQL)[0]
    return Kept(**row)


def opening(runs: Sequence[RunChecks]) -> int:
    """The run to open with: the first with a suspect checkpoint, else with a chain to judge, else the first."""
    for numbers in (
        [r.n_suspect for r in runs],
        [int(r.is_ordered) for r in runs],
        [r.n_checkpoints for r in runs],
    ):
        for k, n in enumerate(numbers):
            if n:
                return k
    return 0


def verdict(runs: Sequence[RunChecks]) -> tuple[str, list[str]]:
    """What is recorded, in a sentence, and what it rests on: how many checkpoints each test could look at."""
    n = sum(r.n_checkpoints for r in runs)
    n_suspect = sum(r.n_suspect for r in runs)
    of = f"{plural(n, 'checkpoint')} of {plural(len(runs), 'run')}"
    if not n:
        return f"{plural(len(runs), 'run')} without a checkpoint: there is nothing to check.", []
    said = (
        f"{count(n_suspect)} of {of} are recorded as suspect"
        if n_suspect
        else f"Nothing suspect is recorded among {of}"
    )
    n_hashed, n_sketched = sum(r.n_hashed for r in runs), sum(r.n_sketched for r in runs)
    ordered = [r for r in runs if r.is_ordered]
    rests = [
        f"Known beforehand (the family's catalogue of defects, or what an import says): {count(n)} of {count(n)}.",
        f"Read here, since something was measured on them: {count(sum(r.n_measured for r in runs))} of {count(n)}.",
        f"Equal weights, by SHA-256: {_of(n_hashed, n)}.",
        f"Distances between neighbours and weights equal but for rounding, by sketches: {_of(n_sketched, n)}.",
        f"Order along the run, which needs {FEWEST} sketches: {plural(sum(r.n_sketched for r in ordered), 'checkpoint')} of "
        f"{count(len(ordered))} of {plural(len(runs), 'run')}; {plural(len(runs) - len(ordered), 'run')} cannot be judged.",
    ]
    return f"{said}.", rests


def _of(known: int, n: int) -> str:
    return f"{count(known)} of {count(n)} can be compared" + (
        f", {count(n - known)} cannot" if known < n else ""
    )


def runs_table(runs: Sequence[RunChecks]) -> pa.Table:
    """A row a run, those with suspect checkpoints first."""
    rows = sorted(runs, key=lambda r: -r.n_suspect)
    return pa.table(
        {
            "run": [r.run for r in rows],
            "n_checkpoints": [r.n_checkpoints for r in rows],
            "n_suspect": [r.n_suspect for r in rows],
            "n_measured": [r.n_measured for r in rows],
            "n_hashed": [r.n_hashed for r in rows],
            "n_sketched": [r.n_sketched for r in rows],
            "order": ["can be judged" if r.is_ordered else f"fewer than {FEWEST} sketches" for r in rows],
            "excluded": [r.excluded for r in rows],
        }
    )


def command(words: str, database: str) -> str:
    """A pathscope command for this archive."""
    return f"pathscope {words} --archive {shlex.quote(database)}"
