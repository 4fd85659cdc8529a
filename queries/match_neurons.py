"""Whether neurons of one run are in another: each neuron's most similar one, against the same with a basis at random."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step
from queries.reading.compared_pairs import Compared, ComparedPairs, chosen_comparison, pick_compared
from queries.reading.matched_neurons import MEASURE, TABLES, began_alike, best_matches, by_layer
from queries.reading.quantities import Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import only_value
from queries.reading.units import Units, units_by_group, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.distributions import t_quantile
from queries.stats.few_runs import detectable_paired_difference
from queries.stats.run_pairs import mean_over_pairs, method_over
from queries.stats.universal import highest_by_chance, same_number_p
from queries.wording.circuits import or_nan
from queries.wording.neurons import NEGLIGIBLE, neuron_match_limits, neuron_match_sentence

Row = dict[str, Any]

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b")),
        *((name, _WHOLE) for name in ("step_a", "step_b")),
        ("start", _TEXT),
        *((name, _WHOLE) for name in ("n_neurons", "n_silent")),
        *((name, _REAL) for name in ("similarity", "null_mean", "excess", "share_above", "layer_offset")),
        *((name, _REAL) for name in ("same_number", "same_number_chance", "same_number_p")),
        ("first_excess", _REAL),
        ("first_step", _WHOLE),
        ("why", _TEXT),
    ]
)
_LAYERS = pa.schema(
    [
        ("start", _TEXT),
        *((name, _WHOLE) for name in ("layer", "n_pairs", "n_neurons")),
        *((name, _REAL) for name in ("similarity", "null_mean", "excess", "share_above")),
        *((name, _REAL) for name in ("same_layer", "layer_offset")),
    ]
)
_SUMMARY = pa.schema(
    [
        ("start", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_pairs", "n_neurons")),
        *((name, _REAL) for name in ("similarity", "null_mean", "excess", "low", "high", "share_above")),
        *((name, _REAL) for name in ("first_excess", "above_first", "above_first_low", "above_first_high")),
        *((name, _REAL) for name in ("same_number", "same_number_chance", "detectable")),
        ("verdict", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MatchNeurons(Answer):
    """Neurons of run_a with the most similar neuron of run_b, and what they have beyond a basis at random.

    table: the best of every ordered pair of runs: neuron a (L0N12) of run_a, its match b in run_b, similarity (their correlation
    over tokens, −1 to 1), null_mean (the highest with run_b's layers rotated at random), excess (similarity less null_mean),
    layer_offset (layer of b less that of a). Several neurons may have one match.
    pairs: per ordered pair means over all neurons of a that vary (n_silent do not), share_above (share with an excess above
    the threshold), same_number (share whose match has their own layer and number) with its chance where numbers mean nothing
    and same_number_p, first_excess (mean excess of the same runs at the first checkpoints compared, at first_step); start:
    shared where numbers began as the same neurons, why.
    layers: per layer of a the same means over pairs, and same_layer, the share of matches in that layer.
    summary: per start the mean over pairs, with the interval over runs. threshold: of share_above.
    """

    pairs: pa.Table
    layers: pa.Table
    threshold: float

    def overview(self) -> pa.Table | None:
        """The summary with intervals in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "start": r["start"],
                    "runs": r["n_runs"],
                    "pairs": r["n_pairs"],
                    "similarity": number(r["similarity"], 2),
                    "rotated": number(r["null_mean"], 2),
                    "excess": f"{number(r['excess'], 2)} {interval(or_nan(r['low']), or_nan(r['high']), 2)}".rstrip(),
                    f"above {self.threshold:g}": number(r["share_above"], 2),
                    "excess at first": number(r["first_excess"], 2),
                    "same number": f"{number(r['same_number'], 2)} ({number(r['same_number_chance'], 2)} by chance)",
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Mean excess of every pair by layer, in the first model's layers."""
        from queries.figures.neurons import excess_by_layer

        return excess_by_layer(self)


@query(title="Does another run have the same neurons?")
def match_neurons(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    threshold: Annotated[
        float,
        Field(gt=0, lt=2, description="excess above which a neuron counts in share_above; 0.5 is usual"),
    ] = 0.5,
    top: Annotated[
        int, Field(ge=1, le=100_000, description="neurons of each pair that are listed, best first")
    ] = 20,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> MatchNeurons:
    """Each neuron of one model with the one of another that it correlates with most, less what a rotated basis would give.

    Reads the comparison neuron_matching, which a study with [compare] makes. The highest of many correlations is never 0, so
    the answer is the excess over the same with the other model's layers rotated at random, and over that excess at the first
    checkpoints compared. Runs that share an init or go on from one another are told apart from the others: there neurons have
    numbers to compare by, and matching finds more than there is. Needs both orders of every pair for neurons of every run.
    """
    selected = select_runs(archive, runs)
    (found,) = choose_quantities(archive, selected, [Want((MEASURE,), TABLES)], which)
    choice = chosen_comparison(found, MEASURE, which, selected)
    picked = pick_compared(archive, choice, step, which)
    table, sql = best_matches(archive, choice.quantity, picked, top)
    sums: dict[int, list[Row]] = {}
    for row in by_layer(archive, choice.quantity, picked, threshold).to_pylist():
        sums.setdefault(row["pair_id"], []).append(row)
    picked = replace(picked, at=tuple(_seen_at_zero(p, picked, sums) for p in picked.at))
    rows = [_pair(choice.selected, p, picked, sums) for p in picked.at]
    kinds = [kind for kind in ("not shared", "shared") if any(r["start"] == kind for r in rows)]
    by_chance = highest_by_chance(picked.n_tokens, max(row["n_neurons"] for row in rows))
    units = units_of(choice.selected, picked.run_ids)
    shared = units.by_run()
    summary = [_summary(kind, picked.at, rows, confidence, by_chance, units) for kind in kinds]
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], picked.left_out), shared_seeds=())
    pairs = pa.Table.from_pylist(rows, schema=_PAIRS)
    return MatchNeurons(
        sentence=neuron_match_sentence(summary, len(picked.run_ids), picked.place, threshold, confidence),
        table=table,
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=pairs,
        layers=pa.Table.from_pylist(_layers(picked.at, rows, sums), schema=_LAYERS),
        threshold=threshold,
        n_runs=len(picked.run_ids),
        n_items=only_value(pairs, "n_neurons"),
        unit="correlation" if only else "",
        estimate=or_nan(only["excess"]) if only else math.nan,
        ci_low=or_nan(only["low"]) if only else math.nan,
        ci_high=or_nan(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=method_over(shared) if only and only["low"] is not None else "",
        null_name="layers of the other model rotated at random" if only else "",
        null_mean=0.0 if only else math.nan,
        mde=or_nan(only["detectable"]) if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *units_limits(units_by_group(choice.selected, picked.run_ids), "p and numbers of pairs"),
            *choice.notes,
            *picked.left_out.limits,
            *picked.notes,
            *neuron_match_limits(summary, rows, picked.n_tokens, top),
        ),
        provenance=provenance,
        sql=sql,
    )


def _seen_at_zero(pair: Compared, picked: ComparedPairs, sums: Mapping[int, Sequence[Row]]) -> Compared:
    """The pair, as one with a shared start where its neurons match their own numbers before training."""
    before = picked.first.get(pair.ends)
    if pair.shared or before is None or before.step_a or before.step_b:
        return pair
    alike = [
        str(row["layer"])
        for row in sums.get(before.pair_id, ())
        if began_alike(row["n_same_number"], row["n_known"])
    ]
    if not alike:
        return pair
    return replace(
        pair, shared=True, why=f"at step 0 neurons match their own numbers in layer {', '.join(alike)}"
    )


def _pair(
    selected: Selected, pair: Compared, picked: ComparedPairs, sums: Mapping[int, Sequence[Row]]
) -> Row:
    rows = sums.get(pair.pair_id, ())
    widths = _widths(picked, sums).get(pair.run_id_b, {})
    n, known = (sum(row[name] for row in rows) for name in ("n_neurons", "n_known"))
    expected = sum(row["n_same_layer"] / widths.get(row["layer"], row["n_neurons"]) for row in rows)
    same = sum(row["n_same_number"] for row in rows)
    before = picked.first.get(pair.ends)
    return {
        "run_a": selected.by_id[pair.run_id_a].run,
        "run_b": selected.by_id[pair.run_id_b].run,
        "step_a": pair.step_a,
        "step_b": pair.step_b,
        "start": "shared" if pair.shared else "not shared",
        "n_neurons": n,
        "n_silent": n - known,
        **{name: _mean(rows, name) for name in ("similarity", "null_mean", "excess", "layer_offset")},
        "share_above": sum(row["n_above"] for row in rows) / n if n else None,
        "same_number": same / known if known else None,
        "same_number_chance": expected / known if known else None,
        "same_number_p": same_number_p(same, expected) if known else None,
        "first_excess": _mean(sums.get(before.pair_id, ()), "excess") if before else None,
        "first_step": max(before.step_a, before.step_b) if before else None,
        "why": pair.why,
    }


def _widths(picked: ComparedPairs, sums: Mapping[int, Sequence[Row]]) -> dict[int, dict[int, int]]:
    """run_id -> layer -> its neurons, of runs that are the first of some pair."""
    return {
        p.run_id_a: {row["layer"]: row["n_neurons"] for row in sums.get(p.pair_id, ())} for p in picked.at
    }


def _mean(rows: Sequence[Row], name: str) -> float | None:
    """Mean over the neurons that vary, from sums by layer."""
    known = sum(row["n_known"] for row in rows)
    return sum(row[name] for row in rows) / known if known else None


def _summary(
    kind: str, pairs: Sequence[Compared], rows: Sequence[Row], level: float, by_chance: float, units: Units
) -> Row:
    chosen = [k for k, row in enumerate(rows) if row["start"] == kind]
    mine = [rows[k] for k in chosen]

    def over_runs(values: Sequence[float | None]) -> tuple[float, float, float]:
        known = np.array([or_nan(value) for value in values])
        nothing = np.full(len(known), math.nan)
        ends = [pairs[k].ends for k in chosen]
        return mean_over_pairs(ends, known, nothing, level, shared=units.by_run())

    def mean(name: str) -> float | None:
        return finite_or_none(over_runs([row[name] for row in mine])[0])

    estimate, low, high = over_runs([row["excess"] for row in mine])
    later = over_runs(
        [row["excess"] - row["first_excess"] if row["first_excess"] is not None else None for row in mine]
    )
    runs = {run for k in chosen for run in pairs[k].ends}
    n_runs, n_units = len(runs), len(min(map(np.unique, units.of(runs)), key=len, default=runs))
    names = ("above_first", "above_first_low", "above_first_high")
    row = {
        "start": kind,
        "n_runs": n_runs,
        "n_pairs": len(mine),
        "n_neurons": sum(r["n_neurons"] for r in mine),
        "excess": finite_or_none(estimate),
        "low": finite_or_none(low),
        "high": finite_or_none(high),
        **{
            name: mean(name)
            for name in ("similarity", "null_mean", "share_above", "first_excess", "same_number")
        },
        "same_number_chance": mean("same_number_chance"),
        **{name: finite_or_none(value) for name, value in zip(names, later, strict=True)},
        "detectable": finite_or_none(_detectable(n_units, low, high, level)),
    }
    return {**row, "verdict": _verdict(row, by_chance)}


def _detectable(n_runs: int, low: float, high: float, level: float) -> float:
    """Smallest mean excess found with 80% power by as many runs that differ as these do."""
    if not math.isfinite(low):
        return math.nan
    se = (high - low) / 2 / t_quantile((1 + level) / 2, n_runs - 1)
    return se * math.sqrt(n_runs) * detectable_paired_difference(n_runs)


def _verdict(row: Row, by_chance: float) -> Verdict | None:
    """Yes: beyond the rotated basis, the first checkpoints and what sparse neurons reach by chance, in other runs too.

    by_chance: the highest correlation of normal values. Neurons that fire on 20 tokens or more, and have nothing in common,
    are beyond a rotated basis by less than twice that (docs/statistics.md). No: shown to be little.
    """
    if row["start"] == "shared":
        return None
    if row["low"] is None:
        return "unresolved"
    if row["low"] > 2 * by_chance and (row["above_first_low"] or 0.0) > 0:
        return "yes"
    return "no" if row["high"] < NEGLIGIBLE else "unresolved"


def _layers(pairs: Sequence[Compared], rows: Sequence[Row], sums: Mapping[int, Sequence[Row]]) -> list[Row]:
    """Means over pairs of every layer of a."""
    found: dict[tuple[str, int], list[Row]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        for layer in sums.get(pair.pair_id, ()):
            found.setdefault((row["start"], layer["layer"]), []).append(layer)
    return [
        {
            "start": start,
            "layer": layer,
            "n_pairs": len(mine),
            "n_neurons": sum(one["n_neurons"] for one in mine),
            **{name: _mean(mine, name) for name in ("similarity", "null_mean", "excess", "layer_offset")},
            "share_above": sum(one["n_above"] for one in mine) / sum(one["n_neurons"] for one in mine),
            "same_layer": _mean(mine, "n_same_layer"),
        }
        for (start, layer), mine in sorted(found.items())
    ]
