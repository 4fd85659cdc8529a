"""What progress measures and phases say and cannot say, in words."""

import math
from collections.abc import Mapping

import pyarrow as pa

from archive.errors import NotComparable
from queries.reading.scalars import Scalars
from queries.reading.units import among
from queries.render import interval, number
from queries.stats.intervals import Bracket
from queries.stats.phases import RULE, RULE_VERSION

# what each border is found from, and the measure that fills it
NEEDS = {
    "memorization": ("train_accuracy",),
    "circuit_formation": ("restricted_loss",),
    "cleanup": ("test_accuracy", "squared_weights"),
}
MEASURES = {
    "train_loss": "loss",
    "test_loss": "loss",
    "train_accuracy": "accuracy",
    "test_accuracy": "accuracy",
    "gini": "fourier_gini",
    "squared_weights": "sum_of_squared_weights",
}


def sentence_of_phases(summary: pa.Table, n_runs: int, missing: Mapping[str, list[str]]) -> str:
    """How many runs ended each phase, and the medians."""
    rows = summary.to_pylist()
    groups = {r["group"] for r in rows}
    start = f"{n_runs} run{'s' if n_runs != 1 else ''}"
    if len(groups) > 1:
        whole = sum(r["phase"] == "cleanup" and r["n_reached"] == r["n_runs"] > 0 for r in rows)
        return f"{start} in {len(groups)} groups; in {whole} of them every run went through all phases (see the summary)."
    parts = []
    for r in rows:
        name = r["phase"].replace("_", " ")
        if not r["n_runs"]:
            lacking = [MEASURES.get(c, c) for c in NEEDS[r["phase"]]]
            parts.append(
                f"the end of {name} is unresolved without {' and '.join(m for m in lacking if _lacks(m, missing))}"
            )
        elif r["median"] is None:
            parts.append(f"{r['n_reached']} of {r['n_runs']}{among(r)} end {name}, too few for a median")
        else:
            band = interval(r["median_low"], r["median_high"], 3)
            parts.append(
                f"{r['n_reached']} of {r['n_runs']}{among(r)} end {name}, at a median of step {number(r['median'], 3)} {band}"
            )
    return f"{start}: {'; '.join(parts)}."


def _lacks(measure: str, missing: Mapping[str, list[str]]) -> bool:
    return any(name.split(":")[0] == measure for name in missing)


def limits_of_phases(
    scalars: Scalars,
    names: Mapping[str, str],
    used: str,
    missing: Mapping[str, list[str]],
    ends: Mapping[int, list[Bracket | None]],
    asked: str,
) -> list[str]:
    """What phases by rule, missing measures and the choice of frequencies leave open."""
    lines = [
        f"Phases by rule version {RULE_VERSION}: {RULE}. The borders are ours: no published rule draws them."
    ]
    for measure, lacking in missing.items():
        lines.append(
            f"{len(lacking)} run(s) have no {measure} (first: {lacking[0]}): "
            f"`pathscope ingest STUDY --fill {measure}` measures it."
        )
    if names["restricted_loss"] in scalars.choices:
        if used == "final":
            lines.append(
                "Restricted and excluded loss use the key frequencies of the final checkpoint: they describe what was being "
                "built and must not be used to predict it."
            )
        else:
            lines.append(
                "Restricted and excluded loss use each checkpoint's own key frequencies: before any have formed these are the "
                "largest of noise, and the values say little."
            )
        refusal = scalars.missing.get("restricted_loss:final")
        if asked == "auto" and used == "current" and isinstance(refusal, NotComparable):
            lines.append(
                "Losses by final frequencies are there too, but runs end at different steps: ask for runs of one length."
            )
    out_of_order = [
        run
        for run, (first, second, _) in ends.items()
        if first and second and second.high < first.high < math.inf
    ]
    if out_of_order:
        lines.append(
            f"In {len(out_of_order)} run(s) restricted loss had fallen before memorization ended: no phase of circuit "
            "formation is seen there."
        )
    overlapping = [
        run
        for run, (_, second, third) in ends.items()
        if second and third and third.high < second.high and math.isfinite(third.high)
    ]
    if overlapping:
        lines.append(
            f"In {len(overlapping)} run(s) cleanup was over by its rule while restricted loss was still falling: the two "
            "overlap, and `phase` says circuit formation until that ends."
        )
    if any(end and end.kind == "never" for brackets in ends.values() for end in brackets):
        lines.append(
            "A phase that had not ended by a run's last point may end later, or never: such runs are kept as later."
        )
    return lines
