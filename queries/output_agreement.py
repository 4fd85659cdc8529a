"""How alike the outputs of two runs are, token by token, on one eval set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import LeftOuts, Step, find_left_outs, pick_checkpoints
from queries.reading.compared_pairs import in_one_order, pick_compared
from queries.reading.exact_outputs import Exact, exact_columns, read_exact
from queries.reading.output_pairs import agreement_of_lists, agreement_of_losses, known_as
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, only_value
from queries.reading.token_outputs import By, Choices, Outputs, choose_outputs, read_lists, read_losses
from queries.reading.units import among, units_by_group, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats import run_pairs
from queries.stats.clusters import METHOD
from queries.stats.output_divergence import LN2, Lists
from queries.stats.run_pairs import mean_over_pairs
from queries.wording.outputs import agreement_limits, agreement_sentence, between, column, real

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
    *("kl_ab", "kl_ba", "kl_ab_trimmed", "kl_ba_trimmed", "js_list_low", "js_list_high"),
    *("js_se", "top1_se", "spearman_se"),
)
_PAIRS = pa.schema(
    [
        *((name, pa.string()) for name in ("run_a", "run_b", "group_a", "group_b")),
        *((name, pa.int64()) for name in ("step_a", "step_b")),
        ("outputs", pa.string()),
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
        *((name, pa.int64()) for name in ("n_runs", "n_pairs", "n_units")),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("mean", "least", "most", "low", "high", "null")),
    ]
)


_HEAD = ("mean", "least", "most", "low", "high", "null")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class OutputAgreement(Answer):
    """How alike the next-token distributions and losses of pairs of runs are.

    table: per pair its runs, groups and steps; outputs: "all" where the two models were compared with one another, and
    divergences are exact, "most likely" where only lists of likely tokens are there. js_low, js_high: bounds of the mean
    Jensen-Shannon divergence in nats (0 to ln 2), which are the same where it is exact; js their middle where they are within
    10 % of ln 2 of one another, with the interval js_ci_low, js_ci_high that holds bounds and documents, and js_null, js at
    shuffled places; js_list_low, js_list_high: the bounds from lists beside an exact js; kl_ab, kl_ba: mean Kullback-Leibler
    divergence, from lists the least it can be, and _trimmed without the highest 1 %; top1: share of tokens where both think
    the same token most likely, with its interval and top1_chance, what their habits alone give; spearman: rank
    correlation of losses; loss_difference: mean loss of a less that of b; numbers of tokens and documents.
    summary: per pair of conditions and statistic the mean over pairs with an interval over runs, n_units of which share no
    seed; least, most: between what it lies, which differ for js.
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
                    "runs": f"{r['n_runs']}{among(r)}",
                    "pairs": r["n_pairs"],
                    "mean": between(r, 4),
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
    by: By = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> OutputAgreement:
    """Divergence of next-token distributions, agreement on the most likely token, and rank correlation of losses.

    Divergences are exact where a study with [compare] compared the two models (output_divergence, top1_agreement). Else they
    need token_top, of which only the most likely tokens are stored, so that they lie between two bounds; token_loss alone
    gives the rank correlation. Runs with different tokenizers or eval sets are refused. With more than two runs all pairs
    are taken; they share runs, so the interval of their mean leaves out runs, not pairs.
    """
    selected = select_runs(archive, runs)
    choices = choose_outputs(archive, selected, which, by)
    read = _read(archive, choices, step, which)
    if not 2 <= len(read.run_ids) <= MOST_RUNS:
        names = ", ".join(selected.by_id[run].run for run in read.run_ids[:3])
        raise UsageError(
            f"{len(read.run_ids)} run(s) have {choices.main.quantity.measure} there ({names}); agreement takes 2 to "
            f"{MOST_RUNS}. `pathscope status` shows what each run has; --runs chooses among them."
        )
    rows = [_pair(choices.main.selected, read, pair, confidence) for pair in read.pairs]
    table = pa.Table.from_pylist(rows, schema=_PAIRS)
    ends = [(p.run_id_a, p.run_id_b) for p in read.pairs]
    summary = _summary(choices.main.selected, ends, rows, confidence)
    statistic = "js" if choices.top or choices.js else "spearman"
    head = _headline(statistic, rows, summary, confidence)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices.all, read.left_out), shared_seeds=())
    null = head["null"]
    absent = [r.run for r in choices.main.selected.runs if r.run_id not in read.run_ids]
    n_runs = len(read.run_ids)
    return OutputAgreement(
        sentence=agreement_sentence(statistic, rows, head, read.place, n_runs, confidence),
        table=table,
        summary=summary,
        n_runs=n_runs,
        n_items=only_value(table, "n_tokens"),
        unit="nats" if statistic == "js" else "",
        estimate=head["mean"],
        ci_low=head["low"],
        ci_high=head["high"],
        ci_level=confidence,
        ci_method=_method(rows, head, summary),
        null_name="the same outputs at shuffled places" if math.isfinite(null) else "",
        null_mean=null,
        verdict=_verdict(statistic, rows, head),
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices.all for note in c.notes),
            *choices.notes,
            *read.left_out.limits,
            *units_limits(units_by_group(choices.main.selected, read.run_ids), ""),
            *read.notes,
            *agreement_limits(
                rows,
                absent,
                n_runs,
                read.steps,
                bool(choices.top),
                any(r.get("outputs") == "all" for r in rows),
            ),
        ),
        provenance=provenance,
        sql=read.sql,
    )


@dataclass(frozen=True)
class _Pair:
    """Two checkpoints of two runs."""

    run_id_a: int
    run_id_b: int
    step_a: int
    step_b: int
    checkpoint_a: int
    checkpoint_b: int


@dataclass(frozen=True)
class _Read:
    """Which pairs there are, and what was read of them: lists and losses by run_id, comparisons by pair of checkpoints."""

    pairs: Sequence[_Pair]
    lists: Mapping[int, Outputs[Lists]]
    losses: Mapping[int, Outputs[Floats]]
    exact: Exact
    left_out: LeftOuts
    notes: Sequence[str]
    place: str
    run_ids: Sequence[int]
    sql: str

    @property
    def steps(self) -> list[int]:
        return sorted({step for p in self.pairs for step in (p.step_a, p.step_b)})


def _read(archive: Archive, choices: Choices, step: Step, which: Which) -> _Read:
    """Of every run the checkpoint at `step`; where only comparisons are there, the pairs that have one at that step."""
    selected = choices.main.selected
    at: dict[int, tuple[int, int]] = {}
    notes: Sequence[str] = ()
    if choices.main is choices.js:
        compared = pick_compared(archive, choices.js, step, which)
        compared = compared.only([p for p in compared.at if p.run_id_a != p.run_id_b])
        compared = in_one_order(compared, in_order(selected, compared.run_ids))
        pairs = [_Pair(*(getattr(p, f.name) for f in fields(_Pair))) for p in compared.at]
        left_out, notes, run_ids = compared.left_out, compared.notes, compared.run_ids
        place = compared.place if pairs else ""
        every = {end for p in pairs for end in _ends(p)}
        # losses are of one checkpoint a run
        at = {run: end for run, end in every} if len(every) == len(run_ids) else {}
    else:
        left_out = find_left_outs(archive, [c for c in (choices.top, choices.loss) if c], which)
        picked = pick_checkpoints(archive, selected, choices.main.quantity, left_out, step)
        at, run_ids, place = picked.at, in_order(selected, picked.at), picked.place
        pairs = [_Pair(a, b, at[a][1], at[b][1], at[a][0], at[b][0]) for a, b in combinations(run_ids, 2)]
    lists: dict[int, Outputs[Lists]] = {}
    losses: dict[int, Outputs[Floats]] = {}
    exact: Exact = {}
    sql = ""
    if choices.loss and at:
        losses, sql = read_losses(archive, choices.loss, at)
    if choices.exact and pairs:
        ids = {checkpoint for p in pairs for checkpoint in (p.checkpoint_a, p.checkpoint_b)}
        exact, sql = read_exact(archive, choices.exact, ids)
    if choices.top:
        lists, sql = read_lists(archive, choices.top, at)
    return _Read(pairs, lists, losses, exact, left_out, notes, place, run_ids, sql)


def _ends(pair: _Pair) -> list[tuple[int, tuple[int, int]]]:
    return [
        (pair.run_id_a, (pair.checkpoint_a, pair.step_a)),
        (pair.run_id_b, (pair.checkpoint_b, pair.step_b)),
    ]


def _pair(selected: Selected, read: _Read, pair: _Pair, level: float) -> dict[str, object]:
    """One row of the table; what was compared exactly takes the place of what lists say."""
    a, b = pair.run_id_a, pair.run_id_b
    row: dict[str, object] = {
        "run_a": selected.by_id[a].run,
        "run_b": selected.by_id[b].run,
        "group_a": selected.groups[a],
        "group_b": selected.groups[b],
        "step_a": pair.step_a,
        "step_b": pair.step_b,
    }
    if a in read.losses and b in read.losses:
        row |= agreement_of_losses(read.losses[a], read.losses[b], level)
    if a in read.lists and b in read.lists:
        row |= {**agreement_of_lists(read.lists[a], read.lists[b], level), "outputs": "most likely"}
    known = read.exact.get((pair.checkpoint_a, pair.checkpoint_b), {})
    if "js" in known and "js_low" in row:
        row |= {"js_list_low": row["js_low"], "js_list_high": row["js_high"]}
    return row | exact_columns(known, level)


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
        units = units_of(selected, dict.fromkeys(run for pair in ends for run in pair))
        shared = units.by_run()
        for statistic, (error, (lower, upper), null, bounds) in _STATISTICS.items():
            errors = column(rows, mine, error)
            below = mean_over_pairs(ends, column(rows, mine, lower), errors, level, bounds, shared)
            above = mean_over_pairs(ends, column(rows, mine, upper), errors, level, bounds, shared)
            if math.isnan(below[0]):
                continue
            found.append(
                {
                    "group_a": one,
                    "group_b": other,
                    "statistic": statistic,
                    "n_runs": len(units.runs),
                    "n_pairs": len(mine),
                    **units.columns(),
                    "mean": known_as(below[0], above[0]) if statistic == "js" else below[0],
                    "least": below[0],
                    "most": above[0],
                    "low": below[1],
                    "high": above[2],
                    "null": float(column(rows, mine, null).mean()) if null else math.nan,
                }
            )
    return pa.Table.from_pylist(found, schema=_GROUPS)


def _headline(
    statistic: str, rows: Sequence[Mapping[str, object]], summary: pa.Table, level: float
) -> dict[str, float]:
    """The one pair, or the one pair of conditions; NaN where there are several."""
    if len(rows) == 1:
        js = statistic == "js"
        ends = ("js_ci_low", "js_ci_high") if js else (f"{statistic}_low", f"{statistic}_high")
        bounds = ("js_low", "js_high") if js else (statistic, statistic)
        names = (statistic, *bounds, *ends, f"{statistic}_null")
        return {key: float(column(rows, [0], name)[0]) for key, name in zip(_HEAD, names, strict=True)}
    mine = [r for r in summary.to_pylist() if r["statistic"] == statistic]
    if len(mine) != 1:
        return dict.fromkeys(_HEAD, math.nan)
    return {key: real(mine[0][key]) for key in _HEAD}


def _method(rows: Sequence[Mapping[str, object]], head: Mapping[str, float], summary: pa.Table) -> str:
    if not math.isfinite(head["low"]):
        return ""
    if len(rows) == 1:
        return METHOD
    by_run = set(summary["unit"].to_pylist()) == {"run"}
    return run_pairs.METHOD if by_run else run_pairs.SEEDS_METHOD


def _verdict(
    statistic: str, rows: Sequence[Mapping[str, object]], head: Mapping[str, float]
) -> Verdict | None:
    """Unresolved where there is no interval, where bounds are wide, or leave half of the null open."""
    if math.isfinite(head["least"]) and not math.isfinite(head["low"]):
        return "unresolved"
    if statistic == "js":
        every = range(len(rows))
        gap = column(rows, every, "js_high") - column(rows, every, "js_low")
        wide = np.isnan(column(rows, every, "js"))
        if (wide | (gap > 0.5 * column(rows, every, "js_null"))).all():
            return "unresolved"
    return None
