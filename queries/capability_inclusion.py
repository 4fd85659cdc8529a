"""Whether large models can do all that small ones can, item by item, and what only the small ones can do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step, find_left_out, pick_checkpoints
from queries.reading.delta_tables import table_of
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs
from queries.reading.size_pairs import SizePair, select_sizes, size_pairs
from queries.reading.sizes import SizesGiven
from queries.reading.successes import MEASURES, UNITS, Success, Successes, read_successes
from queries.reading.tables import in_order
from queries.registry import query
from queries.results import Answer, Provenance, Verdict
from queries.stats.clustered_share import METHOD, clustered_share
from queries.stats.inclusion import Sizes, held_out_delta, own_share, pairwise_inclusion
from queries.stats.multiple import benjamini_hochberg
from queries.stats.replication import halves, replicated_kinds
from queries.wording.inclusion import inclusion_limits, inclusion_sentence

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# an inclusion that is surely at least this large is called all
NEARLY_ALL = 0.95

_PAIR = (("small", pa.string()), ("large", pa.string()))
_TABLE = pa.schema(
    [
        *_PAIR,
        *((name, pa.float64()) for name in ("included", "low", "high", "by_chance")),
        *((name, pa.float64()) for name in ("reverse", "reverse_low", "reverse_high")),
        *(
            (name, pa.float64())
            for name in ("small_only", "small_only_chance", "p", "q", "p_first", "p_second")
        ),
        *((name, pa.float64()) for name in ("delta_found", "delta_held_out")),
        *((name, pa.float64()) for name in ("pairwise", "pairwise_least", "pairwise_most", "smallest_p")),
        *(
            (name, pa.int64())
            for name in ("n_small_only", "n_small", "n_large", "doable_small", "doable_large")
        ),
        *((name, pa.int64()) for name in ("n_items", "n_clusters")),
        ("verdict", pa.string()),
    ]
)
_ITEMS = pa.schema(
    [
        *_PAIR,
        ("rank", pa.int64()),
        ("kind", pa.string()),
        *((name, pa.float64()) for name in ("gap", "delta", "small_mean", "large_mean")),
        *((name, pa.int64()) for name in ("item", "sequence", "position", "cluster")),
        ("half", pa.string()),
    ]
)
_KINDS = pa.schema(
    [
        *_PAIR,
        ("kind", pa.string()),
        *((name, pa.float64()) for name in ("found", "held_out", "p", "q", "p_runs", "q_runs")),
        ("replicated", pa.bool_()),
        ("shown", pa.bool_()),
        ("n_items", pa.int64()),
        ("n_small_only", pa.int64()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CapabilityInclusion(Answer):
    """What two sizes of models can do, by items that all runs were asked; doable = every run of the size succeeds.

    table: per pair of sizes included (share of what is doable by the small that is doable by the large) with its interval over
    documents or templates, and by_chance (the same were any of the runs called small); reverse: share of what is doable by
    the large that is doable by the small; small_only: share of all items doable by the small, not by the large, at which
    every small run beats every large one by the margin, with small_only_chance, p (over namings of the runs), q over pairs of
    sizes, p_first and p_second (in each half of the documents); delta_found and delta_held_out: mean difference of such
    items in the runs that found them and in runs left out; pairwise (of one small and one large run: mean, least, most).
    items: the items of small_only with the largest gap between the worst small and the best large run. kinds: templates or
    tokens at which the small are better: found in one half, held_out in the other with p and q, replicated; p_runs and
    q_runs: over namings of the runs, for all kinds looked at; shown: replicated, q_runs small enough, and some of it small_only.
    """

    measure: str
    items: pa.Table
    kinds: pa.Table

    def overview(self) -> pa.Table | None:
        """Kinds of items that replicate, the largest held-out difference first."""
        known = [row for row in self.kinds.to_pylist() if row["replicated"]]
        names = ("small", "large", "kind", "found", "held_out", "q", "q_runs")
        return pa.Table.from_pylist([{name: row[name] for name in names} for row in known[:10]])

    def plot(self) -> go.Figure:
        """Inclusion either way with intervals, beside what it would be were the runs alike."""
        from queries.figures.inclusion import inclusions

        return inclusions(self)


@query(title="Can large models do all that small ones can?")
def capability_inclusion(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    small: Annotated[
        tuple[str, ...],
        Field(description="the small runs: names, patterns or condition:X; default: every two sizes"),
    ] = (),
    large: Annotated[tuple[str, ...], Field(description="the large runs, told together with small")] = (),
    step: Step = "final",
    measure: Annotated[
        Literal["auto"] | Success,
        Field(description="what success is judged by; auto = the first there is, prompts before tokens"),
    ] = "auto",
    probability: Annotated[
        float,
        Field(
            gt=0, lt=1, description="probability of the right token that counts as success, with token_loss"
        ),
    ] = 0.5,
    margin: Annotated[
        float,
        Field(
            ge=0,
            description="by how much every small run must beat every large one (logits, nats, or 1 = right)",
        ),
    ] = 0.1,
    ratio: Annotated[
        float, Field(gt=1, description="how many times as many parameters make a model the larger one")
    ] = 1.25,
    top: Annotated[int, Field(ge=1, le=1000, description="how many items to list for each pair")] = 20,
    fdr: Annotated[float, Field(gt=0, lt=1, description="expected share of wrong finds")] = 0.05,
    sizes: SizesGiven = (),
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> CapabilityInclusion:
    """Share of the items that all small runs succeed at which all large runs succeed at too, and what only the small do.

    Verdict no: more items are the small ones' alone than if any of the runs were called small, in both halves of the
    documents, or so is a kind of items that replicates; yes: the share is surely at least 0.95; else unresolved. Success:
    logit difference above 0, the right answer, the right token most likely, or its probability above one half.
    """
    selected, told = select_sizes(archive, runs, small, large)
    names = list(MEASURES) if measure == "auto" else [measure]
    tables = tuple(dict.fromkeys(MEASURES[name] for name in MEASURES if name in names))
    choice = choose_quantity(archive, selected, names, which, tables=tables)
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    ordered = in_order(choice.selected, picked.at)
    pairs, size_notes = size_pairs(choice.selected, ordered, told, sizes, ratio)
    found = read_successes(archive, choice, picked.at, probability)
    held = halves(found.divided, found.kinds if found.clustered_by != "documents" else found.divided * 0)
    rows, items, kinds = [], [], []
    for pair in pairs:
        both = _sizes(pair, found)
        named = {"small": pair.small_name, "large": pair.large_name}
        rows.append(named | _row(both, found, held, margin, confidence))
        items += [named | row for row in _items(both, found, held, margin, top)]
        mine = _kinds(both, found, held, margin, fdr, len(pairs))
        rows[-1]["any_kind"] = any(row["shown"] for row in mine)
        kinds += [named | row for row in mine]
    judged = _judged(rows, fdr)
    only = judged[0] if len(judged) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    label = choice.quantity.measure
    return CapabilityInclusion(
        sentence=inclusion_sentence(judged, found.clustered_by, picked.place, label, confidence),
        table=table_of(judged, _TABLE),
        measure=label,
        items=table_of(items, _ITEMS),
        kinds=table_of(sorted(kinds, key=lambda row: (not row["replicated"], -row["held_out"])), _KINDS),
        n_runs=len({run for pair in pairs for run in (*pair.small, *pair.large)}),
        n_items=len(found.keys),
        estimate=only["included"] if only else math.nan,
        ci_low=only["low"] if only else math.nan,
        ci_high=only["high"] if only else math.nan,
        ci_level=confidence,
        ci_method=METHOD if only and math.isfinite(only["low"]) else "",
        null_name="any of the runs called small",
        null_mean=only["by_chance"] if only else math.nan,
        p_value=only["p"] if only else math.nan,
        q_value=only["q"] if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *size_notes,
            *inclusion_limits(
                judged,
                kinds,
                absent=[r.run for r in choice.selected.runs if r.run_id not in picked.at],
                steps=picked.steps,
                clustered_by=found.clustered_by,
                unit=UNITS.get(label, ""),
                fdr=fdr,
            ),
        ),
        provenance=provenance,
        sql=found.sql,
    )


def _sizes(pair: SizePair, found: Successes) -> Sizes:
    return Sizes(
        np.stack([found.scores[run] for run in pair.small]),
        np.stack([found.scores[run] for run in pair.large]),
        np.stack([found.succeeds[run] for run in pair.small]),
        np.stack([found.succeeds[run] for run in pair.large]),
    )


def _row(both: Sizes, found: Successes, held: Bools, margin: float, level: float) -> dict[str, Any]:
    """All of one pair but what depends on the other pairs."""
    by_small, by_large = both.doable
    included, low, high = clustered_share(by_large[by_small], found.clusters[by_small], level)
    reverse = clustered_share(by_small[by_large], found.clusters[by_large], level)
    every = np.ones(len(held), bool)
    whole, first, second = (own_share(both, margin, part) for part in (every, ~held, held))
    _, delta_found, delta_held_out = held_out_delta(both, margin)
    pairwise = pairwise_inclusion(both.small_succeeds, both.large_succeeds)
    return {
        "included": included,
        "low": low,
        "high": high,
        "by_chance": whole.included,
        **dict(zip(("reverse", "reverse_low", "reverse_high"), reverse, strict=True)),
        "small_only": whole.share,
        "small_only_chance": whole.chance,
        "p": whole.p,
        "p_first": first.p,
        "p_second": second.p,
        "delta_found": delta_found,
        "delta_held_out": delta_held_out,
        **dict(zip(("pairwise", "pairwise_least", "pairwise_most"), pairwise, strict=True)),
        "smallest_p": whole.smallest_p,
        "n_small_only": int(both.own(margin).sum()),
        "n_small": len(both.small),
        "n_large": len(both.large),
        "doable_small": int(by_small.sum()),
        "doable_large": int(by_large.sum()),
        "n_items": len(held),
        "n_clusters": len(np.unique(found.clusters)),
    }


def _items(both: Sizes, found: Successes, held: Bools, margin: float, top: int) -> list[dict[str, Any]]:
    """What only the small can do, the largest gap first."""
    gap = both.small.min(0) - both.large.max(0)
    own = np.flatnonzero(both.own(margin))
    tokens = found.clustered_by == "documents"
    rows = []
    for rank, i in enumerate(own[np.argsort(-gap[own], kind="stable")][:top].tolist(), start=1):
        key = int(found.keys[i])
        means = float(both.small[:, i].mean()), float(both.large[:, i].mean())
        rows.append(
            {
                "rank": rank,
                "kind": found.names.get(int(found.kinds[i]), f"token {found.kinds[i]}"),
                "gap": float(gap[i]),
                "delta": means[0] - means[1],
                "small_mean": means[0],
                "large_mean": means[1],
                "item": None if tokens else key,
                "sequence": key >> 32 if tokens else None,
                "position": key & (2**32 - 1) if tokens else None,
                "cluster": int(found.clusters[i]),
                "half": "second" if held[i] else "first",
            }
        )
    return rows


def _kinds(
    both: Sizes, found: Successes, held: Bools, margin: float, fdr: float, n_pairs: int
) -> list[dict[str, Any]]:
    """Kinds of items at which the small are better in the first half, and what the second says."""
    looked = replicated_kinds(both.small, both.large, found.kinds, found.divided, held)
    own = [int((found.kinds[both.own(margin)] == name).sum()) for name in looked.names[looked.chosen]]
    lasting = (looked.q <= fdr) & looked.separated
    # every pair of sizes has its own kinds, all of which could be wrong
    of_sizes = lasting & (looked.q_runs * n_pairs <= fdr)
    return [
        {
            "kind": found.names.get(int(looked.names[k]), f"token {looked.names[k]}"),
            "found": float(looked.found[k]),
            "held_out": float(looked.held_out[k]),
            "p": float(looked.p[k]),
            "q": float(looked.q[k]),
            "p_runs": float(looked.p_runs[k]),
            "q_runs": float(looked.q_runs[k]),
            "replicated": bool(lasting[k]),
            "shown": bool(of_sizes[k] and n > 0),
            "n_items": int(looked.n_items[k]),
            "n_small_only": n,
        }
        for k, n in zip(np.flatnonzero(looked.chosen).tolist(), own, strict=True)
    ]


def _judged(rows: Sequence[Mapping[str, Any]], fdr: float) -> list[dict[str, Any]]:
    """The rows with q over pairs of sizes and the verdict."""
    q = benjamini_hochberg(np.array([row["p"] for row in rows]))
    return [
        {**row, "q": value, "verdict": _verdict(row, value, fdr)}
        for row, value in zip(rows, q.tolist(), strict=True)
    ]


def _verdict(row: Mapping[str, Any], q: float, fdr: float) -> Verdict:
    if max(q, row["p_first"], row["p_second"]) <= fdr or row["any_kind"]:
        return "no"
    return "yes" if row["low"] >= NEARLY_ALL else "unresolved"
