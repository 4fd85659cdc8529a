"""Which column points to which table: what foreign keys would say, if the archive had any (docs/decisions.md D3)."""

from dataclasses import dataclass

from archive.schema.facts import CONTENT


@dataclass(frozen=True)
class Reference:
    """`table.column` holds ids of `target`; `none` is the value that stands for "none", if there is one."""

    table: str
    column: str
    target: str
    none: int | None = None


REFERENCES: tuple[Reference, ...] = (
    Reference("run", "family_id", "family"),
    Reference("run", "source_id", "source"),
    Reference("run_alias", "run_id", "run"),
    Reference("run_alias", "source_id", "source"),
    Reference("run_tag", "run_id", "run"),
    Reference("run_note", "run_id", "run"),
    Reference("run_note", "source_id", "source"),
    Reference("exclusion", "run_id", "run"),
    Reference("study_run", "study_id", "study"),
    Reference("study_run", "run_id", "run"),
    Reference("checkpoint", "run_id", "run"),
    Reference("checkpoint_block", "run_id", "run"),
    Reference("checkpoint_pair", "checkpoint_a", "checkpoint"),
    Reference("checkpoint_pair", "checkpoint_b", "checkpoint"),
    Reference("encoding", "text_set_id", "text_set"),
    Reference("encoding", "tokenizer_id", "tokenizer"),
    Reference("quantity", "measure_id", "measure"),
    Reference("quantity", "encoding_id", "encoding"),
    Reference("quantity", "site_id", "site"),
    Reference("quantity", "source_id", "source"),
    Reference("source_file", "source_id", "source"),
    Reference("source_file", "shard_id", "shard"),
    Reference("shard", "study_id", "study", none=0),
    Reference("cell", "quantity_id", "quantity"),
    Reference("cell", "shard_id", "shard"),
    Reference("cell", "file_id", "source_file", none=0),
    Reference("failure", "quantity_id", "quantity"),
    Reference("log_segment", "run_id", "run"),
    Reference("log_segment", "quantity_id", "quantity"),
    Reference("log_segment", "shard_id", "shard"),
    *(Reference(spec.name, f"{spec.owner}_id", spec.owner) for spec in CONTENT),
)
