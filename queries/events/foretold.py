"""One cutoff, answered: which runs are at risk, what can be predicted of them, and what the predictor adds to their settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from queries.reading.onsets import Onsets, RunAt
from queries.reading.run_settings import RunSettings, settings_columns
from queries.reading.select import Selected
from queries.results import Verdict
from queries.stats.distributions import t_quantile
from queries.stats.left_out import Design, design_of
from queries.stats.onset import Onset, foretell, middle

Floats = NDArray[np.float64]

# runs of which the event was seen, of those at risk
LEAST_EVENTS = 10
ALPHA = 0.05
SEED_FIELDS = {"init": "init_seed", "order": "data_order_seed", "split": "split_seed"}


@dataclass(frozen=True)
class Asked:
    """What is asked at every cutoff, as the parameters of the question have it."""

    margin: float
    brier_at: int | None
    ridge: float
    level: float
    draws: int


@dataclass(frozen=True)
class Foretold:
    """One cutoff. runs: every run with its status. found, design: of the runs at risk, None where there is no prediction; why.

    p_adjusted: Holm's over all cutoffs that were tested.
    """

    cutoff: int
    runs: tuple[RunAt, ...]
    brier_at: float
    margin: float
    found: Onset | None = None
    design: Design | None = None
    why: str = ""
    p_adjusted: float = math.nan

    @property
    def at_risk(self) -> list[RunAt]:
        """Runs that can be predicted."""
        return [r for r in self.runs if r.status == "at risk"]

    @property
    def n_events(self) -> int:
        """How many of them got there."""
        return sum(r.bracket.kind == "observed" for r in self.at_risk)

    def having(self, *statuses: str) -> list[RunAt]:
        """Runs of these statuses."""
        return [r for r in self.runs if r.status in statuses]

    @property
    def leads(self) -> Floats:
        """Octaves from the cutoff to the event, of runs at risk that got there."""
        low, high = log2_brackets(self.at_risk)
        seen = np.isfinite(high)
        return middle(low, high)[seen] - _log2(self.cutoff)

    @property
    def verdict(self) -> Verdict:
        """Yes: more than exchanged predictors give, and a gain above 0; no: a gain surely below the margin, with room for it."""
        gain = self.found.gain if self.found else None
        if gain is None or not math.isfinite(gain.low):
            return "unresolved"
        if self.p_adjusted < ALPHA and gain.low > 0:
            return "yes"
        return "no" if gain.high < self.margin and self.has_room else "unresolved"

    @property
    def has_room(self) -> bool:
        """Whether settings alone leave room for twice the gain that matters; without, a small gain says nothing."""
        return self.found is not None and self.found.baseline.c_index.value <= 1 - 2 * self.margin

    @property
    def few_exchanges(self) -> bool:
        """Whether p cannot be significant, however good the predictor."""
        return self.design is not None and self.design.n_arrangements < 1 / ALPHA

    @property
    def detectable(self) -> float:
        """Gain that such an interval would find above 0 with 80 % probability."""
        gain = self.found.gain if self.found else None
        if gain is None or not math.isfinite(gain.df):
            return math.nan
        return (t_quantile(1 - ALPHA / 2, gain.df) + t_quantile(0.8, gain.df)) * gain.se

    @property
    def runs_needed(self) -> int | None:
        """About how many runs at risk would settle what is unresolved; None where nothing says."""
        n = len(self.at_risk)
        if self.n_events < LEAST_EVENTS:
            return math.ceil(LEAST_EVENTS * n / self.n_events) if self.n_events else None
        gain = self.found.gain if self.found else None
        if self.verdict != "unresolved" or gain is None or not math.isfinite(gain.high):
            return None
        if self.few_exchanges or (not self.has_room and gain.value < self.margin / 2):
            return None
        half = gain.high - gain.value
        # what the interval has to get away from: 0 below a gain that matters, the margin above one that does not
        room = gain.value if gain.value >= self.margin / 2 else self.margin - gain.value
        return max(n + 1, math.ceil(n * (half / room) ** 2))


def foretold_at(
    cutoff: int, onsets: Onsets, selected: Selected, settings: RunSettings, asked: Asked
) -> Foretold:
    """Answer one cutoff."""
    runs = tuple(onsets.at(cutoff, selected.ids))
    mine = [r for r in runs if r.status == "at risk"]
    reached = [r.bracket.high for r in mine if r.bracket.kind == "observed"]
    brier_at = float(
        asked.brier_at if asked.brier_at is not None else np.median(reached) if reached else math.nan
    )
    empty = Foretold(cutoff, runs, brier_at, asked.margin)
    if len(reached) < LEAST_EVENTS:
        return replace(empty, why=_too_few(empty))
    values = np.array([r.values for r in mine])
    # rounding is no difference
    if (np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(axis=0)).all():
        return replace(empty, why="the predictor has the same value in all runs")
    groups = [selected.groups[r.run_id] for r in mine]
    rows = [selected.by_id[r.run_id] for r in mine]
    seeds = {name: [getattr(row, field) for row in rows] for name, field in SEED_FIELDS.items()}
    design = design_of(groups, seeds)
    low, high = log2_brackets(mine)
    found = foretell(
        low,
        high,
        settings_columns([settings.values[r.run_id] for r in mine], groups),
        values,
        design,
        cutoff=_log2(cutoff),
        brier_at=_log2(brier_at),
        ridge=asked.ridge,
        level=asked.level,
        most_draws=asked.draws,
    )
    if not found.n_pairs or not math.isfinite(found.gain.value):
        return replace(empty, why="no two runs are in a certain order")
    return replace(empty, found=found, design=design)


def log2_brackets(runs: Sequence[RunAt]) -> tuple[Floats, Floats]:
    """Ends of the brackets as log2 steps; −inf and inf where open."""
    with np.errstate(divide="ignore"):
        low = np.log2(np.array([max(r.bracket.low, 0.0) for r in runs], float))
        high = np.log2(np.array([r.bracket.high for r in runs], float))
    return low, high


def headline(found: Sequence[Foretold]) -> Foretold:
    """The first cutoff that says yes; else that with most events, of those with an answer."""
    yes = [f for f in found if f.verdict == "yes"]
    return yes[0] if yes else max(found, key=lambda f: (f.found is not None, f.n_events, len(f.at_risk)))


def overall(found: Sequence[Foretold]) -> Verdict:
    """Yes where any cutoff says so, no where all that could be tested do."""
    verdicts = {f.verdict for f in found if f.found is not None}
    if "yes" in verdicts:
        return "yes"
    return "no" if verdicts == {"no"} else "unresolved"


def with_adjusted(found: Sequence[Foretold], p: Mapping[int, float]) -> list[Foretold]:
    """The same with adjusted p, by cutoff."""
    return [replace(f, p_adjusted=p[f.cutoff]) for f in found]


def _too_few(f: Foretold) -> str:
    words = f"{f.n_events} of the {len(f.at_risk)} runs at risk got there, and {LEAST_EVENTS} are needed"
    if not f.at_risk:
        n_before = len(f.having("before"))
        words = f"no run is at risk: {n_before} of {len(f.runs)} were there before"
    return words


def _log2(step: float) -> float:
    return math.log2(step) if step > 0 else (-math.inf if step == 0 else math.nan)
