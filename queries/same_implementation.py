"""Whether models implement a task alike: the same roles, at the same relative depth, with the same part in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step
from queries.reading.delta_tables import table_of
from queries.reading.implementations import CAUSAL, Asked, Effect, Implementation, Read, read_implementations
from queries.reading.quantities import Which
from queries.reading.roles import (
    ATTENTION,
    CONFIDENCE,
    LOGITS,
    SCORE,
    Confidence,
    LeastAttention,
    LeastLogits,
    LeastScore,
    Levels,
    Prompts,
    RoleName,
    Task,
)
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import Units, apart_limits, pooled_units, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.implementations import RoleAlike, Spread, compare_models, floor
from queries.stats.multiple import holm
from queries.stats.over_units import count_over_units
from queries.stats.run_pairs import method_over
from queries.wording.circuits import causal_limits, error_limits, or_nan, rule_limits
from queries.wording.implementations import implementation_limits, implementation_sentence

FEWEST_RUNS = 3
TOLERANCE = 0.15

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("role", _TEXT),
        *((name, _WHOLE) for name in ("n_with", "n_runs", "n_units", "n_without", "n_unresolved")),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("share_low", "share_high", "n_heads")),
        *((name, _REAL) for name in ("layer_depth_frac", "depth_least", "depth_most")),
        *((name, _REAL) for name in ("effect_share", "effect_least", "effect_most")),
        *((name, _REAL) for name in ("effect_null", "p_effect")),
        *((name, _REAL) for name in ("depth_distance", "depth_low", "depth_high", "depth_null")),
        *((name, _REAL) for name in ("p_depth", "p_depth_adjusted")),
        ("verdict", _TEXT),
    ]
)
_PER_RUN = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "role")),
        ("n_heads", _WHOLE),
        ("heads", _TEXT),
        *((name, _REAL) for name in ("layer_depth_frac", "depth_least", "depth_most", "effect_share")),
        *((name, _WHOLE) for name in ("n_layers", "n_unresolved", "step")),
        *((name, _TEXT) for name in ("verdict", "tokenizer")),
    ]
)
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b", "group_a", "group_b")),
        ("role_vector_distance", _REAL),
        ("shared_roles", _TEXT),
        ("roles_of_one", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _REAL) for name in ("role_vector_distance", "low", "high", "null_mean", "null_sd", "p")),
        ("floor", _REAL),
        *((name, _WHOLE) for name in ("n_runs", "n_families", "n_tokenizers", "n_measured")),
        *((name, _TEXT) for name in ("effect", "verdict")),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SameImplementation(Answer):
    """Roles over runs that may be of different families.

    table: per role in how many of the runs that have its scores it is (n_with), is not, or may be, with the interval of that
    share over n_units of them (exact where none share a seed); heads per run; layer_depth_frac, mean relative depth of its
    heads weighted by effect (0 first layer, 1 last), least and most over runs; effect_share of the summed absolute effect of
    all heads that its heads carry, effect_null the same of other heads of the same layers with p_effect; depth_distance (mean
    over pairs of runs, in relative depth) with interval, depth_null with its heads at any depth, p_depth and corrected over
    roles (Holm); verdict: yes in all runs, as deep and with an effect beyond that of other heads; no: not in all, or deeper in
    some; empty where no run has it.
    per_run: the same of every run and role with the names of the heads. pairs: role_vector_distance of every two runs (0
    the same, 1 nothing in common; vectors are shares of the roles' effect by role and depth), roles both or only one has.
    summary: its mean with interval, null (the same heads at any depth) and floor: between two extractions from one model
    with scores drawn anew within their errors.
    """

    task: str
    effect: str
    per_run: pa.Table
    pairs: pa.Table

    def overview(self) -> pa.Table | None:
        """The roles with each interval in one cell."""
        return pa.Table.from_pylist([_in_few(r) for r in self.table.to_pylist()])

    def plot(self) -> go.Figure:
        """Relative depth across, runs down, a colour a role; points as large as the share of the effect."""
        from queries.figures.implementations import roles_by_depth

        return roles_by_depth(self)


@query(title="Do models implement a task with the same roles?")
def same_implementation(
    archive: Archive,
    *,
    task: Task = "ioi",
    role: RoleName = "all",
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    effect: Annotated[
        Literal["auto"] | Effect,
        Field(
            description="what heads do: ablation, patching (both causal) or attribution (direct effect only); auto: ablation, "
            "else attribution"
        ),
    ] = "auto",
    tolerance: Annotated[
        float,
        Field(gt=0, lt=1, description="difference in relative depth that still counts as the same depth"),
    ] = TOLERANCE,
    prompts: Prompts = "",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> SameImplementation:
    """Which roles of a circuit models have, at which relative depth and with what part of the effect, run by run.

    Roles are those of `circuit_heads`. Runs may have other tokenizers where their prompts are the same: heads are judged in
    their own model, and only roles are compared. Without effects of ablating or patching heads the verdict is `unresolved`:
    heads that look alike need not do the same.
    """
    selected = select_runs(archive, runs)
    levels = Levels(least_logits, least_attention, least_score)
    asked = Asked(task, role, prompts, effect, step, levels, 1 - confidence)
    read = read_implementations(archive, selected, asked, which)
    by_run = {run.run_id: run for run in read.runs}
    selected = selected.only(by_run)
    ordered = [by_run[run] for run in in_order(selected, by_run)]
    if len(ordered) < 2:
        raise UsageError(
            f"1 run ({selected.runs[0].run}) has these scores; comparing takes 2. `pathscope status` shows what each run has, "
            "`pathscope query circuit_heads` answers for one."
        )
    pooled, units = pooled_units(selected, [run.run_id for run in ordered])
    alike, whole = compare_models([run.model for run in ordered], confidence, shared=units.of())
    adjusted = holm(np.array([one.depth.null.p for one in alike]))
    causal = read.effect in CAUSAL and all(run.measured for run in ordered)
    table = [
        _role(name, k, ordered, units, alike[k], float(adjusted[k]), causal, tolerance, confidence)
        for k, name in enumerate(read.roles)
    ]
    verdict = _verdict([r["verdict"] for r in table], whole, 1 - confidence, causal)
    summary = _summary(ordered, selected, read, whole, verdict)
    left_out = LeftOuts(
        tuple(c for one in read.left_out for c in one.measured),
        tuple(c for one in read.left_out for c in one.unmeasured),
    )
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, read.choices, left_out), shared_seeds=())
    return SameImplementation(
        sentence=implementation_sentence(task, table, summary, len(ordered)),
        table=table_of(table, _TABLE),
        summary=table_of([summary], _SUMMARY),
        per_run=table_of(_per_run(ordered, selected, read), _PER_RUN),
        pairs=table_of(_pairs(ordered, selected, read, whole), _PAIRS),
        task=task,
        effect=read.effect or "",
        n_runs=len(ordered),
        unit="role vector distance" if math.isfinite(summary["role_vector_distance"]) else "",
        estimate=summary["role_vector_distance"],
        ci_low=summary["low"],
        ci_high=summary["high"],
        ci_level=confidence,
        ci_method=method_over(units.by_run()) if math.isfinite(summary["role_vector_distance"]) else "",
        null_name="the same heads at any depth",
        null_mean=summary["null_mean"],
        null_sd=summary["null_sd"],
        p_value=summary["p"],
        verdict=verdict,
        limits=(
            *provenance.limits,
            *read.limits,
            *left_out.limits,
            *units_limits(pooled, "n_with and the other counts"),
            *apart_limits(selected, pooled, "p of depth and of effects"),
            *rule_limits(read.roles, levels),
            *dict.fromkeys(
                line
                for readings, needed in zip(read.readings, read.needed, strict=True)
                for line in error_limits(readings, needed)
            ),
            *implementation_limits(read, table, ordered, selected, tolerance, causal),
            *causal_limits({"attribution": ["dla"], "ablation": ["ablation"]}.get(read.effect or "", [])),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _role(
    name: str,
    k: int,
    runs: Sequence[Implementation],
    units: Units,
    alike: RoleAlike,
    adjusted: float,
    causal: bool,
    tolerance: float,
    level: float,
) -> dict[str, Any]:
    judged = [run for run in runs if run.verdicts[k] is not None]
    n = {v: sum(run.verdicts[k] == v for run in judged) for v in ("yes", "no", "unresolved")}
    having = [run for run in judged if run.verdicts[k] == "yes"]
    sure = {run.run_id: run.verdicts[k] == "yes" for run in judged if run.verdicts[k] != "unresolved"}
    low, high = count_over_units(list(sure.values()), units.of(sure), level)
    depths = np.array([_depth(run, k)[0] for run in having])
    shares = np.array([run.model.shares[k] for run in having if run.measured])
    row = {
        "role": name,
        "n_with": n["yes"],
        "n_runs": len(judged),
        **units.columns([run.run_id for run in judged]),
        "n_without": n["no"],
        "n_unresolved": n["unresolved"],
        "share_low": low,
        "share_high": high,
        "n_heads": float(np.mean([run.model.roles[k].sum() for run in having])) if having else math.nan,
        **_range("depth", "layer_depth_frac", depths),
        **_range("effect", "effect_share", shares),
        "effect_null": alike.share.null_mean,
        "p_effect": alike.share.p,
        "depth_distance": alike.depth.null.observed,
        "depth_low": alike.depth.low,
        "depth_high": alike.depth.high,
        "depth_null": alike.depth.null.null_mean,
        "p_depth": alike.depth.null.p,
        "p_depth_adjusted": adjusted,
    }
    return row | {"verdict": _role_verdict(row, causal, tolerance, 1 - level)}


def _role_verdict(row: dict[str, Any], causal: bool, tolerance: float, alpha: float) -> Verdict | None:
    """Yes needs every run; no a run that surely lacks it or is surely elsewhere; both need effects and 3 independent runs."""
    if row["n_runs"] and row["n_without"] == row["n_runs"]:
        return None
    if row["n_units"] < FEWEST_RUNS or not causal:
        return "unresolved"
    if (row["n_with"] and row["n_without"]) or row["depth_low"] > tolerance:
        return "no"
    everywhere = row["n_with"] == row["n_runs"] and row["depth_high"] <= tolerance
    beyond = row["p_depth_adjusted"] < alpha and row["p_effect"] < alpha
    return "yes" if everywhere and beyond else "unresolved"


def _verdict(of_roles: Sequence[Verdict | None], whole: Spread, alpha: float, causal: bool) -> Verdict:
    known = [v for v in of_roles if v is not None]
    if not causal or not known:
        return "unresolved"
    if "no" in known:
        return "no"
    return "yes" if set(known) == {"yes"} and whole.null.p < alpha else "unresolved"


def _range(short: str, mean: str, values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {mean: math.nan, f"{short}_least": math.nan, f"{short}_most": math.nan}
    return {
        mean: float(known.mean()),
        f"{short}_least": float(known.min()),
        f"{short}_most": float(known.max()),
    }


def _depth(run: Implementation, k: int) -> tuple[float, float, float]:
    """Mean depth of a role's heads, weighted by effect where they have any, least and most; NaN without a head."""
    mine = run.model.roles[k]
    if not mine.any():
        return math.nan, math.nan, math.nan
    depth, size = run.model.depth[mine], run.model.size[mine]
    weights = size if size.any() else np.ones(len(size))
    return float(np.average(depth, weights=weights)), float(depth.min()), float(depth.max())


def _per_run(runs: Sequence[Implementation], selected: Selected, read: Read) -> list[dict[str, Any]]:
    rows = []
    for k, name in enumerate(read.roles):
        for run in runs:
            if run.verdicts[k] is None:
                continue
            mean, least, most = _depth(run, k)
            layers = run.model.layer
            numbers = np.concatenate([np.arange(n) for n in np.bincount(layers)])
            at = np.flatnonzero(run.model.roles[k])
            rows.append(
                {
                    "run": selected.by_id[run.run_id].run,
                    "group": selected.groups[run.run_id],
                    "role": name,
                    "n_heads": len(at),
                    "heads": " ".join(f"L{layers[i]}H{numbers[i]}" for i in at),
                    "layer_depth_frac": mean,
                    "depth_least": least,
                    "depth_most": most,
                    "effect_share": float(run.model.shares[k]) if run.measured and len(at) else math.nan,
                    "n_layers": int(layers.max()) + 1,
                    "n_unresolved": run.n_open[k],
                    "step": run.step,
                    "verdict": run.verdicts[k],
                    "tokenizer": run.tokenizer,
                }
            )
    return rows


def _pairs(
    runs: Sequence[Implementation], selected: Selected, read: Read, whole: Spread
) -> list[dict[str, Any]]:
    ends = [(a, b) for i, a in enumerate(runs) for b in runs[i + 1 :]]
    rows = []
    for (a, b), distance in zip(ends, whole.by_pair.tolist(), strict=True):
        both = [(n, a.verdicts[k] == "yes", b.verdicts[k] == "yes") for k, n in enumerate(read.roles)]
        rows.append(
            {
                "run_a": selected.by_id[a.run_id].run,
                "run_b": selected.by_id[b.run_id].run,
                "group_a": selected.groups[a.run_id],
                "group_b": selected.groups[b.run_id],
                "role_vector_distance": distance,
                "shared_roles": " ".join(n for n, x, y in both if x and y),
                "roles_of_one": " ".join(n for n, x, y in both if x != y),
            }
        )
    return rows


def _summary(
    runs: Sequence[Implementation], selected: Selected, read: Read, whole: Spread, verdict: Verdict
) -> dict[str, Any]:
    return {
        "role_vector_distance": whole.null.observed,
        "low": whole.low,
        "high": whole.high,
        "null_mean": whole.null.null_mean,
        "null_sd": whole.null.null_sd,
        "p": whole.null.p,
        "floor": floor([run.again for run in runs if run.measured]),
        "n_runs": len(runs),
        "n_families": len({selected.by_id[run.run_id].family for run in runs}),
        "n_tokenizers": len(read.tokenizers),
        "n_measured": sum(run.measured for run in runs),
        "effect": read.effect,
        "verdict": verdict,
    }


def _in_few(row: dict[str, Any]) -> dict[str, str]:
    def ends(low: str, high: str) -> str:
        return interval(or_nan(row[low]), or_nan(row[high]), 2)

    return {
        "role": row["role"],
        "runs with it": f"{row['n_with']} of {row['n_runs']} {ends('share_low', 'share_high')}",
        "heads": number(row["n_heads"], 2),
        "depth": f"{number(row['depth_least'], 2)} to {number(row['depth_most'], 2)}"
        if row["n_with"]
        else "",
        "share of effect": f"{number(row['effect_share'], 2)} ({number(row['effect_null'], 2)} by chance)",
        "apart in depth": f"{number(row['depth_distance'], 2)} {ends('depth_low', 'depth_high')}".rstrip(),
        "by chance": number(row["depth_null"], 2),
        "p": number(row["p_depth_adjusted"], 2),
        "verdict": row["verdict"] or "in no run",
    }
