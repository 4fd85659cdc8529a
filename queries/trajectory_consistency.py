"""Whether training goes somewhere, and all runs the same way: displacement exponents and cosines, held against walks."""

import math
from collections.abc import Mapping
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
from queries.reading.quantities import Choice, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.sketches import Cosines, read_cosines
from queries.reading.tables import in_order
from queries.reading.trajectories import Of, Trajectory, read_trajectories, trajectory_wants
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.displacement import (
    FEWEST_POINTS,
    PHASES,
    Displacement,
    displacements,
    moving,
    phase_borders,
)
from queries.stats.distributions import binomial_tail
from queries.stats.means import METHOD
from queries.stats.over_units import METHOD as OVER_UNITS
from queries.stats.over_units import detectable_mean, fewest_units, mean_over_units, p_over_units
from queries.stats.shared_direction import shared_direction
from queries.wording.consistency import consistency_limits, consistency_sentence, p_words

ALPHA = 0.05
FEWEST_RUNS = 3
# directedness below which a run is as good as a walk
NEGLIGIBLE = 0.1

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "phase")),
        *((name, _REAL) for name in ("exponent", "walk", "straight", "directedness", "p")),
        *((name, _REAL) for name in ("walk_low", "walk_high")),
        *((name, _WHOLE) for name in ("n_checkpoints", "first_step", "last_step")),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("group", "phase")),
        *((name, _WHOLE) for name in ("n_runs", "n_units")),
        ("unit", _TEXT),
        *((name, _REAL) for name in ("exponent", "low", "high", "walk", "straight")),
        *((name, _REAL) for name in ("directedness", "directedness_low", "directedness_high")),
        ("n_beyond", _WHOLE),
        *((name, _REAL) for name in ("p", "detectable")),
        ("verdict", _TEXT),
        *((name, _WHOLE) for name in ("n_pairs", "n_pairs_dropped")),
        *((name, _REAL) for name in ("cosine", "cosine_low", "cosine_high", "p_random", "p_signs")),
        ("same_way", _TEXT),
    ]
)
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b", "phase")),
        ("cosine", _REAL),
        *((name, _WHOLE) for name in ("from_step", "to_step")),
        ("why", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TrajectoryConsistency(Answer):
    """How directed training is, and whether runs go the same way.

    table: per run and phase (all; early, middle, late: thirds of log time) the exponent h of |x(t) − x(s)| ~ (t − s)^h, walk
    and straight (what random walks and a straight line with the run's own step lengths have), directedness (0 walk, 1
    straight, below 0 it comes back), walk_low and walk_high (95 % of walks), p (share of walks that get as far).
    summary: per group and phase the means over runs, low and high (of the exponent), directedness_low and _high: intervals over
    the n_units of the runs that share no seed; n_beyond (runs beyond 95 % of their walks) and p (of so many such units by
    chance), detectable (smallest excess of the exponent
    over walks that so many runs would show), verdict: directed, returning (below walks),
    walk (surely less than 0.1 directed) or unresolved; cosine: mean over n_pairs of runs of the cosine between what they
    move over the phase, with its interval, p_random (independent uniform directions; 1e-12 stands for less) and p_signs (each
    run, or seed, turned round or not, exact), same_way: yes, unresolved, or not comparable. Of pairs of outputs those that share
    a seed do not count where others share none.
    pairs: the cosine of every two runs that may be compared, and why they may.
    """

    pairs: pa.Table
    of: Of

    def overview(self) -> pa.Table:
        """The summary with intervals in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "phase": r["phase"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "exponent": f"{number(r['exponent'], 2)} {_within(r['low'], r['high'])}".rstrip(),
                    "walk": number(r["walk"], 2),
                    "straight": number(r["straight"], 2),
                    "directedness": f"{number(r['directedness'], 2)} {_within(r['directedness_low'], r['directedness_high'])}",
                    "verdict": r["verdict"],
                    "cosine": f"{number(r['cosine'], 2)} {_within(r['cosine_low'], r['cosine_high'])}".rstrip(),
                    "same way": _same_way(r),
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Exponents by phase between walks and a straight line, and cosines beside them."""
        from queries.figures.consistency import exponents_and_cosines

        return exponents_and_cosines(self)


@query(title="Is training consistent and directed, or a random walk?")
def trajectory_consistency(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    of: Annotated[
        Of, Field(description="what moves: all weights as one vector, or all logits of the eval set")
    ] = "weights",
    max_checkpoints: Annotated[
        int, Field(ge=FEWEST_POINTS, le=500, description="use about this many per run, evenly among them")
    ] = 96,
    n_walks: Annotated[int, Field(ge=19, le=100_000, description="random walks per run")] = 200,
    dimensions: Annotated[
        int,
        Field(ge=2, description="of the space that walks and independent runs take their directions from"),
    ] = 1000,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> TrajectoryConsistency:
    """How far runs get in how many steps, in all and by thirds of log time, and the cosine between what two runs do.

    A random walk gets as far as the root of the time, a straight line as far as the time; both are computed with the step
    lengths of the run, because slowing down lowers the exponent by itself. Runs go the same way where displacements over
    a phase have a cosine above 0. Weights are compared only between runs that began from the same ones, outputs between any;
    that needs sketches (`weight_products:sketch`, `logit_products:sketch`).
    """
    selected = select_runs(archive, runs)
    found = choose_quantities(archive, selected, trajectory_wants(of), which)
    trajectories = read_trajectories(archive, selected, of, which, found)
    known = trajectories.choice.selected
    used = {run: _moving(t.thinned(max_checkpoints)) for run, t in trajectories.runs.items()}
    used = {run: used[run] for run in in_order(known, used) if len(used[run].steps)}
    if not used:
        raise UsageError(
            f"no run moves: {trajectories.choice.quantity.measure} is the same at every checkpoint, or there is one only. "
            "`pathscope status` shows which checkpoints there are; of='logits' or 'weights' asks about the other."
        )
    per_run = {
        run: displacements(t.steps, t.gram, n_walks=n_walks, dimensions=dimensions) for run, t in used.items()
    }
    groups: dict[str, list[int]] = {}
    for run in used:
        groups.setdefault(known.groups[run], []).append(run)
    sketch = found[1]
    cosines = (
        read_cosines(archive, sketch, known, groups, of, trajectories.left_out.ids)
        if isinstance(sketch, Choice)
        else None
    )
    units = units_by_group(known, used)
    summary = [
        _summary(group, phase, units[group], per_run, cosines, dimensions, confidence)
        for group in groups
        for phase in PHASES
    ]
    only = summary[0] if len(groups) == 1 else None
    choices = [trajectories.choice, *([sketch] if isinstance(sketch, Choice) and cosines else [])]
    choices = list({c.quantity.quantity_id: c for c in choices}.values())
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices, trajectories.left_out), shared_seeds=())
    whole = only is not None and only["exponent"] is not None
    return TrajectoryConsistency(
        sentence=consistency_sentence(of, summary, n_runs=len(used)),
        table=_table(known, used, per_run),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=_pairs(known, cosines),
        of=of,
        n_runs=len(used),
        unit="exponent of time" if whole else "",
        estimate=_real(only["exponent"]) if only else math.nan,
        ci_low=_real(only["low"]) if only else math.nan,
        ci_high=_real(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=(OVER_UNITS if only["unit"] != "run" else METHOD)
        if whole and only and only["low"] is not None
        else "",
        null_name=f"random walks with the runs' own step lengths in {dimensions:,} dimensions"
        if whole
        else "",
        null_mean=_real(only["walk"]) if only else math.nan,
        p_value=_real(only["p"]) if only else math.nan,
        mde=_real(only["detectable"]) if only else math.nan,
        verdict=_overall(only) if only else None,
        limits=(
            *provenance.limits,
            *trajectories.choice.notes,
            *trajectories.left_out.limits,
            *units_limits(units, "n_runs and n_beyond"),
            *consistency_limits(of, summary, cosines, trajectories, max_checkpoints, dimensions),
        ),
        provenance=provenance,
        sql=trajectories.sql,
    )


def _moving(t: Trajectory) -> Trajectory:
    """Without checkpoints that are where the one before was, and without any where nothing moves."""
    kept = moving(t.gram)
    return Trajectory(t.steps[kept], t.gram[np.ix_(kept, kept)])


def _table(
    selected: Selected, used: Mapping[int, Trajectory], per_run: Mapping[int, Mapping[str, Displacement]]
) -> pa.Table:
    rows = []
    for run, phases in per_run.items():
        borders = phase_borders(used[run].steps)
        for phase, d in phases.items():
            low, high = np.quantile(d.walks, [0.025, 0.975]) if len(d.walks) else (math.nan, math.nan)
            rows.append(
                {
                    "run": selected.by_id[run].run,
                    "group": selected.groups[run],
                    "phase": phase,
                    "n_checkpoints": d.n_points,
                    "first_step": int(used[run].steps[borders[phase][0]]),
                    "last_step": int(used[run].steps[borders[phase][1]]),
                    "walk_low": finite_or_none(float(low)),
                    "walk_high": finite_or_none(float(high)),
                    **{
                        name: finite_or_none(getattr(d, name))
                        for name in ("exponent", "walk", "straight", "directedness", "p")
                    },
                }
            )
    return pa.Table.from_pylist(rows, schema=_TABLE)


def _pairs(selected: Selected, cosines: Cosines | None) -> pa.Table:
    rows = [
        {
            "run_a": selected.by_id[pair.a].run,
            "run_b": selected.by_id[pair.b].run,
            "phase": pair.phase,
            "cosine": finite_or_none(pair.cosine),
            "from_step": pair.first,
            "to_step": pair.last,
            "why": pair.why,
        }
        for pair in (cosines.pairs if cosines else ())
    ]
    return pa.Table.from_pylist(rows, schema=_PAIRS)


def _summary(
    group: str,
    phase: str,
    units: Units,
    per_run: Mapping[int, Mapping[str, Displacement]],
    cosines: Cosines | None,
    dimensions: int,
    level: float,
) -> dict[str, Any]:
    runs = [run for run in units.runs if math.isfinite(per_run[run][phase].exponent)]
    known, shared = [per_run[run][phase] for run in runs], units.of(runs)
    row: dict[str, Any] = dict.fromkeys(_SUMMARY.names)
    row |= {
        "group": group,
        "phase": phase,
        "n_runs": len(known),
        **units.columns(runs),
        "verdict": "unresolved",
    }
    if known:
        exponent = mean_over_units([d.exponent for d in known], shared, level)
        middle, low, high = mean_over_units([d.directedness for d in known], shared, level)
        of_units = p_over_units([d.p for d in known], shared)
        row |= {
            **dict(zip(("exponent", "low", "high"), map(finite_or_none, exponent), strict=True)),
            "walk": float(np.mean([d.walk for d in known])),
            "straight": float(np.mean([d.straight for d in known])),
            "directedness": finite_or_none(middle),
            "directedness_low": finite_or_none(low),
            "directedness_high": finite_or_none(high),
            "n_beyond": sum(d.p <= ALPHA for d in known),
            "p": binomial_tail(int((of_units <= ALPHA).sum()), len(of_units), ALPHA),
            "detectable": finite_or_none(detectable_mean([d.exponent - d.walk for d in known], shared)),
            "verdict": _word(fewest_units(shared, len(known)), low, high),
        }
    mine = (
        [c for c in cosines.pairs if c.phase == phase and c.a in units.runs and c.b in units.runs]
        if cosines
        else []
    )
    if not mine:
        return row | {"n_pairs": 0, "n_pairs_dropped": 0, "same_way": "not comparable"}
    values = np.array([c.cosine for c in mine])
    same = shared_direction(
        [(c.a, c.b) for c in mine],
        values,
        dimensions=dimensions,
        level=level,
        shared=[dict(zip(units.runs, of.tolist(), strict=True)) for of in units.of()],
    )
    surely = same.n_units >= FEWEST_RUNS and same.low > 0 and same.p_random < 1 - level
    return row | {
        "n_pairs": same.n_pairs,
        "n_pairs_dropped": same.n_dropped,
        "cosine": finite_or_none(same.cosine),
        "cosine_low": finite_or_none(same.low),
        "cosine_high": finite_or_none(same.high),
        "p_random": finite_or_none(same.p_random),
        "p_signs": finite_or_none(same.p_signs),
        "same_way": "yes" if surely else "unresolved",
    }


def _word(n: int, low: float, high: float) -> str:
    """From the interval of directedness over runs."""
    if n < FEWEST_RUNS:
        return "unresolved"
    if low > 0:
        return "directed"
    if high < 0:
        return "returning"
    return "walk" if high < NEGLIGIBLE else "unresolved"


def _overall(row: Mapping[str, Any]) -> Verdict:
    """Yes: directed, and the same way where that can be told. No: no more directed than a walk."""
    if row["verdict"] in ("walk", "returning"):
        return "no"
    return "yes" if row["verdict"] == "directed" and row["same_way"] != "unresolved" else "unresolved"


def _real(value: float | None) -> float:
    return math.nan if value is None else value


def _same_way(r: Mapping[str, Any]) -> str:
    if r["p_random"] is None:
        return str(r["same_way"])
    return f"{r['same_way']} ({p_words(r['p_random'])})"


def _within(low: float | None, high: float | None) -> str:
    return interval(_real(low), _real(high), 2)
