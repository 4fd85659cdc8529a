"""What early predictions say and cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.paths import GroupPaths
from queries.reading.units import among
from queries.render import interval, number
from queries.stats.early import LEAST_RUNS, detectable_correlation
from queries.wording.circuits import or_nan

Rows = Sequence[Mapping[str, Any]]
ALPHA = 0.05


def early_sentence(label: str, rows: Rows, summary: Rows) -> str:
    """From which step on the end is told, and how well."""
    told = [s for s in summary if s["tells_from"] is not None]
    if not any(r["p_any"] is not None for r in rows):
        return f"{label}: nothing can be predicted ({_why(rows)})."
    if len(summary) > 1:
        return f"{label}: the end is told before it is there in {len(told)} of {len(summary)} conditions."
    s = summary[0]
    runs = f"{label} of {s['n_runs']} runs{among(s)}"
    if not told:
        single = [r for r in rows if r["p_any"] is not None and r["p_any"] < ALPHA]
        if single:
            return (
                f"{runs}: the value at step {single[0]['step']:,} tells that at step "
                f"{s['final_step']:,} (p = {number(single[0]['p_any'], 2)} for all steps together), but not every later one does."
            )
        return f"{runs}: no earlier step is shown to tell the value at step {s['final_step']:,}."
    first = next(r for r in rows if r["step"] == s["tells_from"])
    band = interval(or_nan(first["r2_low"]), or_nan(first["r2_high"]), 2)
    half = f", at least half from step {s['half_from']:,} on" if s["half_from"] is not None else ""
    return (
        f"{runs}: the value tells that at step {s['final_step']:,} from step {s['tells_from']:,} on, "
        f"where it explains {number(first['r2'], 2)} {band} of the variance of a run left out{half}."
    )


def _why(rows: Rows) -> str:
    return next((r["why"] for r in rows if r["why"]), "no step is shared by the runs")


def early_limits(rows: Rows, groups: Sequence[GroupPaths]) -> list[str]:
    """What such a prediction cannot tell."""
    lines = []
    undefined = [r for r in rows if r["why"] and r["r2"] is None]
    if undefined:
        r = undefined[0]
        lines.append(f"{len(undefined)} step(s) have no prediction (first: step {r['step']:,}: {r['why']}).")
    broken = sum(int((~g.finite).sum()) for g in groups)
    if broken:
        lines.append(f"{broken} run(s) have values that are not finite and are not used.")
    n = max(len(g.apart) for g in groups)
    if n >= LEAST_RUNS:
        lines.append(
            f"{n} runs find a correlation of {number(detectable_correlation(n), 2)} with 80 % probability at a single step, and "
            "less surely where all steps are looked at."
        )
    lines += [
        "Intervals are Fisher's, for values that are normal over runs; one outlying run makes a high correlation by itself: "
        "compare Spearman's, and look at the points.",
        "Later values contain earlier ones' luck: near the end the prediction is good because little is left to happen.",
        "Runs of one condition differ by their seeds only; which of two recipes will win is another question.",
    ]
    return lines
