"""Table macros: questions that take arguments, in SQL, with the views the public contract.

A macro is one entry below; its sentence becomes its COMMENT and a line of docs/sql.md. Arguments that name runs are GLOB
patterns. Checkpoints under suspicion and excluded runs stay out, and numbers of different quantities stay apart
(`quantity_id`): what the typed questions refuse, these leave to the reader.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Macro:
    """A named, documented SELECT with arguments; `parameters` as in CREATE MACRO, `example` a call that always runs."""

    name: str
    parameters: str
    about: str
    example: str
    sql: str


MACROS: tuple[Macro, ...] = (
    Macro(
        "m_at",
        "measure_name, at_step",
        "Every scalar of a measure as it stood at a step: the last point of each run and part no later than it.",
        "m_at('loss', 1000)",
        """\
SELECT run_id, quantity_id, run, condition, measure, eval_set, source, origin, part,
       max(step) AS step, arg_max(value, step) AS value
FROM v_curve
WHERE measure = measure_name AND step <= at_step AND NOT suspect AND NOT run_excluded
GROUP BY ALL""",
    ),
    Macro(
        "m_spread",
        "measure_name",
        "Runs of one condition side by side: number, mean, standard deviation and range at every step.",
        "m_spread('loss')",
        """\
SELECT condition, quantity_id, measure, eval_set, source, origin, part, step, count(*) AS n_runs,
       avg(value) AS mean, stddev_samp(value) AS sd, min(value) AS lowest, max(value) AS highest
FROM v_curve
WHERE measure = measure_name AND NOT suspect AND NOT run_excluded
GROUP BY ALL""",
    ),
    Macro(
        "m_reached",
        "measure_name, part_name, level, downwards := false",
        "When each run first reached a level (at most it, if downwards): between which two steps, or not by which step.",
        "m_reached('accuracy', 'test', 0.99)",
        """\
WITH points AS (
    SELECT run_id, quantity_id, run, condition, eval_set, source, origin, step,
           CASE WHEN downwards THEN value <= level ELSE value >= level END AS there
    FROM v_curve
    WHERE measure = measure_name AND part = part_name AND NOT suspect AND NOT run_excluded
), firsts AS (
    SELECT run_id, quantity_id, run, condition, eval_set, source, origin,
           min(step) FILTER (there) AS by_step, max(step) AS followed_to
    FROM points GROUP BY ALL
)
SELECT f.*, max(p.step) FILTER (p.step < coalesce(f.by_step, f.followed_to + 1)) AS after_step
FROM firsts f
JOIN points p USING (run_id, quantity_id, origin)
GROUP BY ALL""",
    ),
    Macro(
        "m_octave_share",
        "measure_name, part_name",
        "Largest share of a curve's range between a point and the last point within twice its step (log2 axis).",
        "m_octave_share('loss', 'test')",
        """\
WITH points AS (
    SELECT run_id, quantity_id, run, condition, eval_set, source, origin, step, value
    FROM v_curve
    WHERE measure = measure_name AND part = part_name AND step > 0 AND isfinite(value) AND NOT suspect AND NOT run_excluded
), ranges AS (
    SELECT run_id, quantity_id, origin, max(value) - min(value) AS whole, count(*) AS n_points FROM points GROUP BY ALL
), octaves AS (
    SELECT p.*, last_value(value) OVER (
        PARTITION BY run_id, quantity_id, origin ORDER BY log2(step) RANGE BETWEEN CURRENT ROW AND 1.000000001 FOLLOWING
    ) AS later
    FROM points p
)
SELECT o.run_id, o.quantity_id, o.run, o.condition, o.eval_set, o.source, o.origin, r.n_points,
       max(abs(o.later - o.value) / r.whole) AS share, arg_max(o.step, abs(o.later - o.value)) AS from_step
FROM octaves o
JOIN ranges r USING (run_id, quantity_id, origin)
WHERE r.whole > 0
GROUP BY ALL""",
    ),
    Macro(
        "m_top_heads",
        "measure_name, k",
        "The k heads of each run with the highest score at its last checkpoint, beside the score by chance.",
        "m_top_heads('head.previous_token', 3)",
        """\
SELECT run_id, checkpoint_id, quantity_id, run, condition, step, eval_set, source, layer, head, value, se, chance
FROM v_head_score
WHERE measure = measure_name AND NOT suspect AND NOT run_excluded
QUALIFY rank() OVER (PARTITION BY run_id, quantity_id ORDER BY step DESC) = 1
    AND row_number() OVER (PARTITION BY run_id, quantity_id ORDER BY step DESC, value DESC) <= k""",
    ),
    Macro(
        "m_token_delta",
        "run_a, step_a, run_b, step_b",
        "Loss of every token at one checkpoint less that at another, where both were measured on the same tokens.",
        "m_token_delta('a', 0, 'b', 0)",
        """\
SELECT a.encoding_id, a.eval_set, a.sequence, a.position, a.value AS loss_a, b.value AS loss_b, b.value - a.value AS delta
FROM (SELECT t.*, q.encoding_id FROM v_token t JOIN v_quantity q USING (quantity_id)
      WHERE t.measure = 'token_loss' AND t.run = run_a AND t.step = step_a AND NOT t.suspect) a
JOIN (SELECT * FROM v_token WHERE measure = 'token_loss' AND run = run_b AND step = step_b AND NOT suspect) b
  ON a.quantity_id = b.quantity_id AND a.sequence = b.sequence AND a.position = b.position
WHERE NOT isnan(a.value) AND NOT isnan(b.value)""",
    ),
    Macro(
        "m_small_only",
        "small_runs, large_runs, at_step",
        "Tokens by the least loss of the large runs less the greatest of the small ones (GLOB patterns of names).",
        "m_small_only('small*', 'large*', 1000)",
        """\
SELECT quantity_id, eval_set, sequence, position,
       count(DISTINCT run_id) FILTER (run GLOB small_runs) AS n_small,
       count(DISTINCT run_id) FILTER (run GLOB large_runs) AS n_large,
       min(value) FILTER (run GLOB large_runs) - max(value) FILTER (run GLOB small_runs) AS margin
FROM v_token
WHERE measure = 'token_loss' AND step = at_step AND (run GLOB small_runs OR run GLOB large_runs)
  AND NOT isnan(value) AND NOT suspect AND NOT run_excluded
GROUP BY ALL
HAVING n_small > 0 AND n_large > 0""",
    ),
)


def macro_statements() -> list[str]:
    """SQL that replaces every macro, with its comment."""
    return [
        statement
        for macro in MACROS
        for statement in (
            f"CREATE OR REPLACE MACRO {macro.name}({macro.parameters}) AS TABLE\n{macro.sql}",
            f"COMMENT ON MACRO TABLE {macro.name} IS '{macro.about.replace(chr(39), chr(39) * 2)}'",
        )
    ]
