"""How often the test with shared draws is wrong about very many smooth curves, and how often it finds planted steps.

    python -m tests.calibration.shared_null [--curves 4000] [--write]

Prints two tables (two minutes on one core); --write puts them into docs/statistics.md.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from queries.stats.serial_noise import autoregressive
from queries.stats.token_transitions import many_transitions
from tests.calibration.tables import Lines, head, make_tables

Floats = NDArray[np.float64]

DRAWS = 100_000
SCHEDULES: Mapping[str, Floats] = {
    "20 log-spaced": np.unique(np.geomspace(1, 20_000, 21).round()),
    "40 log-spaced": np.unique(np.geomspace(1, 20_000, 44).round()),
    "100 log-spaced": np.unique(np.geomspace(1, 143_000, 112).round()),
    "16 evenly spaced": np.arange(1, 17) * 125.0,
}
KINDS = ("t^-c", "exp(-t/τ)", "log t", "logistic, w 1 to 3", "all of them")
SIGMAS = (0.01, 0.03, 0.1)
PLANTED = (0.05, 0.2)


def smooth(kind: str, t: Floats, n: int, rng: np.random.Generator) -> Floats:
    """(time, curve) of range 1."""
    if kind == KINDS[4]:
        return np.concatenate([smooth(one, t, n // 4, rng) for one in KINDS[:4]], axis=1)
    x = np.log2(t)[:, None]
    if kind == KINDS[0]:
        y = t[:, None] ** -rng.uniform(0.05, 2, n)
    elif kind == KINDS[1]:
        y = np.exp(-t[:, None] / np.exp(rng.uniform(np.log(t[3]), np.log(t[-3]), n)))
    elif kind == KINDS[2]:
        y = -x * np.ones(n)
    else:
        y = -1 / (1 + np.exp(-(x - rng.uniform(x[1], x[-2], n)) / rng.uniform(1, 3, n)))
    found: Floats = (y - y.min(0)) / np.ptp(y, axis=0)
    return found


def noise(t: Floats, n: int, sigma: Floats, rng: np.random.Generator) -> Floats:
    """(time, curve), of the range; correlations of 0, 0.3 and 0.6 side by side."""
    found: Floats = autoregressive(rng, sigma, rng.choice([0, 0.3, 0.6], n), len(t)).astype(np.float64)
    return found


def errors(n: int) -> Lines:
    """Markdown: smooth curves beyond the 99th percentile (p at most 5 %; called a transition), in %."""
    yield from head("checkpoints", *KINDS)
    for schedule, t in SCHEDULES.items():
        cells = []
        for seed, kind in enumerate(KINDS):
            rng = np.random.default_rng(seed)
            sigma = np.exp(rng.uniform(np.log(0.01), np.log(0.5), n))
            found = many_transitions(t, smooth(kind, t, n, rng) + noise(t, n, sigma, rng), draws=DRAWS)
            shares = (found.beyond.mean(), (found.p <= 0.05).mean(), found.found.mean())
            cells.append("{:.2f} ({:.1f}; {:.2f})".format(*(100 * share for share in shares)))
        yield f"| {schedule} | {' | '.join(cells)} |"


def recovered(n: int) -> Lines:
    """Markdown: of steps with w 0.1 to 0.3 among smooth curves, how many are beyond and how many called, in %."""
    yield from head("checkpoints", "steps among the curves", *(f"σ {sigma:g}" for sigma in SIGMAS))
    for schedule in ("40 log-spaced", "100 log-spaced"):
        t = SCHEDULES[schedule]
        x = np.log2(t)
        for share in PLANTED:
            cells = []
            for seed, sigma in enumerate(SIGMAS):
                rng = np.random.default_rng(seed)
                values = smooth(KINDS[4], t, n, rng)
                k = round(share * n)
                centre = rng.uniform(x[0] + 4, x[-1] - 3, k)
                values[:, rng.permutation(n)[:k]] = 0  # so that steps replace all kinds alike
                at = np.flatnonzero(np.ptp(values, axis=0) == 0)
                values[:, at] = 1 - 1 / (1 + np.exp(-(x[:, None] - centre) / rng.uniform(0.1, 0.3, k)))
                found = many_transitions(t, values + noise(t, n, np.full(n, sigma), rng), draws=DRAWS)
                cells.append(f"{100 * found.beyond[at].mean():.0f} ({100 * found.found[at].mean():.0f})")
            yield f"| {schedule} | {share:.0%} | {' | '.join(cells)} |"


def tables(n: int) -> Lines:
    """Both."""
    yield from errors(n)
    yield ""
    yield from recovered(n)


if __name__ == "__main__":
    make_tables(
        "Calibrates the test for transitions with shared draws.",
        {"shared-null": tables},
        of="curves",
        default=4000,
    )
