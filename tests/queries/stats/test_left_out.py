import math

import numpy as np
import pytest

from queries.stats.left_out import MOST_BLOCKS, design_of


def crossed(n_conditions: int, n_init: int, n_split: int) -> tuple[list[int], list[int], list[int]]:
    c, i, s = np.indices((n_conditions, n_init, n_split)).reshape(3, -1)
    return c.tolist(), i.tolist(), s.tolist()


def test_seeds_that_always_go_together_are_one() -> None:
    design = design_of(
        ["a"] * 6 + ["b"] * 6, {"init": [*range(6)] * 2, "split": [*range(10, 16)] * 2, "order": [0] * 12}
    )

    assert list(design.factors) == ["init and split"]
    assert design.by_unit
    # a seed is left out in both conditions
    assert design.unit.tolist() == [*range(6)] * 2
    assert design.n_arrangements == pytest.approx(math.factorial(6))


def test_crossed_seeds_are_kept_apart() -> None:
    c, i, s = crossed(2, 4, 3)
    design = design_of(c, {"init": i, "split": s, "order": [None] * 24})

    assert {name: int(f.max()) + 1 for name, f in design.factors.items()} == {"split": 3, "init": 4}
    assert int(design.unit.max()) + 1 == 12
    assert set(design.sampled) == {"init", "split"}
    assert design.n_arrangements == pytest.approx(24 * 6)


def test_runs_without_seeds_stand_alone() -> None:
    design = design_of(["a", "a", "b", "b", "b"], {"init": [0, None, 1, 2, 3]})

    assert list(design.factors) == ["run"]
    assert design.unit.tolist() == [0, 1, 2, 3, 4]
    assert design.n_arrangements == pytest.approx(2 * 6)


def test_with_few_seeds_runs_are_left_out_alone() -> None:
    c, i, _ = crossed(4, 3, 1)
    design = design_of(c, {"init": i})

    assert not design.by_unit
    assert len(set(design.unit.tolist())) == 12
    assert design.n_arrangements == pytest.approx(6)


def test_two_splits_say_nothing_of_others() -> None:
    c, i, s = crossed(1, 8, 2)
    assert set(design_of(c, {"init": i, "split": s}).sampled) == {"init"}
    assert set(design_of([0] * 8, {"split": [0, 1] * 4}).sampled) == {"run"}


def test_pairs_are_left_out_in_a_bounded_number_of_parts() -> None:
    design = design_of([0] * 40, {"init": [*range(40)]})
    training = design.training(np.array([[0, 0], [0, 1]]))

    assert int(design.block.max()) + 1 == MOST_BLOCKS
    assert (~training[0]).sum() == 4
    assert (~training[1]).sum() == 8
    assert not training[1, [0, 1, 12, 13]].any()


def test_seeds_are_relabelled_alike_in_all_conditions() -> None:
    c, i, s = crossed(3, 4, 2)
    design = design_of(c, {"init": i, "split": s})
    condition, init, split = np.array(c), np.array(i), np.array(s)

    for order in design.exchanged(np.random.default_rng(0), 50):
        assert sorted(order.tolist()) == [*range(24)]
        assert (condition[order] == condition).all()
        new_init = {(a, b) for a, b in zip(init.tolist(), init[order].tolist(), strict=True)}
        new_split = {(a, b) for a, b in zip(split.tolist(), split[order].tolist(), strict=True)}
        assert len(new_init) == 4
        assert len(new_split) == 2


def test_every_relabelling_is_drawn_as_often() -> None:
    design = design_of([0, 0, 0, 1, 1, 1], {"init": [0, 1, 2] * 2})
    drawn = design.exchanged(np.random.default_rng(0), 1200)
    orders, counts = np.unique(drawn, axis=0, return_counts=True)

    assert len(orders) == 6
    assert counts.min() > 150


def test_conditions_that_lack_seeds_keep_theirs() -> None:
    design = design_of(["a", "a", "a", "b", "b", "c"], {"init": [0, 1, 2, 0, 2, 1]})
    groups = np.array([0, 0, 0, 1, 1, 2])

    for order in design.exchanged(np.random.default_rng(1), 20):
        assert (groups[order] == groups).all()
        assert order[5] == 5
