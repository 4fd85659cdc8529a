import math
from itertools import permutations, product

import numpy as np
import pytest

from queries.stats.relabelling import relabellings
from queries.stats.stratified_auc import Stratum, outer_interval, separation
from tests.calibration.initial_weights import Design, frequencies, heads


def stratum(
    run: int, cluster: int, scores: list[float], has: list[int], still_open: list[int] | None = None
) -> Stratum:
    mine, unknown = (np.isin(np.arange(len(scores)), chosen) for chosen in (has, still_open or []))
    return Stratum(run, cluster, np.array(scores, float), mine, ~mine & ~unknown)


def by_loops(strata: list[Stratum], start_of: dict[int, int]) -> float:
    """The mean AUC, pair by pair."""
    won: dict[int, list[float]] = {}
    for s in strata:
        for i in np.flatnonzero(s.has):
            for j in np.flatnonzero(s.lacks):
                x, y = s.scores[i], s.scores[j]
                won.setdefault(s.run, []).append(1.0 if x > y else 0.5 if x == y else 0.0)
    starts: dict[int, list[float]] = {}
    for run, pairs in won.items():
        starts.setdefault(start_of[run], []).append(float(np.mean(pairs)))
    return float(np.mean([np.mean(aucs) for aucs in starts.values()]))


def test_the_highest_of_a_layer_has_it_in_every_run() -> None:
    strata = [stratum(k, k, [1, 2, 3, 9], [3]) for k in range(3)]
    found = separation(strata, {0: 0, 1: 1, 2: 2})
    assert found is not None

    assert found.auc == 1
    assert found.by_run == {0: 1, 1: 1, 2: 1}
    assert (found.n_starts, found.n_strata, found.n_pairs, found.exact) == (3, 3, 9, True)
    # 4³ places, and all highest or all lowest are as far from 0.5
    assert found.p == pytest.approx(2 / 64) == found.least_p
    assert found.null_mean == pytest.approx(0.5)
    # one of 4 ranks: variance of (rank − 1) / 3 is (16 − 1) / 12 / 9
    assert found.null_sd == pytest.approx(math.sqrt(15 / 108 / 3))
    # three that agree leave as much open as chance does
    assert found.low == pytest.approx(1 - 1.96 * found.null_sd, abs=1e-4)


def test_runs_of_one_start_are_one_observation() -> None:
    strata = [stratum(k, 0, [1, 2, 3, 9], [3]) for k in range(3)]
    found = separation(strata, dict.fromkeys(range(3), 0))
    assert found is not None

    assert (found.auc, found.n_starts) == (1, 1)
    # the heads of all three are moved together: 4 places, not 64
    assert found.p == pytest.approx(2 / 4)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert math.isnan(found.detectable)


def test_it_agrees_with_loops_over_pairs_and_over_all_permutations() -> None:
    rng = np.random.default_rng(0)
    start_of = {0: 0, 1: 0, 2: 1}
    strata = [
        stratum(0, 0, rng.integers(0, 3, 4).tolist(), [0, 1]),
        stratum(1, 0, rng.random(4).tolist(), [1], [3]),
        stratum(2, 1, rng.random(4).tolist(), [2]),
        stratum(2, 2, rng.random(3).tolist(), [0], [1]),
    ]
    found = separation(strata, start_of)
    assert found is not None
    null = []
    for first, second, third in product(
        permutations(range(4)), permutations(range(4)), permutations(range(3))
    ):
        orders = {0: list(first), 1: list(second), 2: list(third)}
        moved = [
            Stratum(s.run, s.cluster, s.scores, s.has[orders[s.cluster]], s.lacks[orders[s.cluster]])  # type: ignore[index]
            for s in strata
        ]
        null.append(by_loops(moved, start_of))
    far = np.abs(np.array(null) - 0.5)

    assert found.auc == pytest.approx(by_loops(strata, start_of))
    assert found.exact
    assert found.p == pytest.approx(np.mean(far >= abs(found.auc - 0.5) - 1e-9))
    assert found.null_mean == pytest.approx(np.mean(null))
    assert found.null_sd == pytest.approx(np.std(null))
    assert found.least_p == pytest.approx(np.mean(far >= far.max() - 1e-9))


def test_many_arrangements_are_drawn_and_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    strata = [stratum(k, k, rng.random(6).tolist(), [0, 1]) for k in range(3)]
    every = separation(strata, {k: k for k in range(3)})
    monkeypatch.setattr("queries.stats.stratified_auc.MOST_ARRANGEMENTS", 10)
    drawn = separation(strata, {k: k for k in range(3)})
    assert every is not None
    assert drawn is not None

    assert (every.exact, drawn.exact) == (True, False)
    assert drawn.p == pytest.approx(every.p, abs=0.02)
    assert drawn.null_sd == pytest.approx(every.null_sd, rel=0.03)
    assert drawn.least_p == pytest.approx(1 / 10_001)


def test_only_the_order_of_scores_matters_and_its_reverse_reverses_the_answer() -> None:
    rng = np.random.default_rng(2)
    scores = rng.random((3, 5))
    one, grown, turned = (
        separation([stratum(k, k, f(scores[k]).tolist(), [0, 3]) for k in range(3)], {k: k for k in range(3)})
        for f in (np.array, np.exp, np.negative)
    )
    assert one is not None
    assert grown is not None
    assert turned is not None

    assert one == grown
    assert turned.auc == pytest.approx(1 - one.auc)
    assert turned.p == pytest.approx(one.p)


@pytest.mark.parametrize(
    ("scores", "has", "why"),
    [
        ([1, 2, 3], [], "none have it"),
        ([1, 2, 3], [0, 1, 2], "none lack it"),
        ([1, 2, math.nan], [0], "scores are missing"),
        ([5, 5, 5 + 1e-6], [0], "scores are all the same"),
        ([0, 0, 0], [0], "scores are all the same"),
    ],
)
def test_what_tells_nothing_is_left_out(scores: list[float], has: list[int], why: str) -> None:
    odd = stratum(0, 0, scores, has)
    good = stratum(1, 1, [1, 2, 3], [2])

    assert odd.why_not == why
    assert separation([odd], {0: 0}) is None
    found = separation([odd, good], {0: 0, 1: 1})
    assert found is not None
    assert (found.by_run, found.n_strata) == ({1: 1.0}, 1)


def test_frequencies_are_moved_as_their_group_moves_them() -> None:
    scores = np.random.default_rng(3).random(5)
    key = [int(scores.argmax())]
    found = separation([stratum(0, 0, scores.tolist(), key)], {0: 0}, moves={0: relabellings(5)})
    assert found is not None

    # modulo 11 each of the 5 multiplications takes the key frequency elsewhere
    assert found.auc == 1
    assert found.p == pytest.approx(2 / 5)
    assert found.exact


def test_an_interval_is_no_narrower_than_either_reason_says() -> None:
    assert outer_interval([0.5, 0.5, 0.5], 0.1, 0.95) == pytest.approx((0.5, 0.304, 0.696), abs=1e-3)
    mean, low, high = outer_interval([0.1, 0.5, 0.9], 0.0001, 0.95)
    assert (mean, low, high) == (pytest.approx(0.5), 0, 1)
    assert math.isnan(outer_interval([0.7], 0.1, 0.95)[1])


@pytest.mark.parametrize(
    ("simulate", "design"),
    [
        pytest.param(heads, Design(5, 1), id="heads, an init a run"),
        pytest.param(heads, Design(3, 4), id="heads, shared inits"),
        pytest.param(frequencies, Design(4, 4), id="frequencies, inits × splits"),
    ],
)
def test_scores_that_tell_nothing_are_said_to_as_rarely_as_promised(simulate, design: Design) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    found = [simulate(rng, design, 0.0) for _ in range(100)]

    assert sum(f.p <= 0.05 for f in found) <= 12
    assert sum(f.p <= 0.5 for f in found) > 30
    assert np.mean([f.auc for f in found]) == pytest.approx(0.5, abs=0.05)
    assert sum(f.low <= 0.5 <= f.high for f in found) >= 88


def test_a_planted_relation_is_found_and_runs_taken_for_inits_would_err() -> None:
    rng = np.random.default_rng(5)
    found = [heads(rng, Design(10, 1), 0.5) for _ in range(20)]
    wrong = [heads(rng, Design(3, 6, shared=1.0), 0.0, together=False) for _ in range(60)]

    assert sum(f.p <= 0.05 for f in found) >= 18
    assert sum(f.p <= 0.05 for f in wrong) > 12
