"""The public SQL contract: documented views. Tables may change under them, these names and columns stay.

A view is one entry below: its sentence becomes the view's COMMENT and a line of docs/sql.md. All views
carry ids (run_id, checkpoint_id, quantity_id) beside names, so a filter on ids prunes storage.
"""

import re
from dataclasses import dataclass

from archive.identity import content_hash
from archive.macros import MACROS, macro_statements


@dataclass(frozen=True)
class View:
    """A named, documented SELECT."""

    name: str
    about: str
    sql: str


_RUN = (
    "r.run, r.family, r.condition, r.init_seed, r.data_order_seed, r.split_seed, r.excluded AS run_excluded"
)
_CHECKPOINT = "c.step, c.tokens_seen, c.snapshot, c.integrity, c.suspect"
_QUANTITY = "q.measure, q.version, q.unit, q.eval_set, q.params_json, q.weight_processing, q.dtype, q.site, q.source_id, q.source"


def _fact_view(name: str, table: str, columns: str, about: str, *, part: bool = False) -> View:
    """A checkpoint fact with its names joined on."""
    part_columns = ", p.kind AS part_kind, p.name AS part" if part else ""
    part_join = "\nJOIN part p ON p.id = f.part_id" if part else ""
    return View(
        name,
        about,
        f"""SELECT f.run_id, f.checkpoint_id, f.quantity_id, {_RUN}, {_CHECKPOINT}, {_QUANTITY}{part_columns}, {columns}
FROM {table} f
JOIN v_run r ON r.run_id = f.run_id
JOIN v_checkpoint c ON c.checkpoint_id = f.checkpoint_id
JOIN v_quantity q ON q.quantity_id = f.quantity_id{part_join}""",
    )


VIEWS: tuple[View, ...] = (
    View(
        "v_source",
        "Who measured: pathscope itself (source_id 0) and every imported set, with licence and citation.",
        """SELECT s.id AS source_id, s.name AS source, s.kind, s.repository, s.commit_hash, s.licence, s.citation,
       s.url, s.note, coalesce(f.n_files, 0) AS n_files, coalesce(f.n_rows, 0) AS n_rows
FROM source s
LEFT JOIN (SELECT source_id, count(*) AS n_files, sum(n_rows)::BIGINT AS n_rows FROM source_file GROUP BY source_id) f
  ON f.source_id = s.id""",
    ),
    View(
        "v_source_file",
        "Every imported file with the hash of its bytes and the number of rows it gave.",
        """SELECT f.id AS file_id, s.name AS source, f.path, f.format, f.sha256, f.bytes, f.n_rows, f.imported_at
FROM source_file f JOIN source s ON s.id = f.source_id""",
    ),
    View(
        "v_run",
        "One training trajectory: its seeds, its condition (everything but the seeds), tags, and whether it is excluded.",
        """SELECT r.id AS run_id, r.name AS run, f.name AS family, s.name AS source, r.condition, r.architecture,
       r.n_params, r.n_layers, r.n_heads, r.d_model, r.d_mlp, r.init_seed, r.data_order_seed, r.split_seed,
       r.init_hash, r.data_order_hash, r.parent_run, r.intervention_json, r.config_json, r.tokens_per_step,
       r.final_step, e.reason IS NOT NULL AS excluded, e.reason AS exclusion_reason, e.who AS excluded_by,
       coalesce(t.tags, []) AS tags
FROM run r
JOIN family f ON f.id = r.family_id
JOIN source s ON s.id = r.source_id
LEFT JOIN (SELECT run_id, last(reason ORDER BY id) AS reason, last(who ORDER BY id) AS who
           FROM exclusion WHERE NOT lifted GROUP BY run_id) e ON e.run_id = r.id
LEFT JOIN (SELECT run_id, list(tag ORDER BY tag) AS tags FROM run_tag GROUP BY run_id) t ON t.run_id = r.id""",
    ),
    View(
        "v_run_name",
        "Every name a run goes by: its own and the aliases that sources use.",
        """SELECT name, run_id, source FROM (
  SELECT r.name, r.id AS run_id, s.name AS source FROM run r JOIN source s ON s.id = r.source_id
  UNION SELECT a.alias, a.run_id, s.name FROM run_alias a JOIN source s ON s.id = a.source_id)""",
    ),
    View(
        "v_run_note",
        "What sources say about a run that contradicts or qualifies its row.",
        """SELECT n.run_id, r.name AS run, s.name AS source, n.note
FROM run_note n JOIN run r ON r.id = n.run_id JOIN source s ON s.id = n.source_id""",
    ),
    View(
        "v_checkpoint",
        "A saved state of a run; suspect = its integrity is anything but ok, so curves leave it out.",
        """SELECT c.id AS checkpoint_id, c.run_id, r.name AS run, c.step,
       coalesce(c.tokens_seen, c.step * r.tokens_per_step) AS tokens_seen, c.epoch, c.snapshot, c.label,
       c.revision, c.weights_hash, c.location, c.integrity, c.integrity_note, c.integrity_link,
       c.integrity <> 'ok' AS suspect
FROM checkpoint c JOIN run r ON r.id = c.run_id""",
    ),
    View(
        "v_measure",
        "What numbers mean: unit, range, direction, definition and its source, per version.",
        """SELECT id AS measure_id, name AS measure, version, scope, table_name, unit, lower_bound, upper_bound,
       direction, summary, citation FROM measure""",
    ),
    View(
        "v_encoding",
        "Frozen tokenised eval sets; frozen = false where a publication only names the set.",
        """SELECT e.id AS encoding_id, e.name AS eval_set, e.hash, t.name AS text_set, k.name AS tokenizer, e.bos_policy,
       e.context_length, e.n_sequences, e.n_tokens, e.frozen, e.facts_json, t.licence
FROM encoding e JOIN text_set t ON t.id = e.text_set_id JOIN tokenizer k ON k.id = e.tokenizer_id""",
    ),
    View(
        "v_quantity",
        "What was measured, completely; numbers of two quantities are comparable only where these columns allow it.",
        """SELECT q.id AS quantity_id, m.name AS measure, m.version, m.scope, m.table_name, m.unit, m.lower_bound,
       m.upper_bound, m.direction, e.id AS encoding_id, e.name AS eval_set, e.hash AS encoding_hash, e.frozen,
       q.params_json, q.weight_processing, q.dtype, s.name AS site, q.source_id, o.name AS source, q.hash
FROM quantity q
JOIN measure m ON m.id = q.measure_id
JOIN encoding e ON e.id = q.encoding_id
JOIN site s ON s.id = q.site_id
JOIN source o ON o.id = q.source_id""",
    ),
    View(
        "v_log",
        "Training logs: one metric of one run at every logged step (part = split).",
        f"""SELECT f.run_id, f.quantity_id, {_RUN}, f.step, f.step * r.tokens_per_step AS tokens_seen, {_QUANTITY},
       p.kind AS part_kind, p.name AS part, f.value
FROM fact_log f
JOIN v_run r ON r.run_id = f.run_id
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN part p ON p.id = f.part_id""",
    ),
    View(
        "v_event",
        "Events given by authors; step NULL = not seen up to censored_at.",
        f"""SELECT f.run_id, f.quantity_id, {_RUN}, {_QUANTITY}, p.kind AS part_kind, p.name AS part, f.ordinal, f.step,
       f.censored_at, f.text
FROM fact_event f
JOIN v_run r ON r.run_id = f.run_id
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN part p ON p.id = f.part_id""",
    ),
    _fact_view(
        "v_scalar",
        "fact_scalar",
        "f.value, f.se, f.chance, f.n_items, f.n_clusters",
        "One number per checkpoint and part (a split, a tensor, a class; empty = the whole).",
        part=True,
    ),
    View(
        "v_curve",
        "Every scalar over training, from training logs and from checkpoints alike; origin says which.",
        """SELECT run_id, quantity_id, run, family, condition, init_seed, data_order_seed, split_seed, run_excluded, step,
       tokens_seen, measure, version, unit, eval_set, params_json, weight_processing, source_id, source,
       part_kind, part, value, NULL::DOUBLE AS se, false AS suspect, 'log' AS origin
FROM v_log
UNION ALL
SELECT run_id, quantity_id, run, family, condition, init_seed, data_order_seed, split_seed, run_excluded, step,
       tokens_seen, measure, version, unit, eval_set, params_json, weight_processing, source_id, source,
       part_kind, part, value, se, suspect, 'checkpoint' AS origin
FROM v_scalar""",
    ),
    View(
        "v_loss",
        "Loss curves in nats: the training log's (log.loss) and those measured at checkpoints (loss).",
        """SELECT run_id, quantity_id, run, family, condition, init_seed, data_order_seed, split_seed, run_excluded, step,
       tokens_seen, part AS split, measure, eval_set, source_id, source, value AS loss, se, suspect, origin
FROM v_curve WHERE measure IN ('loss', 'log.loss')""",
    ),
    _fact_view(
        "v_head_score",
        "fact_head",
        "f.layer, f.head, f.value, f.se, f.chance, f.n_items, f.n_clusters",
        "One number per attention head and checkpoint; layers and heads count from 0.",
    ),
    _fact_view(
        "v_head_pair",
        "fact_head_pair",
        'f.src_layer, f.dst_layer, f."values", f.baselines, f.z',
        "Heads × heads matrices (row-major by source head) per pair of layers, such as composition scores.",
    ),
    _fact_view(
        "v_neuron",
        "fact_neuron",
        'f.layer, unnest(f."values") AS value, generate_subscripts(f."values", 1) - 1 AS neuron',
        "One statistic of every neuron (part names the statistic); neurons count from 0.",
        part=True,
    ),
    _fact_view(
        "v_neuron_top",
        "fact_neuron_top",
        'f.layer, f.unit AS neuron, generate_subscripts(f."values", 1) - 1 AS rank, unnest(f.sequences) AS sequence, '
        'unnest(f.positions) AS position, unnest(f."values") AS value',
        "Top examples of a neuron, rank 0 first: sequence and position in the eval set, and the activation.",
    ),
    _fact_view(
        "v_position",
        "fact_position",
        'unnest(f."values") AS value, generate_subscripts(f."values", 1) - 1 AS position',
        "One number per token position, such as the loss by context position.",
        part=True,
    ),
    _fact_view(
        "v_token",
        "fact_token",
        'f.sequence, generate_subscripts(f."values", 1) - 1 AS position, unnest(f."values") AS value',
        "One number per token, such as the loss in nats.",
    ),
    _fact_view(
        "v_token_top",
        "fact_token_top",
        "f.sequence, f.position, f.token_ids, f.log_probs",
        "The most likely next tokens at a position, best first, with log-probabilities in nats.",
    ),
    _fact_view(
        "v_vector",
        "fact_vector",
        'f.layer, f.unit, f."values"',
        "Any other vector per checkpoint: Fourier norms, Gram rows, head signatures.",
        part=True,
    ),
    _fact_view(
        "v_item",
        "fact_item",
        "f.item, f.value, f.se, f.chance, f.n_items, f.n_clusters",
        "One number per prompt or item of an eval set.",
    ),
    _fact_view(
        "v_benchmark",
        "fact_benchmark",
        "q.eval_set AS task, try_cast(q.params_json->>'num_fewshot' AS INTEGER) AS n_shots, "
        "coalesce(q.params_json->>'series', '') AS series, f.value, f.se, f.n_items",
        "Benchmark results: one metric (measure) of one task at one checkpoint, with its standard error.",
    ),
    _fact_view(
        "v_attention",
        "fact_attention",
        'f.item, f.layer, f.head, f.n_query, f.n_key, f."values"',
        "Attention patterns of frozen items, query-major.",
    ),
    _fact_view(
        "v_histogram",
        "fact_histogram",
        "f.layer, f.unit, f.lower, f.upper, f.counts",
        "Counts in equal bins; the first and last bin take what lies beyond.",
        part=True,
    ),
    View(
        "v_pair",
        "One number of an ordered pair of checkpoints, or of a component in each (-1 = does not apply).",
        f"""SELECT f.pair_id, f.quantity_id, a.run_id AS run_id_a, b.run_id AS run_id_b, a.run AS run_a, a.step AS step_a,
       b.run AS run_b, b.step AS step_b, {_QUANTITY}, p.kind AS part_kind, p.name AS part,
       f.layer_a, f.layer_b, f.unit_a, f.unit_b, f.value, f.se, f.chance, f.n_items, f.n_clusters
FROM fact_pair f
JOIN checkpoint_pair k ON k.id = f.pair_id
JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN part p ON p.id = f.part_id""",
    ),
    View(
        "v_pair_vector",
        "A vector of an ordered pair of checkpoints, such as per-neuron best correlations.",
        f"""SELECT f.pair_id, f.quantity_id, a.run AS run_a, a.step AS step_a, b.run AS run_b, b.step AS step_b, {_QUANTITY},
       p.kind AS part_kind, p.name AS part, f.layer_a, f.layer_b, f."values"
FROM fact_pair_vector f
JOIN checkpoint_pair k ON k.id = f.pair_id
JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN part p ON p.id = f.part_id""",
    ),
    View(
        "v_cell",
        "The ledger: what is there, failed, absent or not applicable, per subject and quantity.",
        f"""SELECT l.subject_kind, l.subject_id, l.quantity_id,
       CASE l.subject_kind WHEN 0 THEN l.subject_id WHEN 1 THEN c.run_id ELSE a.run_id END AS run_id,
       CASE l.subject_kind WHEN 0 THEN r.name WHEN 1 THEN c.run ELSE a.run END AS run,
       coalesce(c.step, a.step) AS step, coalesce(c.snapshot, a.snapshot) AS snapshot,
       b.run AS run_b, b.step AS step_b, {_QUANTITY}, q.hash AS quantity_hash,
       CASE l.state WHEN 1 THEN 'done' WHEN 2 THEN 'failed (transient)' WHEN 3 THEN 'failed (permanent)'
            WHEN 4 THEN 'absent upstream' WHEN 5 THEN 'not applicable' ELSE 'excluded' END AS state,
       l.attempts, l.n_rows, s.name AS shard, l.file_id
FROM cell l
JOIN v_quantity q ON q.quantity_id = l.quantity_id
JOIN shard s ON s.id = l.shard_id
LEFT JOIN run r ON r.id = CASE WHEN l.subject_kind = 0 THEN l.subject_id END
LEFT JOIN v_checkpoint c ON c.checkpoint_id = CASE WHEN l.subject_kind = 1 THEN l.subject_id END
LEFT JOIN checkpoint_pair k ON k.id = CASE WHEN l.subject_kind = 2 THEN l.subject_id END
LEFT JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
LEFT JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b""",
    ),
    View(
        "v_failure",
        "Why a cell failed, does not apply or is absent upstream.",
        """SELECT l.run, l.step, l.measure, l.eval_set, l.state, l.attempts, f.error_class, f.message, f.happened_at, f.traceback
FROM failure f
JOIN v_cell l ON l.subject_kind = f.subject_kind AND l.subject_id = f.subject_id AND l.quantity_id = f.quantity_id""",
    ),
    View(
        "v_coverage",
        "What is in the archive: cells, checkpoints and the range of steps per run, measure and eval set.",
        """SELECT run_id, run, measure, version, eval_set, source, state, count(*) AS n_cells,
       count(DISTINCT step) AS n_steps, min(step) AS first_step, max(step) AS last_step, sum(n_rows)::BIGINT AS n_rows
FROM v_cell GROUP BY ALL""",
    ),
    View(
        "v_shard",
        "Committed units of results with their provenance.",
        """SELECT s.id AS shard_id, s.name AS shard, s.kind, coalesce(t.name, '') AS study, s.n_cells, s.n_rows, s.bytes,
       s.created_at, s.committed_at, s.provenance_json
FROM shard s LEFT JOIN study t ON t.id = s.study_id""",
    ),
    View(
        "v_study",
        "What was asked for, with the number of runs it has so far.",
        """SELECT s.id AS study_id, s.name AS study, s.n_cells_wanted, s.created_at, s.toml, s.resolved_json,
       (SELECT count(*) FROM study_run x WHERE x.study_id = s.id) AS n_runs FROM study s""",
    ),
    View(
        "v_eval_token",
        "The tokens of an eval set, one row per token, with surprisal in nats.",
        """SELECT s.encoding_id, e.name AS eval_set, s.sequence, s.document,
       generate_subscripts(s.token_ids, 1) - 1 AS position, unnest(s.token_ids) AS token_id,
       unnest(s.unigram_surprisal) AS unigram_surprisal, unnest(s.bigram_surprisal) AS bigram_surprisal
FROM content_sequence s JOIN encoding e ON e.id = s.encoding_id""",
    ),
    View(
        "v_hypothesis",
        "Questions registered before the runs that test them.",
        """SELECT name, statement, primary_measure, alpha, runs_json, who, registered_at FROM hypothesis""",
    ),
    View(
        "v_audit",
        "What people did to the archive.",
        """SELECT happened_at, who, action, target, detail_json FROM audit""",
    ),
)


def older_than(message: str) -> str:
    """The view or macro of this version that DuckDB says is not there; empty where it speaks of something else."""
    found = re.search(r"with name (\w+) does not exist", message)
    name = found[1].lower() if found else ""
    known = {view.name for view in VIEWS} | {macro.name for macro in MACROS}
    return name if name in known else ""


def views_hash() -> str:
    """Changes whenever a view or a macro does; stored in the archive so that opening it is cheap."""
    macros = [(m.name, m.parameters, m.about, m.sql) for m in MACROS]
    return content_hash([*((v.name, v.about, v.sql) for v in VIEWS), *macros])[:16]


def view_statements() -> list[str]:
    """SQL that replaces every view, in dependency order, and every macro on them, each with its comment."""
    drops = [f"DROP VIEW IF EXISTS {view.name}" for view in reversed(VIEWS)]
    creates = [
        statement
        for view in VIEWS
        for statement in (
            f"CREATE VIEW {view.name} AS\n{view.sql}",
            f"COMMENT ON VIEW {view.name} IS '{view.about.replace(chr(39), chr(39) * 2)}'",
        )
    ]
    return [*drops, *creates, *macro_statements()]
