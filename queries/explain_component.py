"""What a principal component of training stands for: its scores regressed on named scalars, and predicted in runs left out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.component_scores import FEWEST_POINTS, GroupScores, read_component_scores
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.trajectories import Of
from queries.reading.units import Units, among, numbers_of, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.held_out import FEWEST_RUNS, FEWEST_UNITS, HeldOut, held_out
from queries.stats.means import METHOD
from queries.stats.over_units import METHOD as OVER_UNITS
from queries.stats.over_units import fewest_units, mean_over_units
from queries.stats.smooth_regression import Fit, fit_curve
from queries.wording.explained import explained_limits, explained_sentence

# a component of which regressors explain less than this in other runs is not explained by them
NEGLIGIBLE = 0.1

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group")),
        *((name, _REAL) for name in ("holdout_r2", "r2", "r2_low", "r2_high")),
        *((name, _REAL) for name in ("walk_r2", "walk_high", "p_walk", "share")),
        ("n_checkpoints", _WHOLE),
    ]
)
_SUMMARY = pa.schema(
    [
        ("group", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_units")),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("holdout_r2", "low", "high", "swapped_r2", "p", "least_p")),
        *((name, _REAL) for name in ("r2", "walk_r2", "share")),
        ("n_checkpoints", _WHOLE),
        ("verdict", _TEXT),
    ]
)
_COEFFICIENTS = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "regressor")),
        *((name, _REAL) for name in ("coefficient", "low", "high")),
    ]
)
_SCORES = pa.schema(
    [*((name, _TEXT) for name in ("run", "group")), ("step", _WHOLE), ("score", _REAL), ("fitted", _REAL)]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ExplainComponent(Answer):
    """How much of a component's scores named scalars explain.

    table: per run holdout_r2 (share of the variance of its scores over log time that a regression on the other runs of the group
    predicts, without those that share a seed with it; below 0: worse than its mean), r2 (fitted to the run itself, with an
    interval by blocks of checkpoints),
    walk_r2 and walk_high (mean and 95 % quantile of r2 with random walks for regressors), p_walk, share (of variance
    that the component has), n_checkpoints.
    summary: per group the mean holdout_r2 with its interval over the n_units of the runs that share no seed, swapped_r2 (the
    same with regressors of other runs), p
    (how often runs with swapped regressors are predicted as well) and least_p (what so few runs can reach), verdict: yes, no
    (surely below 0.1) or unresolved.
    coefficients: per run and regressor, in standard deviations of the scores per standard deviation of the regressor over
    all runs, with an interval by blocks of checkpoints. scores: standardised scores and the fit to the run itself.
    """

    of: Of
    component: int
    coefficients: pa.Table
    scores: pa.Table

    def overview(self) -> pa.Table:
        """The summary with the interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "held-out R²": f"{number(r['holdout_r2'], 2)} {interval(_real(r['low']), _real(r['high']), 2)}".rstrip(),
                    "with other runs' regressors": number(r["swapped_r2"], 2),
                    "p": number(r["p"], 2),
                    "R² within": number(r["r2"], 2),
                    "of random walks": number(r["walk_r2"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Scores of every run over training, and the fit to them."""
        from queries.figures.explained import scores_and_fits

        return scores_and_fits(self)


@query(title="What does a principal component of training stand for?")
def explain_component(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    of: Annotated[
        Of, Field(description="what moves: all weights as one vector, or all logits of the eval set")
    ] = "weights",
    component: Annotated[int, Field(ge=1, le=10, description="which component, from 1")] = 1,
    regressors: Annotated[
        tuple[str, ...],
        Field(
            description="scalars 'measure[part]' or 'measure{param=value}[part]', as many as there are reasons for"
        ),
    ] = ("loss[train]", "loss[test]"),
    logs: Annotated[
        bool, Field(description="take the logarithm of every regressor, which must be above 0")
    ] = False,
    max_checkpoints: Annotated[
        int, Field(ge=FEWEST_POINTS, le=500, description="use about this many per run, evenly among them")
    ] = 96,
    n_boot: Annotated[int, Field(ge=19, le=10_000, description="draws of the intervals and walks")] = 500,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> ExplainComponent:
    """Regression of a component's scores on scalars within runs, and its prediction of runs that had no part in the fit.

    Two curves that drift explain one another: random walks explain 40 % of one another, and monotone curves 90 %, of other runs
    too. So the verdict rests on runs left out, predicted better with their own regressors than with those of other
    runs, which do everything that runs do alike. It needs four runs or more that differ in time. Scores are those of
    `trajectory_pca` on the checkpoints in common, signs aligned, each run in its own units.
    """
    if not regressors or len(set(regressors)) < len(regressors):
        raise UsageError(f"regressors must be one or more different scalars, not {list(regressors)}.")
    selected = select_runs(archive, runs)
    read = read_component_scores(archive, selected, of, component, regressors, logs, max_checkpoints, which)
    known = read.trajectories.choice.selected
    fits = {
        group: [
            fit_curve(y, x, scores.weights, level=confidence, n_boot=n_boot, n_walks=n_boot)
            for y, x in zip(scores.curves, scores.regressors, strict=True)
        ]
        for group, scores in read.groups.items()
    }
    units = units_by_group(known, [run for scores in read.groups.values() for run in scores.run_ids])
    predicted = {
        g: held_out(s.curves, s.regressors, s.weights, shared=numbers_of(units[g].shared))
        for g, s in read.groups.items()
    }
    summary = [
        _summary(group, units[group], scores, fits[group], predicted[group], confidence)
        for group, scores in read.groups.items()
    ]
    only = summary[0] if len(summary) == 1 else None
    told = only is not None and only["holdout_r2"] is not None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, read.choices, read.left_out), shared_seeds=())
    return ExplainComponent(
        sentence=explained_sentence(of, component, regressors, summary),
        table=_table(known, read.groups, fits, predicted),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        coefficients=_coefficients(known, read.groups, fits, regressors),
        scores=_scores(known, read.groups, fits),
        of=of,
        component=component,
        n_runs=sum(len(scores.run_ids) for scores in read.groups.values()),
        unit="R² in runs left out" if told else "",
        estimate=_real(only["holdout_r2"]) if only else math.nan,
        ci_low=_real(only["low"]) if only else math.nan,
        ci_high=_real(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=(OVER_UNITS if only and only["unit"] != "run" else METHOD) if told else "",
        null_name="regressors of other runs" if told else "",
        null_mean=_real(only["swapped_r2"]) if only else math.nan,
        p_value=_real(only["p"]) if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *read.notes,
            *units_limits(units, ""),
            *explained_limits(summary, read.trajectories, list(regressors)),
        ),
        provenance=provenance,
        sql=read.trajectories.sql,
    )


def _summary(
    group: str, units: Units, scores: GroupScores, fits: Sequence[Fit], predicted: HeldOut, level: float
) -> dict[str, Any]:
    n = len(scores.run_ids)
    mean, low, high = mean_over_units(predicted.r2, units.of(), level, (None, 1.0))
    return {
        "group": group,
        "n_runs": n,
        **units.columns(),
        "holdout_r2": finite_or_none(mean),
        "low": finite_or_none(low),
        "high": finite_or_none(high),
        "swapped_r2": finite_or_none(predicted.swapped),
        "p": finite_or_none(predicted.p),
        "least_p": finite_or_none(predicted.least_p),
        "r2": float(np.mean([f.r2 for f in fits])),
        "walk_r2": float(np.mean([f.walk_r2 for f in fits])),
        "share": float(scores.share.mean()),
        "n_checkpoints": len(scores.steps),
        "verdict": _verdict(n, fewest_units(units.of(), n), low, high, predicted.p, 1 - level),
    }


def _verdict(n: int, n_units: int, low: float, high: float, p: float, alpha: float) -> Verdict:
    """Yes: more than nothing in other runs, and more than other runs' regressors do. No: surely next to nothing there."""
    if n < FEWEST_RUNS or n_units < FEWEST_UNITS:
        return "unresolved"
    if low > 0 and p < alpha:
        return "yes"
    return "no" if high < NEGLIGIBLE else "unresolved"


def _table(
    selected: Selected,
    groups: Mapping[str, GroupScores],
    fits: Mapping[str, Sequence[Fit]],
    predicted: Mapping[str, HeldOut],
) -> pa.Table:
    rows = []
    for group, scores in groups.items():
        for k, (run, fit) in enumerate(zip(scores.run_ids, fits[group], strict=True)):
            rows.append(
                {
                    "run": selected.by_id[run].run,
                    "group": group,
                    "holdout_r2": finite_or_none(float(predicted[group].r2[k]))
                    if len(predicted[group].r2)
                    else None,
                    "r2": fit.r2,
                    "r2_low": fit.r2_low,
                    "r2_high": fit.r2_high,
                    "walk_r2": fit.walk_r2,
                    "walk_high": fit.walk_high,
                    "p_walk": fit.p,
                    "share": float(scores.share[k]),
                    "n_checkpoints": len(scores.steps),
                }
            )
    return pa.Table.from_pylist(rows, schema=_TABLE)


def _coefficients(
    selected: Selected,
    groups: Mapping[str, GroupScores],
    fits: Mapping[str, Sequence[Fit]],
    regressors: Sequence[str],
) -> pa.Table:
    rows = [
        {
            "run": selected.by_id[run].run,
            "group": group,
            "regressor": name,
            "coefficient": float(fit.coefficients[k]),
            "low": float(fit.low[k]),
            "high": float(fit.high[k]),
        }
        for group, scores in groups.items()
        for run, fit in zip(scores.run_ids, fits[group], strict=True)
        for k, name in enumerate(regressors)
    ]
    return pa.Table.from_pylist(rows, schema=_COEFFICIENTS)


def _scores(
    selected: Selected, groups: Mapping[str, GroupScores], fits: Mapping[str, Sequence[Fit]]
) -> pa.Table:
    rows = []
    for group, scores in groups.items():
        for run, y, x, fit in zip(scores.run_ids, scores.curves, scores.regressors, fits[group], strict=True):
            # the intercept puts the fit's mean at that of the scores, which is 0
            fitted = x @ fit.coefficients
            fitted = fitted - scores.weights @ fitted
            rows += [
                {
                    "run": selected.by_id[run].run,
                    "group": group,
                    "step": int(step),
                    "score": float(a),
                    "fitted": float(b),
                }
                for step, a, b in zip(scores.steps, y, fitted, strict=True)
            ]
    return pa.Table.from_pylist(rows, schema=_SCORES)


def _real(value: float | None) -> float:
    return math.nan if value is None else value
