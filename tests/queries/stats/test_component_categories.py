"""What became of components: every category planted, the null, and what the errors promise."""

import math

import numpy as np
import pytest
from scipy import stats

from queries.stats.component_categories import CATEGORIES, Thresholds, component_changes, kept_share
from queries.stats.multiple import benjamini_hochberg

NAN = math.nan
# what happens, before, after, similarity, category
PLANTED = [
    ("grows and looks at the same", 0.5, 1.0, 0.98, "reweighted"),
    ("grows and looks elsewhere", 0.5, 1.0, 0.20, "rewired"),
    ("turns its sign", 0.6, -0.6, 0.98, "rewired"),
    ("comes into being", 0.0, 0.8, 0.30, "new"),
    ("comes into being from next to nothing of the other sign", -0.02, 0.8, 0.99, "new"),
    ("goes", 0.8, 0.1, 0.98, "lost"),
    ("grows, and nobody knows where it looks", 0.5, 1.0, NAN, "changed"),
    ("stays", 0.5, 0.51, 0.99, "unchanged"),
    ("stays nothing, and looks elsewhere", 0.0, 0.0, 0.10, "unchanged"),
    ("stays but looks elsewhere", 0.5, 0.5, 0.10, "rewired"),
    ("stays, and nobody knows where it looks", 0.5, 0.5, NAN, "unchanged"),
    ("has no error", 0.5, 1.0, 0.98, "unresolved"),
    ("moves surely, by less than counts, perhaps by as much", 0.5, 0.585, 0.98, "unresolved"),
]


DEFAULT = Thresholds()


def changed(se: float = 0.01, thresholds: Thresholds = DEFAULT) -> "tuple[list[str], float]":
    before, after, similarity = (np.array([row[k] for row in PLANTED]) for k in (1, 2, 3))
    errors = np.array([NAN if row[0] == "has no error" else se for row in PLANTED])
    found = component_changes(
        before, after, (errors, errors), np.full(len(before), 200.0), similarity, thresholds
    )
    return [CATEGORIES[k] for k in found.category], found.bar


def test_every_planted_category_is_found() -> None:
    found, bar = changed()
    assert dict(zip([row[0] for row in PLANTED], found, strict=True)) == {row[0]: row[4] for row in PLANTED}
    assert bar == pytest.approx(0.1)


def test_with_large_errors_nothing_is_said() -> None:
    assert set(changed(se=2.0)[0]) == {"unresolved"}


def test_thresholds_decide_where_categories_begin() -> None:
    names = [row[0] for row in PLANTED]
    loose, _ = changed(thresholds=Thresholds(same=0.15))
    assert loose[names.index("grows and looks elsewhere")] == "reweighted"
    strict, bar = changed(thresholds=Thresholds(gone=0.01, least=0.05))
    assert strict[names.index("goes")] == "reweighted"
    assert bar == pytest.approx(0.05)


def test_p_and_q_are_those_of_a_t_test_one_component_at_a_time() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 12))
    errors = rng.uniform(0.1, 0.5, (2, 12))
    n = rng.integers(5, 30, 12).astype(float)
    n[3] = NAN
    found = component_changes(before, after, (errors[0], errors[1]), n, np.full(12, NAN), Thresholds())
    slow = []
    for a, b, s, t, k in zip(before, after, errors[0], errors[1], n, strict=True):
        z = abs(b - a) / math.sqrt(s**2 + t**2)
        slow.append(2 * (stats.norm.sf(z) if math.isnan(k) else stats.t.sf(z, k - 1)))
    assert found.p == pytest.approx(slow)
    assert found.q == pytest.approx(benjamini_hochberg(np.array(slow)))


def test_exact_zeros_are_unchanged_and_signed_effects_may_be_swapped() -> None:
    zero = np.zeros(4)
    found = component_changes(zero, zero, (zero, zero), np.full(4, 9.0), np.full(4, NAN), Thresholds())
    assert [CATEGORIES[k] for k in found.category] == ["unchanged"] * 4
    rng = np.random.default_rng(1)
    before, after, se = rng.normal(size=30), rng.normal(size=30), np.full(30, 0.3)
    there = component_changes(before, after, (se, se), np.full(30, 50.0), np.full(30, NAN), Thresholds())
    back = component_changes(-after, -before, (se, se), np.full(30, 50.0), np.full(30, NAN), Thresholds())
    swap = {"new": "lost", "lost": "new"}
    assert [swap.get(CATEGORIES[k], CATEGORIES[k]) for k in there.category] == [
        CATEGORIES[k] for k in back.category
    ]


@pytest.mark.parametrize("groups", [8, 60])
def test_where_nothing_changes_hardly_anything_is_called_changed(groups: int) -> None:
    """100 pairs of 40 components; in how many of them any is called changed."""
    rng = np.random.default_rng(groups)
    wrong = 0
    for _ in range(100):
        effects = rng.exponential(size=40) * rng.choice([-1, 1], 40)
        se = rng.uniform(0.05, 0.4, 40)
        # estimates whose errors are themselves estimated from so many groups
        first, second = effects + se * rng.normal(size=(2, 40))
        told = se * np.sqrt(rng.chisquare(groups - 1, (2, 40)) / (groups - 1))
        found = component_changes(
            first, second, (told[0], told[1]), np.full(40, float(groups)), np.full(40, 0.99), Thresholds()
        )
        wrong += bool(found.changed.any())
    assert wrong <= 12


def test_the_share_kept_is_that_of_the_planted_change_with_the_noise_taken_off() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    kept = np.arange(n) < n // 2
    true = np.where(kept, 0.3, 0.1) * rng.choice([-1, 1], n)
    se = np.full(n, 0.1)
    similarity = np.where(kept, 0.95, 0.2)
    effects = true + rng.normal(size=n) * np.hypot(se, se)
    found = component_changes(np.zeros(n), effects, (se, se), np.full(n, 100.0), similarity, Thresholds())
    assert kept_share(found, similarity, 0.9) == pytest.approx(0.09 / (0.09 + 0.01), abs=0.02)
    noise = component_changes(
        np.zeros(n),
        rng.normal(size=n) * np.hypot(se, se),
        (se, se),
        np.full(n, 100.0),
        similarity,
        Thresholds(),
    )
    assert math.isnan(kept_share(noise, similarity, 0.9))
    assert math.isnan(kept_share(found, np.full(n, NAN), 0.9))
