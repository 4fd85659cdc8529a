"""How often `predict_onset` says that a predictor adds something where it does not, and where it does.

    python -m tests.calibration.onset [--replicates 1000] [--write]

Prints a table (minutes on one core); --write puts it into docs/statistics.md. The suite runs the nulls with 100 replicates.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.few_runs import share_interval
from queries.stats.left_out import Design, design_of
from queries.stats.onset import Onset, foretell
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

LEVEL = 0.05
CUTOFF = 5.0
# octaves; checkpoints an eighth of an octave apart, training stops here unless a design says otherwise
SPACING, LAST = 0.125, 12.0
# of 39 draws p is at most 0.05 in 5 % of nulls, not in fewer
DRAWS = 39


@dataclass(frozen=True)
class Plan:
    """Runs of a simulated sweep: conditions × seeds (n_init × n_split crossed where both are given)."""

    n_conditions: int
    n_init: int
    n_split: int = 1
    last: float = LAST

    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(condition, init, split) of every run."""
        c, i, s = np.indices((self.n_conditions, self.n_init, self.n_split)).reshape(3, -1)
        return c, i, s


@dataclass(frozen=True)
class Planted:
    """Brackets, settings, predictor and design, as `foretell` takes them."""

    low: Floats
    high: Floats
    settings: Floats
    predictor: Floats
    design: Design


# of the part of times that conditions leave open, how much the predictor knows
Predictor = Callable[[np.random.Generator, NDArray[np.int64], Floats, Floats], Floats]


def plant(rng: np.random.Generator, plan: Plan, predictor: Predictor) -> Planted:
    """Times fall with the condition, bent; half of the variance within conditions is of the init and split."""
    c, i, s = plan.runs()
    of_condition = 10.0 - 0.6 * c + 0.15 * (c - 1.5) ** 2 / plan.n_conditions
    own = 0.5 * (rng.normal(size=i.max() + 1)[i] + rng.normal(size=s.max() + 1)[s]) + 0.5 * rng.normal(
        size=len(c)
    )
    time = np.maximum(of_condition + 0.6 * own, CUTOFF + SPACING)
    high = np.ceil(time / SPACING) * SPACING
    low = high - SPACING
    never = high > plan.last
    low, high = np.where(never, plan.last, low), np.where(never, np.inf, high)
    x = predictor(rng, c, own, i)
    indicators = np.eye(plan.n_conditions)[c] if plan.n_conditions > 1 else np.empty((len(c), 0))
    slope = (c - c.mean())[:, None] / max(c.std(), 1) if plan.n_conditions > 1 else np.empty((len(c), 0))
    seeds = {"init": i.tolist(), "split": s.tolist()}
    return Planted(low, high, np.hstack([slope, indicators]), x[:, None], design_of(c.tolist(), seeds))


NULLS: Mapping[str, Predictor] = {
    "noise": lambda rng, c, own, i: rng.normal(size=len(c)),
    "bent function of the setting, with noise": lambda rng, c, own, i: (
        (c - 2.0) ** 2 + 0.3 * rng.normal(size=len(c))
    ),
    "of the init, alike in all conditions": lambda rng, c, own, i: (
        rng.normal(size=int(i.max()) + 1)[i.astype(int)] + 0.2 * rng.normal(size=len(c))
    ),
}
REAL: Mapping[str, Predictor] = {
    "half of what settings leave open": lambda rng, c, own, i: own + own.std() * rng.normal(size=len(c)),
    "nine tenths": lambda rng, c, own, i: own + own.std() / 3 * rng.normal(size=len(c)),
}
PLANS: Mapping[str, Plan] = {
    "4 settings × 5 seeds": Plan(4, 5),
    "1 setting × 20 seeds": Plan(1, 20),
    "4 settings × 3 inits × 3 splits": Plan(4, 3, 3),
    "4 settings × 8 seeds, half never there": Plan(4, 8, last=9.125),
}


def asked(planted: Planted, *, most_draws: int = 99, seed: int = 0) -> Onset:
    """What `predict_onset` computes of it."""
    return foretell(
        planted.low,
        planted.high,
        planted.settings,
        planted.predictor,
        planted.design,
        cutoff=CUTOFF,
        brier_at=9.0,
        most_draws=most_draws,
        seed=seed,
    )


def outcomes(
    plan: Plan, predictor: Predictor, replicates: int, *, most_draws: int = DRAWS, seed: int = 1
) -> list[Onset]:
    """So many simulated sweeps, answered."""
    rng = np.random.default_rng(seed)
    return [asked(plant(rng, plan, predictor), most_draws=most_draws, seed=k) for k in range(replicates)]


def said_yes(found: Onset) -> bool:
    """The rule of the answer: significant, and an interval of the gain that is above 0."""
    return found.p <= LEVEL and found.gain.low > 0


def table(replicates: int) -> Lines:
    """Markdown: a row per design, a column per predictor: p ≤ 0.05, yes, mean gain, and intervals that hold that mean."""
    kinds = {**NULLS, **REAL}
    low, high = share_interval(round(LEVEL * replicates), replicates)
    chance = f"{100 * low:.1f} to {100 * high:.1f} % by chance alone"
    yield from [f"{replicates:,} replicates of nulls; 5 % is {chance}.", ""]
    yield from head("runs", *kinds)
    for name, plan in PLANS.items():
        cells = []
        for kind, predictor in kinds.items():
            if plan.n_conditions == 1 and "setting" in kind and kind in NULLS:
                cells.append("")
                continue
            n = replicates if kind in NULLS else replicates // 5
            found = outcomes(plan, predictor, n)
            # with too few events in what is left to learn from there is no answer
            gain = float(np.nanmean([f.gain.value for f in found]))
            shares = (
                [f.p <= LEVEL for f in found],
                [said_yes(f) for f in found],
                [f.gain.low <= gain <= f.gain.high for f in found if np.isfinite(f.gain.value)],
            )
            p, yes, held = (100 * float(np.mean(each)) for each in shares)
            cells.append(f"{p:.1f}, {yes:.1f}, {gain:+.3f}, {held:.0f}")
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    make_tables("Calibrates predictions of when events happen.", {"onset": table})
