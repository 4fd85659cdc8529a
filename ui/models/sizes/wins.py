"""Where the small models win: what the queries decide, and the tokens, as tables for people."""

from collections.abc import Sequence

import pyarrow as pa

from queries.capability_inclusion import CapabilityInclusion
from queries.smaller_beats_larger import SmallerBeatsLarger
from ui.models.compare.tokens import around, shown_token
from ui.models.text import plural, shorten

WON = ("categories", "tokens", "kinds of token")
_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()

_RULES = {"token_loss": "the right token has a probability of at least one half"}
_CATEGORIES = pa.schema(
    [
        ("slice", _TEXT),
        *((name, _REAL) for name in ("delta", "ci_low", "ci_high", "q")),
        ("found", pa.bool_()),
        *((name, _REAL) for name in ("small_only", "by_chance", "large_only", "loss_small", "loss_large")),
        ("n_tokens", _WHOLE),
        ("n_documents", _WHOLE),
    ]
)
_TOKENS = pa.schema(
    [
        ("token", _TEXT),
        *((name, _REAL) for name in ("separation", "delta", "loss_small", "loss_large")),
        *((name, _TEXT) for name in ("text", "categories", "document")),
        ("sequence", _WHOLE),
    ]
)
_KINDS = pa.schema(
    [
        ("token", _TEXT),
        *((name, _REAL) for name in ("found", "held_out", "shrunk", "q")),
        ("replicated", pa.bool_()),
        ("n_tokens", _WHOLE),
        ("n_documents", _WHOLE),
    ]
)


def categories(found: SmallerBeatsLarger) -> pa.Table:
    """A row a category, in the order of the answer: all tokens first, those that other runs chose last."""
    return pa.Table.from_pylist(found.table.to_pylist(), schema=_CATEGORIES)


def tokens(found: SmallerBeatsLarger) -> pa.Table:
    """Single tokens at which every small run beats every large one, the largest gap first, with the text around."""
    rows = found.places.to_pylist() if found.places is not None else []
    return pa.Table.from_pylist(
        [
            row
            | {
                "token": shown_token(row | {"token_id": -1 if row["token_id"] is None else row["token_id"]}),
                "text": around(row),
                "document": shorten(row["document"] or f"sequence {row['sequence']}", 40),
            }
            for row in rows
        ],
        schema=_TOKENS,
    )


def kinds(found: SmallerBeatsLarger) -> pa.Table:
    """Token ids with the largest lead of the small in half of the documents, and what the other half says."""
    rows = found.kinds.to_pylist() if found.kinds is not None else []
    return pa.Table.from_pylist([row | {"token": shown_token(row)} for row in rows], schema=_KINDS)


def better_somewhere(found: SmallerBeatsLarger) -> tuple[str, str]:
    """(verdict as the query says it, what was shown) on whether the small one is better somewhere."""
    (pair,) = found.summary.to_pylist() if found.summary is not None else [{}]
    n_tested = sum(r["q"] is not None for r in found.table.to_pylist())
    held_out = pair["runs_held_out"]
    lasting = (
        ""
        if held_out is None
        else f" Tokens so chosen by other runs: {_signed(held_out)} nats in runs that chose none."
    )
    return str(pair["verdict"]), (
        f"Every small run beats every large one at {pair['small_only']:.2%} of tokens; were sizes alike, at "
        f"{pair['by_chance']:.2%}. {pair['n_found']} of {n_tested} tested groups of tokens found.{lasting}"
    )


def does_it_all(found: CapabilityInclusion) -> tuple[str, str]:
    """(verdict as the query says it, what was shown) on whether the large one can do all that the small one can."""
    (row,) = found.table.to_pylist()
    return str(row["verdict"]), (
        f"{_share(row['included'])} of the {row['doable_small']:,} items that all small runs succeed at"
        f"{_band(row['low'], row['high'])}; {_share(row['by_chance'])} were any of the runs called small; the reverse "
        f"{_share(row['reverse'])}. {row['n_small_only']:,} of {row['n_items']:,} items are the small ones' alone. "
        f"Succeeding: {_RULES.get(found.measure, found.measure)}."
    )


def tokens_in_words(table: pa.Table) -> str:
    """The table as a sentence, for those who do not see it."""
    if not table.num_rows:
        return "No token at which every small run beats every large one."
    first = table.slice(0, 1).to_pylist()[0]
    return (
        f"{plural(table.num_rows, 'token')} at which every small run beats every large one, the largest gap first: "
        f"{first['token']} with {first['separation']:.3g} nats"
    )


def sequence_of(table: pa.Table, rows: Sequence[int]) -> int | None:
    """The sequence of the row that was clicked."""
    return int(table["sequence"][rows[0]].as_py()) if rows and rows[0] < table.num_rows else None


def _band(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" (95% interval {_share(low)} to {_share(high)})"


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−")
