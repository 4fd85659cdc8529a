"""Dimension tables: small, with a primary key and a natural key, changed only by revisions.

There are no foreign keys. The committer is the only writer and maps natural keys itself; DuckDB can
neither delete a parent with its children in one transaction nor alter a referenced table; and
`pathscope verify` finds orphans (docs/decisions.md).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)

from archive.schema.base import metadata


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


def _text(name: str, default: str = "") -> Column[str]:
    return Column(name, String, nullable=False, server_default=text(f"'{default}'"))


def _maybe(name: str, kind: type[Integer] | type[Double[float]]) -> Column[object]:
    return Column(name, kind, nullable=True)


archive_info = Table(
    "archive_info",
    metadata,
    Column("key", String, primary_key=True),
    _text("value"),
    info={"about": "facts about the file itself: uuid, created_at, created_by, the hash of its views"},
)

source = Table(
    "source",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("kind"),
    _text("repository"),
    _text("commit_hash"),
    _text("licence"),
    _text("citation"),
    _text("url"),
    _text("note"),
    info={"about": "who measured: id 0 is pathscope itself, every other row an imported set"},
)

source_file = Table(
    "source_file",
    metadata,
    _id(),
    Column("source_id", Integer, nullable=False),
    Column("path", String, nullable=False),
    _text("sha256"),
    Column("bytes", BigInteger, nullable=False),
    _text("format"),
    Column("n_rows", BigInteger, nullable=False),
    Column("shard_id", Integer, nullable=False),
    Column("imported_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("source_id", "path"),
    info={"about": "every imported file with the hash of its bytes"},
)

family = Table(
    "family",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("summary"),
    _text("facts_json", "{}"),
    info={"about": "a series of models; facts_json holds catalogue facts with their evidence"},
)

study = Table(
    "study",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("hash"),
    _text("toml"),
    _text("resolved_json", "{}"),
    Column("n_cells_wanted", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", DateTime(timezone=True), nullable=False),
    info={"about": "what was asked for: the study file as written and as resolved"},
)

study_run = Table(
    "study_run",
    metadata,
    Column("study_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, primary_key=True, autoincrement=False),
)

run = Table(
    "run",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    Column("family_id", Integer, nullable=False),
    Column("source_id", Integer, nullable=False),
    _text("architecture"),
    _maybe("n_params", BigInteger),
    _maybe("n_layers", Integer),
    _maybe("n_heads", Integer),
    _maybe("d_model", Integer),
    _maybe("d_mlp", Integer),
    _maybe("init_seed", BigInteger),
    _maybe("data_order_seed", BigInteger),
    _maybe("split_seed", BigInteger),
    _text("init_hash"),
    _text("data_order_hash"),
    _text("condition"),
    _text("parent_run"),
    _text("intervention_json", ""),
    _text("config_json", "{}"),
    _maybe("tokens_per_step", Double),
    _maybe("final_step", BigInteger),
    info={
        "about": "one training trajectory; `condition` names everything but the seed, so it is the default grouping"
    },
)

run_alias = Table(
    "run_alias",
    metadata,
    Column("alias", String, primary_key=True),
    Column("source_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, nullable=False),
)

run_tag = Table(
    "run_tag",
    metadata,
    Column("run_id", Integer, primary_key=True, autoincrement=False),
    Column("tag", String, primary_key=True),
)

run_note = Table(
    "run_note",
    metadata,
    Column("run_id", Integer, nullable=False),
    Column("source_id", Integer, nullable=False),
    _text("note"),
    info={"about": "what sources say about a run that contradicts or qualifies its row"},
)

exclusion = Table(
    "exclusion",
    metadata,
    _id(),
    Column("run_id", Integer, nullable=False),
    _text("reason"),
    _text("who"),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    Column("lifted", Boolean, nullable=False, server_default=text("false")),
    info={"about": "runs left out of answers, by whom and why; shown in every answer that leaves them out"},
)

checkpoint = Table(
    "checkpoint",
    metadata,
    _id(),
    Column("run_id", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    _text("snapshot"),
    _text("label"),
    _maybe("tokens_seen", Double),
    _maybe("epoch", Double),
    _text("revision"),
    _text("weights_hash"),
    _text("location"),
    _text("integrity", "ok"),
    _text("integrity_note"),
    _text("integrity_link"),
    UniqueConstraint("run_id", "step", "snapshot"),
    info={"about": "a saved state; ids of one run lie together in reserved blocks so that zone maps prune"},
)

checkpoint_block = Table(
    "checkpoint_block",
    metadata,
    Column("first_id", Integer, primary_key=True, autoincrement=False),
    Column("run_id", Integer, nullable=False),
    Column("size", Integer, nullable=False),
    info={"about": "ranges of checkpoint ids reserved per run"},
)

checkpoint_pair = Table(
    "checkpoint_pair",
    metadata,
    _id(),
    Column("checkpoint_a", Integer, nullable=False),
    Column("checkpoint_b", Integer, nullable=False),
    UniqueConstraint("checkpoint_a", "checkpoint_b"),
    info={"about": "ordered pairs of checkpoints, the subjects of comparisons"},
)

tokenizer = Table(
    "tokenizer",
    metadata,
    _id(),
    Column("hash", String, nullable=False, unique=True),
    _text("name"),
    _text("kind"),
    Column("n_vocab", Integer, nullable=False),
    info={"about": "id 0 is the unknown tokenizer of published numbers"},
)

text_set = Table(
    "text_set",
    metadata,
    _id(),
    Column("hash", String, nullable=False, unique=True),
    _text("name"),
    _text("kind"),
    _text("licence"),
    Column("n_documents", Integer, nullable=False),
    _text("facts_json", "{}"),
    info={"about": "documents before any tokenizer; id 0 is none"},
)

encoding = Table(
    "encoding",
    metadata,
    _id(),
    Column("hash", String, nullable=False, unique=True),
    Column("text_set_id", Integer, nullable=False),
    Column("tokenizer_id", Integer, nullable=False),
    _text("name"),
    _text("bos_policy", "unknown"),
    Column("context_length", Integer, nullable=False),
    Column("n_sequences", Integer, nullable=False),
    Column("n_tokens", BigInteger, nullable=False),
    Column("frozen", Boolean, nullable=False, server_default=text("false")),
    _text("facts_json", "{}"),
    info={
        "about": "a frozen tokenised eval set; frozen = false where a publication only names it; id 0 is none"
    },
)

site = Table(
    "site",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("hook_point"),
    _text("norm_stage", "none"),
    _text("dictionary_hash"),
    Column("width", Integer, nullable=False, server_default=text("0")),
    info={"about": "where a unit lives; id 0 is none"},
)

measure = Table(
    "measure",
    metadata,
    _id(),
    Column("name", String, nullable=False),
    Column("version", Integer, nullable=False),
    _text("scope"),
    _text("table_name"),
    _text("unit"),
    _maybe("lower_bound", Double),
    _maybe("upper_bound", Double),
    _text("direction"),
    _text("summary"),
    _text("citation"),
    UniqueConstraint("name", "version"),
    info={"about": "what numbers mean, so that an archive stays readable without the code that wrote it"},
)

quantity = Table(
    "quantity",
    metadata,
    _id(),
    Column("hash", String, nullable=False, unique=True),
    Column("measure_id", Integer, nullable=False),
    Column("encoding_id", Integer, nullable=False),
    _text("params_json", "{}"),
    _text("weight_processing", "raw"),
    _text("dtype", "unknown"),
    Column("site_id", Integer, nullable=False),
    Column("source_id", Integer, nullable=False),
    info={"about": "measure@version × eval set × parameters × weight processing × dtype × site × source"},
)

part = Table(
    "part",
    metadata,
    _id(),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    UniqueConstraint("kind", "name"),
    info={"about": "named components: a split, a tensor, a slice, a class; id 0 is the whole"},
)

shard = Table(
    "shard",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("kind"),
    _text("manifest_sha256"),
    Column("study_id", Integer, nullable=False, server_default=text("0")),
    Column("n_cells", BigInteger, nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("committed_at", DateTime(timezone=True), nullable=False),
    _text("provenance_json", "{}"),
    info={"about": "every committed unit of results with the provenance its cells point to"},
)

cell = Table(
    "cell",
    metadata,
    Column("subject_kind", SmallInteger, nullable=False),
    Column("subject_id", Integer, nullable=False),
    Column("quantity_id", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("n_rows", Integer, nullable=False),
    Column("shard_id", Integer, nullable=False),
    Column("file_id", Integer, nullable=False),
    info={"about": "the ledger: millions of rows, so no key, no text"},
)

failure = Table(
    "failure",
    metadata,
    Column("subject_kind", SmallInteger, nullable=False),
    Column("subject_id", Integer, nullable=False),
    Column("quantity_id", Integer, nullable=False),
    _text("error_class"),
    _text("message"),
    _text("traceback"),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    info={"about": "why a cell failed, does not apply or is absent upstream"},
)

log_segment = Table(
    "log_segment",
    metadata,
    Column("run_id", Integer, nullable=False),
    Column("quantity_id", Integer, nullable=False),
    Column("after_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("shard_id", Integer, nullable=False),
    info={"about": "training logs arrive in segments (after_step, last_step], replaced whole on resume"},
)

hypothesis = Table(
    "hypothesis",
    metadata,
    _id(),
    Column("name", String, nullable=False, unique=True),
    _text("statement"),
    _text("primary_measure"),
    Column("alpha", Double, nullable=False),
    _text("runs_json", "{}"),
    _text("who"),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    info={"about": "confirmatory questions, registered before the runs that test them"},
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    _text("who"),
    _text("action"),
    _text("target"),
    _text("detail_json", "{}"),
    info={"about": "what people did to the archive: drop, exclude, tag, merge, upgrade, optimize"},
)

DIMENSIONS: tuple[Table, ...] = (
    archive_info,
    source,
    source_file,
    family,
    study,
    study_run,
    run,
    run_alias,
    run_tag,
    run_note,
    exclusion,
    checkpoint,
    checkpoint_block,
    checkpoint_pair,
    tokenizer,
    text_set,
    encoding,
    site,
    measure,
    quantity,
    part,
    shard,
    cell,
    failure,
    log_segment,
    hypothesis,
    audit,
)

# rows with id 0 that stand for "none", "unknown" or "pathscope itself", so that no key is ever NULL
SENTINELS: dict[Table, dict[str, object]] = {
    source: {"id": 0, "name": "pathscope", "kind": "measured", "note": "measured here"},
    family: {"id": 0, "name": "unknown", "summary": "no family recorded"},
    tokenizer: {"id": 0, "hash": "none", "name": "unknown", "kind": "none", "n_vocab": 0},
    text_set: {"id": 0, "hash": "none", "name": "none", "kind": "none", "n_documents": 0},
    encoding: {
        "id": 0,
        "hash": "none",
        "text_set_id": 0,
        "tokenizer_id": 0,
        "name": "none",
        "bos_policy": "none",
        "context_length": 0,
        "n_sequences": 0,
        "n_tokens": 0,
    },
    site: {"id": 0, "name": "none"},
    part: {"id": 0, "kind": "none", "name": ""},
}
