"""Worked questions in SQL over the public views and macros: each runs on any archive, on an empty one too.

An entry below becomes a section of docs/sql.md, whose statements tests run, and an example of the explorer's SQL page.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Worked:
    """A question with the statement that answers it; note: what to know of the answer, as Markdown, may be empty."""

    question: str
    note: str
    sql: str


WORKED: tuple[Worked, ...] = (
    Worked(
        "Which runs are there, and what was measured on them?",
        "",
        """\
SELECT run, measure, eval_set, source, n_cells, first_step, last_step, state
FROM v_coverage ORDER BY run, measure""",
    ),
    Worked(
        "How did the test loss of every run go, beside its training loss?",
        "",
        """\
PIVOT (SELECT run, step, split, loss FROM v_loss WHERE measure = 'loss' AND NOT run_excluded)
ON split IN ('train', 'test') USING first(loss) ORDER BY run, step""",
    ),
    Worked(
        "Do seeds agree on the loss?",
        "Mean and spread over the runs of one condition; `n_runs` is what it rests on.",
        """\
SELECT condition, part, step, n_runs, mean, sd, sd / mean AS relative
FROM m_spread('loss') WHERE n_runs > 1 ORDER BY condition, part, step""",
    ),
    Worked(
        "When did each run generalise?",
        "Between two steps, never at one; runs that did not are kept (`by_step` NULL, not by `followed_to`).",
        """\
SELECT run, after_step, by_step, followed_to
FROM m_reached('accuracy', 'test', 0.99) ORDER BY by_step NULLS LAST, run""",
    ),
    Worked(
        "How many octaves after memorising does generalising come?",
        "Bounds, as both times are brackets.",
        """\
SELECT test.run, log2(test.after_step / train.by_step) AS at_least, log2(test.by_step / train.after_step) AS at_most
FROM m_reached('accuracy', 'test', 0.99) test
JOIN m_reached('accuracy', 'train', 0.99) train ON train.run_id = test.run_id AND train.origin = test.origin
ORDER BY test.run""",
    ),
    Worked(
        "How sudden is a curve?",
        "The share of its range that one doubling of the steps holds: 1/4 for an exponential decay, a half "
        "for a logistic of two octaves. Whether that is more than smooth curves reach is what `pathscope "
        "query phase_transitions` tests.",
        """\
SELECT run, share, from_step, n_points FROM m_octave_share('induction_loss', 'later') ORDER BY share DESC""",
    ),
    Worked(
        "Which heads attend most to the previous token, in the last checkpoint of each run?",
        "",
        """\
SELECT run, step, layer, head, value, chance FROM m_top_heads('head.previous_token', 3) ORDER BY run, value DESC""",
    ),
    Worked(
        "Do different seeds put their induction head in the same layer?",
        "By number only within one init: heads of other inits have no common numbers.",
        """\
SELECT condition, layer, count(*) AS n_runs, round(avg(value), 2) AS mean_score
FROM m_top_heads('head.prefix_matching', 1) GROUP BY condition, layer ORDER BY condition, layer""",
    ),
    Worked(
        "On which tokens is a small model ahead of a large one?",
        "In the worst case over runs of each; the largest of many differences are partly luck, so keep half "
        "of the documents to check them on.",
        """\
SELECT eval_set, sequence, position, n_small, n_large, margin
FROM m_small_only('*n_layers=1*', '*n_layers=2*', 2000) WHERE margin > 0 ORDER BY margin DESC LIMIT 50""",
    ),
    Worked(
        "What did training change between two checkpoints, by kind of token?",
        "",
        """\
WITH pair AS (SELECT run, max(step) AS last FROM v_token WHERE measure = 'token_loss' GROUP BY run ORDER BY run LIMIT 1)
SELECT floor(t.unigram_surprisal / 2) * 2 AS surprisal_from, count(*) AS n_tokens, avg(d.delta) AS mean_change
FROM m_token_delta((SELECT run FROM pair), 0, (SELECT run FROM pair), (SELECT last FROM pair)) d
JOIN v_eval_token t ON t.encoding_id = d.encoding_id AND t.sequence = d.sequence AND t.position = d.position + 1
GROUP BY ALL ORDER BY surprisal_from""",
    ),
    Worked(
        "On which tokens do seeds disagree most?",
        "Standard deviation over the runs of a condition, at their last step.",
        """\
SELECT condition, eval_set, sequence, position, count(*) AS n_runs, stddev_samp(value) AS sd, avg(value) AS mean_loss
FROM v_token
WHERE measure = 'token_loss' AND NOT suspect AND NOT run_excluded AND NOT isnan(value)
  AND step = (SELECT max(step) FROM v_checkpoint WHERE NOT suspect)
GROUP BY ALL HAVING n_runs > 1 ORDER BY sd DESC LIMIT 50""",
    ),
    Worked(
        "Which pairs of heads compose, beyond their null?",
        "Lists are row-major by source head.",
        """\
WITH pairs AS (
    SELECT p.run, p.step, r.n_heads, p.src_layer, p.dst_layer, unnest(p.z) AS z, generate_subscripts(p.z, 1) - 1 AS place
    FROM (FROM v_head_pair WHERE measure = 'k_composition' AND NOT suspect
          QUALIFY rank() OVER (PARTITION BY run ORDER BY step DESC) = 1) p
    JOIN v_run r USING (run_id)
)
SELECT run, step, src_layer, place // n_heads AS src_head, dst_layer, place % n_heads AS dst_head, z
FROM pairs WHERE z > 5 ORDER BY z DESC""",
    ),
    Worked(
        "How large is the path-dependence index of repeated runs, by hand?",
        "Squared differences between runs against those between tokens of like difficulty, here the "
        "surprisal of words alone. `pathscope query path_dependence` takes a better difficulty where there "
        "is one, which makes the index higher, and adds the interval and the floor of training jitter.",
        """\
WITH tokens AS (
    SELECT encoding_id, sequence, position - 1 AS position,
           ntile(50) OVER (PARTITION BY encoding_id ORDER BY unigram_surprisal, sequence, position) AS stratum
    FROM v_eval_token WHERE position > 0
), losses AS (
    SELECT t.run, t.sequence, t.position, t.value, tokens.stratum
    FROM v_token t
    JOIN v_quantity q USING (quantity_id)
    JOIN tokens ON tokens.encoding_id = q.encoding_id AND tokens.sequence = t.sequence AND tokens.position = t.position
    WHERE t.measure = 'token_loss' AND t.step = 2000 AND t.run LIKE '%n_layers=2%' AND NOT isnan(t.value) AND NOT t.suspect
), centred AS (SELECT *, value - avg(value) OVER (PARTITION BY run) AS y FROM losses),
seen AS (
    SELECT avg((a.y - b.y) ** 2) AS observed
    FROM centred a JOIN centred b ON a.sequence = b.sequence AND a.position = b.position AND a.run < b.run
),
strata AS (SELECT run, stratum, count(*) AS n, avg(y) AS mean, avg(y * y) AS square FROM centred GROUP BY ALL),
chance AS (
    SELECT sum(a.n * (a.square + b.square - 2 * a.mean * b.mean)) / sum(a.n) AS expected
    FROM strata a JOIN strata b ON a.stratum = b.stratum AND a.run < b.run
)
SELECT observed, expected, observed / expected AS path_dependence_index FROM seen, chance""",
    ),
    Worked(
        "Which neurons kept their best example from one checkpoint to the last?",
        "",
        """\
WITH best AS (
    SELECT run, step, layer, unit, sequence, position FROM v_neuron_top WHERE rank = 0 AND NOT suspect
), last AS (SELECT *, step = max(step) OVER (PARTITION BY run) AS final FROM best)
SELECT b.run, b.step, b.layer, count(*) AS n_neurons,
       avg((b.sequence = f.sequence AND b.position = f.position)::INTEGER) AS share_kept
FROM last b JOIN last f ON f.run = b.run AND f.layer = b.layer AND f.unit = b.unit AND f.final
WHERE NOT b.final GROUP BY ALL ORDER BY b.run, b.layer, b.step""",
    ),
    Worked(
        "Which benchmarks are worse at the end than they were at their best, by more than two standard errors?",
        "",
        """\
SELECT run, task, measure, source, n_shots, series, arg_max(step, value) AS best_step, max(value) AS best,
       arg_max(value, step) AS final, max(value) - arg_max(value, step) AS decline
FROM v_benchmark WHERE measure IN ('benchmark.acc', 'benchmark.acc_norm')
GROUP BY ALL
HAVING decline > 2 * sqrt(arg_max(se, value) ** 2 + arg_max(se, step) ** 2)
ORDER BY decline DESC""",
    ),
    Worked(
        "How alike are two checkpoints, where a study compared them?",
        "",
        """\
SELECT run_a, step_a, run_b, step_b, measure, part, value, se FROM v_pair ORDER BY measure, part, value""",
    ),
    Worked(
        "What failed, and why?",
        "",
        """\
SELECT run, step, measure, state, attempts, error_class, message FROM v_failure ORDER BY happened_at DESC""",
    ),
    Worked(
        "Where do these numbers come from, and may they be passed on?",
        "",
        """\
SELECT source, kind, repository, commit_hash, licence, citation, n_files, n_rows FROM v_source ORDER BY source""",
    ),
)
