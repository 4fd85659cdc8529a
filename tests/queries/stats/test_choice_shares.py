import math
from itertools import combinations, product

import numpy as np
import pytest

from queries.stats.choice_shares import choice_shares

CELLS = list(product(range(4), range(4)))
SEEDS = {"init": [i for i, _ in CELLS], "split": [s for _, s in CELLS]}
ONE = ["c"] * len(CELLS)


def test_a_seed_that_decides_everything_has_all_of_the_variance() -> None:
    found = choice_shares([[10 * init, 10 * init + 1] for init, _ in CELLS], SEEDS, ONE)

    assert (found["init"].share, found["split"].share) == (1.0, 0.0)
    assert (found["init"].n_same, found["init"].n_other) == (24, 72)
    assert (found["init"].low, found["init"].high) == (1.0, 1.0)
    assert found["split"].low == 0


def test_it_agrees_with_pairs_counted_one_by_one_also_with_missing_cells() -> None:
    rng = np.random.default_rng(0)
    chosen = [rng.choice(9, size=int(rng.integers(1, 4)), replace=False).tolist() for _ in CELLS[:-3]]
    seeds = {name: values[:-3] for name, values in SEEDS.items()}
    near, far = [], []
    for a, b in combinations(range(len(chosen)), 2):
        same_init, same_split = (seeds[name][a] == seeds[name][b] for name in ("init", "split"))
        apart = len(set(chosen[a]) ^ set(chosen[b])) / 2
        if same_init and not same_split:
            near.append(apart)
        if not same_init and not same_split:
            far.append(apart)
    found = choice_shares(chosen, seeds, ONE[:-3])["init"]

    assert found.share == pytest.approx(max(0.0, 1 - np.mean(near) / np.mean(far)))
    assert (found.n_same, found.n_other) == (len(near), len(far))


def test_known_parts_of_the_variance_are_recovered_and_held() -> None:
    """One option chosen of 40: its variance is 1 − 1/40, and agreement by one cause of three is that cause's share."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(60):
        init, split, own = rng.integers(40, size=(3, 6, 6))
        cause = rng.random((6, 6))
        picked = np.where(cause < 0.5, init[:, :1], np.where(cause < 0.7, split[:1], own))
        cells = list(product(range(6), range(6)))
        seeds = {"init": [i for i, _ in cells], "split": [s for _, s in cells]}
        found.append(choice_shares([[int(picked[c])] for c in cells], seeds, [0] * 36))
    # two runs both follow their init with probability 1/4
    for name, share in (("init", 0.25), ("split", 0.04)):
        assert np.mean([f[name].share for f in found]) == pytest.approx(share, abs=0.03)
        assert np.mean([f[name].low <= share <= f[name].high for f in found]) >= 0.88


@pytest.mark.parametrize(
    "seeds",
    [
        pytest.param({"init": [0, 1, 2, 3]}, id="no two share it"),
        pytest.param({"init": [0, 0, 0, 0]}, id="all share it"),
        pytest.param({"init": [0, 0, 1, 1], "split": [0, 0, 1, 1]}, id="seeds go together"),
    ],
)
def test_designs_that_cannot_tell(seeds: dict[str, list[int]]) -> None:
    assert choice_shares([[1], [2], [1], [3]], seeds, [0] * 4) == {}


def test_runs_of_other_conditions_and_equal_choices_say_nothing() -> None:
    assert choice_shares([[1], [2], [1], [3]], {"init": [0, 0, 1, 1]}, [0, 1, 2, 3]) == {}
    assert choice_shares([[1], [1], [1], [1]], {"init": [0, 0, 1, 1]}, [0] * 4) == {}
    few = choice_shares([[1], [2], [1], [3]], {"init": [0, 0, 1, 1]}, [0] * 4)["init"]
    assert math.isnan(few.low)
