"""Principal components of training trajectories, held against what a random walk shows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.trajectories import Of, Trajectories, Trajectory, read_trajectories
from queries.reading.units import among, apart_limits, pooled_units, units_limits
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, Verdict
from queries.stats.distributions import binomial_tail
from queries.stats.over_units import SHARE_METHOD, count_over_units
from queries.stats.random_walk import simulated_walks, walk_share
from queries.stats.trajectory import (
    Components,
    align_signs,
    components_of_gram,
    largest_turns,
    step_lengths,
    time_weights,
    window,
)

Floats = NDArray[np.float64]
Weighting = Literal["log_time", "equal"]

ALPHA = 0.05
FEWEST_POINTS = 8
FEWEST_RUNS = 3

_SUMMARY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("n_checkpoints", pa.int64()),
        ("turn_degrees", pa.float64()),
        ("turn_step", pa.int64()),
        ("null_turn", pa.float64()),
        ("null_turn_q95", pa.float64()),
        ("p_turn", pa.float64()),
    ]
)
_SHARES = pa.schema(
    [
        ("run", pa.string()),
        ("component", pa.int64()),
        ("share", pa.float64()),
        ("null_share", pa.float64()),
        ("null_low", pa.float64()),
        ("null_high", pa.float64()),
        ("ratio", pa.float64()),
        ("closed_form", pa.float64()),
    ]
)


@dataclass(frozen=True)
class _Found:
    """One run: its components, its turn (radians) and where, and those of its own random walks."""

    steps: Floats
    components: Components
    turn: float
    turn_at: float
    null_shares: Floats
    null_turns: Floats

    @property
    def p(self) -> float:
        """Share of walks that turn at least as much; the run counts as one of them."""
        if not len(self.null_turns) or math.isnan(self.turn):
            return math.nan
        return float(((self.null_turns >= self.turn).sum() + 1) / (len(self.null_turns) + 1))


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TrajectoryPca(Answer):
    """Principal components of trajectories.

    table: run, group, step, pc1, pc2, ...: scores in the unit of the vectors, signs aligned between runs.
    summary: per run its largest turn in degrees (angle between the ways into and out of a checkpoint, in the k
    components), the step of it, the mean and 95 % quantile of the same in random walks with its own step
    lengths, and p: the share of walks that turn at least as much.
    shares: per run and component the share of variance, what its random walks have (mean, 95 % range), the ratio,
    and the closed form 6 / (π k)² of a long, evenly weighted walk.
    estimate: share of runs that turn more than 95 % of their walks, its interval over those that share no seed; p_value: of so
    many such runs by chance, among runs of which no two share a seed.
    """

    label: str
    shares: pa.Table
    n_walks: int
    dimensions: int

    def plot(self) -> go.Figure:
        """The runs' paths in the first two components, with where they turn most."""
        from queries.figures.trajectories import paths

        return paths(self)


@query(title="Does a training trajectory turn more than a random walk does?")
def trajectory_pca(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    of: Annotated[
        Of, Field(description="what moves: all weights as one vector, or all logits of the eval set")
    ] = "weights",
    k: Annotated[int, Field(ge=2, le=10, description="how many components")] = 3,
    weighting: Annotated[
        Weighting,
        Field(description="log_time: checkpoints weigh the log time they stand for; equal: one each"),
    ] = "log_time",
    after_step: Annotated[int, Field(ge=0, description="only checkpoints from this step on")] = 0,
    max_checkpoints: Annotated[
        int, Field(ge=FEWEST_POINTS, le=1000, description="use about this many per run, evenly among them")
    ] = 128,
    n_walks: Annotated[int, Field(ge=19, le=100_000, description="random walks per run")] = 1000,
    dimensions: Annotated[
        int,
        Field(ge=2, description="of the space the walks take their directions from; fewer: walks turn more"),
    ] = 1000,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> TrajectoryPca:
    """Scores and shares of the first k components per run, and the largest turn against simulated random walks.

    A walk in many dimensions already gives 61 %, 15 % and 7 % of its variance to the first three components and
    draws a smooth curve with a turn of about 50 degrees, so neither is evidence by itself. Each run is held
    against walks that take steps of the same lengths in random directions. Components are fitted on all
    checkpoints asked for: they know the future.
    """
    trajectories = read_trajectories(archive, select_runs(archive, runs), of, which)
    selected = trajectories.choice.selected
    used = {run: t.from_step(after_step) for run, t in trajectories.runs.items()}
    n_all = {run: len(t.steps) for run, t in used.items()}
    used = {run: t.thinned(max_checkpoints) for run, t in used.items() if len(t.steps) > 2}
    if not used:
        raise UsageError(
            f"no run has 3 checkpoints with {trajectories.choice.quantity.measure} from step {after_step:,} on."
        )
    found = {run: _analysed(used[run], weighting, k, n_walks, dimensions) for run in in_order(selected, used)}
    tested = {run: f.p <= ALPHA for run, f in found.items() if not math.isnan(f.p)}
    n_turning = sum(tested.values())
    pooled, units = pooled_units(selected, found)
    low, high = count_over_units(list(tested.values()), units.of(tested), confidence)
    apart = [tested[run] for run in units.apart(tested)]
    p = binomial_tail(sum(apart), len(apart), ALPHA) if apart else math.nan
    label = f"components of {of}"
    # shared seeds are taken into account here
    provenance = Provenance.of(archive, [trajectories.choice], trajectories.left_out)
    provenance = replace(provenance, shared_seeds=())
    interval_of = SHARE_METHOD if units.shared else "exact (Clopper-Pearson)"
    return TrajectoryPca(
        sentence=_sentence(
            of, found, n_turning, f"{len(tested)}{among(units.columns(tested))}" if tested else "", p
        ),
        table=_table(selected, found, k),
        summary=_summary(selected, found),
        shares=_shares(selected, found),
        label=label,
        n_walks=n_walks,
        dimensions=dimensions,
        n_runs=len(found),
        unit="share of runs",
        estimate=n_turning / len(tested) if tested else math.nan,
        ci_low=low if tested else math.nan,
        ci_high=high if tested else math.nan,
        ci_level=confidence,
        ci_method=f"runs that turn more than 95 % of their walks, {interval_of}" if tested else "",
        null_name=f"random walks with the runs' own step lengths in {dimensions:,} dimensions"
        if tested
        else "",
        null_mean=ALPHA if tested else math.nan,
        p_value=p,
        verdict=_verdict(n_turning, len(tested), len(apart), p, high),
        limits=(
            *provenance.limits,
            *trajectories.choice.notes,
            *trajectories.left_out.limits,
            *units_limits(pooled, "shares of runs"),
            *apart_limits(selected, pooled, "p"),
            *_limits(trajectories, found, n_all, max_checkpoints, dimensions, weighting),
        ),
        provenance=provenance,
        sql=trajectories.sql,
    )


def _analysed(t: Trajectory, weighting: Weighting, k: int, n_walks: int, dimensions: int) -> _Found:
    weights = time_weights(t.steps, weighting)
    components = components_of_gram(t.gram, weights, k)
    lengths = step_lengths(t.gram)
    if len(t.steps) < FEWEST_POINTS or not lengths.any():
        return _Found(
            t.steps, components, math.nan, math.nan, np.empty((0, components.scores.shape[1])), np.empty(0)
        )
    turn, at = largest_turns(components.scores[None])
    shares, turns = simulated_walks(lengths, weights, k=k, dimensions=dimensions, n_walks=n_walks)
    return _Found(t.steps, components, float(turn[0]), float(t.steps[at[0]]), shares, turns)


def _verdict(n_turning: int, n: int, n_apart: int, p: float, high: float) -> Verdict:
    """Most of at least 3 independent runs turn more than walks (yes), fewer than half do (no), or neither is shown."""
    if n_apart >= FEWEST_RUNS and p < ALPHA and n_turning > n / 2:
        return "yes"
    return "no" if n and high < 0.5 else "unresolved"


def _table(selected: Selected, found: Mapping[int, _Found], k: int) -> pa.Table:
    tracks = [(f.steps[f.steps > 0], _padded(f.components.scores[f.steps > 0], k)) for f in found.values()]
    parts = []
    for (run, f), signs in zip(found.items(), align_signs(tracks), strict=True):
        scores = _padded(f.components.scores, k) * signs
        n, row = len(f.steps), selected.by_id[run]
        known = f.components.scores.shape[1]
        parts.append(
            pa.table(
                {
                    "run": pa.array([row.run] * n, pa.string()),
                    "group": pa.array([selected.groups[run]] * n, pa.string()),
                    "step": pa.array(f.steps.astype(np.int64)),
                    **{
                        f"pc{c + 1}": pa.array(scores[:, c] if c < known else [None] * n, pa.float64())
                        for c in range(k)
                    },
                }
            )
        )
    return pa.concat_tables(parts)


def _padded(scores: Floats, k: int) -> Floats:
    """With columns of 0 for components that so few checkpoints do not have."""
    return np.pad(scores, ((0, 0), (0, k - scores.shape[1])))


def _summary(selected: Selected, found: Mapping[int, _Found]) -> pa.Table:
    rows = [
        {
            "run": selected.by_id[run].run,
            "group": selected.groups[run],
            "n_checkpoints": len(f.steps),
            "turn_degrees": None if math.isnan(f.turn) else math.degrees(f.turn),
            "turn_step": None if math.isnan(f.turn) else int(f.turn_at),
            "null_turn": math.degrees(float(f.null_turns.mean())) if len(f.null_turns) else None,
            "null_turn_q95": math.degrees(float(np.quantile(f.null_turns, 0.95)))
            if len(f.null_turns)
            else None,
            "p_turn": None if math.isnan(f.p) else f.p,
        }
        for run, f in found.items()
    ]
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def _shares(selected: Selected, found: Mapping[int, _Found]) -> pa.Table:
    rows = []
    for run, f in found.items():
        for c, share in enumerate(f.components.shares.tolist()):
            null = f.null_shares[:, c]
            low, high = np.quantile(null, [0.025, 0.975]) if len(null) else (math.nan, math.nan)
            mean = float(null.mean()) if len(null) else math.nan
            rows.append(
                {
                    "run": selected.by_id[run].run,
                    "component": c + 1,
                    "share": share,
                    "null_share": mean,
                    "null_low": float(low),
                    "null_high": float(high),
                    "ratio": share / mean,
                    "closed_form": walk_share(c + 1),
                }
            )
    return pa.Table.from_pylist(rows, schema=_SHARES)


def _sentence(of: str, found: Mapping[int, _Found], n_turning: int, tested: str, p: float) -> str:
    """tested: how many runs have a turn, and how many of them are independent; empty where none has."""
    first = [float(f.components.shares[0]) for f in found.values() if np.isfinite(f.components.shares[0])]
    if not first:
        return f"The {of} do not move in any of {len(found)} runs."
    null = [float(f.null_shares[:, 0].mean()) for f in found.values() if len(f.null_shares)]
    runs = f"{len(found)} run{'s' if len(found) != 1 else ''}"
    text = f"The first component of the {of} carries {_range(first)} of the variance in {runs}"
    if not tested:
        return f"{text}; no run has the {FEWEST_POINTS} checkpoints that a turn needs."
    turns = [math.degrees(f.turn) for f in found.values() if not math.isnan(f.turn)]
    nulls = [math.degrees(float(f.null_turns.mean())) for f in found.values() if len(f.null_turns)]
    return (
        f"{text} (random walks: {_range(null)}); {n_turning} of {tested} turn more than 95 % of their walks "
        f"(p = {number(p, 2)}), by {np.median(turns):.0f} degrees in the median run against {np.median(nulls):.0f}."
    )


def _range(shares: list[float]) -> str:
    low, high = min(shares), max(shares)
    return f"{low:.0%}" if f"{low:.0%}" == f"{high:.0%}" else f"{low:.0%} to {high:.0%}"


def _limits(
    trajectories: Trajectories,
    found: Mapping[int, _Found],
    n_all: Mapping[int, int],
    most: int,
    dimensions: int,
    weighting: Weighting,
) -> list[str]:
    lines = [
        f"The walks are isotropic, in {dimensions:,} dimensions: training whose noise lives in few directions turns more "
        "than they do without any event, so a yes rules out this null, not every featureless one. One that is gone with fewer "
        "`dimensions` rests on their number.",
        "Checkpoints follow from one another: many of them in one run are no repeats, only runs are.",
    ]
    few = [run for run, n in n_all.items() if n < FEWEST_POINTS]
    if few:
        name = trajectories.choice.selected.by_id[few[0]].run
        lines.append(
            f"{len(few)} run(s) have fewer than {FEWEST_POINTS} checkpoints (first: {name}) and no turn."
        )
    thinned = sum(n > most for n in n_all.values())
    if thinned:
        lines.append(f"{thinned} run(s) have more checkpoints than the {most} used (max_checkpoints).")
    if trajectories.n_dropped:
        lines.append(
            f"{trajectories.n_dropped} checkpoint(s) lack inner products with some others and are left out; "
            f"`pathscope ingest STUDY --fill {trajectories.choice.quantity.measure}` after a drop measures all."
        )
    if trajectories.sketched:
        lines.append("Inner products are those of random projections: distances are right to about 2 %.")
    if weighting == "log_time":
        lines.append(
            "Checkpoints weigh the log time they stand for; the closed form is for even weights, the walks have the same weights."
        )
    widths = [window(len(f.steps)) for f in found.values()]
    lines.append(
        f"Turns are between ways of {max(widths)} checkpoint(s): a sharper or slower one counts the same."
    )
    return lines
