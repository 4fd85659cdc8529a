"""Which curves have a phase transition: every series of a measure tested, with one class each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.found_transitions import TABLE, settings, transition_row
from queries.parameters import IntervalLevel
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.series import SeriesRead, matching, read_series, read_task_series, refuse_too_many
from queries.reading.tables import floats, stretches
from queries.reading.units import among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.over_units import SHARE_METHOD
from queries.stats.smooth_null import MOST_DRAWS
from queries.stats.transition_verdict import FEWEST_CONTROLS
from queries.stats.transitions import Found, Series, find_transitions
from queries.wording.transitions import answer_limits, answer_sentence

Member = tuple[dict[str, object], Found]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PhaseTransitions(Answer):
    """Every series with its class.

    table: run, group, series, class (major_transition, minor_transition, metric_only, axis_only, none, unresolved) and why
    it is not a transition; q and p against smooth curves; excess: of the change in the steepest octave over theirs, as a
    share of the range, and native_excess in the unit of the measure; event_start, event_end: steps of that octave, and
    spacing: the widest gap between checkpoints there in octaves, under which no width can be claimed. share, half_share,
    two_share: of the range within one octave, half of one and two; linear_share: within 5 % of linear time; steepness:
    largest over median slope per octave. t10, t50, t90 with the last point before each (_after), width_low, width_high:
    octaves from 10 to 90 %; share_low, share_high: least and most of that change in one octave; n_inside: points between. These
    are there for series that are too short for the test, too. w with its interval: width of the best sigmoid in octaves, none
    where it is below half the spacing; sigmoid_gain, sigmoid_gain_linear: by how much AICc prefers it to the smooth curve,
    in log and in linear time. smooth_curve, sigma, rho: the null and its noise; detectable_w: widest sigmoid that would
    have been found. controls, beyond: matched series of the run and the share of them that change less. _discrete: the
    same of the discrete metric of the pair. needed: steps of checkpoints that would resolve it.
    summary: per condition and series how many of the runs have which class, with the interval of the share with a major
    transition among those resolved, over the n_units of these that share no seed (exact where every run is one). measured_in:
    unit of the values. curves: run, group, series, step, value, and
    smooth, the value of the best smooth curve at steps that the test used (none for the discrete member of a pair).
    """

    label: str
    measured_in: str
    fdr: float
    curves: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary in words."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "series": r["series"],
                    "major": f"{r['n_major']} of {r['n_resolved']} resolved runs{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    "minor": r["n_minor"],
                    "metric or axis only": r["n_metric_only"] + r["n_axis_only"],
                    "none": r["n_none"],
                    "unresolved": r["n_unresolved"],
                    "median step": number(r["median_t50"], 3),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """Series with a transition in colour, with its octave shaded; the others in grey."""
        from queries.figures.transitions import transition_curves

        return transition_curves(self, x_scale=x_scale)


@query(title="Which curves have a phase transition?")
def phase_transitions(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[
        str,
        Field(
            description="any measure with a number per checkpoint, logged step, head, pair of heads (its z), position, "
            "benchmark or task"
        ),
    ] = "loss",
    part: Annotated[
        str, Field(description="split, tensor or class; auto = test, else the only one; all = each")
    ] = "auto",
    series: Annotated[
        tuple[str, ...],
        Field(
            description="names or patterns such as L0H3, 'L1H*', 'L0H3>L1H2', units; default: all there are"
        ),
    ] = (),
    tasks: Annotated[
        tuple[str, ...],
        Field(
            description="published benchmarks, names or patterns such as 'arc_*': each is a series; measure is then "
            "benchmark.acc, benchmark.ppl, ..."
        ),
    ] = (),
    shots: Annotated[
        int | None, Field(description="with tasks: number of examples in the prompt; none = not recorded")
    ] = 0,
    items: Annotated[
        bool,
        Field(description="every item of a task is a series, such as one question; default: their mean"),
    ] = False,
    pair: Annotated[
        bool, Field(description="also test the other member of the metric pair, such as loss and accuracy")
    ] = True,
    controls: Annotated[
        Literal["auto", "required"],
        Field(
            description=f"auto: matched series of the run decide where there are {FEWEST_CONTROLS}; required: no transition "
            "without them"
        ),
    ] = "auto",
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of wrong ones accepted among transitions")
    ] = 0.05,
    draws: Annotated[
        int,
        Field(ge=99, le=99_999, description="most draws per series; they stop early where nothing is found"),
    ] = MOST_DRAWS,
    describe_only: Annotated[
        bool, Field(description="only describe the curves, which is quick; every class is then unresolved")
    ] = False,
    most: Annotated[int, Field(ge=1, description="refuse to test more series than this")] = 2000,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> PhaseTransitions:
    """Test every series for a change within one octave of steps that smooth curves do not have.

    Smooth curves: powers, exponentials and logarithms of time, and sigmoids with w ≥ 1 octave, fitted again in every draw
    of a bootstrap with serial noise. A major transition has half of its change in one octave, by the continuous metric and
    on the log axis: on a linear axis nearly every curve looks sharp, and a discrete metric is sharp where items are alike.
    What checkpoints or noise leave open is `unresolved`, with the reason. Step 0 has no place on a log axis and is left
    out. docs/statistics.md has the method and how often it errs.
    """
    selected = select_runs(archive, runs)
    if tasks and items:
        raise UsageError(
            "tasks are published benchmarks, which have no items: leave tasks out and name the eval set."
        )
    if tasks:
        read = read_task_series(archive, selected, tasks, measure, which, shots=shots)
    else:
        read = read_series(archive, selected, measure, part, which, paired=pair, items=items)
    keys, all_series = _series(read, series)
    asked = [key for key, s in zip(keys, all_series, strict=True) if s.asked]
    refuse_too_many(len(asked), most)
    most_draws = 0 if describe_only else draws
    found = find_transitions(
        all_series, fdr=fdr, most_draws=most_draws, controls_required=controls == "required"
    )
    selected = read.selected
    members: list[Member] = [
        ({"run": selected.by_id[run].run, "group": selected.groups[run], "series": name}, f)
        for (run, name), f in zip(asked, found, strict=True)
    ]
    summary = settings(members, selected, read.choice.quantity.table_name, confidence)
    units = units_by_group(selected, dict.fromkeys(run for run, _ in asked))
    groups = summary.to_pylist()
    only = groups[0] if len(groups) == 1 else None
    known = only is not None and only["n_resolved"] > 0
    alone = found[0].tested if len(found) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, read.choices, read.left_out), shared_seeds=())
    counted = only is not None and bool(units[only["group"]].counted)
    smallest = 0.0 if describe_only else len(found) / (draws + 1)
    return PhaseTransitions(
        sentence=answer_sentence(read.label, [f for _, f in members], only),
        table=pa.Table.from_pylist([transition_row(key, f) for key, f in members], schema=TABLE),
        summary=summary,
        label=read.label,
        fdr=fdr,
        curves=_curves(read, dict(zip(asked, found, strict=True))),
        n_runs=len({run for run, _ in asked}),
        measured_in=read.choice.quantity.shown_unit,
        estimate=only["n_major"] / only["n_resolved"] if only and known else math.nan,
        ci_low=only["share_low"] if only and known else math.nan,
        ci_high=only["share_high"] if only and known else math.nan,
        ci_level=confidence,
        ci_method=f"share of runs with a major transition, {SHARE_METHOD if counted else 'exact binomial'}"
        if known
        else "",
        null_name="the best smooth curve with serial noise, fitted again in every draw",
        p_value=alone.p if alone else math.nan,
        q_value=alone.q if alone else math.nan,
        verdict=_overall([g["verdict"] for g in groups]),
        limits=(
            *provenance.limits,
            *dict.fromkeys(
                (*(n for c in read.choices for n in c.notes), *read.left_out.limits, *read.skipped)
            ),
            *units_limits(units, "n_major and the other counts"),
            *answer_limits(members, read, f"{smallest:.2g}" if smallest > fdr else ""),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _series(read: SeriesRead, asked: Sequence[str]) -> tuple[list[tuple[int, str]], list[Series]]:
    """Every series with (run_id, name); those that are not asked about are there to compare with."""
    curves, partners = _by_series(read.table), _by_series(read.partner)
    names = list(dict.fromkeys(name for _, name in curves))
    wanted = matching(names, asked, read.choice.quantity.measure)
    series = [
        Series(
            times,
            values,
            run=run,
            discrete=read.discrete,
            partner=partners.get((run, name)),
            asked=name in wanted,
        )
        for (run, name), (times, values) in curves.items()
    ]
    return list(curves), series


def _by_series(table: pa.Table | None) -> dict[tuple[int, str], tuple[np.ndarray, np.ndarray]]:
    """(run_id, series) -> steps and values."""
    if table is None:
        return {}
    runs, names = table["run_id"].to_numpy(), table["series"]
    steps, values = floats(table, "step"), floats(table, "value")
    return {
        (int(runs[a]), names[int(a)].as_py()): (steps[a:b], values[a:b])
        for a, b in zip(*stretches(table, ["run_id", "place", "series"]), strict=True)
    }


def _curves(read: SeriesRead, found: Mapping[tuple[int, str], Found]) -> pa.Table:
    keys = list(zip(read.table["run_id"].to_pylist(), read.table["series"].to_pylist(), strict=True))
    # of a discrete measure with a partner the smooth curve is the partner's
    fits = {
        key: dict(zip(f.tested.smooth[0].tolist(), f.tested.smooth[1].tolist(), strict=True))
        for key, f in found.items()
        if f.tested.smooth and not (read.discrete and f.discrete)
    }
    steps = read.table["step"].to_pylist()
    smooth = [
        fits[key].get(float(step)) if key in fits else None for key, step in zip(keys, steps, strict=True)
    ]
    table = read.table.append_column("smooth", pa.array(smooth, pa.float64()))
    kept = table.filter(pa.array([key in found for key in keys]))
    return kept.select(["run", "group", "series", "step", "value", "smooth"])


def _overall(verdicts: Sequence[Verdict]) -> Verdict | None:
    return verdicts[0] if len(set(verdicts)) == 1 else None
