"""How often the test for transitions is wrong where there is none, and how often it finds one that is there.

    python -m tests.calibration.transitions [--replicates 1000] [--write]

Prints four tables (minutes on one core); --write puts them into docs/statistics.md. The tests of the suite run the first
with 100 replicates.
"""

import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from queries.stats.few_runs import share_interval
from queries.stats.serial_noise import autoregressive
from queries.stats.smooth_null import SmoothNull
from queries.stats.transition_verdict import LEAST_EXCESS
from tests.calibration.tables import Lines, make_tables

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]
Sizes = Callable[[Floats], Floats]

LEVEL = 0.05
PROMISED_ERRORS, PROMISED_POWER = 0.065, 0.9
# enough to decide at 5 %
DRAWS = 399


def logistic(w: float) -> Curve:
    """Half done in the middle of the octaves."""
    return lambda t: 1 / (1 + np.exp(-np.clip((np.log2(t) - np.log2(t[0] * t[-1]) / 2) / w, -500, 500)))


def bump(t: Floats) -> Floats:
    """A tenth of the range of t^-0.2, within an octave in the middle of the octaves."""
    power = t**-0.2
    return power - 0.1 * np.ptp(power) * logistic(0.15)(t)


NULLS: Mapping[str, Curve] = {
    "t^-0.5": lambda t: t**-0.5,
    "t^-0.1": lambda t: t**-0.1,
    "log t": np.log,
    "exp(-t/2000)": lambda t: np.exp(-t / 2000),
    "logistic, w 1": logistic(1.0),
    "logistic, w 2": logistic(2.0),
}
TRANSITIONS: Mapping[str, Curve] = {
    "logistic, w 0.455": logistic(0.455),
    "logistic, w 0.25": logistic(0.25),
    "logistic, w 0.1": logistic(0.1),
    "10 % bump on t^-0.2": bump,
}
SCHEDULES: Mapping[str, Floats] = {
    "80 log-spaced": np.geomspace(1, 143_000, 80),
    "40 log-spaced": np.geomspace(1, 143_000, 40),
    "20 log-spaced": np.geomspace(1, 143_000, 20),
    "150 log-spaced": np.geomspace(1, 143_000, 150),
    "powers of 2, then every 1,000": np.array(
        [*(2.0**k for k in range(10)), *np.arange(1000.0, 143_001, 1000)]
    ),
    "100 evenly spaced": np.linspace(1000, 100_000, 100),
}
FIRST = "80 log-spaced"
# of the range, and from checkpoint to checkpoint
NOISES = ((0.05, 0.3), (0.01, 0.3), (0.05, 0.7), (0.005, 0.0))


# noise that changes its size along a series: name -> standard deviation at every time, in shares of the range
GROWING: Mapping[str, Sizes] = {
    "grows with √t to σ 0.1": lambda t: 0.1 * np.sqrt(t / t[-1]),
    "doubles after each third, from σ 0.02": lambda t: 0.02 * 2.0 ** (3 * np.arange(len(t)) // len(t)),
    "five times larger from the middle on": lambda t: np.where(np.arange(len(t)) < len(t) // 2, 0.02, 0.1),
    "five times larger in the last fifth": lambda t: np.where(np.arange(len(t)) < len(t) * 4 // 5, 0.02, 0.1),
}
GROWING_AT = (FIRST, "150 log-spaced", "100 evenly spaced", "40 log-spaced", "20 log-spaced")

# what the null does not know: name -> (curve, noise of standard deviation about 1)
BEYOND: Mapping[str, tuple[Curve, Callable[[np.random.Generator, int, int], Floats]]] = {
    "noise five times larger at the end": (
        NULLS["t^-0.5"],
        lambda r, k, n: np.linspace(0.4, 2, k)[:, None] * r.normal(size=(k, n)),
    ),
    "noise five times larger at the start": (
        NULLS["t^-0.5"],
        lambda r, k, n: np.linspace(2, 0.4, k)[:, None] * r.normal(size=(k, n)),
    ),
    "noise with heavy tails (t with 3 degrees)": (
        NULLS["t^-0.5"],
        lambda r, k, n: r.standard_t(3, size=(k, n)) / 3**0.5,
    ),
    "noise with ρ 0.95": (
        NULLS["t^-0.5"],
        lambda r, k, n: autoregressive(r, np.ones(n), np.full(n, 0.95), k).astype(float),
    ),
    "sum of two powers": (lambda t: t**-0.5 + 0.3 * t**-0.05, lambda r, k, n: r.normal(size=(k, n))),
    "sum of two exponentials": (
        lambda t: np.exp(-t / 30) + np.exp(-t / 5000),
        lambda r, k, n: r.normal(size=(k, n)),
    ),
}


def rejections(
    null: SmoothNull, curve: Curve, sigma: float | Floats, rho: float, replicates: int, seed: int
) -> tuple[int, int]:
    """Of so many noisy copies of a curve how many are rejected at 5 %, by octaves and by linear time.

    sigma: of the range, one for all times or one each.
    """
    rng = np.random.default_rng(seed)
    clean = curve(null.times)
    clean = clean / np.ptp(clean)
    noise = autoregressive(rng, np.ones(replicates), np.full(replicates, rho), len(clean)).astype(float)
    noise *= np.broadcast_to(sigma, len(clean))[:, None]
    found = null.test(clean[:, None] + noise, most_draws=DRAWS)
    return int((found.jump & (found.p <= LEVEL)).sum()), int((found.jump & (found.p_linear <= LEVEL)).sum())


def rows(curves: Mapping[str, Curve], replicates: int) -> Iterator[tuple[str, str, str, int, int]]:
    """(curve, schedule, noise, rejected by octaves, by linear time); every noise on the first schedule only."""
    for schedule, times in SCHEDULES.items():
        null = SmoothNull.at(times)
        for sigma, rho in NOISES if schedule == FIRST else NOISES[:1]:
            for seed, (name, curve) in enumerate(curves.items()):
                octaves, linear = rejections(null, curve, sigma, rho, replicates, seed)
                yield name, schedule, f"σ {sigma:g}, ρ {rho:g}", octaves, linear


def table(curves: Mapping[str, Curve], replicates: int) -> str:
    """Markdown: a row per schedule and noise, a column per curve: rejected by octaves (by linear time), in %."""
    cells: dict[tuple[str, str], list[str]] = {}
    for _, schedule, noise, octaves, linear in rows(curves, replicates):
        cells.setdefault((schedule, noise), []).append(
            f"{100 * octaves / replicates:.1f} ({100 * linear / replicates:.1f})"
        )
        print(schedule, noise, cells[schedule, noise][-1], flush=True)
    lines = [f"| checkpoints | noise | {' | '.join(curves)} |", "|---" * (2 + len(curves)) + "|"]
    lines += [f"| {' | '.join([*key, *found])} |" for key, found in cells.items()]
    return "\n".join(lines) + "\n"


def growing(replicates: int) -> str:
    """Markdown: a row per schedule and noise that changes its size, ρ 0.3; cells as those of `table`."""
    lines = [f"| checkpoints | noise | {' | '.join(NULLS)} |", "|---" * (2 + len(NULLS)) + "|"]
    for schedule in GROWING_AT:
        null = SmoothNull.at(SCHEDULES[schedule])
        for name, sizes in GROWING.items():
            found = [
                rejections(null, curve, sizes(null.times), 0.3, replicates, seed)
                for seed, curve in enumerate(NULLS.values())
            ]
            cells = (f"{100 * a / replicates:.1f} ({100 * b / replicates:.1f})" for a, b in found)
            lines.append(f"| {schedule} | {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def beyond(replicates: int) -> str:
    """Markdown: rejected at 5 % in %, and of all how many also have the excess that a transition needs; σ 0.01."""
    null = SmoothNull.at(SCHEDULES[FIRST])
    lines = ["| what | rejected | and excess of 5 % of the range |", "|---|---|---|"]
    for name, (curve, draw) in BEYOND.items():
        clean = curve(null.times)
        noise = 0.01 * draw(np.random.default_rng(0), len(clean), replicates)
        found = null.test((clean / np.ptp(clean))[:, None] + noise, most_draws=DRAWS)
        rejected = found.jump & (found.p <= LEVEL)
        called = rejected & (found.excess >= LEAST_EXCESS)
        lines.append(f"| {name} | {100 * rejected.mean():.1f} | {100 * called.mean():.1f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make the tables."""

    def type_i(n: int) -> Lines:
        low, high = share_interval(round(LEVEL * n), n)
        yield f"{n:,} replicates; 5 % is {100 * low:.1f} to {100 * high:.1f} % by chance alone.\n"
        yield table(NULLS, n).rstrip("\n")

    def shorter(by: int, make: Callable[[int], str]) -> Callable[[int], Lines]:
        return lambda n: (f"{n // by:,} replicates.\n", make(n // by).rstrip("\n"))

    make_tables(
        "Calibrates the test for transitions.",
        {
            "type-i": type_i,
            "growing": shorter(2, growing),
            "beyond": shorter(5, beyond),
            "power": shorter(5, lambda n: table(TRANSITIONS, n)),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
