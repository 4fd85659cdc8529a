"""The natural-key records that cross into the archive: what a shard's manifest is made of.

A record names things the way people do (run name, step, measure name and version); only the committer
turns names into integer ids, so shards of two archives can be merged.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archive.identity import content_hash

Direction = Literal["higher is better", "lower is better", "neither"]
Integrity = Literal["ok", "duplicate", "out_of_order", "absent", "defect"]
WeightProcessing = Literal["raw", "fold_ln", "fold_ln_center", "unknown"]
# how the note of a checkpoint begins that a person has accepted against what was said: it stays ok
ACCEPTED = "accepted by "
Name = Annotated[str, Field(min_length=1, max_length=500)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind_name: ClassVar[str]
    key: ClassVar[tuple[str, ...]] = ("name",)

    @property
    def natural_key(self) -> tuple[object, ...]:
        """What makes two records the same thing: the values of the fields in `key`."""
        return tuple(getattr(self, field) for field in self.key)


class Source(Record):
    """Who measured: pathscope itself, or a published set with its licence and citation."""

    kind_name: ClassVar[str] = "source"
    name: Name = "pathscope"
    kind: str = "published"
    repository: str = ""
    commit_hash: str = ""
    licence: str = ""
    citation: str = ""
    url: str = ""
    note: str = ""


MEASURED_HERE = Source(name="pathscope", kind="measured", note="measured here")


class Family(Record):
    """A series of models, with catalogue facts and the evidence for each."""

    kind_name: ClassVar[str] = "family"
    name: Name
    summary: str = ""
    facts: dict[str, Any] = {}


class Run(Record):
    """One training trajectory.

    `init_seed`, `data_order_seed` and `split_seed` are separate on purpose: "seed" alone is never a column.
    `condition` names everything but the seeds, so runs with one condition are repeats of one another.
    `aliases` are the names this source uses for the run.
    """

    kind_name: ClassVar[str] = "run"
    name: Name
    family: str = "unknown"
    source: str = "pathscope"
    architecture: str = ""
    n_params: int | None = None
    n_layers: int | None = None
    n_heads: int | None = None
    d_model: int | None = None
    d_mlp: int | None = None
    init_seed: int | None = None
    data_order_seed: int | None = None
    split_seed: int | None = None
    init_hash: str = ""
    data_order_hash: str = ""
    condition: str = ""
    parent_run: str = ""
    intervention: dict[str, Any] | None = None
    config: dict[str, Any] = {}
    tokens_per_step: float | None = None
    final_step: int | None = None
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Checkpoint(Record):
    """A saved state: (run, step, snapshot). step = optimiser updates; tokens_seen = tokens."""

    kind_name: ClassVar[str] = "checkpoint"
    key: ClassVar[tuple[str, ...]] = ("run", "step", "snapshot")
    run: Name
    step: Annotated[int, Field(ge=0)]
    snapshot: str = ""
    label: str = ""
    tokens_seen: float | None = None
    epoch: float | None = None
    revision: str = ""
    weights_hash: str = ""
    location: str = ""
    integrity: Integrity = "ok"
    integrity_note: str = ""
    integrity_link: str = ""


class Tokenizer(Record):
    """What turns text into ids; hash over its defining files or vocabulary."""

    kind_name: ClassVar[str] = "tokenizer"
    key: ClassVar[tuple[str, ...]] = ("hash",)
    hash: Name
    name: str = ""
    kind: str = ""
    n_vocab: int = 0


class TextSet(Record):
    """Documents before any tokenizer."""

    kind_name: ClassVar[str] = "text_set"
    key: ClassVar[tuple[str, ...]] = ("hash",)
    hash: Name
    name: str = ""
    kind: str = "text"
    licence: str = ""
    n_documents: int = 0
    facts: dict[str, Any] = {}


class Encoding(Record):
    """A frozen tokenised eval set.

    `frozen=False` marks a set that a publication names but does not hand out: its numbers are comparable
    only within their source. hash covers token ids, BOS policy and context length.
    """

    kind_name: ClassVar[str] = "encoding"
    key: ClassVar[tuple[str, ...]] = ("hash",)
    hash: Name
    text_set: str = "none"
    tokenizer: str = "none"
    name: str = ""
    bos_policy: str = "unknown"
    context_length: int = 0
    n_sequences: int = 0
    n_tokens: int = 0
    frozen: bool = True
    facts: dict[str, Any] = {}

    @classmethod
    def named_only(cls, name: str, source: str, **facts: Any) -> Self:
        """The stand-in for an eval set that `source` names but does not publish as tokens."""
        facts = {"source": source, **facts}
        return cls(hash=content_hash({"named_only": name, **facts}), name=name, frozen=False, facts=facts)


NO_ENCODING = Encoding(hash="none", name="none", bos_policy="none", frozen=False)


class Site(Record):
    """Where a unit lives: hook point, before or after LayerNorm, dictionary."""

    kind_name: ClassVar[str] = "site"
    name: Name = "none"
    hook_point: str = ""
    norm_stage: str = "none"
    dictionary_hash: str = ""
    width: int = 0


NO_SITE = Site(name="none")


class Measure(Record):
    """What a number means: unit, range, direction, one sentence, the source of its definition.

    `scope` is the component it is measured on; `table` the fact table that holds it.
    """

    kind_name: ClassVar[str] = "measure"
    key: ClassVar[tuple[str, ...]] = ("name", "version")
    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    scope: str
    table: str
    unit: str
    lower_bound: float | None = None
    upper_bound: float | None = None
    direction: Direction = "neither"
    summary: str
    citation: str = ""


class Quantity(Record):
    """What was measured, completely: two numbers may be compared only if their quantities allow it."""

    kind_name: ClassVar[str] = "quantity"
    key: ClassVar[tuple[str, ...]] = ("hash",)
    measure: Measure
    encoding: Encoding = NO_ENCODING
    params: dict[str, Any] = {}
    weight_processing: WeightProcessing = "raw"
    dtype: str = "float32"
    site: Site = NO_SITE
    source: Source = MEASURED_HERE

    @property
    def key_fields(self) -> dict[str, object]:
        """The natural key as plain values."""
        return {
            "measure": self.measure.name,
            "version": self.measure.version,
            "encoding": self.encoding.hash,
            "params": self.params,
            "weight_processing": self.weight_processing,
            "dtype": self.dtype,
            "site": self.site.name,
            "source": self.source.name,
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the natural key; unique in the archive."""
        return content_hash(self.key_fields)


class Part(Record):
    """A named component: a split, a tensor, a slice, a class. The empty part is the whole."""

    kind_name: ClassVar[str] = "part"
    key: ClassVar[tuple[str, ...]] = ("kind", "name")
    kind: str = "none"
    name: str = ""

    @model_validator(mode="after")
    def _whole_has_no_name(self) -> Self:
        if (self.kind == "none") != (self.name == ""):
            raise ValueError(f"part kind {self.kind!r} with name {self.name!r}: give both or neither")
        return self


WHOLE = Part()


class Study(Record):
    """What was asked for: the file as written, and as resolved."""

    kind_name: ClassVar[str] = "study"
    name: Name
    toml: str = ""
    resolved: dict[str, Any] = {}
    n_cells_wanted: int = 0


class SourceFile(Record):
    """An imported file; `path` is relative to the imported folder, so it survives a move of the folder."""

    kind_name: ClassVar[str] = "source_file"
    key: ClassVar[tuple[str, ...]] = ("source", "path")
    source: str
    path: Name
    sha256: str
    bytes: int
    format: str
    n_rows: int = 0


class Provenance(Record):
    """How a shard came to be; cells point to it through their shard."""

    kind_name: ClassVar[str] = "provenance"
    key: ClassVar[tuple[str, ...]] = ()
    code_version: str = ""
    libraries: dict[str, str] = {}
    device: str = ""
    threads: int = 0
    seconds: float = 0.0
    host: str = ""
    facts: dict[str, Any] = {}
