"""The tables of `universal_neurons`: excess averaged over partners, by run and by layer, and what high ones have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from queries.events.event_times import finite_or_none
from queries.reading.compared_pairs import Compared, ComparedPairs
from queries.reading.matched_neurons import NeuronVector, began_alike
from queries.reading.select import Selected
from queries.reading.units import Units
from queries.stats.over_units import mean_over_units
from queries.stats.universal import UniversalShares, excess_correlation, rank_auc, universal_shares

Floats = NDArray[np.float64]
Row = dict[str, Any]
# pair_id -> excess, layer, unit
Vectors = Mapping[int, Mapping[str, NeuronVector]]

STATISTICS = ("skew", "kurtosis", "firing_rate")


@dataclass(frozen=True)
class Averaged:
    """Neurons of one run: excess correlation over its partners, and the layer of each."""

    run_id: int
    step: int
    n_partners: int
    layers: NDArray[np.int64]
    excess: Floats


def seen_at_zero(pair: Compared, picked: ComparedPairs, vectors: Vectors) -> Compared:
    """The pair, as one with a shared start where its neurons match their own numbers before training."""
    before = picked.first.get(pair.ends)
    if pair.shared or before is None or before.step_a or before.step_b:
        return pair
    found = vectors[before.pair_id]
    layers = found["excess"].layers
    first = np.searchsorted(layers, layers)
    own = (found["layer"].values == layers) & (found["unit"].values == np.arange(len(layers)) - first)
    known = np.isfinite(found["excess"].values)
    alike = [
        str(layer)
        for layer in np.unique(layers).tolist()
        if began_alike(int((own & known)[layers == layer].sum()), int(known[layers == layer].sum()))
    ]
    if not alike:
        return pair
    return replace(
        pair, shared=True, why=f"at step 0 neurons match their own numbers in layer {', '.join(alike)}"
    )


def other_seeds(picked: ComparedPairs, vectors: Vectors) -> tuple[ComparedPairs, tuple[Compared, ...]]:
    """Pairs that share no start, and those that do; where all do, all of them as both."""
    judged = [seen_at_zero(p, picked, vectors) for p in picked.at]
    shared = tuple(p for p in judged if p.shared)
    return picked.only([p for p in judged if not p.shared] or judged), shared


def averaged_over_partners(picked: ComparedPairs, vectors: Vectors, run_ids: Sequence[int]) -> list[Averaged]:
    """Every run that was matched to others, in the order of `run_ids`."""
    by_run: dict[int, list[Compared]] = {}
    for pair in picked.at:
        by_run.setdefault(pair.run_id_a, []).append(pair)
    return [
        Averaged(
            run,
            mine[0].step_a,
            len(mine),
            vectors[mine[0].pair_id]["excess"].layers,
            excess_correlation([vectors[p.pair_id]["excess"].values for p in mine]),
        )
        for run in run_ids
        if (mine := by_run.get(run))
    ]


def shares_of(
    picked: ComparedPairs, vectors: Vectors, threshold: float, level: float, units: Units
) -> tuple[UniversalShares, UniversalShares | None]:
    """Shares at the checkpoints asked for, and at the first ones where all pairs have some."""

    def shares(pairs: Sequence[Compared]) -> UniversalShares:
        excess = [vectors[p.pair_id]["excess"].values for p in pairs]
        return universal_shares([p.ends for p in pairs], excess, threshold, level, units.by_run())

    first = [picked.first[p.ends] for p in picked.at if p.ends in picked.first]
    return shares(picked.at), shares(first) if len(first) == len(picked.at) else None


def run_rows(
    selected: Selected, runs: Sequence[Averaged], first: UniversalShares | None, threshold: float
) -> list[Row]:
    """A row a run."""
    rows = []
    for one in runs:
        n = int((one.excess > threshold).sum())
        known = one.excess[np.isfinite(one.excess)]
        rows.append(
            {
                "run": selected.by_id[one.run_id].run,
                "step": one.step,
                "n_partners": one.n_partners,
                "n_neurons": len(one.excess),
                "n_silent": len(one.excess) - len(known),
                "n_universal": n,
                "share": n / len(one.excess),
                "excess": float(known.mean()) if len(known) else None,
                "first_share": first.by_run.get(one.run_id) if first else None,
            }
        )
    return rows


def layer_rows(selected: Selected, runs: Sequence[Averaged], threshold: float) -> list[Row]:
    """A row a run and layer."""
    rows = []
    for one in runs:
        for layer in np.unique(one.layers).tolist():
            mine = one.excess[one.layers == layer]
            known = mine[np.isfinite(mine)]
            n = int((mine > threshold).sum())
            rows.append(
                {
                    "run": selected.by_id[one.run_id].run,
                    "layer": layer,
                    "n_neurons": len(mine),
                    "n_universal": n,
                    "share": n / len(mine),
                    "excess": float(known.mean()) if len(known) else None,
                }
            )
    return rows


def trait_rows(
    runs: Sequence[Averaged],
    statistics: Mapping[int, Mapping[str, NeuronVector]],
    threshold: float,
    level: float,
    units: Units,
) -> list[Row]:
    """A row a statistic, over runs that have both kinds of neurons and the statistic of all of them.

    Intervals hold for all statistics together (Bonferroni).
    """
    each = 1 - (1 - level) / len(STATISTICS)
    rows = []
    for name in STATISTICS:
        found: dict[int, tuple[float, float, float]] = {}
        for one in runs:
            known = statistics.get(one.run_id, {}).get(name)
            if known is None or not np.array_equal(known.layers, one.layers):
                continue
            high = one.excess > threshold
            # a neuron that does not vary was not matched: it is neither
            rest = np.isfinite(one.excess) & ~high & np.isfinite(known.values)
            high &= np.isfinite(known.values)
            if high.any() and rest.any():
                a, b = known.values[high], known.values[rest]
                found[one.run_id] = rank_auc(a, b), float(np.median(a)), float(np.median(b))
        if not found:
            continue
        auc, universal, others = np.array(list(found.values())).T
        mean, low, high_end = mean_over_units(auc, units.of(found), each, (0.0, 1.0))
        rows.append(
            {
                "statistic": name,
                "n_runs": len(found),
                **units.columns(found),
                "universal": float(universal.mean()),
                "others": float(others.mean()),
                "auc": mean,
                "low": finite_or_none(low),
                "high": finite_or_none(high_end),
            }
        )
    return rows
