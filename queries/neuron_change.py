"""What neurons still fire on at another checkpoint: how many of their top examples they keep, layer by layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoint_pairs import (
    Pair,
    RunA,
    RunB,
    StepA,
    StepB,
    pick_pairs,
    refuse_other_numbering,
    select_ends,
)
from queries.reading.checkpoints import find_left_out
from queries.reading.delta_tables import table_of
from queries.reading.neuron_examples import chance_overlap
from queries.reading.neuron_tops import KEPT, REPLACED, TOPS_SQL, NeuronTops, tops_by_checkpoint
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs
from queries.reading.tables import floats, only_value
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.over_units import mean_over_units, method_over
from queries.stats.ranked_lists import PERSISTENCE, least_above_chance, overlaps

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CATEGORIES = ("kept", "changed", "replaced", "no examples")

# what a narrow terminal shows comes first
_REST = (("run_a", pa.string()), ("step_a", pa.int64()), ("step_b", pa.int64()))
_NEURONS = pa.schema(
    [
        ("neuron", pa.string()),
        ("run_b", pa.string()),
        ("shared", pa.int64()),
        *((name, pa.float64()) for name in ("overlap", "rank_overlap")),
        ("category", pa.string()),
        *((name, pa.float64()) for name in ("largest_a", "largest_b")),
        *((name, pa.int64()) for name in ("layer", "unit", "n_a", "n_b")),
        *_REST,
    ]
)
_LAYERS = pa.schema(
    [
        ("layer", pa.int64()),
        ("run_b", pa.string()),
        ("n_neurons", pa.int64()),
        *(
            (name, pa.float64())
            for name in ("mean_overlap", "other_overlap", "above_chance", "kept", "replaced")
        ),
        *((name, pa.float64()) for name in ("median_overlap", "mean_rank_overlap", "changed", "no_examples")),
        *_REST,
        ("group", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NeuronChange(Answer):
    """How many of their top examples neurons have in common at two checkpoints, neuron by neuron.

    table: per pair (run_a, step_a, run_b, step_b) and neuron (L0N3) shared (examples in common), overlap (their share, 0 to
    1), rank_overlap (the same with weight on the highest, 0 to 1), largest activations, category: kept (overlap of at
    least 0.8), replaced (at most 0.2), changed (between), no examples; n_a, n_b: examples there were.
    summary: per pair and layer number of neurons, mean and median overlap, mean rank_overlap, other_overlap (mean
    overlap with another neuron of the layer, the control), above_chance (share of neurons with more in common
    than 1 % of random choices from the eval set), shares of the categories.
    k: examples compared. chance: overlap of random choices. n_places: tokens of the eval set they would be chosen from.
    """

    label: str
    k: int
    chance: float
    n_places: int

    def plot(self) -> go.Figure:
        """Mean overlap by layer."""
        from queries.figures.compare import kept_by_layer

        return kept_by_layer(self)


@query(title="Do neurons still fire on the same texts at another checkpoint?")
def neuron_change(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    run_a: RunA = "",
    step_a: StepA = "auto",
    run_b: RunB = "",
    step_b: StepB = "final",
    k: Annotated[
        int, Field(ge=1, le=1000, description="top examples compared; no more than are stored")
    ] = 20,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> NeuronChange:
    """Overlap of each neuron's top examples between two checkpoints, by layer, against chance and against other neurons.

    Neurons are compared number by number, so only within a run, between runs with one init, and between a run and what
    it goes on from; others are refused. Without run_a and run_b every one of the runs is compared with itself, its last
    checkpoint with its first. With run_b, `runs` only says whether excluded ones count.
    """
    selected, ends = select_ends(archive, runs, run_a, run_b)
    choice = choose_quantity(archive, selected, ["neuron.top"], which, tables=("fact_neuron_top",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_pairs(archive, choice, ends, (step_a, step_b), left_out)
    refuse_other_numbering(selected, picked, "Neurons")
    used = selected.only(picked.run_ids)
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": used.ids,
        "checkpoint_ids": sorted({p.checkpoint_id for pair in picked.pairs for p in (pair.a, pair.b)}),
        "k": k,
    }
    tops = tops_by_checkpoint(archive.query(TOPS_SQL, parameters))
    compared = [_compare(pair, tops, selected.groups[pair.b.run_id]) for pair in picked.pairs]
    table = pa.concat_tables([neurons for neurons, _ in compared])
    summary = table_of([row for _, rows in compared for row in rows], _LAYERS)
    if not table.num_rows:
        raise UsageError(
            f"{picked.pairs[0].place}: no neuron is there at both; `pathscope verify` checks the archive."
        )
    n_places = max(t.n_tokens for t in tops.values())
    depth = max(t.keys.shape[1] for t in tops.values())
    means = [_mean(neurons) for neurons, _ in compared]
    units = units_by_group(used, [pair.b.run_id for pair in picked.pairs])
    shared = next(iter(units.values())).of()
    estimate, low, high = (
        mean_over_units(means, shared, confidence, (0.0, 1.0)) if len(units) == 1 else (math.nan,) * 3
    )
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return NeuronChange(
        sentence=_sentence(picked.pairs, table, summary, depth, estimate, (low, high)),
        table=table,
        summary=summary,
        label=f"top {depth} examples in common",
        k=depth,
        chance=chance_overlap(depth, n_places),
        n_places=n_places,
        n_runs=len(used.runs),
        n_items=only_value(summary, "n_neurons") if len(compared) > 1 else table.num_rows,
        unit="",
        estimate=estimate,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=method_over(shared) if math.isfinite(low) else "",
        null_name="another neuron of the same layer",
        null_mean=_weighted(summary, "other_overlap"),
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *picked.notes,
            *picked.doubts,
            *units_limits(units, ""),
            *_limits(table, depth, k, n_places, len(compared)),
        ),
        provenance=provenance,
        sql=readable_sql(TOPS_SQL, parameters),
    )


def _compare(pair: Pair, tops: Mapping[int, NeuronTops], group: str) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Neurons of one pair, and its layers."""
    a, b = tops.get(pair.a.checkpoint_id), tops.get(pair.b.checkpoint_id)
    if a is None or b is None:
        return _NEURONS.empty_table(), []
    _, here, there = np.intersect1d(
        a.layer * 2**32 + a.unit, b.layer * 2**32 + b.unit, assume_unique=True, return_indices=True
    )
    layers, units = a.layer[here], a.unit[here]
    first, second = a.keys[here], b.keys[there]
    shared, overlap, biased = overlaps(first, second)
    n_a, n_b = (first >= 0).sum(1), (second >= 0).sum(1)
    empty = (n_a == 0) | (n_b == 0)
    overlap, biased = np.where(empty, np.nan, overlap), np.where(empty, np.nan, biased)
    place = np.select([empty, overlap >= KEPT, overlap <= REPLACED], [3, 0, 2], 1)
    columns = {
        **{name: pa.array([value] * len(here)) for name, value in pair.columns.items()},
        "neuron": [f"L{layer}N{unit}" for layer, unit in zip(layers.tolist(), units.tolist(), strict=True)],
        "layer": layers,
        "unit": units,
        "shared": shared,
        "overlap": overlap,
        "rank_overlap": biased,
        "largest_a": a.maximum[here],
        "largest_b": b.maximum[there],
        "category": [CATEGORIES[i] for i in place.tolist()],
        "n_a": n_a,
        "n_b": n_b,
    }
    neurons = pa.table({name: pa.array(columns[name], from_pandas=True) for name in _NEURONS.names}).cast(
        _NEURONS
    )
    rows = []
    for layer in np.unique(layers).tolist():
        mine = np.flatnonzero(layers == layer)
        known = mine[~empty[mine]]
        least = np.array([least_above_chance(int(d), a.n_tokens) for d in range(first.shape[1] + 1)])
        depth = np.maximum(n_a, n_b)[known]
        rows.append(
            {
                **pair.columns,
                "group": group,
                "layer": layer,
                "n_neurons": len(mine),
                "mean_overlap": _nan_mean(overlap[known]),
                "median_overlap": float(np.median(overlap[known])) if len(known) else math.nan,
                "mean_rank_overlap": _nan_mean(biased[known]),
                "other_overlap": _with_another(first[mine], second[mine]),
                "above_chance": _nan_mean((shared[known] >= least[depth]).astype(float)),
                **{
                    name.replace(" ", "_"): float((place[mine] == i).mean())
                    for i, name in enumerate(CATEGORIES)
                },
            }
        )
    return neurons, rows


def _with_another(first: Ints, second: Ints) -> float:
    """Mean overlap of each neuron with the next of its layer; NaN in a layer of one neuron."""
    if len(first) < 2:
        return math.nan
    _, overlap, _ = overlaps(first, np.roll(second, 1, axis=0))
    return _nan_mean(overlap[np.isfinite(overlap)])


def _nan_mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan


def _mean(neurons: pa.Table) -> float:
    values = floats(neurons, "overlap")
    return _nan_mean(values[np.isfinite(values)])


def _weighted(summary: pa.Table, name: str) -> float:
    values, weights = floats(summary, name), floats(summary, "n_neurons")
    known = np.isfinite(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan


def _sentence(
    pairs: Sequence[Pair],
    table: pa.Table,
    summary: pa.Table,
    depth: int,
    estimate: float,
    ends: tuple[float, float],
) -> str:
    other = number(_weighted(summary, "other_overlap"), 2)
    if len(pairs) > 1:
        average = (
            f"{number(estimate, 3)} {interval(*ends, 3)}".rstrip() if math.isfinite(estimate) else "several"
        )
        return (
            f"{len(pairs)} pairs of checkpoints: neurons keep on average a share of {average} of their top {depth} examples; "
            f"with another neuron of the layer they have {other} in common."
        )
    kept, replaced = (_weighted(summary, name) for name in ("kept", "replaced"))
    return (
        f"{pairs[0].place}: of {table.num_rows:,} neurons {kept:.0%} keep at least {KEPT:.0%} of their top {depth} examples "
        f"and {replaced:.0%} at most {REPLACED:.0%}; mean overlap {number(_mean(table), 3)}, with another neuron of the "
        f"layer {other}."
    )


def _limits(table: pa.Table, depth: int, k: int, n_places: int, n_pairs: int) -> list[str]:
    lines = []
    silent = table["category"].to_pylist().count("no examples")
    if silent:
        lines.append(f"{silent} of {table.num_rows:,} neurons have no example at one of the two.")
    if depth < k:
        lines.append(f"Only {depth} examples a neuron are stored, so {k} could not be compared.")
    if n_places < 100 * depth:
        lines.append(
            f"The eval set has {n_places:,} tokens for {depth} examples: part of what is in common is chance."
        )
    if n_pairs == 1:
        lines.append("One pair: what all its neurons do is counted, and nothing is said of other seeds.")
    lines.append(
        "Top examples are the tail of what a neuron does: one may keep them and change elsewhere, or trade examples that "
        "excite it almost equally."
    )
    lines.append(
        f"Kept, changed and replaced are conventions ({KEPT:.0%} and {REPLACED:.0%} in common); rank_overlap weighs the "
        f"places with persistence {PERSISTENCE}."
    )
    return lines
