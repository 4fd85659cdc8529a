"""How alike the outputs of two runs are, token by token, on one eval set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Picked, Step, find_left_outs, pick_checkpoints
from queries.reading.output_pairs import agreement_of_lists, agreement_of_losses, known_as
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, only_value
from queries.reading.token_outputs import Outputs, choose_outputs, read_lists, read_losses
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats import run_pairs
from queries.stats.clusters import METHOD
from queries.stats.output_divergence import LN2, Lists
from queries.stats.run_pairs import mean_over_pairs

Floats = NDArray[np.float64]

MOST_RUNS = 16

_REALS = (
    *(
        "js",
        "js_ci_low",
        "js_ci_high",
        "top1",
        "top1_low",
        "top1_high",
        "spearman",
        "spearman_low",
        "spearman_high",
    ),
    *("js_low", "js_high", "js_null", "top1_chance", "loss_difference"),
    *("kl_ab", "kl_ba", "kl_ab_trimmed", "kl_ba_trimmed", "js_se", "top1_se", "spearman_se"),
)
_PAIRS = pa.schema(
    [
        *((name, pa.string()) for name in ("run_a", "run_b", "group_a", "group_b")),
        *((name, pa.int64()) for name in ("step_a", "step_b")),
        *((name, pa.float64()) for name in _REALS),
        *((name, pa.int64()) for name in ("n_tokens", "n_documents")),
    ]
)
# what is averaged over pairs: standard error, ends that bound it, null, least and most
_STATISTICS: dict[str, tuple[str, tuple[str, str], str | None, tuple[float, float]]] = {
    "js": ("js_se", ("js_low", "js_high"), "js_null", (0.0, LN2)),
    "top1": ("top1_se", ("top1", "top1"), "top1_chance", (0.0, 1.0)),
    "spearman": ("spearman_se", ("spearman", "spearman"), None, (-1.0, 1.0)),
}
_GROUPS = pa.schema(
    [
        *((name, pa.string()) for name in ("group_a", "group_b", "statistic")),
        *((name, pa.int64()) for name in ("n_runs", "n_pairs")),
        *((name, pa.float64()) for name in ("mean", "least", "most", "low", "high", "null")),
    ]
)


_HEAD = ("mean", "least", "most", "low", "high", "null")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OutputAgreement(Answer):
    """How alike the next-token distributions and losses of pairs of runs are.

    table: per pair its runs, groups and steps; js_low, js_high: bounds of the mean Jensen-Shannon divergence in
    nats (0 to ln 2), js their middle where they are within 10 % of ln 2 of one another, with the interval
    js_ci_low, js_ci_high that holds bounds and documents, and js_null, js at shuffled places; kl_ab, kl_ba: least
    mean Kullback-Leibler divergence, and _trimmed without the highest 1 %; top1: share of tokens where both think
    the same token most likely, with its interval and top1_chance, what their habits alone give; spearman: rank
    correlation of losses; loss_difference: mean loss of a less that of b; numbers of tokens and documents.
    summary: per pair of conditions and statistic the mean over pairs with an interval over runs; least, most: between
    what it lies, which differ for js.
    """

    def overview(self) -> pa.Table | None:
        """The summary with the interval beside the mean; nothing for a single pair."""
        rows = self.summary.to_pylist() if self.summary is not None and self.table.num_rows > 1 else []
        return pa.Table.from_pylist(
            [
                {
                    "statistic": r["statistic"],
                    "group": r["group_a"]
                    if r["group_a"] == r["group_b"]
                    else f"{r['group_a']} × {r['group_b']}",
                    "runs": r["n_runs"],
                    "pairs": r["n_pairs"],
                    "mean": _between(r, 4),
                    f"{self.ci_level:.0%} interval": interval(r["low"], r["high"]),
                    "by chance": number(r["null"]),
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """The divergence, or without it the rank correlation, of every pair of runs."""
        from queries.figures.language import pair_grid

        return pair_grid(self)


@query(title="How alike are the outputs of two runs, token by token?")
def output_agreement(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> OutputAgreement:
    """Divergence of next-token distributions, agreement on the most likely token, and rank correlation of losses.

    Needs token_top for all but the last, which token_loss alone gives. Only the most likely tokens are stored,
    so the divergence is known to lie between two bounds. Runs with different tokenizers or eval sets are
    refused. With more than two runs all pairs are taken; they share runs, so the interval of their mean leaves
    out one run at a time.
    """
    selected = select_runs(archive, runs)
    choices = choose_outputs(archive, selected, which)
    left_out = find_left_outs(archive, choices.all, which)
    picked = pick_checkpoints(archive, choices.main.selected, choices.main.quantity, left_out, step)
    names = [choices.main.selected.by_id[run].run for run in picked.at]
    if not 2 <= len(names) <= MOST_RUNS:
        raise UsageError(
            f"{len(names)} run(s) have {choices.main.quantity.measure} there ({', '.join(names[:3])}); agreement takes 2 to "
            f"{MOST_RUNS}. `pathscope status` shows what each run has; --runs chooses among them."
        )
    lists: dict[int, Outputs[Lists]] = {}
    losses: dict[int, Outputs[Floats]] = {}
    sql = ""
    if choices.loss:
        losses, sql = read_losses(archive, choices.loss, picked.at)
    if choices.top:
        lists, sql = read_lists(archive, choices.top, picked.at)
    pairs = list(combinations(in_order(choices.main.selected, picked.at), 2))
    rows = [_pair(choices.main.selected, picked, lists, losses, pair, confidence) for pair in pairs]
    table = pa.Table.from_pylist(rows, schema=_PAIRS)
    summary = _summary(choices.main.selected, pairs, rows, confidence)
    statistic = "js" if choices.top else "spearman"
    head = _headline(statistic, rows, summary, confidence)
    provenance = Provenance.of(archive, choices.all, left_out)
    null = head["null"]
    return OutputAgreement(
        sentence=_sentence(statistic, rows, head, picked, confidence),
        table=table,
        summary=summary,
        n_runs=len(picked.at),
        n_items=only_value(table, "n_tokens"),
        unit="nats" if statistic == "js" else "",
        estimate=head["mean"],
        ci_low=head["low"],
        ci_high=head["high"],
        ci_level=confidence,
        ci_method=_method(rows, head),
        null_name="the same outputs at shuffled places" if math.isfinite(null) else "",
        null_mean=null,
        verdict=_verdict(statistic, rows, head),
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices.all for note in c.notes),
            *choices.notes,
            *left_out.limits,
            *_limits(rows, choices.main.selected, picked, bool(choices.top)),
        ),
        provenance=provenance,
        sql=sql,
    )


def _pair(
    selected: Selected,
    picked: Picked,
    lists: Mapping[int, Outputs[Lists]],
    losses: Mapping[int, Outputs[Floats]],
    pair: tuple[int, int],
    level: float,
) -> dict[str, object]:
    """One row of the table."""
    a, b = pair
    row: dict[str, object] = {
        "run_a": selected.by_id[a].run,
        "run_b": selected.by_id[b].run,
        "group_a": selected.groups[a],
        "group_b": selected.groups[b],
        "step_a": picked.at[a][1],
        "step_b": picked.at[b][1],
    }
    if a in losses and b in losses:
        row |= agreement_of_losses(losses[a], losses[b], level)
    if a in lists and b in lists:
        row |= agreement_of_lists(lists[a], lists[b], level)
    return row


def _summary(
    selected: Selected, pairs: Sequence[tuple[int, int]], rows: Sequence[Mapping[str, object]], level: float
) -> pa.Table:
    """Means over the pairs of each pair of conditions."""
    found = []
    by_groups: dict[tuple[str, str], list[int]] = {}
    for k, (a, b) in enumerate(pairs):
        one, other = sorted((selected.groups[a], selected.groups[b]))
        by_groups.setdefault((one, other), []).append(k)
    for (one, other), mine in by_groups.items():
        ends = [pairs[k] for k in mine]
        for statistic, (error, (lower, upper), null, bounds) in _STATISTICS.items():
            errors = _column(rows, mine, error)
            below = mean_over_pairs(ends, _column(rows, mine, lower), errors, level, bounds)
            above = mean_over_pairs(ends, _column(rows, mine, upper), errors, level, bounds)
            if math.isnan(below[0]):
                continue
            found.append(
                {
                    "group_a": one,
                    "group_b": other,
                    "statistic": statistic,
                    "n_runs": len({run for pair in ends for run in pair}),
                    "n_pairs": len(mine),
                    "mean": known_as(below[0], above[0]) if statistic == "js" else below[0],
                    "least": below[0],
                    "most": above[0],
                    "low": below[1],
                    "high": above[2],
                    "null": float(_column(rows, mine, null).mean()) if null else math.nan,
                }
            )
    return pa.Table.from_pylist(found, schema=_GROUPS)


def _column(rows: Sequence[Mapping[str, object]], chosen: Sequence[int], name: str) -> Floats:
    return np.array([_real(rows[k].get(name)) for k in chosen])


def _real(value: object) -> float:
    return value if isinstance(value, float) else math.nan


def _headline(
    statistic: str, rows: Sequence[Mapping[str, object]], summary: pa.Table, level: float
) -> dict[str, float]:
    """The one pair, or the one pair of conditions; NaN where there are several."""
    if len(rows) == 1:
        js = statistic == "js"
        ends = ("js_ci_low", "js_ci_high") if js else (f"{statistic}_low", f"{statistic}_high")
        bounds = ("js_low", "js_high") if js else (statistic, statistic)
        names = (statistic, *bounds, *ends, f"{statistic}_null")
        return {key: float(_column(rows, [0], name)[0]) for key, name in zip(_HEAD, names, strict=True)}
    mine = [r for r in summary.to_pylist() if r["statistic"] == statistic]
    if len(mine) != 1:
        return dict.fromkeys(_HEAD, math.nan)
    return {key: _real(mine[0][key]) for key in _HEAD}


def _method(rows: Sequence[Mapping[str, object]], head: Mapping[str, float]) -> str:
    if not math.isfinite(head["low"]):
        return ""
    return METHOD if len(rows) == 1 else run_pairs.METHOD


def _verdict(
    statistic: str, rows: Sequence[Mapping[str, object]], head: Mapping[str, float]
) -> Verdict | None:
    """Unresolved where there is no interval, where bounds are wide, or leave half of the null open."""
    if math.isfinite(head["least"]) and not math.isfinite(head["low"]):
        return "unresolved"
    if statistic == "js":
        every = range(len(rows))
        gap = _column(rows, every, "js_high") - _column(rows, every, "js_low")
        wide = np.isnan(_column(rows, every, "js"))
        if (wide | (gap > 0.5 * _column(rows, every, "js_null"))).all():
            return "unresolved"
    return None


def _sentence(
    statistic: str,
    rows: Sequence[Mapping[str, object]],
    head: Mapping[str, float],
    picked: Picked,
    level: float,
) -> str:
    what = "Jensen-Shannon divergence" if statistic == "js" else "rank correlation of losses"
    unit = " nats" if statistic == "js" else ""
    band = interval(head["low"], head["high"], 3)
    told = f"{_between(head, 3)}{unit}{f', {level:.0%} interval {band}' if band else ''}"
    top = _column(rows, range(len(rows)), "top1")
    same = ""
    if np.isfinite(top).any():
        same = f"; the most likely token is the same at {np.nanmean(top):.0%} of tokens"
    if len(rows) == 1:
        return f"{rows[0]['run_a']} and {rows[0]['run_b']} at {picked.place}: {what} {told}{same}."
    if math.isfinite(head["least"]):
        return f"{len(rows)} pairs of {len(picked.at)} runs at {picked.place}: mean {what} {told}{same}."
    every = range(len(rows))
    ends = [_column(rows, every, f"js_{end}" if statistic == "js" else statistic) for end in ("low", "high")]
    low, high = number(float(np.nanmin(ends[0])), 3), number(float(np.nanmax(ends[1])), 3)
    return (
        f"{len(rows)} pairs of {len(picked.at)} runs of several conditions at {picked.place}: {what} from {low} to "
        f"{high}{unit}{same}."
    )


def _between(known: Mapping[str, object], digits: int) -> str:
    """The mean with the bounds it lies between, or only those where they are wide."""
    mean, low, high = (number(known[key], digits) for key in ("mean", "least", "most"))
    if math.isnan(_real(known["mean"])) and math.isfinite(_real(known["least"])):
        return f"between {low} and {high}"
    return mean if low == high else f"{mean} (between {low} and {high})"


def _limits(
    rows: Sequence[Mapping[str, object]], selected: Selected, picked: Picked, lists: bool
) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in picked.at]
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    if len(rows) > 1:
        lines.append(
            f"{len(rows)} pairs of {len(picked.at)} runs are not {len(rows)} independent observations: intervals of their "
            "means leave out one run at a time, and need 3 runs."
        )
    else:
        lines.append("One pair: the interval is over documents and says nothing of other seeds.")
    if len(picked.steps) > 1:
        lines.append("Runs end at different steps: part of what differs is the length of training.")
    if lists:
        gap = _column(rows, range(len(rows)), "js_high") - _column(rows, range(len(rows)), "js_low")
        lines.append(
            f"Only the most likely tokens are stored: the divergence is known to {number(float(np.nanmax(gap)), 2)} nats at "
            "worst, and a Kullback-Leibler divergence only from below."
        )
        lines.append(
            "Agreement on the most likely token is carried by easy tokens: compare it with top1_chance and at equal "
            "difficulty before calling runs alike."
        )
    if any(int(str(r.get("n_documents", 0))) < 10 for r in rows):
        lines.append("Fewer than 10 documents: intervals over so few are themselves hardly known.")
    lines.append("Outputs that agree need not come from the same mechanism.")
    return lines
