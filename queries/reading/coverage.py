"""How many results the ledger has, per run and quantity: of runs, of checkpoints, of pairs of checkpoints."""

from collections.abc import Iterable

# state 1 = done, subject kind 0 = run, 1 = checkpoint. The ledger is the one long table here, so it is
# filtered first and joined by equality only: a condition inside an outer join would make it a nested loop.
# n_odd counts what may have to be left out: usually nothing, and then nothing needs to be looked for.
_COVERAGE_SQL = """\
WITH asked AS (SELECT unnest($run_ids) AS run_id),
wanted AS (SELECT unnest($quantity_ids) AS quantity_id),
checkpoints AS (
  SELECT c.run_id, l.quantity_id, count(*) FILTER (l.state = 1) AS n,
         count(*) FILTER (l.state <> 1 OR c.integrity <> 'ok' OR c.snapshot <> '') AS n_odd
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.quantity_id IN (FROM wanted) AND c.run_id IN (FROM asked)
  GROUP BY c.run_id, l.quantity_id
), logs AS (
  SELECT subject_id AS run_id, quantity_id FROM cell
  WHERE subject_kind = 0 AND state = 1 AND quantity_id IN (FROM wanted) AND subject_id IN (FROM asked)
  UNION
  SELECT run_id, quantity_id FROM log_segment
  WHERE quantity_id IN (FROM wanted) AND run_id IN (FROM asked)
)
FROM checkpoints UNION ALL SELECT run_id, quantity_id, 1, 0 FROM logs"""

# looked for only where pairs may answer
_PAIR_TABLES = ("fact_pair", "fact_pair_vector")
_PAIR_COVERAGE_SQL = """\
UNION ALL
SELECT run_id, quantity_id, count(*) FILTER (done) AS n, count(*) FILTER (odd) AS n_odd
FROM (
  SELECT unnest(list_distinct([a.run_id, b.run_id])) AS run_id, l.quantity_id, l.state = 1 AS done,
         l.state <> 1 OR a.integrity <> 'ok' OR a.snapshot <> '' OR b.integrity <> 'ok' OR b.snapshot <> '' AS odd
  FROM cell l
  JOIN checkpoint_pair k ON k.id = l.subject_id
  JOIN checkpoint a ON a.id = k.checkpoint_a
  JOIN checkpoint b ON b.id = k.checkpoint_b
  WHERE l.subject_kind = 2 AND l.quantity_id IN (FROM wanted) AND a.run_id IN (FROM asked) AND b.run_id IN (FROM asked)
)
GROUP BY ALL"""


def coverage_sql(tables: Iterable[str]) -> str:
    """The statement with $run_ids and $quantity_ids; tables: where the results lie.

    Rows run_id, quantity_id, n (done), n_odd (that may have to be left out). A pair of checkpoints counts for both of its
    runs, where both are asked for.
    """
    return f"{_COVERAGE_SQL}\n{_PAIR_COVERAGE_SQL}" if set(tables) & set(_PAIR_TABLES) else _COVERAGE_SQL
