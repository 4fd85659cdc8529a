"""How often the interval of a share of universal neurons holds it, and the excess of neurons with nothing in common.

    python -m tests.calibration.universal_neurons [--replicates 1000] [--write]

Prints two tables (minutes on one core); --write puts them into docs/statistics.md. The tests of the suite run two of the cells.
"""

from itertools import permutations

import numpy as np

from queries.stats.means import mean_interval
from queries.stats.universal import highest_by_chance, universal_shares
from tests.calibration.tables import Lines, head, make_tables

THRESHOLD = 0.5
RUNS = (3, 5, 10)
PARTNERS = (0.0, 0.05, 0.15)
TOKENS, FIRING = (1_000, 4_000, 20_000), (0.5, 0.1, 0.02, 0.005)
CANDIDATES = 256

Pairs = list[tuple[int, int]]


def planted(
    rng: np.random.Generator, n_runs: int, partner_sd: float, *, n_neurons: int = 200
) -> tuple[Pairs, list[np.ndarray]]:
    """Excess of every ordered pair: a fifth or so of the neurons of each run have 0.7, others 0.3, and partners differ in all."""
    universal = 1 / (1 + np.exp(1.5 - 0.4 * rng.normal(size=n_runs)))
    partner = partner_sd * rng.normal(size=n_runs)
    own = np.where(rng.random((n_runs, n_neurons)) < universal[:, None], 0.7, 0.3)
    own = own + 0.1 * rng.normal(size=own.shape)
    pairs = list(permutations(range(n_runs), 2))
    return pairs, [own[a] + partner[b] + 0.1 * rng.normal(size=n_neurons) for a, b in pairs]


def held(n_runs: int, partner_sd: float, replicates: int, *, n_truth: int = 4000) -> tuple[float, float]:
    """Share of intervals that hold the mean share: leaving runs out, and taking shares of runs as independent."""
    rng = np.random.default_rng(0)
    truth = float(np.mean([_share(*planted(rng, n_runs, partner_sd)) for _ in range(n_truth)]))
    found = [universal_shares(*planted(rng, n_runs, partner_sd), THRESHOLD) for _ in range(replicates)]
    over_shares = [mean_interval(list(one.by_run.values()), 0.95, (0.0, 1.0)) for one in found]
    return (
        float(np.mean([one.low <= truth <= one.high for one in found])),
        float(np.mean([low <= truth <= high for _, low, high in over_shares])),
    )


def _share(pairs: Pairs, excess: list[np.ndarray]) -> float:
    of_run: dict[int, list[np.ndarray]] = {}
    for (a, _), values in zip(pairs, excess, strict=True):
        of_run.setdefault(a, []).append(values)
    return float(np.mean([(np.mean(found, axis=0) > THRESHOLD).mean() for found in of_run.values()]))


def unrelated(n_tokens: int, firing: float, seed: int = 0) -> tuple[float, float]:
    """Mean excess of neurons of two models with nothing in common, and the share above the threshold.

    Each fires on that share of the tokens, by an exponential amount; the baseline rotates the other model's neurons.
    """
    rng = np.random.default_rng(seed)
    a, b = (
        (rng.random((n_tokens, CANDIDATES)) < firing) * rng.exponential(size=(n_tokens, CANDIDATES))
        for _ in range(2)
    )
    turn, _ = np.linalg.qr(rng.normal(size=(CANDIDATES, CANDIDATES)))
    excess = _highest(a, b) - _highest(a, b @ turn)
    return float(excess.mean()), float((excess > THRESHOLD).mean())


def _highest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    unit = []
    for values in (a, b):
        centred = values - values.mean(axis=0)
        size = np.sqrt((centred**2).sum(axis=0))
        unit.append(centred / np.where(size > 0, size, 1.0))
    highest: np.ndarray = (unit[0].T @ unit[1]).max(axis=1)
    return highest


def table(replicates: int) -> Lines:
    """Markdown: shares of intervals that hold the truth, then excess without a counterpart."""
    yield from [f"{replicates:,} replicates.", ""]
    yield from head("runs", *(f"{sd:g}" for sd in PARTNERS))
    for n_runs in RUNS:
        cells = [held(n_runs, sd, replicates) for sd in PARTNERS]
        yield f"| {n_runs} | {' | '.join(f'{100 * a:.1f} ({100 * b:.1f})' for a, b in cells)} |"
    yield ""
    yield from head("tokens", *(f"{100 * share:g}%" for share in FIRING), "√(2 ln m / n)")
    for n_tokens in TOKENS:
        found = [unrelated(n_tokens, share) for share in FIRING]
        told = " | ".join(f"{mean:.3f}" + (f", {100 * high:.0f}%" if high else "") for mean, high in found)
        yield f"| {n_tokens:,} | {told} | {highest_by_chance(n_tokens, CANDIDATES):.3f} |"


if __name__ == "__main__":
    make_tables("Calibrates shares of universal neurons.", {"universal-neurons": table})
