"""Example statements for the SQL page: each a question, answered from the public views alone."""

from dataclasses import dataclass

from archive.worked import WORKED


@dataclass(frozen=True)
class Example:
    """A statement with the question it answers. note: what to know of the answer, with code between backticks."""

    title: str
    sql: str
    note: str = ""


def best_head(measure: str) -> str:
    """The highest head of `measure` at the last checkpoint of every run."""
    name = measure.replace("'", "''")
    return f"""\
SELECT run, step, 'L' || layer || 'H' || head AS head, value, chance
FROM v_head_score
WHERE measure = '{name}' AND NOT run_excluded AND NOT suspect
QUALIFY step = max(step) OVER (PARTITION BY run)
    AND value = max(value) OVER (PARTITION BY run, step)
ORDER BY run"""


EXAMPLES: tuple[Example, ...] = (
    Example(
        "What is measured, on how many runs?",
        """\
SELECT measure, version, eval_set, source, state, count(DISTINCT run) AS n_runs,
       sum(n_cells) AS n_cells, min(first_step) AS first_step, max(last_step) AS last_step
FROM v_coverage
GROUP BY ALL
ORDER BY measure, source""",
    ),
    Example(
        "Mean and spread over seeds at the last step",
        """\
WITH last_value AS (
  SELECT family, condition, run, measure, part, step, value
  FROM v_curve
  WHERE origin = 'checkpoint' AND NOT run_excluded AND NOT suspect
  QUALIFY step = max(step) OVER (PARTITION BY run, measure, part)
)
SELECT family, condition, measure, part, max(step) AS last_step, count(*) AS n_runs,
       avg(value) AS mean, stddev(value) AS sd_over_runs
FROM last_value
GROUP BY ALL
ORDER BY measure, part, condition""",
    ),
    Example(
        "When does each run first beat a test accuracy of 0.9?",
        """\
SELECT run, condition, init_seed, min(step) AS first_step
FROM v_curve
WHERE measure = 'accuracy' AND part = 'test' AND value >= 0.9
  AND NOT run_excluded AND NOT suspect
GROUP BY ALL
ORDER BY first_step""",
    ),
    Example(
        "Loss curves, one row per run and step",
        """\
SELECT run, step, split, loss
FROM v_loss
WHERE origin = 'checkpoint' AND split = 'test' AND NOT run_excluded AND NOT suspect
ORDER BY run, step""",
    ),
    Example("Which previous-token head is strongest in each run?", best_head("head.previous_token")),
    Example(
        "Which checkpoints are suspect?",
        "SELECT run, step, snapshot, integrity, integrity_note, integrity_link\n"
        "FROM v_checkpoint\nWHERE suspect\nORDER BY run, step",
    ),
    Example(
        "What did people do to this archive?",
        "SELECT happened_at, who, action, target, detail_json\nFROM v_audit\nORDER BY happened_at DESC\nLIMIT 200",
    ),
)


def every_example() -> list[Example]:
    """The short ones above, then the worked questions under the numbers they have in docs/sql.md."""
    worked = (Example(f"{k}. {one.question}", one.sql, one.note) for k, one in enumerate(WORKED, 1))
    return [*EXAMPLES, *worked]
