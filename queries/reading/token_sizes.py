"""Two sizes of models token by token: everything `smaller_beats_larger` says of one pair of sizes, as rows of its tables."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.neuron_examples import Window
from queries.reading.size_pairs import SizePair
from queries.reading.token_categories import SortedTokens
from queries.results import Verdict
from queries.stats.clustered_share import clustered_share
from queries.stats.held_out_kinds import HeldOutKinds, held_out_kinds
from queries.stats.multiple import benjamini_hochberg
from queries.stats.size_categories import FEWEST_RUNS, size_means
from queries.stats.size_separation import HeldOut, Lowest, OwnItems, held_out_runs, lowest_runs, own_items
from queries.stats.slices import SliceMeans, means_of_cells

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_PAIR = (("small", _TEXT), ("large", _TEXT))
CATEGORY_ROWS = pa.schema(
    [
        ("slice", _TEXT),
        *((name, _REAL) for name in ("delta", "ci_low", "ci_high", "p", "q")),
        ("found", pa.bool_()),
        *((name, _REAL) for name in ("small_only", "by_chance", "large_only", "loss_small", "loss_large")),
        *((name, _WHOLE) for name in ("n_tokens", "n_documents")),
        ("slice_by", _TEXT),
        *_PAIR,
    ]
)
SIZE_ROWS = pa.schema(
    [
        *_PAIR,
        *((name, _REAL) for name in ("small_only", "small_only_low", "small_only_high", "by_chance")),
        *((name, _REAL) for name in ("excess", "excess_low", "excess_high", "large_only", "p", "smallest_p")),
        *((name, _REAL) for name in ("runs_found", "runs_held_out", "runs_low", "runs_high")),
        *((name, _WHOLE) for name in ("n_slices", "n_found", "n_kinds", "n_chosen", "n_replicated")),
        *((name, _REAL) for name in ("chosen_by_chance", "replicated_by_chance", "p_replicated")),
        *((name, _REAL) for name in ("share_replicated", "kinds_found", "kinds_held_out", "slope")),
        *((name, _REAL) for name in ("delta", "loss_small", "loss_large")),
        *((name, _WHOLE) for name in ("n_small", "n_large", "n_tokens", "n_documents")),
        ("verdict", _TEXT),
    ]
)
KIND_ROWS = pa.schema(
    [
        *_PAIR,
        ("rank", _WHOLE),
        ("token", _TEXT),
        *((name, _REAL) for name in ("found", "held_out", "shrunk", "p", "q")),
        ("replicated", pa.bool_()),
        *((name, _WHOLE) for name in ("n_tokens", "n_documents", "token_id")),
    ]
)
PLACE_ROWS = pa.schema(
    [
        *_PAIR,
        ("rank", _WHOLE),
        *((name, _TEXT) for name in ("document", "before", "token", "after")),
        *((name, _REAL) for name in ("separation", "delta", "loss_small", "loss_large")),
        ("categories", _TEXT),
        *((name, _WHOLE) for name in ("sequence", "position", "token_id")),
    ]
)

# a share of tokens that is nobody's concern
NEGLIGIBLE = 0.001


@dataclass(frozen=True)
class TokenSizes:
    """One pair of sizes.

    rows: of categories, the first "all", the last of tokens that other runs chose. own, share: the tokens at which every small
    run is better; excess: share of them beyond chance; both shares with intervals over documents. reverse: share at which every
    large run is. delta, means, lowest: (token,). places: the tokens with the largest gap. largest_high: highest end of the
    intervals of all categories at once.
    """

    pair: SizePair
    rows: list[dict[str, Any]]
    own: OwnItems
    share: tuple[float, float, float]
    excess: tuple[float, float, float]
    reverse: float
    held_out: HeldOut
    kinds: HeldOutKinds
    delta: Floats
    lowest: Lowest
    means: tuple[Floats, Floats]
    places: Ints
    largest_high: float

    @property
    def over_runs(self) -> bool:
        """Whether there are enough runs of both to say anything of the sizes."""
        return min(len(self.pair.small), len(self.pair.large)) >= FEWEST_RUNS

    @property
    def none_lasting(self) -> bool:
        """Whether tokens that other runs chose are surely no better, or too few to matter."""
        few = self.held_out.n_items <= NEGLIGIBLE * len(self.delta)
        return few or self.held_out.high <= 0

    @property
    def named(self) -> dict[str, Any]:
        """What names the pair in every table."""
        return {"small": self.pair.small_name, "large": self.pair.large_name}


def compare_sizes(tokens: SortedTokens, pair: SizePair, margin: float, top: int, level: float) -> TokenSizes:
    """All of one pair but what depends on the other pairs."""
    n_small, n_large = len(pair.small), len(pair.large)
    values = tokens.losses.of([*pair.small, *pair.large])
    lowest = lowest_runs(values, n_small)
    apart = lowest.apart(margin)
    own_here = apart & (lowest.runs == (1 << n_small) - 1)
    own = own_items(lowest.runs[apart], n_small, n_small + n_large)
    large_only = values[:n_small].min(0) - values[n_small:].max(0) > margin
    means = tuple(part.mean(0, dtype=np.float64) for part in (values[:n_small], values[n_small:]))
    delta = means[1] - means[0]
    beyond = own_here - apart / own.n_namings
    excess = means_of_cells(*_by_document(beyond, tokens), level)
    shares = {"small_only": own_here, "large_only": large_only, "by_chance": apart / own.n_namings}
    rows, largest_high = _rows(tokens, values, n_small, delta, shares, level)
    held_out = held_out_runs(values[:n_small], values[n_small:], tokens.documents, margin, level)
    rows.append(_chosen_elsewhere(held_out))
    known = np.flatnonzero(tokens.facts.token >= 0)
    kept = slice(None) if len(known) == len(delta) else known
    kinds = held_out_kinds(
        values[:, kept], n_small, tokens.facts.token[kept], tokens.documents[kept], tokens.held[kept]
    )
    best = np.flatnonzero(own_here)
    places = best[np.argsort(-lowest.gap[best], kind="stable")[:top]]
    return TokenSizes(
        pair,
        rows,
        own,
        clustered_share(own_here, tokens.documents, level),
        (float(excess.mean[0]), float(excess.low[0]), float(excess.high[0])),
        float(large_only.mean()),
        held_out,
        kinds,
        delta,
        lowest,
        (means[0], means[1]),
        places,
        largest_high,
    )


def summary_row(found: TokenSizes, tokens: SortedTokens) -> dict[str, Any]:
    """One pair of sizes in one row, without what all pairs decide together."""
    kinds, held_out = found.kinds, found.held_out
    chosen = kinds.chosen
    first = found.rows[0]
    n_chosen, n_again = int(chosen.sum()), int(kinds.replicated.sum())
    return {
        **found.named,
        "n_small": len(found.pair.small),
        "n_large": len(found.pair.large),
        **{name: first[name] for name in ("loss_small", "loss_large", "delta")},
        "small_only": found.share[0],
        "small_only_low": found.share[1],
        "small_only_high": found.share[2],
        "large_only": found.reverse,
        "by_chance": found.own.chance / len(found.delta),
        "excess": found.excess[0],
        "excess_low": found.excess[1],
        "excess_high": found.excess[2],
        "p": found.own.p,
        "smallest_p": 1 / found.own.n_namings,
        "runs_found": held_out.found,
        "runs_held_out": held_out.held_out,
        "runs_low": held_out.low,
        "runs_high": held_out.high,
        "n_kinds": len(chosen),
        "n_chosen": n_chosen,
        "chosen_by_chance": kinds.chosen_by_chance,
        "n_replicated": n_again,
        "replicated_by_chance": kinds.own.chance,
        "p_replicated": kinds.own.p,
        "share_replicated": n_again / n_chosen if n_chosen else math.nan,
        "kinds_found": float(kinds.found[chosen].mean()) if n_chosen else math.nan,
        "kinds_held_out": float(kinds.held_out[chosen].mean()) if n_chosen else math.nan,
        "slope": kinds.slope,
        "n_tokens": len(found.delta),
        "n_documents": tokens.n_documents,
    }


def kind_rows(found: TokenSizes, top: int, words: Mapping[int, str]) -> list[dict[str, Any]]:
    """The kinds of token chosen in the first half, the largest difference found there first."""
    kinds = found.kinds
    return [
        {
            **found.named,
            "rank": rank,
            "token": words.get(int(kinds.names[k])),
            **{name: float(getattr(kinds, name)[k]) for name in ("found", "held_out", "shrunk", "p", "q")},
            "replicated": bool(kinds.replicated[k]),
            "n_tokens": int(kinds.n_items[k]),
            "n_documents": int(kinds.n_documents[k]),
            "token_id": int(kinds.names[k]),
        }
        for rank, k in enumerate(chosen_kinds(found, top), start=1)
    ]


def chosen_kinds(found: TokenSizes, top: int) -> list[int]:
    """Which kinds those are."""
    chosen = np.flatnonzero(found.kinds.chosen)
    order: list[int] = chosen[np.argsort(-found.kinds.found[chosen], kind="stable")][:top].tolist()
    return order


def place_rows(
    found: TokenSizes,
    tokens: SortedTokens,
    windows: Mapping[tuple[int, int], Window],
    words: Mapping[int, str],
) -> list[dict[str, Any]]:
    """The tokens at which the worst small run beats the best large one by most, with the text around."""
    rows = []
    for rank, i in enumerate(found.places.tolist(), start=1):
        place = int(tokens.losses.sequence[i]), int(tokens.losses.position[i])
        token_id = int(tokens.facts.token[i])
        row = found.named | {
            "rank": rank,
            "token": words.get(token_id),
            "separation": float(found.lowest.gap[i]),
            "delta": float(found.delta[i]),
            "loss_small": float(found.means[0][i]),
            "loss_large": float(found.means[1][i]),
            "categories": ", ".join(
                cut.names[cut.member[i]] for cut in tokens.cuts.values() if cut.member[i] >= 0
            ),
            "sequence": place[0],
            "position": place[1],
            "token_id": token_id if token_id >= 0 else None,
        }
        if place in windows:
            w = windows[place]
            row |= {
                "document": w.document,
                "before": "".join(w.tokens[: w.at + 1]),
                "after": "".join(w.tokens[w.at + 2 :]),
            }
        rows.append(row)
    return rows


def with_q(found: Sequence[TokenSizes], fdr: float) -> list[dict[str, Any]]:
    """The rows of all pairs with q over everything that is tested."""
    rows = [one.named | row for one in found for row in one.rows]
    q = benjamini_hochberg(np.array([row["p"] for row in rows], float))
    return [{**row, "q": value, "found": value <= fdr} for row, value in zip(rows, q.tolist(), strict=True)]


def with_verdict(
    row: Mapping[str, Any], found: TokenSizes, table: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The summary's row with how many categories are found and the verdict."""
    mine = [r for r in table if (r["small"], r["large"]) == (row["small"], row["large"])]
    n_found = sum(r["found"] for r in mine)
    verdict: Verdict = "unresolved"
    if found.over_runs and n_found:
        verdict = "yes"
    elif found.over_runs and found.largest_high < 0 and found.none_lasting:
        verdict = "no"
    n_slices = sum(r["slice_by"] not in ("", "runs") for r in mine)
    return {**row, "n_slices": n_slices, "n_found": n_found, "verdict": verdict}


def _rows(
    tokens: SortedTokens,
    values: NDArray[np.float32],
    n_small: int,
    delta: Floats,
    shares: Mapping[str, NDArray[np.float64] | Bools],
    level: float,
) -> tuple[list[dict[str, Any]], float]:
    """All tokens, then every category; and the highest end of the intervals that hold for all categories at once."""
    over_all = means_of_cells(*_by_document(delta, tokens), level)
    whole = values.mean(1, dtype=np.float64)[:, None]
    parts: list[tuple[str, tuple[str, ...], Floats, SliceMeans, Mapping[str, Floats]]] = [
        ("", ("all",), whole, over_all, {name: of.mean(keepdims=True) for name, of in shares.items()})
    ]
    for way, of_runs in tokens.means(values).items():
        cut = tokens.cuts[way]
        over_documents = means_of_cells(*tokens.by_document(delta, way), level)
        # tokens in no category come first
        sums = {name: np.bincount(cut.member + 1, of, len(cut.names) + 1)[1:] for name, of in shares.items()}
        of_cut = {name: found / over_documents.n_items for name, found in sums.items()}
        parts.append((way, cut.names, of_runs, over_documents, of_cut))
    n_parts = sum(len(names) for _, names, *_ in parts)
    rows: list[dict[str, Any]] = []
    highest = -math.inf
    for by, names, of_runs, over_documents, mean_shares in parts:
        found = size_means(of_runs[:n_small], of_runs[n_small:], over_documents, level)
        wide = size_means(of_runs[:n_small], of_runs[n_small:], over_documents, 1 - (1 - level) / n_parts)
        # one that nobody can bound leaves the question open
        highest = max(highest, float(np.where(np.isfinite(wide.high), wide.high, np.inf).max()))
        rows += [
            {
                "slice_by": by,
                "slice": name,
                "delta": float(found.delta[k]),
                "ci_low": float(found.low[k]),
                "ci_high": float(found.high[k]),
                "p": float(found.p[k]),
                **{share: float(of[k]) for share, of in mean_shares.items()},
                "loss_small": float(of_runs[:n_small, k].mean()),
                "loss_large": float(of_runs[n_small:, k].mean()),
                "n_tokens": int(over_documents.n_items[k]),
                "n_documents": int(over_documents.n_clusters[k]),
            }
            for k, name in enumerate(names)
        ]
    return rows, highest


def _by_document(values: Floats, tokens: SortedTokens) -> tuple[Floats, Floats]:
    """Sums and numbers of tokens, (document, 1)."""
    n = tokens.n_documents
    sums = np.bincount(tokens.documents, values, n).astype(np.float64)
    return sums[:, None], np.bincount(tokens.documents, minlength=n).astype(np.float64)[:, None]


def _chosen_elsewhere(held_out: HeldOut) -> dict[str, Any]:
    """The tokens that all other runs called the small ones' own, in runs that had no part in that."""
    return {
        "slice_by": "runs",
        "slice": "chosen by other runs",
        "delta": held_out.held_out,
        "ci_low": held_out.low,
        "ci_high": held_out.high,
        "p": held_out.p,
        "n_tokens": round(held_out.n_items),
    }
