"""What an explained component says and cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queries.reading.units import among
from queries.render import interval, number
from queries.stats.held_out import FEWEST_RUNS, FEWEST_UNITS

if TYPE_CHECKING:
    from queries.reading.trajectories import Of, Trajectories

ALPHA = 0.05


def explained_sentence(
    of: "Of", component: int, regressors: Sequence[str], summary: Sequence[Mapping[str, Any]]
) -> str:
    """What is predicted in runs left out, beside what other runs' regressors predict and what the fit itself says."""
    what = f"component {component} of the {of}"
    names = " and ".join(regressors) if len(regressors) < 3 else f"{len(regressors)} regressors"
    if len(summary) > 1:
        n = sum(r["verdict"] == "yes" for r in summary)
        return f"In {n} of {len(summary)} groups {names} explain {what} of runs left out; each is in the summary."
    r = summary[0]
    within = (
        f"within runs they explain {number(r['r2'], 2)} of its variance, where random walks explain "
        f"{number(r['walk_r2'], 2)}"
    )
    if r["holdout_r2"] is None:
        return f"One run has {names} and {what}: {within}, which is no answer without other runs."
    ends = "" if r["low"] is None else f" {interval(r['low'], r['high'], 2)}"
    found = {"yes": "they explain some of what is a run's own", "no": "they do not explain it"}.get(
        r["verdict"], "unresolved"
    )
    runs = f"{r['n_runs']} runs{among(r)}"
    return (
        f"Of the variance of {what} in runs left out, each of {runs}, {names} predict {number(r['holdout_r2'], 2)}{ends}, and "
        f"{number(r['swapped_r2'], 2)} with the regressors of other runs (p = {number(r['p'], 2)}): {found}; {within}."
    )


def explained_limits(
    summary: Sequence[Mapping[str, Any]], trajectories: "Trajectories", regressors: Sequence[str]
) -> list[str]:
    """What every answer about components has to say."""
    lines = [
        "Checkpoints of a run follow from one another and are about ten observations, however many: r2 within a run and its p "
        "against walks say little (monotone curves without any connection pass it in 4 of 5 cases); intervals resample "
        "blocks of a quarter of the checkpoints.",
        "Components and some regressors are fitted with the future in view, and each run's scores are in units of their own: "
        "this describes, it does not predict.",
        "p is that of one set of regressors, one component and one scale: of several that were tried, the best is no test. "
        "`pathscope hypothesis add` before the runs are trained says which one was meant.",
    ]
    few = [r for r in summary if r["n_runs"] < FEWEST_RUNS]
    if few:
        lines.append(
            f"{few[0]['group']} has {few[0]['n_runs']} run(s) with all this: nothing is said below "
            f"{FEWEST_RUNS}, as no arrangement of so few runs is rarer than 5 %."
        )
    dependent = [r for r in summary if r["n_runs"] >= FEWEST_RUNS and r["n_units"] < FEWEST_UNITS]
    if dependent:
        r = dependent[0]
        lines.append(
            f"{r['group']} has {r['n_runs']} runs{among(r)}: nothing is said below {FEWEST_UNITS} independent ones."
        )
    shared = [
        r
        for r in summary
        if r["n_runs"] >= FEWEST_RUNS and r["p"] is not None and r["p"] >= ALPHA and (r["low"] or 0) > 0
    ]
    if shared:
        lines.append(
            f"In {shared[0]['group']} regressors of other runs predict about as well as a run's own: all runs do the same at the "
            "same time, so any curve of that shape, time itself included, would explain the component. Runs that differ in when "
            "things happen could tell."
        )
    if len(regressors) > 1:
        lines.append("Coefficients of regressors that go together are not to be read one by one.")
    if any("final" in name for name in regressors):
        lines.append("Frequencies of the final checkpoint know the end of training, also early on.")
    if trajectories.n_dropped:
        lines.append(
            f"{trajectories.n_dropped} checkpoint(s) lack inner products with some others and are left out; "
            f"`pathscope ingest STUDY --fill {trajectories.choice.quantity.measure}` after a drop measures all."
        )
    if trajectories.sketched:
        lines.append("Inner products are those of random projections: distances are right to about 2 %.")
    return lines
