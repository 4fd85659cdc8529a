"""Whether runs give a role to the same heads: by number where they share an init, else to the same depth."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.reading.checkpoints import Step
from queries.reading.quantities import Which
from queries.reading.role_holders import (
    Holders,
    SharedLayer,
    common_by_init,
    find_holders,
    find_starts,
    role_grid,
    scores_at_zero,
    shared_layers,
)
from queries.reading.role_scores import choose_scores, judge, read_scores
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
from queries.reading.same_start import Start
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import units_by_group, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.multiple import holm
from queries.stats.run_pairs import mean_over_pairs, method_over
from queries.stats.shared_heads import (
    Overlap,
    at_least,
    common_heads,
    depth_null,
    depth_overlap,
    index_null,
    index_overlap,
)
from queries.wording.circuits import error_limits, or_nan, rule_limits
from queries.wording.shared_roles import role_limits, role_sentence

Align = Literal["auto", "index", "depth"]
Kind = Literal["index", "depth"]

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("head", "role")),
        *((name, _WHOLE) for name in ("n_with", "n_runs")),
        *((name, _REAL) for name in ("p", "p_adjusted", "by_chance")),
        *((name, _TEXT) for name in ("runs", "without")),
    ]
)
_HOLDERS = pa.schema([("run", _TEXT), ("role", _TEXT), ("head", _TEXT), ("has", pa.bool_())])
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b", "role", "layers")),
        *((name, _WHOLE) for name in ("n_a", "n_b", "n_both")),
        *((name, _REAL) for name in ("by_chance", "jaccard")),
        ("why", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "align")),
        *((name, _WHOLE) for name in ("n_runs", "n_pairs", "n_with", "n_elsewhere")),
        *(
            (name, _REAL)
            for name in ("jaccard", "low", "high", "null_mean", "null_low", "null_high", "null_sd", "p")
        ),
        ("n_common", _WHOLE),
        *((name, _REAL) for name in ("common_by_chance", "p_common", "least_p")),
        ("heads", _TEXT),
        ("n_open", _WHOLE),
        ("verdict", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SharedRoles(Answer):
    """Heads with a role, over runs.

    table: per head (L2H3) and role, n_with of the n_runs in which that number means the same head have the role; by_chance
    (runs expected), p (exact chance of as many, role heads at random places of their layer), p_adjusted (Holm over all
    heads), runs with and without it. By depth each run's heads are rows of their own, without p.
    pairs: per two runs the layers compared, heads with the role in each, n_both (by number), by_chance, jaccard (0 to 1), why
    numbers are or are not comparable.
    summary: per role n_with (runs with the role in a layer compared), n_elsewhere (in other layers only), the mean Jaccard
    index with its interval over runs, its null (role heads drawn at random) and p; n_common: heads with the role in
    every run that has them, common_by_chance (8 (m/8)^k for m of 8 heads in each of k runs), p_common (exact) and
    least_p (the smallest it could be); n_open: heads that are unresolved.
    holders: every run and head listed, and whether it has the role.
    """

    task: str
    pairs: pa.Table
    holders: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary with each interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "role": r["role"],
                    "by": "number" if r["align"] == "index" else "depth",
                    "runs with it": f"{r['n_with']} of {r['n_runs']}",
                    "in all": f"{r['heads'] or 'none'} ({number(r['common_by_chance'], 2)} by chance)"
                    if r["align"] == "index"
                    else "",
                    "exact p": number(r["p_common"], 2),
                    "Jaccard": f"{number(r['jaccard'], 2)} {interval(or_nan(r['low']), or_nan(r['high']), 2)}".rstrip(),
                    "by chance": number(r["null_mean"], 2),
                    "p": number(r["p"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Runs down, heads across: who has the role."""
        from queries.figures.shared_heads import heads_by_run

        return heads_by_run(self)


@query(title="Do runs give a role to the same heads?")
def shared_roles(
    archive: Archive,
    *,
    task: Task = "induction",
    role: RoleName = "induction",
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    align: Annotated[
        Align,
        Field(
            description="index: heads of one number, which needs a shared init; depth: how many at each relative depth; auto: "
            "index where any runs share an init"
        ),
    ] = "auto",
    prompts: Prompts = "",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> SharedRoles:
    """Which heads have a role in how many runs, against runs that put as many of them at random places.

    Roles are those of `circuit_heads`. Where runs share an init, layer by layer, a number names one head in all of them: by
    chance H (m/H)^k heads are common to k runs with m of H heads each, and p counts all cases. Across inits a
    number means nothing, so the depth of the role is compared instead; by number is refused.
    """
    selected = select_runs(archive, runs)
    choices = choose_scores(archive, selected, (task, role), prompts, which)
    readings = read_scores(archive, choices, step, which)
    selected = selected.only(readings.rows["run_id"].unique().to_pylist())
    levels = Levels(least_logits, least_attention, least_score)
    judged = {name: judge(readings, r, levels) for name, r in choices.roles.items()}
    having = {name: choices.having(r) for name, r in choices.roles.items()}
    holders = find_holders(readings, judged, having, 1 - confidence)
    if len(selected.runs) < 2:
        raise UsageError(
            f"1 run ({selected.runs[0].run}) has these scores; sharing takes 2. `pathscope status` shows what each run has, "
            "`pathscope query circuit_heads` answers for one."
        )
    starts = find_starts(selected, choices, readings, scores_at_zero(archive, choices, which))
    kind = _kind(selected, starts, align)
    table: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    by_run = units_of(selected, selected.ids).by_run()
    for name, mine in holders.items():
        shared = shared_layers(mine, starts) if kind == "index" else []
        table += _heads(selected, name, shared) if kind == "index" else _alone(selected, name, mine)
        ends = [p for p in starts if set(p) <= set(mine) and (kind == "depth" or starts[p].layers)]
        found = [_pair(selected, name, mine, pair, starts[pair], kind) for pair in ends]
        pairs += found
        row = _summary(selected, name, kind, mine, ends, starts, found, shared, by_run, confidence)
        summary.append(row)
    only = summary[0] if len(summary) == 1 else None
    used = in_order(selected, selected.ids)
    steps = readings.rows["step"].unique().to_pylist()
    # shared seeds are taken into account here
    provenance = replace(
        Provenance.of(archive, [choices.by_score[s] for s in choices.needed], readings.left_out),
        shared_seeds=(),
    )
    return SharedRoles(
        sentence=role_sentence(summary, table, confidence),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=pa.Table.from_pylist(pairs, schema=_PAIRS),
        holders=pa.Table.from_pylist(role_grid(selected, holders, used), schema=_HOLDERS),
        task=task,
        n_runs=len(used),
        unit="Jaccard index" if only else "",
        estimate=or_nan(only["jaccard"]) if only else math.nan,
        ci_low=or_nan(only["low"]) if only else math.nan,
        ci_high=or_nan(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=method_over(by_run) if only and only["low"] is not None else "",
        null_name="role heads at random places" if only else "",
        null_mean=or_nan(only["null_mean"]) if only else math.nan,
        null_sd=or_nan(only["null_sd"]) if only else math.nan,
        p_value=or_nan(only["p"]) if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *units_limits(units_by_group(selected, used), "p and numbers of pairs"),
            *choices.limits,
            *readings.left_out.limits,
            *rule_limits(choices.roles, levels),
            *error_limits(readings, choices.needed),
            *role_limits(kind, summary, pairs, len(used), steps),
        ),
        provenance=provenance,
        sql=readings.sql,
    )


def _kind(selected: Selected, starts: Mapping[tuple[int, int], Start], align: Align) -> Kind:
    """What is compared. Raises NotComparable where numbers are asked for and no two runs share an init."""
    if align == "depth":
        return "depth"
    if any(start.layers for start in starts.values()):
        return "index"
    if align == "auto":
        return "depth"
    (a, b), start = next(iter(starts.items()))
    raise NotComparable(
        f"heads of {selected.by_id[a].run} and {selected.by_id[b].run} have no common numbers ({start.why}), and no other two "
        "of these runs share an init: a head of one number is a different head in each. align='depth' compares at which "
        "depth the role is; `pathscope query match_heads` matches heads by what they do."
    )


def _heads(selected: Selected, role: str, shared: Sequence[SharedLayer]) -> list[dict[str, Any]]:
    """A row per head that has the role in any run in which its number means the same, those in most runs first."""
    rows = []
    for s in shared:
        chances = [len(h) / s.layer.n_heads for h in s.layer.holders]
        for head in range(s.layer.n_heads):
            with_it = [run for run, h in zip(s.run_ids, s.layer.holders, strict=True) if head in h]
            rows.append(
                {
                    "head": f"L{s.number}H{head}",
                    "role": role,
                    "n_with": len(with_it),
                    "n_runs": len(s.run_ids),
                    "by_chance": sum(chances),
                    "p": at_least(len(with_it), chances),
                    "runs": " ".join(selected.by_id[run].run for run in with_it),
                    "without": " ".join(selected.by_id[run].run for run in s.run_ids if run not in with_it),
                }
            )
    corrected = holm(np.array([r["p"] for r in rows]))
    for row, p in zip(rows, corrected.tolist(), strict=True):
        row["p_adjusted"] = p
    return sorted((r for r in rows if r["n_with"]), key=lambda r: (r["p_adjusted"], r["p"], -r["n_with"]))


def _alone(selected: Selected, role: str, holders: Mapping[int, Holders]) -> list[dict[str, Any]]:
    """A row per run and head with the role, and one without a head for a run that has none: numbers mean nothing across."""
    rows = []
    for run in in_order(selected, holders):
        mine = [f"L{k}H{h}" for k, layer in enumerate(holders[run].having) for h in sorted(layer)]
        for head in mine or [""]:
            row = {"head": head, "role": role, "n_with": int(bool(head)), "n_runs": 1}
            rows.append(row | {"runs" if head else "without": selected.by_id[run].run})
    return rows


def _pair(
    selected: Selected,
    role: str,
    holders: Mapping[int, Holders],
    pair: tuple[int, int],
    start: Start,
    kind: Kind,
) -> dict[str, Any]:
    a, b = (holders[run] for run in pair)
    row: dict[str, Any] = {
        "run_a": selected.by_id[pair[0]].run,
        "run_b": selected.by_id[pair[1]].run,
        "role": role,
        "why": start.why,
    }
    if kind == "depth":
        overlap = depth_overlap(np.array(a.sizes), np.array(b.sizes))
        return row | {"n_a": sum(a.sizes), "n_b": sum(b.sizes), "jaccard": finite_or_none(overlap)}
    layers = [(a.having[k], b.having[k], a.n_heads[k]) for k in start.layers]
    return row | {
        "layers": " ".join(map(str, start.layers)),
        "n_a": sum(len(x) for x, _, _ in layers),
        "n_b": sum(len(y) for _, y, _ in layers),
        "n_both": sum(len(x & y) for x, y, _ in layers),
        "by_chance": sum(len(x) * len(y) / n for x, y, n in layers),
        "jaccard": finite_or_none(float(index_overlap([layers])[0])),
    }


def _summary(
    selected: Selected,
    role: str,
    kind: Kind,
    holders: Mapping[int, Holders],
    ends: Sequence[tuple[int, int]],
    starts: Mapping[tuple[int, int], Start],
    pairs: Sequence[Mapping[str, Any]],
    shared: Sequence[SharedLayer],
    by_run: Sequence[Mapping[int, int]],
    level: float,
) -> dict[str, Any]:
    part = sorted({run for pair in ends for run in pair})
    place = {run: k for k, run in enumerate(part)}
    jaccard = np.array([or_nan(r["jaccard"]) for r in pairs])
    nothing = np.full(len(jaccard), math.nan)
    mean, low, high = mean_over_pairs(ends, jaccard, nothing, level, (0.0, 1.0), by_run)
    heads = [holders[run].n_heads for run in part]
    with_it = {run for run in part if any(holders[run].sizes)}
    if kind == "index":
        with_it = {r for x in shared for r, held in zip(x.run_ids, x.layer.holders, strict=True) if held}
        by_number = [(place[a], place[b], starts[a, b].layers) for a, b in ends]
        null = index_null(heads, [holders[run].sizes for run in part], by_number, mean)
    else:
        by_depth = [(place[a], place[b]) for a, b in ends]
        null = depth_null(heads, [sum(holders[run].sizes) for run in part], by_depth, mean)
    if null.null_sd == 0:  # nothing else could have been found, so that runs agree on it is no precision
        low = high = math.nan
    row: dict[str, Any] = {
        "role": role,
        "align": kind,
        "n_runs": len(part),
        "n_pairs": len(ends),
        "n_with": len(with_it),
        "n_elsewhere": sum(any(holders[run].sizes) for run in part if run not in with_it),
        "jaccard": finite_or_none(mean),
        "low": finite_or_none(low),
        "high": finite_or_none(high),
        **{
            name: finite_or_none(getattr(null, name))
            for name in ("null_mean", "null_low", "null_high", "null_sd", "p")
        },
        "n_open": sum(holders[run].n_open for run in part),
    }
    if kind == "index":
        common = common_heads([s.layer for s in shared])
        row |= {
            "n_common": common.n,
            "common_by_chance": common.expected,
            "p_common": common.p,
            "least_p": common.least_p,
            "heads": common_by_init(selected, shared),
        }
    return row | {"verdict": _verdict(row, null, _most(pairs), level)}


def _most(pairs: Sequence[Mapping[str, Any]]) -> float:
    """What the mean Jaccard index could be at most, given how many heads have the role; 0 where none has."""
    known = [min(r["n_a"], r["n_b"]) / max(r["n_a"], r["n_b"]) for r in pairs if max(r["n_a"], r["n_b"])]
    return float(np.mean(known)) if known else 0.0


def _verdict(row: Mapping[str, Any], null: Overlap, most: float, level: float) -> Verdict:
    """Yes: beyond chance, in three runs or more. No: not beyond it in other runs either, where that was possible."""
    if row["n_runs"] < 3 or not math.isfinite(null.p):
        return "unresolved"
    if null.p < 1 - level:
        return "yes"
    short = row["high"] is not None and row["high"] <= null.null_high < most
    return "no" if short and null.null_sd > 0 else "unresolved"
