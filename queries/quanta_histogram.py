"""Whether a smooth loss is made of many small sharp steps: the loss of every token tested for a transition."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_out
from queries.reading.quanta_tables import (
    MONOGENIC,
    Found,
    curve_table,
    share_table,
    time_table,
    token_table,
)
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.token_curves import Sampled, TokenCurves, read_token_curves
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.clustered_share import METHOD as CLUSTERED
from queries.stats.clustered_share import clustered_share
from queries.stats.means import mean_interval
from queries.stats.over_units import mean_over_units
from queries.stats.shared_null import DRAWS
from queries.stats.smooth_null import FEWEST_POINTS
from queries.stats.token_transitions import BEYOND, ManyCurves, busiest_octave, many_transitions
from queries.stats.transition_verdict import CLASSES
from queries.stats.transitions import usable
from queries.wording.circuits import or_nan
from queries.wording.quanta import percent, quanta_limits, quanta_sentence

METHOD = "wider of Student t over runs and the mean of the runs' intervals over documents"
OVER_UNITS = METHOD.replace("runs and", "independent seeds and")


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class QuantaHistogram(Answer):
    """What tokens' losses do over training, beside what smooth curves with the same noise do.

    table: run, group, n_tokens, n_documents, n_checkpoints; excess_fraction: tokens whose steepest octave exceeds the 99th
    percentile of smooth curves with like noise (1 % by chance), with its interval over documents; uncorrected_null:
    what the test would call beyond of smooth curves with the tokens' noise, by which p are corrected; major, minor,
    none, unresolved: shares of tokens by class, as in phase_transitions, after correction for all tokens of the run.
    median_share, null_share: of its range that a token's steepest octave holds, and a smooth curve's; monogenic,
    null_monogenic: tokens with more than half of the range in one octave: noise has that as well. busiest_step,
    busiest_share: of the tokens beyond smooth curves, those whose octave begins within one octave from that step, where
    most do: what comes at once in most of them may be one thing the run does, such as its warm-up; spread_fraction:
    excess_fraction without those, which is what the verdict asks to be more than `matters`. mean_share: the same of
    the mean curve of all tokens. r2, share_of_change: of the mean curve that the steps of the tokens with a transition
    make; median_t50: of those. why: a run was not
    tested, empty where it was.
    summary: per condition the mean over its n_runs tested runs with the interval over the n_units of them that share no seed,
    and the verdict.
    shares: run, from_share, to_share, tokens, null: the histogram of shares. t50s: run, from_step, to_step, major, minor,
    falls: by octaves of steps; tokens: per run the 20 with the largest excess among those with a transition, with place and
    token. curves: run, step, mean, steps: the mean curve and the sum of the steps.
    """

    matters: float
    fdr: float
    shares: pa.Table
    t50s: pa.Table
    tokens: pa.Table
    curves: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary in words."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "beyond smooth curves": percent(r["excess_fraction"]),
                    "over runs": interval(or_nan(r["low"]), or_nan(r["high"]), 2),
                    "major": percent(r["major"]),
                    "minor": percent(r["minor"]),
                    "unresolved": percent(r["unresolved"], 0),
                    "R² of the mean": number(or_nan(r["r2"]), 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Shares of tokens and of smooth curves; when the transitions are; the mean curve and what the steps make of it."""
        from queries.figures.quanta import quanta_figure

        return quanta_figure(self)


@query(title="Is a smooth loss made of many small sharp steps?")
def quanta_histogram(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="one number per token and checkpoint")] = "token_loss",
    max_tokens: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="tokens of the eval set, drawn by a hash of their place and `seed`",
        ),
    ] = 10_000,
    matters: Annotated[
        float,
        Field(
            gt=BEYOND,
            lt=1,
            description="share of tokens beyond smooth curves that would matter; 1 % are by chance",
        ),
    ] = 0.02,
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of wrong ones accepted among transitions")
    ] = 0.05,
    draws: Annotated[
        int,
        Field(
            ge=10_000, le=10_000_000, description="smooth curves drawn per run, for all its tokens together"
        ),
    ] = DRAWS,
    after: Annotated[
        int, Field(ge=0, description="use only checkpoints after this step, such as the end of warm-up")
    ] = 0,
    seed: Annotated[int, Field(ge=0, description="of the sample and the draws")] = 0,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> QuantaHistogram:
    """Test the loss of every token for a change within one octave of steps that smooth curves do not have.

    The test is that of phase_transitions; tokens with like noise share the curves drawn for them, which makes 10,000
    tokens a matter of seconds. Tokens of a document are not independent and tokens say nothing about other runs: the
    interval of a run is over documents, that of the answer over runs. Then the sigmoid steps of the tokens with a
    transition are added up and held against the mean curve of all.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, [measure], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    sampled = read_token_curves(archive, choice, left_out, max_tokens, seed)
    order = {run: k for k, run in enumerate(in_order(choice.selected, choice.selected.ids))}
    found = [
        _tested(curves, fdr, draws, seed, after)
        for curves in sorted(sampled.curves, key=lambda c: order[c.run_id])
    ]
    rows = [_row(run, sampled, choice.selected, confidence) for run in found]
    units = units_by_group(choice.selected, [curves.run_id for curves, _ in found])
    summary = _summary(rows, units, matters, confidence)
    only = summary[0] if len(summary) == 1 else None
    # one run has an interval over documents, which is not that of a claim about runs
    alone = rows[0] if len(rows) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    verdicts: list[Verdict] = [r["verdict"] for r in summary]
    return QuantaHistogram(
        sentence=quanta_sentence(rows, summary),
        table=_table(rows),
        summary=_table(summary),
        matters=matters,
        fdr=fdr,
        shares=share_table(found, choice.selected),
        t50s=time_table(found, choice.selected),
        tokens=token_table(found, sampled, choice.selected),
        curves=curve_table(found, choice.selected),
        n_runs=len(found),
        n_items=sampled.tokens.num_rows,
        unit="share of tokens",
        estimate=only["excess_fraction"] if only else math.nan,
        ci_low=alone["low"] if alone else only["low"] if only else math.nan,
        ci_high=alone["high"] if alone else only["high"] if only else math.nan,
        ci_level=confidence,
        ci_method=CLUSTERED if alone else _method(only) if only else "",
        null_name="smooth curves with serial noise of like size, fitted again in every draw, corrected by their own test",
        null_mean=BEYOND,
        verdict=verdicts[0] if len(set(verdicts)) == 1 else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *units_limits(units, ""),
            *quanta_limits(rows, sampled, measure, max_tokens=max_tokens, seed=seed),
        ),
        provenance=provenance,
        sql=sampled.sql,
    )


def _tested(curves: TokenCurves, fdr: float, draws: int, seed: int, after: int) -> Found:
    late = curves.steps[curves.steps > after]
    times, _ = usable(late, np.zeros(len(late)))
    kept = TokenCurves(curves.run_id, times, curves.values[np.isin(curves.steps, times)], curves.token)
    why = ""
    if len(times) < FEWEST_POINTS:
        why = f"{len(times)} of {FEWEST_POINTS} checkpoints needed after step {after}"
    elif times[-1] <= 2 * times[0]:
        why = "checkpoints span no more than an octave"
    elif not len(curves.token):
        why = "no token has a value at every checkpoint"
    if why:
        return kept, ManyCurves.untested(kept.values, why)
    return kept, many_transitions(times, kept.values, fdr=fdr, draws=draws, seed=seed)


def _row(run: Found, sampled: Sampled, selected: Selected, confidence: float) -> dict[str, Any]:
    curves, test = run
    documents = sampled.documents[curves.token]
    tested = bool(np.isfinite(test.p).any())
    nothing = (math.nan,) * 3
    share, low, high = clustered_share(test.beyond, documents, confidence) if tested else nothing
    busiest_step, busiest_share = busiest_octave(test.start[test.beyond])
    return {
        "run": selected.by_id[curves.run_id].run,
        "group": selected.groups[curves.run_id],
        "n_tokens": len(curves.token),
        "n_documents": len(np.unique(documents)),
        "n_checkpoints": len(curves.steps),
        "excess_fraction": share,
        "uncorrected_null": test.null_beyond,
        "low": low,
        "high": high,
        **{
            kind.removesuffix("_transition"): float((test.kind == kind).mean()) if tested else math.nan
            for kind in CLASSES
            if kind not in ("metric_only", "axis_only")
        },
        "busiest_step": busiest_step,
        "busiest_share": busiest_share,
        "spread_fraction": share * (1 - busiest_share) if busiest_share > 0 else share,
        "median_share": _median(test.share),
        "null_share": _median(test.null_share),
        "monogenic": float((test.share > MONOGENIC).mean()) if tested else math.nan,
        "null_monogenic": float((test.null_share > MONOGENIC).mean()) if tested else math.nan,
        "mean_share": test.share_of_mean,
        "r2": test.r2,
        "share_of_change": test.share_of_change,
        "median_t50": _median(test.t50),
        "why": "" if tested else str(next(iter(test.why), "no token has a value")),
    }


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """NULL where there is no number, in columns of numbers even where none has one."""
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[type(value)]) for name, value in rows[0].items()])
    known = [{n: None if isinstance(v, float) and math.isnan(v) else v for n, v in r.items()} for r in rows]
    return pa.Table.from_pylist(known, schema=schema)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else math.nan


def _method(row: Mapping[str, Any]) -> str:
    return METHOD if row["unit"] == "run" else OVER_UNITS


def _over_runs(
    rows: Sequence[dict[str, Any]], units: Units, name: str, confidence: float
) -> tuple[float, float, float]:
    """Mean of a share of tokens with its interval; runs that agree by chance are no surer than their documents are."""
    mean, low, high = mean_over_units([r[name] for r in rows], units.of(), confidence, (0.0, 1.0))
    if math.isnan(low):
        return mean, low, high
    below, above = (
        mean_interval([r[name] + r[end] - r["excess_fraction"] for r in rows])[0] for end in ("low", "high")
    )
    return mean, max(0.0, min(low, below)), min(1.0, max(high, above))


def _summary(
    rows: Sequence[dict[str, Any]], units: Mapping[str, Units], matters: float, confidence: float
) -> list[dict[str, Any]]:
    found = []
    for group in dict.fromkeys(row["group"] for row in rows):
        mine = [row for row in rows if row["group"] == group]
        of = units[group]
        tested = [run for run, r in zip(of.runs, mine, strict=True) if not r["why"]]
        fraction, low, high = _over_runs(mine, of, "excess_fraction", confidence)
        # what noise hides may be a transition as well
        _, _, most = mean_over_units(
            [r["excess_fraction"] + r["unresolved"] for r in mine], of.of(), confidence, (0.0, 1.0)
        )
        # what comes in one octave in most tokens is no evidence of many steps
        spread = _over_runs(mine, of, "spread_fraction", confidence)[1]
        verdict: Verdict = "yes" if spread > matters else "no" if most < matters else "unresolved"
        means = (
            "major",
            "minor",
            "none",
            "unresolved",
            "r2",
            "share_of_change",
            "median_share",
            "null_share",
        )
        found.append(
            {
                "group": group,
                "n_runs": len(tested),
                **of.columns(tested),
                "excess_fraction": fraction,
                "low": low,
                "high": high,
                "verdict": verdict,
                **{name: mean_interval([r[name] for r in mine])[0] for name in means},
            }
        )
    return found
