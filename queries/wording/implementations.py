"""What a comparison of implementations says and cannot say, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.implementations import CALLED, CAUSAL, Implementation, Read
from queries.reading.select import Selected
from queries.render import interval, number
from queries.wording.circuits import plural

Row = Mapping[str, Any]


def implementation_sentence(task: str, table: Sequence[Row], summary: Row, n_runs: int) -> str:
    """Roles that are in all runs and where, those that are in some, and how far the runs are apart."""
    told = [_role(row) for row in table if row["n_with"]]
    none = [row["role"] for row in table if not row["n_with"]]
    if none:
        told.append(f"no run is shown to have {', '.join(none)}")
    apart = ""
    if math.isfinite(summary["role_vector_distance"]):
        band = interval(summary["low"], summary["high"], 2)
        floor = summary["floor"]
        again = f", {number(floor, 2)} re-extracted from one model" if math.isfinite(floor) else ""
        apart = (
            f"; role vectors are {number(summary['role_vector_distance'], 2)} {band}".rstrip()
            + f" apart ({number(summary['null_mean'], 2)} with these heads at any depth, p = {number(summary['p'], 2)}{again})"
        )
    return f"{task} in {plural(n_runs, 'run')}: {'; '.join(told)}{apart}."


def _role(row: Row) -> str:
    n = (
        f"all {row['n_runs']}"
        if row["n_with"] == row["n_runs"] > 1
        else f"{row['n_with']} of {row['n_runs']}"
    )
    have = "has" if row["n_with"] == 1 else "have"
    depth = share = ""
    if math.isfinite(row["depth_least"]):
        least, most = (number(row[k], 2) for k in ("depth_least", "depth_most"))
        depth = f" at depth {least}" + ("" if least == most else f" to {most}")
    if math.isfinite(row["effect_share"]):
        percent = 100 * row["effect_share"]
        share = f", {percent:.0f}% of the effect" if percent >= 10 else f", {percent:.2g}% of the effect"
    return f"{n} {have} {row['role']} heads{depth}{share}"


def implementation_limits(
    read: Read,
    table: Sequence[Row],
    runs: Sequence[Implementation],
    selected: Selected,
    tolerance: float,
    causal: bool,
) -> list[str]:
    """What such an answer cannot tell."""
    lines = []
    for tokenizer, why in read.refused:
        lines.append(f"Runs with the tokenizer {tokenizer} cannot be judged: {why.rstrip('.')}.")
    lines += _of_effects(read, runs, selected, causal)
    if len(read.tokenizers) > 1:
        lines.append(
            f"{len(read.tokenizers)} tokenizers: prompts of one name are taken to be the same texts, and nothing but roles, "
            "depths and shares is compared across them."
        )
    if len(runs) < 3:
        lines.append(f"{plural(len(runs), 'run')}: fewer than 3 give no interval and no verdict.")
    families = {selected.by_id[run.run_id].family for run in runs}
    if len(families) > 1:
        lines.append(
            f"{len(families)} families: runs of one family resemble one another, so that intervals over all runs are narrower "
            "than those over families would be."
        )
    lines.append(
        f"The same depth means within {tolerance:g} of the model's depth, a convention; p of depth is against the same heads at "
        "any depth, p of effects against other heads of the same layers."
    )
    if any(row["n_unresolved"] for row in table):
        lines.append(
            "Heads that are neither shown to have a role nor to lack it count as without: more prompts would tell."
        )
    if any(int(run.model.layer.max()) == 0 for run in runs):
        lines.append("A model of one layer has no depth to compare.")
    lines.append(
        "The archive has no effects of single prompts, so that no half of the prompts can be held against the other: the floor "
        "draws every score anew within its standard error, each head by itself. Circuits found by search need not be the only "
        "ones that do the task; that floor does not count."
    )
    if len({run.step for run in runs}) > 1:
        lines.append("The checkpoints of these runs are at different steps.")
    lines.append(
        "Effects are absolute, those within two standard errors of 0 as none; what shares leave out is done by heads without a "
        "role, which may differ between these runs in any way."
    )
    return lines


def _of_effects(read: Read, runs: Sequence[Implementation], selected: Selected, causal: bool) -> list[str]:
    if causal:
        return []
    if read.effect in CAUSAL:
        lacking = [selected.by_id[run.run_id].run for run in runs if not run.measured]
        return [
            f"{plural(len(lacking), 'run')} lack {CALLED[read.effect]} (first: {lacking[0]}), so that the verdict is open; "
            f"`pathscope ingest STUDY.toml --fill {CALLED[read.effect]}` measures it."
        ]
    there = (
        f"{CALLED[read.effect]} is no intervention" if read.effect else "no effect of any head is measured"
    )
    return [
        f"No verdict without causal effects: {there}. `pathscope ingest STUDY.toml --fill {CALLED['ablation']}` measures what "
        f"happens without each head (or --fill {CALLED['patching']}, asked for with effect='patching')."
    ]
