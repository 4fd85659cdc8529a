"""What answers about universal neurons say and cannot say."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archive.errors import PathscopeError
from queries.reading.compared_pairs import Compared, ComparedPairs
from queries.reading.published_universal import FORMULA, PublishedRun
from queries.reading.quantities import Choice, Quantity
from queries.reading.select import Selected
from queries.render import interval, number
from queries.stats.universal import UniversalShares
from queries.wording.circuits import or_nan, plural
from queries.wording.neurons import SPARSE, about_runs, about_tokens, share_words

Rows = Sequence[Mapping[str, Any]]

BASELINE = (
    "The baseline here is the other model's layers turned by a random rotation; published shares (Gurnee et al. 2024: 1 to 5% of "
    "neurons) multiply by rows of a Gaussian matrix, which is no rotation, and take 100 million tokens of large models: "
    "the two are not comparable."
)


def universal_sentence(
    shares: UniversalShares,
    first: UniversalShares | None,
    n_runs: int,
    place: str,
    threshold: float,
    level: float,
    traits: Rows,
) -> str:
    """The answer in one sentence."""
    band = "" if math.isnan(shares.low) else f"{share_words(shares.low)} to {share_words(shares.high)}"
    before = f"; at the first checkpoints compared it is {share_words(first.mean)}" if first else ""
    told = [r for r in traits if r["low"] is not None and (r["low"] > 0.5 or r["high"] < 0.5)]
    clear = sorted(told, key=lambda r: -abs(r["auc"] - 0.5))[:1]
    beside = "".join(
        f"; they have {'more' if r['auc'] > 0.5 else 'less'} {_word(r['statistic'])} than the others (AUC {number(r['auc'], 2)} "
        f"{interval(or_nan(r['low']), or_nan(r['high']), 2)})"
        for r in clear
    )
    return (
        f"{share_words(shares.mean)} of neurons{f' ({level:.0%} interval {band})' if band else ''} have an excess correlation "
        f"above {threshold:g} with their matches in the other runs, {plural(n_runs, 'run')} at {place}{before}{beside}."
    )


def universal_limits(
    selected: Selected,
    picked: ComparedPairs,
    shared: Sequence[Compared],
    rows: Rows,
    traits: Rows,
    statistics: Choice | PathscopeError,
) -> list[str]:
    """What such a share cannot tell."""
    name = {run: row.run for run, row in selected.by_id.items()}
    pairs = [
        {"run_a": name[p.run_id_a], "run_b": name[p.run_id_b], "step_a": p.step_a, "step_b": p.step_b}
        for p in picked.at
    ]
    return [
        *_about_partners(name, picked, shared, rows),
        *about_runs(len(picked.run_ids), pairs),
        about_tokens(picked.n_tokens, max(row["n_neurons"] for row in rows)),
        SPARSE,
        *_about_traits(rows, traits, statistics),
        "The threshold is a convention: a neuron below it may have a weaker or a shared counterpart, and a feature that is "
        "spread over several neurons is nobody's match.",
        BASELINE,
    ]


def _about_partners(
    name: Mapping[int, str], picked: ComparedPairs, shared: Sequence[Compared], rows: Rows
) -> list[str]:
    lines = []
    if shared:
        first = f"{name[shared[0].run_id_a]} and {name[shared[0].run_id_b]}: {shared[0].why}"
        if len(shared) == len(picked.at) and tuple(shared) == picked.at:
            lines.append(
                f"All pairs share a start (first: {first}): partners are no other seeds, matching finds more than there is, and "
                "the share says how much of a model stays, not how much is universal."
            )
        else:
            lines.append(
                f"{plural(len(shared), 'ordered pair')} that share a start are left out: no other seeds (first: {first})."
            )
    if not picked.first:
        lines.append(
            "No earlier checkpoints of these runs are compared: what untrained neurons have in common is not known "
            "(load.checkpoints with 0 among them compares step 0 too)."
        )
    partners = {row["n_partners"] for row in rows}
    if len(partners) > 1:
        lines.append(
            f"Runs have {min(partners)} to {max(partners)} partners: a mean over fewer is less sure, and passes a threshold more "
            "often by chance."
        )
    elif partners == {1}:
        lines.append("Every run has one partner: a match with one run is not yet one with others.")
    return lines


def _about_traits(rows: Rows, traits: Rows, statistics: Choice | PathscopeError) -> list[str]:
    if traits:
        assert isinstance(statistics, Choice)
        return [
            f"What universal neurons have in common ({statistics.quantity.measure} on {statistics.quantity.eval_set}) is beside "
            "the other neurons of the same run: no cause, and correlations are easier to find for some distributions than others."
        ]
    if not any(row["n_universal"] for row in rows):
        return [
            "No neuron is above the threshold, so there is nothing to compare with the others; --threshold lowers it."
        ]
    if isinstance(statistics, Choice):
        return [
            "neuron.statistics of these checkpoints are not there: what universal neurons have in common is not known."
        ]
    return [f"What universal neurons have in common is not known: {statistics}"]


def published_sentence(runs: Sequence[PublishedRun], threshold: float, source: str) -> str:
    """What a file of an author says."""
    told = []
    for one in runs[:3]:
        least = "at least " if one.is_cut_above(threshold) else ""
        of = (
            f" of {one.n_neurons:,} neurons ({100 * one.n_above / one.n_neurons:.3g}%)"
            if one.n_neurons
            else " neurons"
        )
        told.append(
            f"{one.run}: {least}{one.n_above:,}{of} have an excess correlation above {threshold:g}, mean of the "
            f"{one.n_listed:,} listed {number(one.mean_excess)}"
        )
    more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
    return f"As published by {source}, {'; '.join(told)}{more}."


def published_limits(runs: Sequence[PublishedRun], threshold: float, quantity: Quantity) -> list[str]:
    """What a list of some neurons of published models cannot tell."""
    first = runs[0]
    formula = str(quantity.params.get("formula", "unknown"))
    cut = (
        "so the share above a lower threshold is at least that of those listed"
        if first.is_cut_above(threshold)
        else "so the share is right if every neuron above the threshold is listed, as the end of the list suggests"
    )
    lines = [
        f"The file lists {first.n_listed:,} neurons of {first.run}, the lowest with an excess of {number(first.least)}: nothing "
        f"is known of the others, {cut}; means are of those listed.",
        "Authors averaged over partner models: how much the share depends on these cannot be told, and no interval over them is "
        "possible.",
        "Listed neurons have no others beside them to be compared with: skew, kurtosis and firing rate are means over those "
        "listed, of pre-activations in bins of 0.1.",
        f"Excess is {formula} of that file"
        + ("" if formula == FORMULA else f", which is lower than the usual {FORMULA}")
        + ". Its baseline multiplies by rows of a Gaussian matrix, which is no rotation: shares measured here are not comparable "
        "with these.",
    ]
    if len(runs) == 1:
        lines.append("One model: nothing is said of other seeds or sizes.")
    if any(not one.n_neurons for one in runs):
        lines.append("How many neurons a run has is not recorded, so there is no share.")
    return lines


def _word(statistic: str) -> str:
    return {"firing_rate": "firing"}.get(statistic, statistic)
