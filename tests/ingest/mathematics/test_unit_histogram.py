"""B12: histograms over a sample of positions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.unit_histogram import UnitHistogram, sampled_positions
from tests.references.neurons import histogram_by_loops


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 9), st.integers(1, 3))
def test_agrees_with_loops_over_the_sampled_positions(seed: int, length: int, bins: int, every: int) -> None:
    values = draw(seed, 4, length, 2)
    histogram = UnitHistogram(2, lower=-1, upper=1.5, bins=bins, every=every)
    histogram.update(values, torch.arange(10, 14))
    for unit in range(2):
        chosen = [
            float(values[row, position, unit])
            for row in range(4)
            for position in sampled_positions(10 + row, length, every)
        ]
        assert histogram.counts[unit].tolist() == histogram_by_loops(chosen, -1, 1.5, bins)


@given(st.permutations(range(6)), st.integers(1, 6))
def test_batches_and_order_change_nothing(order: list[int], batch: int) -> None:
    values = draw(3, 6, 64, 3)
    whole, parts = UnitHistogram(3), UnitHistogram(3)
    whole.update(values, torch.arange(6))
    for rows in torch.tensor(order).split(batch):
        parts.update(values[rows], rows)
    assert torch.equal(whole.counts, parts.counts)


def test_edges_belong_to_the_bin_above_and_the_outer_bins_take_the_rest() -> None:
    values = torch.tensor([-99.0, -torch.inf, 0.0, 0.999, 1.0, 2.0, 3.0, 99.0, torch.inf]).view(1, 9, 1)
    histogram = UnitHistogram(1, lower=0, upper=3, bins=3, every=1)
    histogram.update(values, torch.tensor([0]))
    assert histogram.counts.tolist() == [[4, 1, 4]]


def test_one_position_in_sixteen_and_every_one_as_often() -> None:
    assert all(len(sampled_positions(s, 256, 16)) == 16 for s in range(5))
    assert len(sampled_positions(0, 5, 16)) == 1
    assert sampled_positions(0, 7, 1) == tuple(range(7))
    n = 2000
    seen = torch.zeros(64)
    for sequence in range(n):
        seen[list(sampled_positions(sequence, 64, 16))] += 1
    # each with probability 1/16: binomial, five standard deviations
    spread = (n / 16 * 15 / 16) ** 0.5
    assert (seen - n / 16).abs().max() < 5 * spread


def test_refuses_nan_and_bad_ranges() -> None:
    histogram = UnitHistogram(1, every=1)
    with pytest.raises(ValueError, match="sequence 3 has activations that are NaN"):
        histogram.update(torch.full((1, 2, 1), torch.nan), torch.tensor([3]))
    assert int(histogram.counts.sum()) == 0
    with pytest.raises(ValueError, match="activations of 2 units; expected 1"):
        histogram.update(torch.zeros(1, 2, 2), torch.tensor([3]))
    with pytest.raises(ValueError, match="at least one bin"):
        UnitHistogram(1, lower=1, upper=1)
