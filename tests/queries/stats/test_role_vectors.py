"""Distances of roles by depth: closed forms, a slow twin, and what random places give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.stats.implementations import compare_models, floor
from queries.stats.role_vectors import (
    Model,
    against,
    depth_profile,
    effect_sizes,
    moved_layers,
    profile_distance,
    role_vectors,
    shares_elsewhere,
    vector_distance,
)
from tests.references.depths import earth_mover


def model(n_layers: int, n_heads: int, roles: list[list[tuple[int, int]]], size: float = 1.0) -> Model:
    """roles: per role its heads as (layer, head), all with an effect of `size`."""
    layer = np.repeat(np.arange(n_layers), n_heads)
    having = np.zeros((len(roles), len(layer)), bool)
    for k, heads in enumerate(roles):
        for at, head in heads:
            having[k, at * n_heads + head] = True
    return Model(layer, np.where(having.any(0), size, 0.0), having)


def here(m: Model) -> np.ndarray:
    return m.layer[None]


def test_a_role_half_the_depth_away_is_half_away() -> None:
    a, b = model(5, 4, [[(4, 0)]]), model(5, 4, [[(2, 1)]])
    deeper = model(9, 4, [[(4, 2), (8, 3)]])

    assert profile_distance(depth_profile(a, 0, here(a)), depth_profile(b, 0, here(b))) == [0.5]
    # half of it at the same depth, half of it half the depth away
    assert profile_distance(depth_profile(b, 0, here(b)), depth_profile(deeper, 0, here(deeper))) == [0.25]
    flat, empty = model(1, 4, [[(0, 0)]]), model(5, 4, [[]])
    for other in (flat, empty):
        assert np.isnan(profile_distance(depth_profile(a, 0, here(a)), depth_profile(other, 0, here(other))))


def test_vectors_are_shares_by_role_and_depth() -> None:
    m = model(3, 2, [[(2, 0)], [(0, 1), (2, 1)]])
    other = model(3, 2, [[(2, 1)], [(1, 1), (2, 0)]])
    first, second = role_vectors(m, here(m))[0], role_vectors(other, here(other))[0]

    assert first.reshape(2, 5) == pytest.approx(np.array([[0, 0, 0, 0, 1 / 3], [1 / 3, 0, 0, 0, 1 / 3]]))
    assert vector_distance(first, second) == pytest.approx(1 / 3)
    assert m.shares == pytest.approx([1 / 3, 2 / 3])
    assert np.isnan(role_vectors(model(3, 2, [[]]), here(m))).all()
    # between two depths a layer counts for both in proportion: layer 1 of 4 lies at 1/3
    between = model(4, 2, [[(1, 0)]])
    assert role_vectors(between, here(between))[0] == pytest.approx([0, 2 / 3, 1 / 3, 0, 0])


def test_effects_within_their_noise_are_none() -> None:
    found = effect_sizes(np.array([-1.0, 0.03, 0.05, np.nan, 0.2]), np.array([0.1, 0.02, 0.02, 0.1, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 0.0, 0.05, np.nan, 0.2])


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10_000))
def test_the_distance_is_that_of_moving_earth_step_by_step(n_a: int, n_b: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (p / p.sum() for p in (rng.random(n_a), rng.random(n_b)))
    found = profile_distance(a[None], b[None])[0]

    assert found == pytest.approx(earth_mover(np.linspace(0, 1, n_a), a, np.linspace(0, 1, n_b), b), abs=1e-9)
    assert 0 <= found <= 1
    assert profile_distance(a[None], a[None])[0] == 0


def test_heads_elsewhere_keep_their_number_by_layer() -> None:
    rng = np.random.default_rng(0)
    m = Model(
        np.repeat([0, 1], 4),
        np.array([1, 0, 0, 0, 2, 2, 0, 0.0]),
        np.eye(8, dtype=bool)[[0]] | np.eye(8, dtype=bool)[[4]],
    )
    shares = shares_elsewhere(m, 0, rng, 4000)

    # one of the four heads of either layer: 1/4 of the effect of all, 5
    assert shares.mean() == pytest.approx(0.25, abs=0.01)
    assert set(np.round(shares * 5)) == {0, 1, 2, 3}
    moved = moved_layers(m, rng, 50)
    assert (np.sort(moved, axis=1) == m.layer).all()


def test_what_is_rare_by_chance_has_a_small_p() -> None:
    draws = [np.arange(99.0), np.arange(99.0)]
    assert against(0.0, draws, low=True).p == 2 / 100
    assert against(98.0, draws, low=False).p == 2 / 100
    assert against(49.0, draws, low=True).null_mean == 49
    assert np.isnan(against(np.nan, draws, low=True).p)
    assert np.isnan(against(1.0, [], low=True).p)


def test_models_alike_are_told_from_models_at_random() -> None:
    alike = [model(5, 4, [[(4, k), (4, k + 1)], [(2, k)]]) for k in range(3)]
    roles, whole = compare_models(alike)

    assert [one.depth.null.observed for one in roles] == [0, 0]
    assert max(one.depth.null.p for one in roles) < 0.05
    assert max(one.share.p for one in roles) < 0.05
    assert (whole.null.observed, whole.low, whole.high) == (0, 0, 0)
    assert whole.null.p < 0.01
    assert floor([[m, m] for m in alike]) == 0
    assert np.isnan(floor([[alike[0]]]))


def test_random_places_are_called_alike_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    p = []
    for _ in range(100):
        places = [[divmod(int(i), 4) for i in rng.permutation(20)[:3]] for _ in range(3)]
        roles, whole = compare_models([model(5, 4, [at[:2], at[2:]]) for at in places])
        p.append([whole.null.p, roles[0].depth.null.p, roles[1].depth.null.p])
    rejected = (np.array(p) < 0.05).sum(0)

    assert (rejected <= 12).all()
    assert 0.35 < (np.array(p)[:, 0] < 0.5).mean() < 0.65


def test_effects_of_any_heads_are_not_taken_for_those_of_a_role() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(100):
        models = []
        for _ in range(3):
            m = model(5, 4, [[(int(rng.integers(5)), int(rng.integers(4)))]])
            models.append(Model(m.layer, rng.gamma(1, 1, 20), m.roles))
        p.append(compare_models(models)[0][0].share.p)

    assert (np.array(p) < 0.05).sum() <= 12
