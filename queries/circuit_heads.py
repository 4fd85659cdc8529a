"""Which heads have a role in a task's circuit at a checkpoint, judged by what they write, where they look and what they do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.reading.checkpoints import Step
from queries.reading.heads import index_limits
from queries.reading.quantities import Which
from queries.reading.role_scores import (
    TOTAL,
    Judged,
    Readings,
    adjusted_by_run,
    choose_scores,
    judge,
    read_scores,
)
from queries.reading.roles import (
    ATTENTION,
    CIRCUITS,
    CONFIDENCE,
    LOGITS,
    SCORE,
    SCORES,
    Confidence,
    LeastAttention,
    LeastLogits,
    LeastScore,
    Levels,
    Prompts,
    Role,
    RoleName,
    Task,
)
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, only_value
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.over_units import SHARE_METHOD, count_over_units
from queries.wording.circuits import causal_limits, error_limits, or_nan, plural, rule_limits, shared_verdict

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "role", "head", "verdict")),
        *((name, _REAL) for name in ("p_adjusted", "score")),
        *((name, _REAL) for name in ("dla", "share", "ablation")),
        *((name, _REAL) for name in SCORES if name not in ("dla", "ablation")),
        *((name, _REAL) for name in ("dla_se", "ablation_se")),
        ("step", _WHOLE),
        ("group", _TEXT),
    ]
)
_PER_RUN = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "role")),
        ("step", _WHOLE),
        *((name, _WHOLE) for name in ("n_heads", "n_unresolved", "n_tested")),
        ("heads", _TEXT),
        *((name, _REAL) for name in ("share", "depth")),
        ("verdict", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "group")),
        *((name, _WHOLE) for name in ("n_runs", "n_units", "n_with", "n_without", "n_unresolved")),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("share", "share_low", "share_high", "heads", "depth")),
        ("verdict", _TEXT),
    ]
)
_ORDER: Mapping[str, int] = {"yes": 0, "unresolved": 1, "no": 2}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CircuitHeads(Answer):
    """Heads and their roles.

    table: run, role, head (L2H3), verdict (yes: beyond every bound, corrected over all that is tested in the run; no:
    short of one; unresolved), p_adjusted, score (the least of value over bound: 1 or more where every estimate is at its
    bound), dla (direct effect on the logit difference, logits), share (of the logit difference, of which direct effects
    are parts), ablation (change of the logit difference when the head is ablated), attention between places of the
    prompts, scores on repeated tokens, copying scores, standard errors, step, group; those with the role come first.
    per_run: run, group, role, step, number of heads with the role, open and tested, their names, their share together,
    their mean relative depth (0: first layer, 1: last), verdict (yes: at least one head; no: every head is short).
    summary: per role and condition how many runs have it, the interval of that share over the n_units of the resolved that share
    no seed (exact where every run is one), heads per run.
    """

    task: str
    per_run: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary with each interval in one cell, and the heads of a lone run."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        names = {(r["role"], r["group"]): r["heads"] for r in self.per_run.to_pylist()}
        return pa.Table.from_pylist(
            [
                {
                    "role": r["role"],
                    "group": r["group"],
                    "runs with it": f"{r['n_with']} of {r['n_runs']}{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    "heads per run": number(r["heads"], 2),
                    "depth": number(r["depth"], 2),
                    "heads": names[r["role"], r["group"]] if r["n_runs"] == 1 else "",
                    "verdict": r["verdict"] or "",
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Every head by layer and score, a colour a role; those that have it filled."""
        from queries.figures.circuits import heads_by_layer

        return heads_by_layer(self)


@query(title="Which heads have a role in a task's circuit?")
def circuit_heads(
    archive: Archive,
    *,
    task: Task = "ioi",
    role: RoleName = "all",
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    prompts: Prompts = "",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> CircuitHeads:
    """Heads with a role at one checkpoint of each run: every score the role needs must be beyond its bound.

    A bound is a level or, where that is farther, chance. Each score is tested against its bound with its standard error,
    and p is corrected (Holm) over all heads and roles tested in the run, so the chance that any head of a run is given
    a role it lacks is below 1 − confidence. `eval_set` names that of the repeated tokens. Nothing is averaged by
    head number.
    """
    selected = select_runs(archive, runs)
    choices = choose_scores(archive, selected, (task, role), prompts, which, beside=True)
    readings = read_scores(archive, choices, step, which)
    levels = Levels(least_logits, least_attention, least_score)
    ids = readings.rows["run_id"].to_numpy()
    judged = {name: judge(readings, r, levels) for name, r in choices.roles.items()}
    adjusted = dict(zip(judged, adjusted_by_run(ids, [j.p for j in judged.values()]), strict=True))
    heads = readings.rows.to_pylist()
    rows = [
        row
        for name, r in choices.roles.items()
        for row in _rows(
            heads, selected, name, judged[name], adjusted[name], r, choices.having(r), 1 - confidence
        )
    ]
    order = {run: k for k, run in enumerate(in_order(selected, selected.ids))}
    names = list(CIRCUITS[task])
    rows.sort(key=lambda r: (_ORDER[r["verdict"]], names.index(r["role"]), order[r["run_id"]], -r["score"]))
    per_run = _per_run(rows, readings, order, names)
    units = units_by_group(selected, [run for run in order if run in set(ids.tolist())])
    summary = _summary(per_run, {selected.by_id[run].run: run for run in order}, units, confidence)
    only = summary[0] if len(summary) == 1 else None
    present = selected.only({r["run_id"] for r in rows})
    # shared seeds are taken into account here
    provenance = Provenance.of(archive, list(choices.by_score.values()), readings.left_out)
    provenance = replace(provenance, shared_seeds=())
    counted = only is not None and bool(units[only["group"]].counted)
    return CircuitHeads(
        sentence=_sentence(task, summary, per_run),
        table=pa.Table.from_pylist(rows, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        per_run=pa.Table.from_pylist(per_run, schema=_PER_RUN),
        task=task,
        n_runs=len(present.runs),
        n_items=only_value(readings.rows, "n_items"),
        unit="of runs" if only else "",
        estimate=or_nan(only["share"]) if only else math.nan,
        ci_low=only["share_low"] if only else math.nan,
        ci_high=only["share_high"] if only else math.nan,
        ci_level=confidence,
        ci_method=SHARE_METHOD if counted else "exact binomial over runs that are resolved" if only else "",
        null_name="no head beyond its bounds",
        verdict=shared_verdict([r["verdict"] for r in per_run]) if len(choices.roles) == 1 else None,
        limits=(
            *provenance.limits,
            *choices.limits,
            *readings.left_out.limits,
            *units_limits(units, "n_with and the other counts"),
            *rule_limits(choices.roles, levels),
            *error_limits(readings, choices.needed),
            *_limits(rows, choices.by_score, selected, present),
            *causal_limits(choices.by_score),
            *index_limits(present),
        ),
        provenance=provenance,
        sql=readings.sql,
    )


def _rows(
    heads: Sequence[Mapping[str, Any]],
    selected: Selected,
    name: str,
    judged: Judged,
    adjusted: np.ndarray,
    role: Role,
    having: set[int],
    alpha: float,
) -> list[dict[str, Any]]:
    """A row per head of the runs that have all scores of the role."""
    shown = [s for s in (*role.scores, *role.beside) if f"{s}_value" in heads[0]]
    rows: list[dict[str, Any]] = []
    for k, row in enumerate(heads):
        if row["run_id"] not in having:
            continue
        p, short = float(adjusted[k]), float(judged.p_short[k])
        dla, total = row.get("dla_value"), row["total"]
        rows.append(
            {
                **{score: row[f"{score}_value"] for score in shown},
                "run_id": row["run_id"],
                "run": row["run"],
                "group": selected.groups[row["run_id"]],
                "role": name,
                "head": f"L{row['layer']}H{row['head']}",
                "layer": row["layer"],
                "step": row["step"],
                "verdict": "yes" if p < alpha else "no" if short < alpha else "unresolved",
                "p_adjusted": finite_or_none(p),
                "score": float(judged.score[k]),
                "share": dla / total if "dla" in shown and dla is not None and total else None,
                "dla_se": row.get("dla_error") if "dla" in shown else None,
                "ablation_se": row.get("ablation_error") if "ablation" in shown else None,
            }
        )
    return rows


def _per_run(
    rows: Sequence[Mapping[str, Any]], readings: Readings, order: Mapping[int, int], names: Sequence[str]
) -> list[dict[str, Any]]:
    last: dict[object, int] = {}
    for run, layer in zip(
        readings.rows["run_id"].to_pylist(), readings.rows["layer"].to_pylist(), strict=True
    ):
        last[run] = max(last.get(run, 0), layer)
    found: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((names.index(row["role"]), order[row["run_id"]]), []).append(row)
    per_run = []
    for _, mine in sorted(found.items(), key=lambda entry: entry[0]):
        first, having = mine[0], [r for r in mine if r["verdict"] == "yes"]
        shares = [r["share"] for r in having if r["share"] is not None]
        depth = [r["layer"] / last[first["run_id"]] for r in having if last[first["run_id"]]]
        per_run.append(
            {
                "run": first["run"],
                "group": first["group"],
                "role": first["role"],
                "step": first["step"],
                "n_heads": len(having),
                "n_unresolved": sum(r["verdict"] == "unresolved" for r in mine),
                "n_tested": sum(r["p_adjusted"] is not None for r in mine),
                "heads": " ".join(r["head"] for r in having),
                "share": sum(shares) if shares else None,
                "depth": float(np.mean(depth)) if depth else None,
                # none of several heads: each short at the level, which takes no correction
                "verdict": "yes"
                if having
                else "no"
                if all(r["verdict"] == "no" for r in mine)
                else "unresolved",
            }
        )
    return per_run


def _summary(
    per_run: Sequence[Mapping[str, Any]], ids: Mapping[str, int], units: Mapping[str, Units], level: float
) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in per_run:
        groups.setdefault((row["role"], row["group"]), []).append(row)
    rows = []
    for (role, group), mine in groups.items():
        count = {v: sum(r["verdict"] == v for r in mine) for v in _ORDER}
        resolved = {ids[r["run"]]: r["verdict"] == "yes" for r in mine if r["verdict"] != "unresolved"}
        share = count_over_units(list(resolved.values()), units[group].of(resolved), level)
        depths = [r["depth"] for r in mine if r["depth"] is not None]
        rows.append(
            {
                "role": role,
                "group": group,
                "n_runs": len(mine),
                **units[group].columns(resolved),
                "n_with": count["yes"],
                "n_without": count["no"],
                "n_unresolved": count["unresolved"],
                "share": count["yes"] / len(resolved) if resolved else None,
                "share_low": share[0],
                "share_high": share[1],
                "heads": float(np.mean([r["n_heads"] for r in mine])),
                "depth": float(np.mean(depths)) if depths else None,
                "verdict": shared_verdict([r["verdict"] for r in mine]),
            }
        )
    return rows


def _sentence(task: str, summary: Sequence[Mapping[str, Any]], per_run: Sequence[Mapping[str, Any]]) -> str:
    n_runs = len({r["run"] for r in per_run})
    if n_runs == 1:
        told = [f"{r['role']} {r['heads']}" for r in per_run if r["heads"]]
        return f"{task} in {per_run[0]['run']}: {'; '.join(told) or 'no head is shown to have a role'}."
    if len(summary) == 1:
        (r,) = summary
        return (
            f"{r['n_with']} of {r['n_runs']} runs{among(r)} have a head with the role {r['role']} in {task}, on average "
            f"{number(r['heads'], 3)} of them."
        )
    told = []
    for role in dict.fromkeys(r["role"] for r in summary):
        mine = [r for r in summary if r["role"] == role]
        told.append(f"{role} in {sum(r['n_with'] for r in mine)} of {sum(r['n_runs'] for r in mine)}")
    return f"Runs with a head of each role in {task}: {', '.join(told)}."


def _limits(
    rows: Sequence[Mapping[str, Any]], by_score: Mapping[str, object], selected: Selected, present: Selected
) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in present.by_id]
    if absent:
        lines.append(f"{plural(len(absent), 'run')} asked for cannot be judged (first: {absent[0]}).")
    steps = {r["step"] for r in rows}
    if len(steps) > 1:
        lines.append("The checkpoints of these runs are at different steps.")
    if "dla" in by_score:
        lines.append(
            "Direct effects are in logits, whose scale differs between models: compare shares. A share says nothing where "
            "the logit difference itself is near 0."
            if TOTAL in by_score
            else "No logit_attribution is there, so direct effects have no share of the whole (`pathscope ingest STUDY.toml "
            "--fill logit_attribution`)."
        )
    return lines
