import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from queries.stats.aft import SIGMA_PRIOR
from queries.stats.left_out import design_of
from queries.stats.onset import Onset, foretell, middle
from tests.calibration.onset import LEVEL, NULLS, PLANS, Plan, asked, outcomes, plant, said_yes
from tests.references.onset import censored_fit, jackknife_se, pair_scores

ALONE = Plan(1, 12)
NOTHING = np.empty((12, 0))


def certain(rng: np.random.Generator, c: np.ndarray, own: np.ndarray, i: np.ndarray) -> np.ndarray:
    return own


def of_setting(rng: np.random.Generator, c: np.ndarray, own: np.ndarray, i: np.ndarray) -> np.ndarray:
    return c.astype(float)


def simple(low: np.ndarray, high: np.ndarray, x: np.ndarray, **given: float) -> Onset:
    design = design_of([0] * len(low), {"init": [*range(len(low))]})
    none = np.empty((len(low), 0))
    return foretell(
        low, high, none, x[:, None], design, **{"cutoff": 5.0, "brier_at": 9.0, "most_draws": 19, **given}
    )  # type: ignore[arg-type]


def test_what_decides_the_time_is_found() -> None:
    found = asked(plant(np.random.default_rng(0), Plan(6, 8), certain), most_draws=99)

    assert found.full.c_index.value > 0.97
    assert found.within.value > 0.9
    assert found.baseline.c_index.value < 0.93
    assert said_yes(found)
    assert found.p == pytest.approx(0.01)
    assert found.full.mae < 0.5 * found.baseline.mae
    assert found.null_mean == pytest.approx(0, abs=0.02)


def test_chances_to_be_there_by_a_time_are_judged_too() -> None:
    planted = plant(np.random.default_rng(0), ALONE, certain)
    at = float(np.median(planted.high))
    found = simple(planted.low, planted.high, planted.predictor[:, 0], brier_at=at)

    # half are there: who knows nothing is wrong by a quarter
    assert found.brier_baseline == pytest.approx(0.25, abs=0.08)
    assert found.brier < 0.12


def test_what_only_repeats_the_setting_adds_nothing() -> None:
    found = asked(plant(np.random.default_rng(0), Plan(6, 8), of_setting))

    assert found.gain.value == pytest.approx(0, abs=0.01)
    assert found.gain.high < 0.05
    # exchanged within conditions it is the same
    assert found.p == 1
    assert found.within.value == 0.5


def test_a_predictor_without_values_of_its_own_changes_nothing() -> None:
    planted = plant(np.random.default_rng(0), ALONE, certain)
    found = simple(planted.low, planted.high, np.full(12, 7.0))

    assert (found.gain.value, found.full.c_index.value, found.baseline.c_index.value) == (0, 0.5, 0.5)
    assert (found.gain.low, found.gain.high) == (0, 0)
    assert found.p == 1


@pytest.mark.parametrize("name", NULLS)
def test_nothing_is_found_where_there_is_nothing(name: str) -> None:
    plan = PLANS["4 settings × 3 inits × 3 splits" if "init" in name else "4 settings × 5 seeds"]
    found = outcomes(plan, NULLS[name], 100)

    assert sum(f.p <= LEVEL for f in found) <= 12
    assert sum(said_yes(f) for f in found) <= 12
    # models that know nothing of the two runs they compare are no better and no worse for a useless number
    assert np.mean([f.gain.value for f in found]) == pytest.approx(0, abs=0.02)


def test_most_runs_may_never_get_there() -> None:
    plan = Plan(4, 8, last=8.6)
    planted = plant(np.random.default_rng(3), plan, certain)
    found = asked(planted, most_draws=99)

    assert np.isinf(planted.high).mean() > 0.5
    assert found.full.c_index.value > 0.95
    assert np.isfinite(found.full.location).all()
    # those that never got there are expected later than those that did
    there = np.isfinite(planted.high)
    assert np.median(found.full.location[~there]) > np.median(found.full.location[there])


def test_agrees_with_pairs_one_by_one() -> None:
    planted = plant(np.random.default_rng(5), Plan(2, 5, last=10.0), certain)
    x = (planted.predictor - planted.predictor.mean()) / planted.predictor.std()
    found = asked(planted, most_draws=99)
    scores = pair_scores(
        planted.low, planted.high, np.hstack([planted.settings, x]), planted.design.block, 1.0, SIGMA_PRIOR
    )

    assert found.n_pairs == len(scores)
    assert found.full.c_index.value == pytest.approx(np.mean([*scores.values()]))
    assert found.full.c_index.se == pytest.approx(jackknife_se(scores, planted.design.unit))
    alike = [v for (i, j), v in scores.items() if planted.design.group[i] == planted.design.group[j]]
    assert found.within.value == pytest.approx(np.mean(alike))
    seen = [v for (_, j), v in scores.items() if np.isfinite(planted.high[j])]
    assert found.rank_corr.value == pytest.approx(2 * np.mean(seen) - 1)


def test_predictions_of_runs_left_out_and_their_scores_are_those_worked_out_by_hand() -> None:
    low = np.array([6.0, 7.0, 7.5, 8.0, 9.0, 9.0])
    high = np.array([6.5, 7.5, 8.0, 8.5, 9.5, np.inf])
    x = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 3.5])
    found = simple(low, high, x)
    z = ((x - x.mean()) / x.std())[:, None]
    errors, squares = [], []
    for k in range(6):
        rest = np.arange(6) != k
        intercept, effects, sigma = censored_fit(low[rest], high[rest], z[rest], 1.0, SIGMA_PRIOR)
        at = intercept + float(z[k] @ effects)
        assert found.full.location[k] == pytest.approx(at, abs=1e-3)
        there = 1 - ndtr((at - 9) / sigma) / ndtr((at - 5) / sigma)
        squares.append((there - (high[k] <= 9)) ** 2)
        if k < 5:
            errors.append(abs(at - (low[k] + high[k]) / 2))

    assert found.full.mae == pytest.approx(np.mean(errors), abs=1e-3)
    assert found.brier == pytest.approx(np.mean(squares), abs=1e-3)
    assert found.n_brier == 6
    # (7, 7.5] and (7.5, 8] are in order, the run last seen at 9 is later than all but the one known to be later still
    assert found.n_pairs == 14


def test_runs_whose_brackets_overlap_are_not_compared() -> None:
    low, high = np.array([6.0, 6.0, 6.4, 8.0]), np.array([7.0, 6.5, 8.0, 9.0])
    assert simple(low, high, np.arange(4.0)).n_pairs == 3


def test_a_run_is_late_only_as_far_as_it_was_seen() -> None:
    low, high = np.array([6.0, 7.0, 8.0, 6.2]), np.array([6.1, 7.1, 8.1, np.inf])
    # of the run last seen at 6.2 only the first is known to be earlier
    assert simple(low, high, np.arange(4.0)).n_pairs == 4


@settings(max_examples=15)
@given(scale=st.floats(0.01, 1000), shift=st.floats(-100, 100), down=st.booleans())
def test_units_of_the_predictor_do_not_matter(scale: float, shift: float, down: bool) -> None:
    planted = plant(np.random.default_rng(2), ALONE, lambda rng, c, own, i: own + rng.normal(size=len(c)))
    x = planted.predictor[:, 0]
    a, b = (
        simple(planted.low, planted.high, v, most_draws=1)
        for v in (x, (-scale if down else scale) * x + shift)
    )

    assert b.gain.value == pytest.approx(a.gain.value)
    assert b.full.location == pytest.approx(a.full.location, abs=1e-5)


def test_all_pairs_right_does_not_mean_certainty() -> None:
    low = np.arange(6.0, 12.0, 0.5)
    found = simple(low, low + 0.25, low)

    assert found.full.c_index.value == 1
    # as of 12 of 12 runs
    assert found.full.c_index.low == pytest.approx(0.025 ** (1 / 12))
    assert found.full.c_index.high == 1
    assert (found.gain.value, found.gain.high) == (0.5, 0.5)
    assert found.gain.low == pytest.approx(0.025 ** (1 / 12) - 0.5)


def test_three_seeds_that_are_all_right_are_three_however_many_conditions() -> None:
    c, i = np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6)
    low = 6.0 + 0.7 * i + 0.1 * c
    design = design_of(c.tolist(), {"init": i.tolist()})
    given = {"cutoff": 5.0, "brier_at": 7.0, "most_draws": 19}
    found = foretell(low, low + 0.05, np.empty((18, 0)), low[:, None], design, **given)

    assert found.within.value == 1
    assert found.within.low == pytest.approx(0.025 ** (1 / 3))


def test_no_change_in_twelve_runs_does_not_mean_none_in_others() -> None:
    low = np.arange(6.0, 12.0, 0.5)
    design = design_of([*range(12)], {"init": [*range(12)]})
    x = np.random.default_rng(0).normal(size=(12, 1))
    found = foretell(
        low, low + 0.25, 3 * low[:, None], 0.01 * x, design, cutoff=5.0, brier_at=8.0, most_draws=19
    )

    assert (found.full.c_index.value, found.baseline.c_index.value, found.gain.value) == (1, 1, 0)
    assert found.gain.high == pytest.approx(1 - 0.025 ** (1 / 12))


def test_where_only_one_run_got_there_nothing_is_claimed() -> None:
    low, high = np.full(6, 8.0), np.array([8.5, *[np.inf] * 5])
    found = simple(low, high, np.arange(6.0))

    assert np.isnan(found.gain.value)
    assert np.isnan(found.p)


def test_the_middle_of_an_open_bracket_is_its_end() -> None:
    low, high = np.array([1.0, -np.inf, 4.0]), np.array([2.0, 3.0, np.inf])
    assert middle(low, high).tolist() == [1.5, 3.0, 4.0]
