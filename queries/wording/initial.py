"""What answers about initial weights have to say: verdicts, sentences, and what they cannot tell."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from queries.events.event_times import finite_or_none
from queries.render import interval, number
from queries.results import Verdict
from queries.stats.stratified_auc import Separation, Stratum
from queries.wording.circuits import or_nan, plural

Rows = Sequence[Mapping[str, Any]]

ALPHA = 0.05
# inits from which on a relation may be called one of inits, not of these weights
FEWEST_INITS = 3
# an AUC or mean percentile this near to 0.5 is of no use for a prediction
NEGLIGIBLE = 0.1


def relation_verdict(p: float, low: float, high: float, n_inits: int, children: Sequence[str]) -> Verdict:
    """Yes: beyond chance and so in other inits too. No: the interval stays within 0.1 of 0.5. Both take three inits.

    children: runs that go on from others, whose step 0 is no random init; with any of them nothing is concluded.
    """
    if children or n_inits < FEWEST_INITS or not (math.isfinite(low) and math.isfinite(high)):
        return "unresolved"
    if p < ALPHA and (low > 0.5 or high < 0.5):
        return "yes"
    return "no" if low > 0.5 - NEGLIGIBLE and high < 0.5 + NEGLIGIBLE else "unresolved"


def child_limits(children: Sequence[str]) -> list[str]:
    """What to say of runs that go on from others."""
    if not children:
        return []
    return [
        f"{plural(len(children), 'run')} used here began from weights of another run (first: {children[0]}): their step 0 may be "
        "trained already, and what it tells is then no wonder, so the verdict stays unresolved. Naming the other runs leaves "
        "them out."
    ]


def any_verdict(rows: Rows) -> Verdict:
    """Whether anything tells: yes for one is yes, no takes no for all."""
    verdicts = [r["verdict"] for r in rows]
    if "yes" in verdicts:
        return "yes"
    return "no" if verdicts and set(verdicts) == {"no"} else "unresolved"


def auc_columns(found: Separation | None, strata: Sequence[Stratum], of: str) -> dict[str, Any]:
    """What a table says of one score; of: what strata are, such as "layers", whose number goes into n_layers."""
    if found is None:
        reasons = Counter(s.why_not for s in strata)
        why = "; ".join(f"{reason} in {n} of {len(strata)} {of}" for reason, n in reasons.most_common())
        empty = dict.fromkeys(("auc", "low", "high", "p", "null_mean", "null_low", "null_high", "detectable"))
        return {**empty, "n_inits": 0, "n_runs": 0, f"n_{of}": 0, "n_pairs": 0, "why": why or f"no {of}"}
    return {
        **{
            name: finite_or_none(getattr(found, name))
            for name in ("auc", "low", "high", "p", "least_p", "detectable")
        },
        **{name: getattr(found, name) for name in ("null_mean", "null_sd", "null_low", "null_high")},
        "n_inits": found.n_starts,
        "n_runs": len(found.by_run),
        f"n_{of}": found.n_strata,
        "n_pairs": found.n_pairs,
        "exact": found.exact,
        "why": "",
    }


def auc_in_words(row: Mapping[str, Any]) -> str:
    """AUC with interval, null and p."""
    band = interval(or_nan(row["low"]), or_nan(row["high"]), 2)
    chance = interval(or_nan(row["null_low"]), or_nan(row["null_high"]), 2)
    return (
        f"AUC {number(row['auc'], 2)}{' ' + band if band else ''} over {plural(row['n_inits'], 'init')} (by chance 95 % in "
        f"{chance}, adjusted p = {number(row['p_adjusted'], 2)})"
    )


def scores_sentence(what: str, rows: Rows) -> str:
    """Which scores tell `what`, the best of those that do not."""
    tested = [r for r in rows if r["auc"] is not None]
    if not tested:
        return f"{what}: nothing can be tested ({rows[0]['why'] if rows else 'no scores'})."
    found = [r for r in tested if r["verdict"] == "yes"]
    if found:
        told = "; ".join(f"{r['score']}, {auc_in_words(r)}" for r in found[:3])
        return f"{what}: told at step 0 by {len(found)} of {plural(len(tested), 'score')}: {told}."
    best = min(tested, key=lambda r: (r["p"], -abs(r["auc"] - 0.5)))
    if len(tested) == 1:
        no = best["verdict"] == "no"
        shown = f"tells nothing beyond {NEGLIGIBLE:g} of AUC" if no else "is not shown to tell it"
        return f"{what}: {best['score']} at step 0 {shown}, {auc_in_words(best)}."
    if all(r["verdict"] == "no" for r in tested):
        shown = (
            f"none of {plural(len(tested), 'score')} at step 0 tells it by more than {NEGLIGIBLE:g} of AUC"
        )
    else:
        shown = f"none of {plural(len(tested), 'score')} at step 0 is shown to tell it"
    return f"{what}: {shown}; the farthest from chance is {best['score']}, {auc_in_words(best)}."


def auc_limits(rows: Rows, n_inits: int) -> list[str]:
    """What an AUC of initial scores cannot tell."""
    lines = []
    untested = [r for r in rows if r["auc"] is None]
    if untested:
        r = untested[0]
        lines.append(f"{plural(len(untested), 'score')} cannot be tested (first: {r['score']}: {r['why']}).")
    tested = [r for r in rows if r["auc"] is not None]
    if tested:
        reach = min((r["detectable"] for r in tested if r["detectable"] is not None), default=None)
        lines.append(
            f"With 80 % probability these runs show, corrected for {plural(len(tested), 'score')}, an AUC of "
            f"{number(0.5 + reach, 2)} (or {number(0.5 - reach, 2)}); nearer ones may be there."
            if reach is not None
            else "These runs are too few, or their units too alike in having it, to show even an AUC of 1 with 80 % probability."
        )
        hopeless = [r for r in tested if r["least_p"] * len(tested) >= ALPHA]
        if hopeless:
            lines.append(
                f"{plural(len(hopeless), 'score')} could not reach an adjusted p of {ALPHA:g} even with an AUC of 1 (first: "
                f"{hopeless[0]['score']}, least p {number(hopeless[0]['least_p'], 2)})."
            )
    lines += few_inits(n_inits)
    lines.append(
        "That a score tells is no cause: what makes it large may act by another way; changing the initial weights would show."
    )
    return lines


def few_inits(n_inits: int) -> list[str]:
    """What to say of one or two inits; where none is used, that is said elsewhere."""
    if n_inits >= FEWEST_INITS or not n_inits:
        return []
    return [
        f"{plural(n_inits, 'different init')}: p is about these weights alone, and nothing is said of others; at least "
        f"{FEWEST_INITS} are needed, each with a checkpoint at step 0 (another init seed in the study's [seeds])."
    ]
