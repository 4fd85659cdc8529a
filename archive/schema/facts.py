"""Fact and content tables: no key, no index, no foreign key; written in bulk by the committer only.

One declaration serves four readers: Alembic, the Arrow schema of a shard's file, the committer (which
local index of the shard becomes which id) and `verify` (which columns make a row unique).
Layers, heads, neurons and positions count from 0; -1 says "does not apply", never NULL.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    SmallInteger,
    String,
    Table,
)

from archive.schema.base import arrow_type, metadata

Owner = Literal["checkpoint", "run", "pair", "text_set", "encoding", "tokenizer"]

# columns an owner contributes to the stored table, in order
OWNER_COLUMNS: dict[Owner, tuple[str, ...]] = {
    "checkpoint": ("run_id", "checkpoint_id"),
    "run": ("run_id",),
    "pair": ("pair_id",),
    "text_set": ("text_set_id",),
    "encoding": ("encoding_id",),
    "tokenizer": ("tokenizer_id",),
}


@dataclass(frozen=True)
class FactTable:
    """One keyless table: who owns its rows, what makes a row unique, what it holds.

    `local` are the columns as a shard writes them (`subject`/`owner`, `quantity`, `part` are indices into
    the shard's manifest); `table` is what is stored, with those replaced by integer ids.
    """

    table: Table
    owner: Owner
    has_quantity: bool
    has_part: bool
    key: tuple[str, ...]
    body: tuple[Column[object], ...]

    @property
    def name(self) -> str:
        """Name of the stored table."""
        return self.table.name

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Leading columns of the shard's file that are indices into its manifest."""
        return (
            "owner",
            *(("quantity",) if self.has_quantity else ()),
            *(("part",) if self.has_part else ()),
        )

    @property
    def local_key(self) -> tuple[str, ...]:
        """Columns in which a shard's file must be strictly increasing."""
        return (*self.index_columns, *self.key)

    @property
    def stored_key(self) -> tuple[str, ...]:
        """Columns that make a stored row unique."""
        ids = OWNER_COLUMNS[self.owner]
        return (
            *ids,
            *(("quantity_id",) if self.has_quantity else ()),
            *(("part_id",) if self.has_part else ()),
            *self.key,
        )

    @property
    def local_schema(self) -> pa.Schema:
        """Arrow schema of the shard's file."""
        index = [pa.field(name, pa.int32(), nullable=False) for name in self.index_columns]
        body = [pa.field(c.name, arrow_type(c), nullable=bool(c.nullable)) for c in self.body]
        return pa.schema([*index, *body])


def _fact(
    name: str,
    owner: Owner,
    *body: Column[object],
    key: tuple[str, ...] = (),
    quantity: bool = True,
    part: bool = False,
    about: str,
) -> FactTable:
    ids = [Column(c, Integer, nullable=False) for c in OWNER_COLUMNS[owner]]
    if quantity:
        ids.append(Column("quantity_id", Integer, nullable=False))
    if part:
        ids.append(Column("part_id", Integer, nullable=False))
    return FactTable(
        Table(name, metadata, *ids, *body, info={"about": about}),
        owner=owner,
        has_quantity=quantity,
        has_part=part,
        key=key,
        body=body,
    )


def _small(name: str) -> Column[object]:
    return Column(name, SmallInteger, nullable=False)


def _int(name: str) -> Column[object]:
    return Column(name, Integer, nullable=False)


def _floats(name: str) -> Column[object]:
    return Column(name, ARRAY(REAL))  # not Float: that is DOUBLE to the dialect, twice the space


def _measured() -> tuple[Column[object], ...]:
    """A value with what is needed to judge it.

    value is a double because published numbers must come back exactly; se in the same unit, NaN-free
    (NULL where unknown); chance = the value under the measure's stated null; n_clusters = documents.
    """
    return (
        Column("value", Double),
        Column("se", Double),
        Column("chance", Double),
        Column("n_items", Integer),
        Column("n_clusters", Integer),
    )


FACTS: tuple[FactTable, ...] = (
    _fact(
        "fact_log",
        "run",
        Column("step", BigInteger, nullable=False),
        Column("value", Double),
        key=("step",),
        part=True,
        about="training log: one metric of one run at every logged step; needs no checkpoint",
    ),
    _fact(
        "fact_event",
        "run",
        _int("ordinal"),
        Column("step", BigInteger),
        Column("censored_at", BigInteger),
        Column("text", String),
        key=("ordinal",),
        part=True,
        about="author-given events and text-valued states; step NULL = not seen up to censored_at",
    ),
    _fact(
        "fact_scalar",
        "checkpoint",
        *_measured(),
        part=True,
        about="one number per part (split, tensor, class)",
    ),
    _fact(
        "fact_position",
        "checkpoint",
        _floats("values"),
        _floats("ses"),
        part=True,
        about="one vector over token positions",
    ),
    _fact(
        "fact_head",
        "checkpoint",
        _small("layer"),
        _small("head"),
        *_measured(),
        key=("layer", "head"),
        about="one number per attention head",
    ),
    _fact(
        "fact_head_pair",
        "checkpoint",
        _small("src_layer"),
        _small("dst_layer"),
        _floats("values"),
        _floats("baselines"),
        _floats("z"),
        key=("src_layer", "dst_layer"),
        about="a heads × heads matrix per pair of layers, row-major by source head",
    ),
    _fact(
        "fact_neuron",
        "checkpoint",
        _small("layer"),
        _floats("values"),
        key=("layer",),
        part=True,
        about="one statistic of every unit of a layer",
    ),
    _fact(
        "fact_neuron_top",
        "checkpoint",
        _small("layer"),
        _int("unit"),
        Column("sequences", ARRAY(Integer)),
        Column("positions", ARRAY(Integer)),
        _floats("values"),
        key=("layer", "unit"),
        about="top-k examples of a unit, best first: (sequence, position) of the encoding and the activation",
    ),
    _fact(
        "fact_token",
        "checkpoint",
        _int("sequence"),
        _floats("values"),
        key=("sequence",),
        about="one number per token of a sequence, such as the loss; NaN where there is none",
    ),
    _fact(
        "fact_token_top",
        "checkpoint",
        _int("sequence"),
        _int("position"),
        Column("token_ids", ARRAY(Integer)),
        _floats("log_probs"),
        key=("sequence", "position"),
        about="the most likely next tokens, best first, with log-probabilities in nats",
    ),
    _fact(
        "fact_vector",
        "checkpoint",
        _small("layer"),
        _int("unit"),
        Column("values", ARRAY(Double)),
        key=("layer", "unit"),
        part=True,
        about="any other vector: Fourier norms, Gram rows, head signatures",
    ),
    _fact(
        "fact_item",
        "checkpoint",
        _int("item"),
        *_measured(),
        key=("item",),
        about="one number per prompt or item",
    ),
    _fact("fact_benchmark", "checkpoint", *_measured(), about="one benchmark metric of a checkpoint"),
    _fact(
        "fact_attention",
        "checkpoint",
        _int("item"),
        _small("layer"),
        _small("head"),
        _small("n_query"),
        _small("n_key"),
        _floats("values"),
        key=("item", "layer", "head"),
        about="attention pattern of a frozen item, query-major",
    ),
    _fact(
        "fact_histogram",
        "checkpoint",
        _small("layer"),
        _int("unit"),
        Column("lower", Double),
        Column("upper", Double),
        Column("counts", ARRAY(BigInteger)),
        key=("layer", "unit"),
        part=True,
        about="counts in equal bins of [lower, upper]; the first and last bin take what lies beyond",
    ),
    _fact(
        "fact_pair",
        "pair",
        _small("layer_a"),
        _small("layer_b"),
        _int("unit_a"),
        _int("unit_b"),
        *_measured(),
        key=("layer_a", "layer_b", "unit_a", "unit_b"),
        part=True,
        about="one number of an ordered pair of checkpoints, or of a component in each",
    ),
    _fact(
        "fact_pair_vector",
        "pair",
        _small("layer_a"),
        _small("layer_b"),
        _floats("values"),
        key=("layer_a", "layer_b"),
        part=True,
        about="a vector of an ordered pair of checkpoints, such as per-neuron best correlations",
    ),
)

CONTENT: tuple[FactTable, ...] = (
    _fact(
        "content_document",
        "text_set",
        _int("document"),
        Column("name", String),
        Column("sha256", String),
        Column("text", String),
        key=("document",),
        quantity=False,
        about="the documents of a text set; text is NULL where only the hash may be kept",
    ),
    _fact(
        "content_sequence",
        "encoding",
        _int("sequence"),
        _int("document"),
        _int("start"),
        Column("token_ids", ARRAY(Integer)),
        _floats("unigram_surprisal"),
        _floats("bigram_surprisal"),
        Column("token_classes", ARRAY(SmallInteger)),
        Column("byte_lengths", ARRAY(SmallInteger)),
        key=("sequence",),
        quantity=False,
        about="the tokens of an encoding, stored once; surprisal in nats",
    ),
    _fact(
        "content_item",
        "encoding",
        _int("item"),
        _int("sequence"),
        _int("position"),
        Column("correct_ids", ARRAY(Integer)),
        Column("distractor_ids", ARRAY(Integer)),
        Column("template", String),
        Column("facts_json", String),
        key=("item",),
        quantity=False,
        about="prompts of an encoding: where the answer is read and what is right",
    ),
    _fact(
        "content_vocab",
        "tokenizer",
        _int("token_id"),
        Column("text", String),
        Column("special", Boolean),
        key=("token_id",),
        quantity=False,
        about="what a token id reads as",
    ),
)


def all_fact_tables() -> Iterator[FactTable]:
    """Facts and content, in declaration order."""
    yield from FACTS
    yield from CONTENT
