"""Scores of a principal component beside named scalars, at the checkpoints that the runs of a group have in common."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_specs import EventSpec, parse_event, scalar_names
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.scalars import Scalar, Scalars, read_scalars
from queries.reading.select import Selected
from queries.reading.tables import in_order
from queries.reading.trajectories import Of, Trajectories, read_trajectories, trajectory_wants
from queries.stats.held_out import standardised
from queries.stats.trajectory import align_signs, components_of_gram, time_weights

Floats = NDArray[np.float64]

FEWEST_POINTS = 8


@dataclass(frozen=True)
class GroupScores:
    """Runs of one group at common steps.

    scores: (run, point), signs aligned, in the unit of the vectors; share: of the variance of each run that the component
    has; regressors: (run, point, regressor), standardised over all runs and points; weights: of points, by log time.
    """

    run_ids: tuple[int, ...]
    steps: Floats
    scores: Floats
    share: Floats
    regressors: Floats
    weights: Floats

    @property
    def curves(self) -> Floats:
        """The scores with mean 0 and standard deviation 1 in every run."""
        return standardised(self.scores, self.weights)


@dataclass(frozen=True)
class ComponentScores:
    """Groups by name, and what to say of runs and checkpoints that are not in them."""

    groups: Mapping[str, GroupScores]
    choices: tuple[Choice, ...]
    left_out: LeftOuts
    notes: tuple[str, ...]
    trajectories: Trajectories


def read_component_scores(
    archive: Archive,
    selected: Selected,
    of: Of,
    component: int,
    regressors: Sequence[str],
    logs: bool,
    most: int,
    which: Which,
) -> ComponentScores:
    """Read trajectories and scalars, and put them on common steps, group by group.

    logs: take log10 of every regressor. Raises UsageError for what is no scalar, for regressors that never change, and where no
    run has 8 common checkpoints.
    """
    specs = {text: _regressor(text) for text in regressors}
    wants = [Want(scalar_names(s), ("fact_scalar", "fact_log"), fits=s.fits) for s in specs.values()]
    found = choose_quantities(archive, selected, [*trajectory_wants(of), *wants], which)
    trajectories = read_trajectories(archive, selected, of, which, found[:2])
    asked = {name: Scalar(want, specs[name].part) for name, want in zip(specs, wants, strict=True)}
    scalars = read_scalars(archive, selected, asked, which, found[2:])
    if scalars.missing:
        raise next(iter(scalars.missing.values()))
    known = trajectories.choice.selected
    members: dict[str, list[int]] = {}
    for run in in_order(known, trajectories.runs):
        if all(scalars.curve(name, run) is not None for name in asked):
            members.setdefault(known.groups[run], []).append(run)
    groups, notes = {}, _without(known, trajectories, members)
    for group, runs in members.items():
        made = _group(runs, trajectories, scalars, list(asked), component, logs, most)
        if isinstance(made, str):
            notes.append(f"{group}: {made}.")
        else:
            groups[group] = made
            longer = sum(trajectories.runs[run].steps[-1] > made.steps[-1] for run in runs)
            if longer:
                notes.append(
                    f"{longer} run(s) of {group} go on after step {int(made.steps[-1]):,}, the last that all have, and are read "
                    "up to there."
                )
    if not groups:
        why = notes[0] if notes else "no run has both the products and the regressors."
        raise UsageError(f"no component can be explained: {why} `pathscope status` shows what each run has.")
    choices = (trajectories.choice, *scalars.choices.values())
    used = {c.quantity.quantity_id: c for c in choices}
    measured = {c.checkpoint_id: c for x in (trajectories.left_out, scalars.left_out) for c in x.measured}
    unmeasured = {c.checkpoint_id: c for x in (trajectories.left_out, scalars.left_out) for c in x.unmeasured}
    left_out = LeftOuts(tuple(measured.values()), tuple(unmeasured.values()))
    said = dict.fromkeys([*(n for c in used.values() for n in c.notes), *left_out.limits, *notes])
    return ComponentScores(groups, tuple(used.values()), left_out, tuple(said), trajectories)


def _regressor(text: str) -> EventSpec:
    spec = parse_event(text)
    if spec.level is not None:
        raise UsageError(
            f"{text!r} is an event; a regressor is a scalar without a level, such as "
            "'restricted_loss{frequencies=final}[test]'."
        )
    return spec


def _without(
    selected: Selected, trajectories: Trajectories, members: Mapping[str, Sequence[int]]
) -> list[str]:
    kept = {run for runs in members.values() for run in runs}
    lacking = [selected.by_id[run].run for run in trajectories.runs if run not in kept]
    return (
        [f"{len(lacking)} run(s) lack a regressor and are left out (first: {lacking[0]})."] if lacking else []
    )


def _group(
    runs: Sequence[int],
    trajectories: Trajectories,
    scalars: Scalars,
    names: Sequence[str],
    component: int,
    logs: bool,
    most: int,
) -> GroupScores | str:
    """The runs of a group at their common steps, or why there are none."""
    tables = {run: _finite(run, scalars, names, logs) for run in runs}
    common = set.intersection(
        *(set(trajectories.runs[run].steps.tolist()) & set(tables[run]) for run in runs)
    )
    if len(common) < FEWEST_POINTS:
        return (
            f"{len(common)} checkpoint(s) have products and finite regressors in all {len(runs)} runs, fewer than "
            f"{FEWEST_POINTS}"
        )
    steps = np.array(sorted(common))
    if len(steps) > most:
        steps = steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
    weights = time_weights(steps, "log_time")
    scores, shares = [], []
    for run in runs:
        t = trajectories.runs[run]
        kept = np.searchsorted(t.steps, steps)
        found = components_of_gram(t.gram[np.ix_(kept, kept)], weights, component)
        if found.scores.shape[1] < component or not found.scores[:, component - 1].any():
            return f"component {component} does not move in every run"
        scores.append(found.scores[:, component - 1])
        shares.append(found.shares[component - 1])
    positive = steps > 0
    signs = align_signs([(steps[positive], s[positive, None]) for s in scores])
    x = np.array([[tables[run][step] for step in steps.tolist()] for run in runs])
    mean = np.einsum("rtk,t->k", x, weights) / len(runs)
    sd = np.sqrt(np.einsum("rtk,t->k", (x - mean) ** 2, weights) / len(runs))
    flat = [
        name
        for name, s, m in zip(names, sd, np.abs(x).max(axis=(0, 1)), strict=True)
        if s <= 1e-12 * max(m, 1e-300)
    ]
    if flat:
        return f"{flat[0]} never changes at these checkpoints"
    return GroupScores(
        tuple(runs),
        steps,
        np.stack([s * sign[0] for s, sign in zip(scores, signs, strict=True)]),
        np.array(shares),
        (x - mean) / sd,
        weights,
    )


def _finite(run: int, scalars: Scalars, names: Sequence[str], logs: bool) -> dict[float, list[float]]:
    """Regressors by step, where all are finite (and above 0 for logs)."""
    curves = []
    for name in names:
        steps, values = scalars.curve(name, run) or (np.empty(0), np.empty(0))
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers = np.log10(values) if logs else values
        curves.append(dict(zip(steps.tolist(), numbers.tolist(), strict=True)))
    rows = {step: [c[step] for c in curves] for step in set.intersection(*(set(c) for c in curves))}
    return {step: row for step, row in rows.items() if all(math.isfinite(v) for v in row)}
