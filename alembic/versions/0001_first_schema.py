"""The first schema.

Revision: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive_info",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("action", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("target", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("detail_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "cell",
        sa.Column("subject_kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("shard_id", sa.Integer(), nullable=False),
        sa.Column("file_id", sa.Integer(), nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("snapshot", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("label", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("tokens_seen", sa.Double(), nullable=True),
        sa.Column("epoch", sa.Double(), nullable=True),
        sa.Column("revision", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("weights_hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("location", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("integrity", sa.String(), server_default=sa.text("'ok'"), nullable=False),
        sa.Column("integrity_note", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("integrity_link", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "step", "snapshot"),
    )
    op.create_table(
        "checkpoint_block",
        sa.Column("first_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("first_id"),
    )
    op.create_table(
        "checkpoint_pair",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("checkpoint_a", sa.Integer(), nullable=False),
        sa.Column("checkpoint_b", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("checkpoint_a", "checkpoint_b"),
    )
    op.create_table(
        "content_document",
        sa.Column("text_set_id", sa.Integer(), nullable=False),
        sa.Column("document", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
    )
    op.create_table(
        "content_item",
        sa.Column("encoding_id", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("correct_ids", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("distractor_ids", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("template", sa.String(), nullable=True),
        sa.Column("facts_json", sa.String(), nullable=True),
    )
    op.create_table(
        "content_sequence",
        sa.Column("encoding_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("document", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("token_ids", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("unigram_surprisal", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("bigram_surprisal", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("token_classes", sa.ARRAY(sa.SmallInteger()), nullable=True),
        sa.Column("byte_lengths", sa.ARRAY(sa.SmallInteger()), nullable=True),
    )
    op.create_table(
        "content_vocab",
        sa.Column("tokenizer_id", sa.Integer(), nullable=False),
        sa.Column("token_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=True),
        sa.Column("special", sa.Boolean(), nullable=True),
    )
    op.create_table(
        "encoding",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("text_set_id", sa.Integer(), nullable=False),
        sa.Column("tokenizer_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("bos_policy", sa.String(), server_default=sa.text("'unknown'"), nullable=False),
        sa.Column("context_length", sa.Integer(), nullable=False),
        sa.Column("n_sequences", sa.Integer(), nullable=False),
        sa.Column("n_tokens", sa.BigInteger(), nullable=False),
        sa.Column("frozen", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("facts_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "exclusion",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("who", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "fact_attention",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("head", sa.SmallInteger(), nullable=False),
        sa.Column("n_query", sa.SmallInteger(), nullable=False),
        sa.Column("n_key", sa.SmallInteger(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_benchmark",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("se", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.Column("n_items", sa.Integer(), nullable=True),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
    )
    op.create_table(
        "fact_event",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("censored_at", sa.BigInteger(), nullable=True),
        sa.Column("text", sa.String(), nullable=True),
    )
    op.create_table(
        "fact_head",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("head", sa.SmallInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("se", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.Column("n_items", sa.Integer(), nullable=True),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
    )
    op.create_table(
        "fact_head_pair",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("src_layer", sa.SmallInteger(), nullable=False),
        sa.Column("dst_layer", sa.SmallInteger(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("baselines", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("z", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_histogram",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("counts", sa.ARRAY(sa.BigInteger()), nullable=True),
    )
    op.create_table(
        "fact_item",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("se", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.Column("n_items", sa.Integer(), nullable=True),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
    )
    op.create_table(
        "fact_log",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
    )
    op.create_table(
        "fact_neuron",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_neuron_top",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("sequences", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("positions", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_pair",
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("layer_a", sa.SmallInteger(), nullable=False),
        sa.Column("layer_b", sa.SmallInteger(), nullable=False),
        sa.Column("unit_a", sa.Integer(), nullable=False),
        sa.Column("unit_b", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("se", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.Column("n_items", sa.Integer(), nullable=True),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
    )
    op.create_table(
        "fact_pair_vector",
        sa.Column("pair_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("layer_a", sa.SmallInteger(), nullable=False),
        sa.Column("layer_b", sa.SmallInteger(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_position",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
        sa.Column("ses", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_scalar",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("se", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.Column("n_items", sa.Integer(), nullable=True),
        sa.Column("n_clusters", sa.Integer(), nullable=True),
    )
    op.create_table(
        "fact_token",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_token_top",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("token_ids", sa.ARRAY(sa.Integer()), nullable=True),
        sa.Column("log_probs", sa.ARRAY(sa.REAL()), nullable=True),
    )
    op.create_table(
        "fact_vector",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("part_id", sa.Integer(), nullable=False),
        sa.Column("layer", sa.SmallInteger(), nullable=False),
        sa.Column("unit", sa.Integer(), nullable=False),
        sa.Column("values", sa.ARRAY(sa.Double()), nullable=True),
    )
    op.create_table(
        "failure",
        sa.Column("subject_kind", sa.SmallInteger(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("error_class", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("message", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("traceback", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "family",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("summary", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("facts_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "hypothesis",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("statement", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("primary_measure", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("runs_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("who", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "log_segment",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("quantity_id", sa.Integer(), nullable=False),
        sa.Column("after_step", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("shard_id", sa.Integer(), nullable=False),
    )
    op.create_table(
        "measure",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("table_name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("unit", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("lower_bound", sa.Double(), nullable=True),
        sa.Column("upper_bound", sa.Double(), nullable=True),
        sa.Column("direction", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("summary", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("citation", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "version"),
    )
    op.create_table(
        "part",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "name"),
    )
    op.create_table(
        "quantity",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("measure_id", sa.Integer(), nullable=False),
        sa.Column("encoding_id", sa.Integer(), nullable=False),
        sa.Column("params_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("weight_processing", sa.String(), server_default=sa.text("'raw'"), nullable=False),
        sa.Column("dtype", sa.String(), server_default=sa.text("'unknown'"), nullable=False),
        sa.Column("site_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("family_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("architecture", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("n_params", sa.BigInteger(), nullable=True),
        sa.Column("n_layers", sa.Integer(), nullable=True),
        sa.Column("n_heads", sa.Integer(), nullable=True),
        sa.Column("d_model", sa.Integer(), nullable=True),
        sa.Column("d_mlp", sa.Integer(), nullable=True),
        sa.Column("init_seed", sa.BigInteger(), nullable=True),
        sa.Column("data_order_seed", sa.BigInteger(), nullable=True),
        sa.Column("split_seed", sa.BigInteger(), nullable=True),
        sa.Column("init_hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("data_order_hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("condition", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("parent_run", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("intervention_json", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("config_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tokens_per_step", sa.Double(), nullable=True),
        sa.Column("final_step", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "run_alias",
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("source_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("alias", "source_id"),
    )
    op.create_table(
        "run_note",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(), server_default=sa.text("''"), nullable=False),
    )
    op.create_table(
        "run_tag",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "tag"),
    )
    op.create_table(
        "shard",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("manifest_sha256", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("study_id", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("n_cells", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provenance_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hook_point", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("norm_stage", sa.String(), server_default=sa.text("'none'"), nullable=False),
        sa.Column("dictionary_hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("width", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("repository", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("commit_hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("licence", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("citation", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("url", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("note", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "source_file",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        sa.Column("shard_id", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "path"),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("toml", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("resolved_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("n_cells_wanted", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "study_run",
        sa.Column("study_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "run_id"),
    )
    op.create_table(
        "text_set",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("kind", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("licence", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("n_documents", sa.Integer(), nullable=False),
        sa.Column("facts_json", sa.String(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "tokenizer",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("kind", sa.String(), server_default=sa.text("''"), nullable=False),
        sa.Column("n_vocab", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )


def downgrade() -> None:
    op.drop_table("tokenizer")
    op.drop_table("text_set")
    op.drop_table("study_run")
    op.drop_table("study")
    op.drop_table("source_file")
    op.drop_table("source")
    op.drop_table("site")
    op.drop_table("shard")
    op.drop_table("run_tag")
    op.drop_table("run_note")
    op.drop_table("run_alias")
    op.drop_table("run")
    op.drop_table("quantity")
    op.drop_table("part")
    op.drop_table("measure")
    op.drop_table("log_segment")
    op.drop_table("hypothesis")
    op.drop_table("family")
    op.drop_table("failure")
    op.drop_table("fact_vector")
    op.drop_table("fact_token_top")
    op.drop_table("fact_token")
    op.drop_table("fact_scalar")
    op.drop_table("fact_position")
    op.drop_table("fact_pair_vector")
    op.drop_table("fact_pair")
    op.drop_table("fact_neuron_top")
    op.drop_table("fact_neuron")
    op.drop_table("fact_log")
    op.drop_table("fact_item")
    op.drop_table("fact_histogram")
    op.drop_table("fact_head_pair")
    op.drop_table("fact_head")
    op.drop_table("fact_event")
    op.drop_table("fact_benchmark")
    op.drop_table("fact_attention")
    op.drop_table("exclusion")
    op.drop_table("encoding")
    op.drop_table("content_vocab")
    op.drop_table("content_sequence")
    op.drop_table("content_item")
    op.drop_table("content_document")
    op.drop_table("checkpoint_pair")
    op.drop_table("checkpoint_block")
    op.drop_table("checkpoint")
    op.drop_table("cell")
    op.drop_table("audit")
    op.drop_table("archive_info")
