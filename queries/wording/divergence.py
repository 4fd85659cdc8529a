"""What runs that leave a path say and cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.paths import GroupPaths
from queries.render import brief, number
from queries.stats.divergence import LEAST_RUNS

Rows = Sequence[Mapping[str, Any]]


def divergence_sentence(label: str, rows: Rows, unit: str) -> str:
    """Which runs left, the farthest first."""
    judged = [r for r in rows if r["p"] is not None]
    left = sorted((r for r in judged if r["status"] == "left"), key=lambda r: -(r["distance"] or 0.0))
    broken = [r for r in rows if r["status"] == "not finite"]
    ends = (
        f"; values of {broken[0]['run']}{' and others' if len(broken) > 1 else ''} are not all finite"
        if broken
        else ""
    )
    if not judged:
        return f"{label}: no condition has enough runs or steps to tell a common path{ends}."
    if not left:
        return f"{label}: none of {len(judged)} runs is shown to leave the path of the others{ends}."
    named = "; ".join(_words(r, unit) for r in left[:3])
    more = f"; and {len(left) - 3} more" if len(left) > 3 else ""
    return f"{label}: {len(left)} of {len(judged)} runs left the path of the others: {named}{more}{ends}."


def _words(row: Mapping[str, Any], unit: str) -> str:
    back = f", back at {row['back_at']:,}" if row["back_at"] is not None else ", never back"
    amount = f"{number(row['largest'], 3)} {unit}".rstrip()
    return f"{row['run']} at step {row['left_at']:,} (by up to {amount}{back})"


def divergence_limits(rows: Rows, sets: Sequence[Sequence[GroupPaths]]) -> list[str]:
    """What such a test cannot tell. sets: per condition, of runs of which no two share a seed."""
    lines = []
    open_ones = [r for r in rows if r["status"] == "not judged"]
    if open_ones:
        lines.append(
            f"{len(open_ones)} run(s) cannot be judged (first: {open_ones[0]['run']}: {open_ones[0]['why']})."
        )
    shared = [of_group for of_group in sets if len(of_group) > 1]
    if shared:
        counts = ", ".join(str(len(one.runs)) for one in shared[0])
        lines.append(
            f"Each run is held against runs of which no two share a seed, chosen by their seeds alone: those of "
            f"{brief(shared[0][0].group)} make sets of {counts}, and deviations are from the others of a set."
        )
    sizes = [len(one.runs) for of_group in sets for one in of_group if len(one.runs) >= LEAST_RUNS]
    if sizes and min(sizes) < 8:
        lines.append(
            f"A path known from {min(sizes) - 1} other runs is known badly: only a run that is far out is found (see the "
            "smallest detectable offset)."
        )
    lines += [
        "The null takes deviations of runs as normal. Where they have heavier tails runs are called divergent more often than "
        "promised (t with 5 degrees of freedom: 9 % of archives of 9 runs, 39 % of those of 38), and the end of a tail is "
        "no other path.",
        "Runs that make one jump at different times are apart until the last has made it, and are called (back_at says until "
        "when): `pathscope query transition_times` tells times of jumps.",
        "A robust spread bears up to a quarter of the runs being odd; where half go one way and half another there is no common "
        "path, and nothing is found.",
        "That a run left says nothing of why, or of whether it ended worse: see its final deviation.",
    ]
    return lines
