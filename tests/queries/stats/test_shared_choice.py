import math
from itertools import combinations, permutations, product

import numpy as np
import pytest

from queries.stats.shared_choice import sharing

CELLS = list(product(range(4), range(4)))  # (init, split), fully crossed


def labels_of(axis: int) -> tuple[list[int], list[int]]:
    """Labels of one factor and, as strata, those of the other."""
    return [cell[axis] for cell in CELLS], [cell[1 - axis] for cell in CELLS]


def test_a_factor_that_decides_everything_is_found_and_the_other_is_not() -> None:
    chosen = [[10 * init, 10 * init + 1] for init, _ in CELLS]
    by_init, by_split = sharing(chosen, *labels_of(0)), sharing(chosen, *labels_of(1))
    assert by_init is not None
    assert by_split is not None

    assert (by_init.n_pairs, by_init.share) == (24, 1.0)
    assert by_init.p < 0.001
    assert by_init.null_high < 1
    # runs of one split have four different inits, so they share nothing, as under any permutation within an init
    assert (by_split.share, by_split.null_mean, by_split.p) == (0.0, 0.0, 1.0)


def test_every_permutation_by_hand() -> None:
    chosen = [[1, 2], [2, 3], [1, 4], [3], [3, 4], [1, 2]]
    labels, strata = [0, 1, 2, 0, 1, 2], ["a", "a", "a", "b", "b", "b"]

    def share(own: list[int]) -> float:
        pairs = [(set(chosen[i]), set(chosen[j])) for i, j in combinations(range(6), 2) if own[i] == own[j]]
        return sum(len(a & b) for a, b in pairs) / sum(min(len(a), len(b)) for a, b in pairs)

    null = [share([*first, *second]) for first in permutations(range(3)) for second in permutations(range(3))]
    found = sharing(chosen, labels, strata)
    assert found is not None

    assert found.share == pytest.approx(share(labels))
    assert found.null_mean == pytest.approx(np.mean(null), abs=0.01)
    assert found.p == pytest.approx(np.mean(np.array(null) >= share(labels) - 1e-9), abs=0.02)


def test_choices_that_no_seed_decides_are_called_alike_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(0)
    labels, strata = labels_of(0)
    p = []
    for _ in range(200):
        chosen = [rng.choice(12, size=3, replace=False).tolist() for _ in CELLS]
        found = sharing(chosen, labels, strata, n_permuted=300, seed=1)
        assert found is not None
        p.append(found.p)

    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(p) <= 0.5) > 0.3


@pytest.mark.parametrize(
    ("labels", "strata"),
    [
        pytest.param([0, 1, 2], ["x"] * 3, id="no two runs share a label"),
        pytest.param([0, 0, 1], ["x", "y", "z"], id="no two runs differ in the label alone"),
        pytest.param([0, 0, 0], ["x"] * 3, id="one label"),
    ],
)
def test_designs_that_cannot_tell(labels: list[int], strata: list[str]) -> None:
    assert sharing([[1], [1], [2]], labels, strata) is None


def test_runs_that_chose_nothing_share_nothing() -> None:
    assert sharing([[], [], [], []], [0, 0, 1, 1], ["x", "y", "x", "y"]) is None
