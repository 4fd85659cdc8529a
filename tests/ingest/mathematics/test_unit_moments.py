"""B12: streamed moments."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.unit_moments import UnitMoments
from tests.references.neurons import moments_by_loops

NAMES = ("mean", "variance", "skew", "kurtosis", "firing_rate")


def of(*batches: torch.Tensor) -> UnitMoments:
    moments = UnitMoments(batches[0].shape[2])
    for batch in batches:
        moments.update(batch)
    return moments


def numbers(moments: UnitMoments, unit: int) -> list[float]:
    return [float(getattr(moments, name)[unit]) for name in NAMES]


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_two_values() -> None:
    # 1 with probability p, else 0: skew (1 - 2p)/√(p(1 - p)), kurtosis 1 + skew²
    values = torch.zeros(1, 8, 1)
    values[0, :2] = 1
    p, skew = 0.25, 0.5 / math.sqrt(0.25 * 0.75)
    assert numbers(of(values), 0) == pytest.approx([p, p * (1 - p), skew, 1 + skew**2, p], rel=1e-6)


def test_a_gaussian_has_skew_0_and_kurtosis_3_and_an_exponential_2_and_9() -> None:
    gaussian = draw(0, 100, 1000, 2)
    n = 100_000
    found = of(gaussian.float())
    assert found.skew.tolist() == pytest.approx([0, 0], abs=4 * math.sqrt(6 / n))
    assert found.kurtosis.tolist() == pytest.approx([3, 3], abs=4 * math.sqrt(24 / n))
    assert found.firing_rate.tolist() == pytest.approx([0.5, 0.5], abs=4 * 0.5 / math.sqrt(n))
    exponential = of(-torch.special.ndtr(gaussian[:, :, :1]).log().float())
    assert float(exponential.skew[0]) == pytest.approx(2, rel=0.05)
    assert float(exponential.kurtosis[0]) == pytest.approx(9, rel=0.15)


@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 300), st.floats(-100, 100))
def test_agrees_with_exact_sums(seed: int, n: int, length: int, offset: float) -> None:
    values = draw(seed, n, length, 2).exp() + offset
    found = of(values)
    for unit in range(2):
        expected = moments_by_loops(values[:, :, unit].flatten().tolist())
        assert numbers(found, unit) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(st.integers(0, 999), st.permutations(range(7)), st.integers(1, 7))
def test_batches_and_order_change_float64_rounding_only(seed: int, order: list[int], batch: int) -> None:
    values = draw(seed, 7, 300, 3, dtype=torch.float32) * 2 + 1
    whole, parts = of(values), of(*values[list(order)].split(batch))
    for name in NAMES:
        assert getattr(parts, name).tolist() == pytest.approx(getattr(whole, name).tolist(), rel=1e-12)
    assert parts.n_positions == whole.n_positions == 2100


def test_merging_two_is_seeing_all() -> None:
    values = draw(1, 6, 50, 4, dtype=torch.float32)
    left, right = of(values[:2]), of(values[2:])
    left.merge(right)
    whole = of(values)
    for name in NAMES:
        assert getattr(left, name).tolist() == pytest.approx(getattr(whole, name).tolist(), rel=1e-12)
    left.merge(UnitMoments(4))
    assert left.kurtosis.tolist() == pytest.approx(whole.kurtosis.tolist(), rel=1e-12)


def test_a_large_mean_beside_a_small_spread_costs_no_digits() -> None:
    # exact in float32; raw fourth powers about 0 would keep none of the spread's digits
    values = 3000 + (draw(2, 20, 256, 1) * 64).round() / 64
    found = of(values.float())
    # the mean of a block is rounded to 1e-4 of the spread, which shifts the skew by three times that
    expected = moments_by_loops(values.flatten().tolist())
    assert numbers(found, 0) == pytest.approx(expected, rel=2e-4, abs=5e-4)


def test_a_unit_that_does_not_vary_has_no_shape() -> None:
    found = of(torch.tensor([0.1, 0.0]).expand(3, 300, 2))
    assert found.mean.tolist() == pytest.approx([0.1, 0])
    assert found.variance.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert found.skew.isnan().all()
    assert found.kurtosis.isnan().all()
    assert found.firing_rate.tolist() == [1, 0]


def test_nothing_seen_is_nan_and_nan_seen_is_refused() -> None:
    moments = UnitMoments(2)
    moments.update(torch.zeros(0, 5, 2))
    assert moments.n_positions == 0
    assert moments.mean.isnan().all()
    assert moments.firing_rate.isnan().all()
    for odd in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="unit 1 has activations that are NaN or infinite"):
            moments.update(torch.tensor([0.0, odd]).expand(1, 4, 2))
    with pytest.raises(ValueError, match="activations of 3 units; expected 2"):
        moments.update(torch.zeros(1, 1, 3))


def test_half_precision_is_raised_before_anything_is_summed() -> None:
    values = torch.full((1, 256, 1), 300.0).half()
    values[0, 0] = 0
    # 300⁴ is beyond float16
    assert numbers(of(values), 0) == pytest.approx(moments_by_loops([0.0] + [300.0] * 255), rel=1e-4)
