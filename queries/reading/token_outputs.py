"""What several runs predict for the same tokens: lists of likely tokens and losses, with the document of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Generic, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.compared_pairs import chosen_comparison
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.refusals import eval_set_names
from queries.reading.select import Selected
from queries.reading.tables import stretches
from queries.results import readable_sql
from queries.stats.clusters import Order
from queries.stats.output_divergence import Lists

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")

By = Annotated[
    Literal["auto", "comparisons", "losses"],
    Field(
        description="what is read: comparisons of all outputs that a study with [compare] made; only losses, which many "
        "checkpoints have and which are read quickly; auto: lists of likely tokens, else comparisons, else losses"
    ),
]

_TOP = Want(("token_top",), ("fact_token_top",))
_LOSS = Want(("token_loss",), ("fact_token",))
_JS = Want(("output_divergence",), ("fact_pair",))
_SAME_TOP = Want(("top1_agreement",), ("fact_pair",))

# a sequence of no known document, such as one drawn at random, is one of its own
_OWN = "CASE WHEN s.document >= 0 THEN s.document ELSE -1 - f.sequence END"
_DOCUMENT = """\
LEFT JOIN content_sequence s ON s.sequence = f.sequence
  AND s.encoding_id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id IN (SELECT unnest($checkpoint_ids))"""

_TOP_SQL = f"""\
SELECT f.run_id, f.sequence, f.position, {_OWN} AS document, f.token_ids, f.log_probs
FROM fact_token_top f
{_DOCUMENT}
ORDER BY f.run_id, f.sequence, f.position"""

_LOSS_SQL = f"""\
SELECT f.run_id, f.checkpoint_id, f.sequence, {_OWN} AS document, f."values"
FROM fact_token f
{_DOCUMENT}
ORDER BY f.run_id, f.checkpoint_id, f.sequence"""


@dataclass(frozen=True)
class Outputs(Generic[T]):
    """Numbers of one run per position of the eval set.

    keys: (item,), ascending: sequence · 2³² + position. documents: (item,). values: lists of the likely tokens
    there, or finite losses in nats (item,).
    """

    keys: Ints
    documents: Ints
    values: T

    @cached_property
    def order(self) -> Order:
        """Of losses: the places of all of them in their order; a run is compared with many others."""
        return Order.of(np.asarray(self.values))


@dataclass(frozen=True)
class Choices:
    """What is read: lists of likely tokens, losses, or both, and comparisons of all outputs, all of the same eval set.

    js, same_top: comparisons that are stored for pairs of checkpoints. notes: why something is not used.
    """

    top: Choice | None
    loss: Choice | None
    js: Choice | None
    same_top: Choice | None
    notes: tuple[str, ...]

    @property
    def main(self) -> Choice:
        """The one that decides which runs and checkpoints are compared."""
        found = self.top or self.js or self.loss
        assert found is not None
        return found

    @property
    def all(self) -> list[Choice]:
        """Those there are."""
        return [c for c in (self.top, self.loss, self.js, self.same_top) if c is not None]

    @property
    def exact(self) -> list[Choice]:
        """Comparisons of all outputs."""
        return [c for c in (self.js, self.same_top) if c is not None]


def choose_outputs(archive: Archive, selected: Selected, which: Which, by: By = "auto") -> Choices:
    """Lists, losses and comparisons of one eval set, one encoding and thereby one tokenizer.

    Lists decide which, else comparisons, else losses, unless `by` says. Raises NotComparable where runs have different
    eval sets or tokenizers, UsageError where none is there for two runs.
    """
    top, loss, js, same_top = choose_quantities(archive, selected, [_TOP, _LOSS, _JS, _SAME_TOP], which)
    if by == "losses":
        if not isinstance(loss, Choice):
            raise loss
        return Choices(None, loss, None, None, ())
    if by == "comparisons":
        js = chosen_comparison(js, _JS.measures[0], which)
        top = UsageError(f"{_TOP.measures[0]} was not asked for.")
    if isinstance(top, NotComparable):
        raise top
    main = top if isinstance(top, Choice) and len(top.selected.runs) > 1 else js
    if isinstance(main, Choice):
        encoding = main.quantity.encoding_hash
        elsewhere = loss
        if not isinstance(loss, UsageError) and _here(loss, encoding) is None:
            want = Want(_LOSS.measures, _LOSS.tables, fits=partial(_in_encoding, encoding))
            (loss,) = choose_quantities(archive, selected, [want], which)
        listed = main is top
        told = (
            ""
            if isinstance(loss, Choice)
            else f"No rank correlation of losses: {_there(elsewhere, loss, main.quantity)}",
            "" if listed else f"No lists of likely tokens: {_of_lists(top)}",
            _of_comparison(js, main.quantity) if listed else "",
        )
        return Choices(
            main if listed else None,
            loss if isinstance(loss, Choice) else None,
            _here(js, encoding),
            _here(same_top, encoding),
            tuple(line for line in told if line),
        )
    if not isinstance(loss, Choice):
        if isinstance(js, NotComparable):
            raise js
        raise loss if isinstance(loss, NotComparable) or isinstance(top, Choice) else top
    return Choices(None, loss, None, None, (f"From losses alone, without divergences: {_of_lists(top)}",))


def _here(found: Choice | UsageError | NotComparable, encoding: str) -> Choice | None:
    """The choice where it is one, of that encoding."""
    return found if isinstance(found, Choice) and found.quantity.encoding_hash == encoding else None


def _of_lists(top: Choice | UsageError | NotComparable) -> str:
    if isinstance(top, Choice):
        return "only one run has token_top."
    # that there is none is all of it here: names nearby are no lists of likely tokens
    return "no run has token_top." if str(top).startswith("no measure") else str(top)


def _of_comparison(js: Choice | UsageError | NotComparable, main: Quantity) -> str:
    """What to say of comparisons of all outputs that are there and not used."""
    if isinstance(js, Choice) and _here(js, main.encoding_hash) is None:
        return f"Divergences of all outputs: {_there(js, js, main)}"
    return f"{js}" if isinstance(js, NotComparable) else ""


def _there(found: Choice | UsageError | NotComparable, error: object, main: Quantity) -> str:
    """On which eval set the measure is instead, or the error. main: the quantity whose eval set is used."""
    if not isinstance(found, Choice):
        return str(error)
    both = (main, found.quantity)
    names = eval_set_names((q.eval_set, q.tokenizer, q.encoding_hash) for q in both)
    name = names[found.quantity.encoding_hash]
    return f"{found.quantity.measure} is there on another eval set (eval_set={name!r})."


def read_lists(
    archive: Archive, choice: Choice, at: Mapping[int, tuple[int, int]]
) -> tuple[dict[int, Outputs[Lists]], str]:
    """Likely tokens by run_id at one checkpoint each, and the statement that found them."""
    rows, sql = _read(archive, _TOP_SQL, choice, [at])
    ids, log_probs = (_matrix(rows, name, choice) for name in ("token_ids", "log_probs"))
    keys, documents = _keys(rows), rows["document"].to_numpy().astype(np.int64)
    found = {}
    for run, part in _by(rows, "run_id"):
        found[run] = Outputs(
            keys[part],
            documents[part],
            Lists.stored(ids[part].astype(np.int64), log_probs[part].astype(np.float64)),
        )
    return found, sql


def read_losses(
    archive: Archive, choice: Choice, at: Mapping[int, tuple[int, int]]
) -> tuple[dict[int, Outputs[Floats]], str]:
    """Losses by run_id at one checkpoint each, and the statement; predictions without a finite loss are left out."""
    found, sql = read_checkpoint_losses(archive, choice, [at])
    return {run: found[checkpoint] for run, (checkpoint, _) in at.items() if checkpoint in found}, sql


def read_checkpoint_losses(
    archive: Archive, choice: Choice, ats: Sequence[Mapping[int, tuple[int, int]]]
) -> tuple[dict[int, Outputs[Floats]], str]:
    """The same by checkpoint_id, for several checkpoints of each run at once."""
    rows, sql = _read(archive, _LOSS_SQL, choice, ats)
    lists = rows["values"].combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy()) if rows.num_rows else np.empty(0, np.int64)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    positions = np.arange(len(values)) - np.repeat(starts[:-1], lengths)
    keys = np.repeat(rows["sequence"].to_numpy().astype(np.int64), lengths) * 2**32 + positions
    documents = np.repeat(rows["document"].to_numpy().astype(np.int64), lengths)
    found = {}
    for checkpoint, part in _by(rows, "checkpoint_id"):
        items = slice(int(starts[part.start]), int(starts[part.stop]))
        finite = np.isfinite(values[items])
        # where all are, as is usual, nothing is copied
        kept = slice(None) if finite.all() else finite
        found[checkpoint] = Outputs(keys[items][kept], documents[items][kept], values[items][kept])
    return found, sql


def shared_items(a: Outputs[T], b: Outputs[T]) -> tuple[Ints, Ints]:
    """Places in both runs of the positions that both have."""
    if np.array_equal(a.keys, b.keys):
        every = np.arange(len(a.keys))
        return every, every
    _, here, there = np.intersect1d(a.keys, b.keys, assume_unique=True, return_indices=True)
    return here.astype(np.int64), there.astype(np.int64)


def _in_encoding(encoding_hash: str, quantity: Quantity) -> bool:
    return quantity.encoding_hash == encoding_hash


def _read(
    archive: Archive, sql: str, choice: Choice, ats: Sequence[Mapping[int, tuple[int, int]]]
) -> tuple[pa.Table, str]:
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": sorted({run for at in ats for run in at}),
        "checkpoint_ids": [checkpoint for at in ats for checkpoint, _ in at.values()],
    }
    return archive.query(sql, parameters), readable_sql(sql, parameters)


def _matrix(rows: pa.Table, name: str, choice: Choice) -> NDArray[np.generic]:
    """A list column whose lists are of one length, (row, entry)."""
    lists = rows[name].combine_chunks()
    widths = set(np.unique(np.diff(lists.offsets.to_numpy())).tolist())
    if len(widths) > 1:
        raise UsageError(
            f"{choice.quantity.measure} has lists of {min(widths)} to {max(widths)} entries; expected one length. "
            "`pathscope verify` checks the archive."
        )
    width = widths.pop() if widths else 1
    flat: NDArray[np.generic] = lists.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(rows.num_rows, width)


def _keys(rows: pa.Table) -> Ints:
    sequences, positions = (rows[name].to_numpy().astype(np.int64) for name in ("sequence", "position"))
    found: Ints = sequences * 2**32 + positions
    return found


def _by(rows: pa.Table, name: str) -> Sequence[tuple[int, slice]]:
    """(run_id or checkpoint_id, its rows)."""
    ids = rows[name].to_numpy()
    return [(int(ids[a]), slice(int(a), int(b))) for a, b in zip(*stretches(rows, [name]), strict=True)]
