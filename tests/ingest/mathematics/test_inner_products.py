"""Inner products of checkpoints, exact and from random projections: the mathematics."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.inner_products import product_rows, sketch
from ingest.streams import stream
from tests.references.trajectories import gram_by_loops, sketch_by_loops


def vectors(n: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_blocks(matrix: torch.Tensor, size: int) -> list[torch.Tensor]:
    return list(torch.split(matrix, size, dim=1))


@given(st.integers(1, 5), st.integers(1, 12), st.integers(1, 13), st.integers(0, 99))
def test_rows_are_those_of_the_gram_matrix(n: int, size: int, block: int, seed: int) -> None:
    x = vectors(n, size, seed)
    found = product_rows(in_blocks(x, block), list(range(n)))
    expected = gram_by_loops(x.tolist())
    for i, row in enumerate(found):
        assert row.tolist() == pytest.approx(expected[i][: i + 1], rel=1e-12, abs=1e-12)


def test_only_what_is_wanted_and_the_same_bits_whatever_else_there_is() -> None:
    x = vectors(9, 70_001)
    whole = product_rows(in_blocks(x, 65_536), range(9))
    for n in range(1, 10):
        shorter = product_rows(in_blocks(x[:n], 65_536), [n - 1])
        assert torch.equal(shorter[0], whole[n - 1])
    some = product_rows(in_blocks(x, 65_536), [2, 7])
    assert torch.equal(some[0], whole[2])
    assert torch.equal(some[1], whole[7])


def test_blocks_are_looked_at_once_and_may_be_forgotten() -> None:
    x = vectors(4, 30)
    alive = 0

    def passing():
        nonlocal alive
        for block in in_blocks(x, 7):
            alive += 1
            yield block

    product_rows(passing(), range(4))
    assert alive == 5


# --- sketches ----------------------------------------------------------------------------------------------


def test_a_sketch_agrees_with_the_loops() -> None:
    pieces = [("a", vectors(1, 70_000)[0]), ("b.c", vectors(1, 5, seed=1).view(5, 1))]

    def draw(name: str, block: int, n: int) -> list[int]:
        return stream(3, f"sketch.{name}", block).randint(0, 64, n).tolist()

    expected = sketch_by_loops([(name, v.flatten().tolist()) for name, v in pieces], draw, 32)
    assert sketch(pieces, dimension=32, seed=3).tolist() == pytest.approx(expected, rel=1e-10)


def test_inner_products_are_right_on_average_with_the_stated_spread() -> None:
    x, y = vectors(2, 300, seed=4)
    y = y + 0.7 * x
    pairs = [
        (sketch([("w", x)], dimension=64, seed=s), sketch([("w", y)], dimension=64, seed=s))
        for s in range(600)
    ]
    products = np.array([float(a @ b) for a, b in pairs])
    variance = (x @ x * (y @ y) + (x @ y) ** 2 - 2 * (x**2 * y**2).sum()) / 64
    sd = math.sqrt(variance)
    assert abs(products.mean() - float(x @ y)) < 4 * sd / math.sqrt(600)
    # a standard deviation of 600 draws is known to about 3%
    assert products.std(ddof=1) == pytest.approx(sd, rel=0.12)
    bound = math.sqrt(2 / 64) * float(x.norm() * y.norm())
    assert sd <= bound


def test_small_differences_of_large_vectors_survive() -> None:
    x = 100 * vectors(1, 5000, seed=5)[0]
    step = vectors(1, 5000, seed=6)[0]
    found = (sketch([("w", x + step)]) - sketch([("w", x)])).square().sum()
    # relative standard deviation 2.2%
    assert float(found) == pytest.approx(float(step @ step), rel=0.1)


def test_a_sketch_is_linear_and_depends_on_seed_and_name_only() -> None:
    x, y = vectors(2, 200, seed=7)
    both = sketch([("w", 2 * x - y)])
    torch.testing.assert_close(both, 2 * sketch([("w", x)]) - sketch([("w", y)]), atol=1e-12, rtol=0)
    assert torch.equal(sketch([("w", x.view(10, 20))]), sketch([("w", x)]))
    assert not torch.equal(sketch([("v", x)]), sketch([("w", x)]))
    assert not torch.equal(sketch([("w", x)], seed=1), sketch([("w", x)]))
    torch.testing.assert_close(sketch([("w", x), ("v", y)]), sketch([("v", y), ("w", x)]), atol=1e-12, rtol=0)
