"""What is in the archive: the counts on the first page, the measures, and questions worth a first click."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from archive.store import Archive

CURVE_TABLES = ("fact_scalar", "fact_log")
KNOWN_HEADS = ("head.prefix_matching", "head.previous_token")

_COUNTS_SQL = """\
SELECT (SELECT count(*) FROM v_run) AS n_runs,
       (SELECT count(*) FROM v_run WHERE excluded) AS n_excluded,
       (SELECT count(DISTINCT family) FROM v_run) AS n_families,
       (SELECT count(DISTINCT (family, condition)) FROM v_run) AS n_conditions,
       (SELECT count(*) FROM v_checkpoint) AS n_checkpoints,
       (SELECT count(*) FROM v_checkpoint WHERE suspect) AS n_suspect,
       (SELECT max(committed_at) FROM v_shard) AS last_commit"""

# the ledger itself, not v_cell: names are not needed here and it is the only long table
_CELLS_SQL = """\
SELECT coalesce(sum(n_rows), 0)::BIGINT AS n_numbers, count(*) FILTER (state IN (2, 3)) AS n_failed FROM cell"""

MEASURES_SQL = """\
WITH subject AS (  -- one equality join; conditions on the kind would make it a nested loop
  SELECT 0 AS kind, id, id AS run_id FROM run
  UNION ALL SELECT 1, id, run_id FROM checkpoint
  UNION ALL SELECT 2, k.id, c.run_id FROM checkpoint_pair k JOIN checkpoint c ON c.id = k.checkpoint_a
), done AS (
  SELECT l.quantity_id, count(*) AS n_cells, sum(l.n_rows)::BIGINT AS n_numbers, count(DISTINCT s.run_id) AS n_runs,
         count(*) FILTER (l.state IN (2, 3)) AS n_failed
  FROM cell l JOIN subject s ON s.kind = l.subject_kind AND s.id = l.subject_id
  GROUP BY l.quantity_id
)
SELECT q.measure, arg_max(m.summary, m.version) AS summary, arg_max(q.unit, m.version) AS unit,
       any_value(q.table_name) AS table_name, count(*) AS n_variants, max(d.n_runs) AS n_runs,
       sum(d.n_cells)::BIGINT AS n_cells, sum(d.n_numbers)::BIGINT AS n_numbers, sum(d.n_failed)::BIGINT AS n_failed,
       string_agg(DISTINCT q.source, ', ' ORDER BY q.source) AS sources
FROM v_quantity q
JOIN v_measure m ON m.measure = q.measure AND m.version = q.version
JOIN done d ON d.quantity_id = q.quantity_id
GROUP BY q.measure
ORDER BY q.measure"""


@dataclass(frozen=True)
class HomeChoices:
    """What was chosen on the page; the field's name is the address's."""

    coverage_of: str


@dataclass(frozen=True)
class Overview:
    """The archive in a few numbers. n_numbers: measured values; last_commit: UTC, None before the first."""

    n_runs: int
    n_excluded: int
    n_families: int
    n_conditions: int
    n_checkpoints: int
    n_suspect: int
    n_numbers: int
    n_failed: int
    n_bytes: int
    last_commit: datetime | None

    @property
    def is_empty(self) -> bool:
        """True before the first run came in."""
        return self.n_runs == 0


@dataclass(frozen=True)
class Question:
    """A link worth a click: what is asked, what the page will show, and where it is."""

    text: str
    shows: str
    page: str
    parameters: Mapping[str, str]


def overview(archive: Archive) -> Overview:
    """Count what is there; one pass over the ledger."""
    counts = archive.rows(_COUNTS_SQL)[0]
    cells = archive.rows(_CELLS_SQL)[0]
    last: datetime | None = counts.pop("last_commit")
    if last is not None and last.tzinfo is None:
        last = last.replace(tzinfo=UTC)
    return Overview(**counts, **cells, n_bytes=archive.file.stat().st_size, last_commit=last)


def measures(archive: Archive) -> pa.Table:
    """One row a measure: measure, summary, unit, table_name, n_variants, n_runs, n_cells, n_numbers, n_failed, sources."""
    return archive.query(MEASURES_SQL)


def questions(measures: pa.Table) -> list[Question]:
    """Up to three questions that this archive can answer, from the measures that most runs have."""
    tables = dict(zip(measures["measure"].to_pylist(), measures["table_name"].to_pylist(), strict=True))
    n_runs = dict(zip(measures["measure"].to_pylist(), measures["n_runs"].to_pylist(), strict=True))

    def widest(names: Iterable[str]) -> str | None:
        there = [name for name in names if name in tables]
        return max(there, key=lambda name: n_runs[name], default=None)

    found: list[Question] = []
    loss, accuracy = widest(("loss", "log.loss")), widest(("accuracy", "log.accuracy"))
    # the first of those that as many runs have: heads that people know by name before others
    heads = sorted(name for name, table in tables.items() if table == "fact_head")
    head = widest((*KNOWN_HEADS, *heads))
    if accuracy:
        found.append(
            Question(
                "When do runs generalise, and do seeds agree?",
                "accuracy over training, one thin line per seed",
                "curves",
                {"measure": accuracy},
            )
        )
    if loss:
        found.append(
            Question(
                "Does the loss fall suddenly, and is that a phase transition?",
                "where each run's loss changes, how fast, and a test",
                "transitions",
                {"measure": loss},
            )
        )
    if head:
        found.append(
            Question(
                f"Which attention head scores highest on {head.removeprefix('head.').replace('_', ' ')}?",
                "every head by layer, the best of each run over training",
                "heads",
                {"measure": head, "curves_of": "best of each run"},
            )
        )
    others = sorted(m for m in set(tables) - {loss, accuracy} if tables[m] in CURVE_TABLES)
    found += [
        Question(f"How does {m} change over training?", "one thin line per seed", "curves", {"measure": m})
        for m in others
    ]
    return found[:3]
