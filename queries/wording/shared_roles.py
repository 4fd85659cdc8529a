"""What answers about roles that runs share have to say: the sentence, and what they cannot tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.render import interval, number
from queries.wording.circuits import or_nan, plural


def role_sentence(
    summary: Sequence[Mapping[str, Any]], table: Sequence[Mapping[str, Any]], level: float
) -> str:
    """The answer in one sentence."""
    told = [_told(r, [row for row in table if row["role"] == r["role"]], level) for r in summary]
    return f"{'; '.join(told)}."


def _told(r: Mapping[str, Any], heads: Sequence[Mapping[str, Any]], level: float) -> str:
    band = interval(or_nan(r["low"]), or_nan(r["high"]), 2)
    alike = f"mean Jaccard index {number(r['jaccard'], 2)}" + (
        f", {level:.0%} interval {band}" if band else ""
    )
    alike += f", {number(r['null_mean'], 2)} by chance, p = {number(r['p'], 2)}"
    if not r["n_with"]:
        where = " in a layer that other runs share" if r["n_elsewhere"] else ""
        return f"{r['role']}: no head of {plural(r['n_runs'], 'run')} is shown to have the role{where}"
    if r["align"] == "depth":
        return f"{r['role']} heads at the same relative depth in {plural(r['n_runs'], 'run')}: {alike}"
    most = max(heads, key=lambda h: (h["n_with"], -h["p"]))
    return (
        f"{r['role']}: {most['head']} in {most['n_with']} of {plural(most['n_runs'], 'run')}; in every run that has them "
        f"{plural(r['n_common'], 'head')} ({number(r['common_by_chance'], 3)} by chance, exact p = "
        f"{number(r['p_common'], 2)}); {alike}"
    )


def role_limits(
    kind: str,
    summary: Sequence[Mapping[str, Any]],
    pairs: Sequence[Mapping[str, Any]],
    n_runs: int,
    steps: Sequence[int],
) -> list[str]:
    """What an answer about shared roles cannot tell."""
    lines = []
    if kind == "index":
        lines.append(
            "By chance H (m/H)^k heads of a layer are common to k runs in which m of its H heads have the role, so one head in "
            "common is weak evidence where roles are many or runs are few; n_common and common_by_chance say which."
        )
        lone = n_runs - max(r["n_runs"] for r in summary)
        if lone:
            lines.append(f"{plural(lone, 'run')} share an init with no other and are not compared by number.")
        if any("at step 0" in r["why"] for r in pairs):
            lines.append(
                "Runs whose heads score the same at step 0 in a layer are taken to share its init; no record says so. Heads of "
                "other layers are not compared."
            )
        elsewhere = [r for r in summary if r["n_elsewhere"]]
        if elsewhere:
            r = elsewhere[0]
            lines.append(
                f"{plural(r['n_elsewhere'], 'run')} with the role {r['role']} have it only in layers that no other run shares, "
                "which are not compared."
            )
        hopeless = [r for r in summary if r["least_p"] is not None and r["n_with"] and r["least_p"] >= 0.05]
        if hopeless:
            lines.append(
                f"Even if all runs gave the role {hopeless[0]['role']} to the same heads, the exact p of common heads could "
                f"not be below {number(hopeless[0]['least_p'], 2)}: too few runs, or too many or no heads with it."
            )
        lines.append(
            "A shared number shows that the init decides, not how: copying or ablating the head at step 0 would."
        )
    else:
        lines.append(
            "These runs share no init, so numbers of heads mean nothing across them; a role at the same depth in all runs says "
            "nothing of the same head, and one layer gives every run the same depth."
        )
    if len(set(steps)) > 1:
        lines.append("The checkpoints of these runs are at different steps.")
    fixed = [r["role"] for r in summary if r["null_sd"] == 0]
    if fixed:
        lines.append(
            f"Runs have the role {fixed[0]} in no layer they share, or in all heads of it: wherever its heads lay, nothing else "
            "could have been found."
        )
    open_heads = sum(r["n_open"] for r in summary)
    if open_heads:
        lines.append(
            f"{plural(open_heads, 'head')} neither shown to have a role nor to lack it count as without: more prompts would tell."
        )
    few = min(r["n_runs"] for r in summary)
    if few < 3:
        lines.append(f"{plural(few, 'run')}: fewer than 3 give no interval and no verdict, whatever p is.")
    else:
        lines.append(
            "Pairs that share a run are not independent: the interval leaves out runs, not pairs. p is about heads of these "
            "runs; other inits or data may give another answer."
        )
    return lines
