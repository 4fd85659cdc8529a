"""Whether seeds are crossed, so that what each of them does can be told apart."""

from collections.abc import Sequence

from queries.reading.crossed_runs import SEED_FIELDS, Factor
from queries.reading.select import RunRow


def is_crossed(runs: Sequence[RunRow], factors: Sequence[Factor]) -> bool:
    """True where two runs of one condition share one of the seeds and differ in another."""
    met: dict[tuple[str, str, Factor, int], set[tuple[int | None, ...]]] = {}
    for run in runs:
        seeds = tuple(getattr(run, SEED_FIELDS[factor]) for factor in factors)
        for factor, seed in zip(factors, seeds, strict=True):
            if seed is not None:
                met.setdefault((run.family, run.condition, factor, seed), set()).add(seeds)
    return any(len(levels) > 1 for levels in met.values())
