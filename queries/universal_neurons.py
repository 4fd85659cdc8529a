"""Which neurons of a run the other runs have too, how many they are, and what they have in common."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import PathscopeError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step
from queries.reading.compared_pairs import chosen_comparison, pick_compared
from queries.reading.matched_neurons import MEASURE, TABLES, read_statistics, read_vectors, universal_table
from queries.reading.published_universal import Published, published_want, read_published
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.tables import in_order, only_value
from queries.reading.units import Units, among, units_by_group, units_limits, units_of
from queries.reading.universal_tables import (
    STATISTICS,
    Averaged,
    Row,
    averaged_over_partners,
    layer_rows,
    other_seeds,
    run_rows,
    shares_of,
    trait_rows,
)
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.few_runs import detectable_paired_difference
from queries.stats.over_units import fewest_units, mean_over_units, method_over
from queries.stats.universal import METHOD, SEEDS_METHOD
from queries.wording.circuits import or_nan
from queries.wording.universal_neurons import (
    published_limits,
    published_sentence,
    universal_limits,
    universal_sentence,
)

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_RUNS = pa.schema(
    [
        ("run", _TEXT),
        *((name, _WHOLE) for name in ("step", "n_partners", "n_neurons", "n_silent", "n_universal")),
        *((name, _REAL) for name in ("share", "excess", "first_share")),
    ]
)
_LAYERS = pa.schema(
    [
        ("run", _TEXT),
        *((name, _WHOLE) for name in ("layer", "n_neurons", "n_universal")),
        *((name, _REAL) for name in ("share", "excess")),
    ]
)
_TRAITS = pa.schema(
    [
        ("statistic", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_units")),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("universal", "others", "auc", "low", "high")),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class UniversalNeurons(Answer):
    """Neurons whose best match in the other runs is beyond chance by more than the threshold, on average over these runs.

    table: the best of each run: neuron (L0N12), run, similarity (mean over partner runs of its highest correlation), null_mean
    (the same with the partner's layers rotated at random), excess (the difference), least_excess (that of the worst partner),
    n_partners, universal (excess above the threshold), layer, unit, step.
    summary: per run n_partners, n_neurons, n_silent (that do not vary), n_universal and its share of all neurons, excess (mean
    over neurons), first_share (the share at the first checkpoints compared).
    layers: per run and layer the same. traits: per statistic the mean over runs of the medians of universal neurons and of the
    others, and auc: the chance that a universal neuron has more of it than another of its run (0.5: no difference), with an
    interval over runs, n_units of which share no seed (`unit`); intervals hold for all statistics together. threshold: of
    `universal`. published: whether numbers are an author's, who lists only some neurons.
    """

    layers: pa.Table
    traits: pa.Table
    threshold: float
    published: bool

    def overview(self) -> pa.Table | None:
        """What universal neurons have in common, where that is known; else the runs."""
        if not self.traits.num_rows:
            return self.summary
        return pa.Table.from_pylist(
            [
                {
                    "statistic": r["statistic"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "universal": number(r["universal"], 3),
                    "others": number(r["others"], 3),
                    "AUC": f"{number(r['auc'], 2)} {interval(or_nan(r['low']), or_nan(r['high']), 2)}".rstrip(),
                }
                for r in self.traits.to_pylist()
            ]
        )

    def plot(self) -> go.Figure:
        """The share of universal neurons by layer, run by run."""
        from queries.figures.neurons import universal_by_layer

        return universal_by_layer(self)


@query(title="Which neurons do the other runs have too?")
def universal_neurons(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    threshold: Annotated[
        float, Field(gt=0, lt=2, description="excess correlation above which a neuron is called universal")
    ] = 0.5,
    top: Annotated[
        int, Field(ge=1, le=100_000, description="neurons of each run that are listed, best first")
    ] = 20,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> UniversalNeurons:
    """The excess correlation of every neuron averaged over partner runs, and the share of neurons where it is high.

    Reads the comparison neuron_matching in both orders of every pair of runs ([compare] with both_orders = true). Partners
    that share an init with a run, or go on from it, are no other seeds and are left out where there are others. Beside it
    stands what universal neurons have in common, where neuron.statistics are there. Without comparisons, published excess
    correlations (import universal-neurons) answer as far as they go.
    """
    selected = select_runs(archive, runs)
    wants = [Want((MEASURE,), TABLES), Want(("neuron.statistics",), ("fact_neuron",))]
    own, statistics = choose_quantities(archive, selected, wants, which)
    if not isinstance(own, Choice):
        (published,) = choose_quantities(archive, selected, [published_want(which)], which)
        if isinstance(published, Choice):
            found = read_published(archive, published, step, threshold, top, which)
            return _of_published(archive, published, found, threshold, confidence)
    choice = chosen_comparison(own, MEASURE, which, selected)
    picked = pick_compared(archive, choice, step, which)
    vectors = read_vectors(archive, choice.quantity, picked)
    picked, shared = other_seeds(picked, vectors)
    table, sql = universal_table(archive, choice.quantity, picked, threshold, top)
    averaged = averaged_over_partners(picked, vectors, in_order(choice.selected, picked.run_ids))
    units = units_of(choice.selected, picked.run_ids)
    shares, first = shares_of(picked, vectors, threshold, confidence, units)
    traits = _traits(archive, statistics, averaged, threshold, confidence, units, which)
    rows = run_rows(choice.selected, averaged, first, threshold)
    used = [choice, statistics] if isinstance(statistics, Choice) and traits else [choice]
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, used, picked.left_out), shared_seeds=())
    summary = pa.Table.from_pylist(rows, schema=_RUNS)
    n_runs = len(picked.run_ids)
    n_units = fewest_units(units.of(), n_runs)
    # every run was matched to others, which are other seeds
    settled = len(averaged) == n_runs and shared != picked.at and math.isfinite(shares.low)
    return UniversalNeurons(
        sentence=universal_sentence(shares, first, n_runs, picked.place, threshold, confidence, traits),
        table=table,
        summary=summary,
        layers=pa.Table.from_pylist(layer_rows(choice.selected, averaged, threshold), schema=_LAYERS),
        traits=pa.Table.from_pylist(traits, schema=_TRAITS),
        threshold=threshold,
        published=False,
        n_runs=n_runs,
        n_items=only_value(summary, "n_neurons"),
        unit="share",
        estimate=shares.mean,
        ci_low=shares.low,
        ci_high=shares.high,
        ci_level=confidence,
        ci_method=(SEEDS_METHOD if units.shared else METHOD) if math.isfinite(shares.low) else "",
        null_name="the same runs at the first checkpoints compared" if first else "",
        null_mean=first.mean if first else math.nan,
        # shares that are all 0 say nothing of how much they differ
        mde=shares.se * math.sqrt(n_units) * detectable_paired_difference(n_units)
        if shares.se > 0
        else math.nan,
        verdict=None if settled else "unresolved",
        limits=(
            *provenance.limits,
            *choice.notes,
            *picked.left_out.limits,
            *picked.notes,
            *units_limits(units_by_group(choice.selected, picked.run_ids), "numbers of pairs"),
            *universal_limits(choice.selected, picked, shared, rows, traits, statistics),
        ),
        provenance=provenance,
        sql=sql,
    )


def _traits(
    archive: Archive,
    statistics: Choice | PathscopeError,
    averaged: Sequence[Averaged],
    threshold: float,
    level: float,
    units: Units,
    which: Which,
) -> list[Row]:
    """What universal neurons have more of; empty where no statistics are there, or no neuron is universal."""
    if not isinstance(statistics, Choice):
        return []
    at = {one.run_id: one.step for one in averaged}
    known = read_statistics(archive, statistics.quantity, at, with_suspect=which.get("with_suspect", False))
    return trait_rows(averaged, known, threshold, level, units)


def _of_published(
    archive: Archive, choice: Choice, found: Published, threshold: float, level: float
) -> UniversalNeurons:
    """What authors list, without an interval: they averaged over partners, and each model is one run."""
    rows: list[Row] = [
        {
            "run": one.run,
            "step": one.step,
            "n_neurons": one.n_neurons,
            "n_universal": one.n_above,
            "share": one.n_above / one.n_neurons if one.n_neurons else None,
            "excess": one.mean_excess,
        }
        for one in found.runs
    ]
    shares = np.array([or_nan(row["share"]) for row in rows])
    ids = {run.run: run.run_id for run in choice.selected.runs}
    units = units_of(choice.selected, [ids[one.run] for one in found.runs])
    traits = [
        {
            "statistic": name,
            "n_runs": len(known),
            **units.columns(known),
            "universal": float(np.mean(list(known.values()))),
        }
        for name in STATISTICS
        if (known := {ids[one.run]: one.statistics[name] for one in found.runs if name in one.statistics})
    ]
    mean, low, high = mean_over_units(shares, units.of(), level, (0.0, 1.0))
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], found.left_out), shared_seeds=())
    summary = pa.Table.from_pylist(rows, schema=_RUNS)
    return UniversalNeurons(
        sentence=published_sentence(found.runs, threshold, choice.quantity.source),
        table=found.table,
        summary=summary,
        layers=pa.Table.from_pylist(
            [
                {
                    "run": row["run"],
                    "layer": row["layer"],
                    "n_neurons": row["d_mlp"],
                    "n_universal": row["n_above"],
                    "share": row["n_above"] / row["d_mlp"] if row["d_mlp"] else None,
                }
                for row in found.layers
            ],
            schema=_LAYERS,
        ),
        traits=pa.Table.from_pylist(traits, schema=_TRAITS),
        threshold=threshold,
        published=True,
        n_runs=len(found.runs),
        n_items=only_value(summary, "n_neurons"),
        unit="share",
        estimate=mean,
        ci_low=low,
        ci_high=high,
        ci_level=level,
        ci_method=method_over(units.of()) if math.isfinite(low) else "",
        verdict="unresolved" if math.isnan(low) else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *found.left_out.limits,
            *units_limits(units_by_group(choice.selected, units.runs), ""),
            *published_limits(found.runs, threshold, choice.quantity),
        ),
        provenance=provenance,
        sql=found.sql,
    )
