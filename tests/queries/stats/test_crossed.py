import math

import numpy as np
import pytest

from queries.stats.components import two_way
from queries.stats.crossed import CrossedComponent, crossed_components
from tests.references.crossed import anova

NAMES = ("init", "order", "split")


def planted(
    rng: np.random.Generator, shape: tuple[int, ...], sds: dict[str, float], repeats: int = 1
) -> np.ndarray:
    """y = Σ effects with the given sds; keys are letters of axes such as "a", "ab", and "rest"."""
    y = np.zeros((*shape, repeats))
    for name, sd in sds.items():
        if name == "rest":
            y += sd * rng.normal(size=y.shape)
            continue
        size = [n if "abc"[axis] in name else 1 for axis, n in enumerate(shape)]
        y += sd * rng.normal(size=(*size, 1))
    return y


def by_name(found: tuple[CrossedComponent, ...]) -> dict[str, CrossedComponent]:
    return {c.name: c for c in found}


def test_two_factors_are_the_two_way_table() -> None:
    table = np.random.default_rng(0).normal(size=(5, 7))
    found = by_name(crossed_components(table[..., None], ("seed", "item")))
    expected = {c.name: c.estimate for c in two_way(table).components}

    assert {n: c.estimate for n, c in found.items()} == pytest.approx(expected)
    assert sum(c.share for c in found.values()) == pytest.approx(1)


def test_three_factors_by_slow_sums_of_squares() -> None:
    table = planted(np.random.default_rng(1), (3, 4, 2), {"a": 1, "bc": 0.5, "abc": 0.3})
    found = by_name(crossed_components(table, NAMES))
    ms = {effect: ss / df for effect, (ss, df) in anova(table[..., 0]).items()}
    a, b = 0, 1

    assert found["init:order:split"].estimate == pytest.approx(ms[0, 1, 2])
    assert found["init:order"].estimate == pytest.approx((ms[a, b] - ms[0, 1, 2]) / 2)
    assert found["init"].estimate == pytest.approx((ms[(a,)] - ms[0, 1] - ms[0, 2] + ms[0, 1, 2]) / 8)
    assert [c.df for c in found.values()] == [df for _, df in anova(table[..., 0]).values()]


def test_repeats_of_a_cell_part_the_interaction_from_the_rest() -> None:
    table = planted(np.random.default_rng(2), (30, 30), {"a": 1, "ab": 2, "rest": 0.5}, repeats=4)
    found = by_name(crossed_components(table, ("init", "order")))

    assert list(found) == ["init", "order", "init:order", "rest"]
    assert found["init:order"].estimate == pytest.approx(4, rel=0.15)
    assert found["rest"].estimate == pytest.approx(0.25, rel=0.15)


def test_estimates_are_unbiased() -> None:
    rng = np.random.default_rng(3)
    sds = {"a": 1.0, "b": 0.5, "c": 0.0, "ab": 0.7, "abc": 0.4}
    mean = np.mean(
        [[c.estimate for c in crossed_components(planted(rng, (4, 4, 3), sds), NAMES)] for _ in range(200)],
        axis=0,
    )

    # init, order, split, init:order, init:split, order:split, init:order:split
    assert mean == pytest.approx([1, 0.25, 0, 0.49, 0, 0, 0.16], abs=0.15)


def test_intervals_of_components_and_shares_hold_the_truth_as_often_as_promised() -> None:
    rng = np.random.default_rng(4)
    sds = {"a": 1.0, "b": 0.5, "ab": 0.5}
    truth = {"init": 1.0, "order": 0.25, "init:order": 0.25}
    whole = sum(truth.values())
    hits = []
    for _ in range(300):
        found = crossed_components(planted(rng, (5, 5), sds), ("init", "order"))
        hits.append(
            [
                *(c.low <= truth[c.name] <= c.high for c in found),
                *(c.share_low <= truth[c.name] / whole <= c.share_high for c in found),
            ]
        )

    assert np.mean(hits, axis=0).min() >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize("repeats", [1, 2])
def test_shares_of_three_factors_hold_the_truth_as_often_as_promised(repeats: int) -> None:
    rng = np.random.default_rng(0)
    sds = dict.fromkeys(("b", "c", "abc"), 1.0) | dict.fromkeys(("ab", "ac", "bc"), 0.5)
    if repeats > 1:
        sds["rest"] = 0.5
    whole = sum(sd**2 for sd in sds.values())
    letters = dict(zip(NAMES, "abc", strict=True))
    hits = []
    for _ in range(300):
        found = crossed_components(planted(rng, (3, 3, 3), sds, repeats), NAMES)
        truth = [
            sds.get("".join(letters.get(part, part) for part in c.name.split(":")), 0.0) ** 2 for c in found
        ]
        hits.append([c.share_low <= t / whole <= c.share_high for c, t in zip(found, truth, strict=True)])

    # of totals without negative parts 90 % would hold that of the finest, and 83 % with repeats
    assert np.mean(hits, axis=0).min() >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 300)


def test_a_factor_without_effect_is_called_one_as_rarely_as_promised() -> None:
    rng = np.random.default_rng(5)
    found = [
        by_name(crossed_components(planted(rng, (5, 5), {"b": 1, "ab": 1}), ("init", "order")))
        for _ in range(300)
    ]

    # the lower limit of a two-sided 95 % interval exceeds 0 in 2.5 % of nulls
    assert np.mean([f["init"].low > 0 for f in found]) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 300)


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        crossed_components(np.zeros((1, 5, 1)), ("init", "order"))
    with pytest.raises(ValueError, match="shape"):
        crossed_components(np.full((2, 2, 1), np.nan), ("init", "order"))
