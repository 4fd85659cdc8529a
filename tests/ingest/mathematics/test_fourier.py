import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.fourier import (
    VARIANTS,
    above_quarter,
    clustered,
    fourier_basis,
    frequency_norms,
    gini,
    grid_transform,
    logit_coefficients,
    neuron_fractions,
    part_of_frequencies,
)
from tests.references.fourier import (
    frequency_norm_by_sums,
    gini_by_pairs,
    logit_coefficient_by_sums,
    neuron_fraction_by_fit,
    part_by_directions,
)


def random(*shape, seed=0):
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def adder(p, strengths):
    """Logits Σ α_k cos(w_k (a + b − c))."""
    at = torch.arange(p, dtype=torch.float64)
    angle = at[:, None, None] + at[:, None] - at
    return sum(a * torch.cos(2 * math.pi * k / p * angle) for k, a in strengths.items())


@pytest.mark.parametrize("p", [3, 5, 47, 113])
def test_the_basis_is_orthonormal_and_in_order(p):
    basis = fourier_basis(p)
    assert basis.dtype == torch.float64
    torch.testing.assert_close(basis @ basis.T, torch.eye(p, dtype=torch.float64), atol=1e-12, rtol=0)
    k = (p - 1) // 2
    wave = torch.cos(2 * math.pi * k / p * torch.arange(p, dtype=torch.float64))
    torch.testing.assert_close(basis[2 * k - 1], wave / wave.norm(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("p", [1, 2, 4])
def test_there_is_no_such_basis_for_even_p(p):
    with pytest.raises(ValueError, match=f"p = {p}: .* odd p"):
        fourier_basis(p)


def test_a_pure_wave_has_one_frequency_the_last_included():
    p = 7
    at = torch.arange(p, dtype=torch.float64)
    for k in (1, 2, 3):
        wave = torch.stack([3 * torch.cos(2 * math.pi * k / p * at + 0.4), torch.full((p,), 9.0)], 1)
        norms = frequency_norms(wave)
        # amplitude 3 over p points has norm 3 sqrt(p/2); the constant column has no frequency
        expected = torch.zeros(3, dtype=torch.float64)
        expected[k - 1] = 3 * math.sqrt(p / 2)
        torch.testing.assert_close(norms, expected, atol=1e-12, rtol=0)
        assert above_quarter(norms) == (k,)


def test_norms_agree_with_explicit_sums():
    matrix = random(11, 4)
    expected = [frequency_norm_by_sums(matrix.numpy(), k) for k in range(1, 6)]
    assert frequency_norms(matrix).tolist() == pytest.approx(expected, rel=1e-12)


@given(shift=st.integers(0, 10), seed=st.integers(0, 20))
def test_relabelling_by_a_shift_keeps_norms_and_by_a_factor_permutes_them(shift, seed):
    p = 11
    matrix = random(p, 3, seed=seed)
    norms = frequency_norms(matrix)
    torch.testing.assert_close(frequency_norms(matrix.roll(shift, 0)), norms)
    for factor in (2, 3):
        # row x of the new matrix is row factor · x: frequency k turns into factor · k, up to sign
        renamed = frequency_norms(matrix[[factor * x % p for x in range(p)]])
        for k in range(1, 6):
            image = factor * k % p
            assert renamed[min(image, p - image) - 1] == pytest.approx(float(norms[k - 1]), rel=1e-10)


def test_norms_and_the_mean_are_the_whole_matrix():
    matrix = random(13, 5)
    whole = frequency_norms(matrix).square().sum() + 13 * matrix.mean(0).square().sum()
    assert float(whole) == pytest.approx(float(matrix.square().sum()), rel=1e-12)


def test_an_adder_has_exactly_its_coefficients():
    p = 11
    coefficients = logit_coefficients(adder(p, {2: 1.5, 5: -0.25}))
    # cos over p³ cells has norm sqrt(p³/2)
    expected = torch.tensor([0, 1.5, 0, 0, -0.25], dtype=torch.float64) * math.sqrt(p**3 / 2)
    torch.testing.assert_close(coefficients, expected, atol=1e-10, rtol=0)
    assert above_quarter(coefficients) == (2,)
    assert above_quarter(logit_coefficients(adder(p, {2: 1.5, 5: -0.5}))) == (2, 5)


def test_coefficients_agree_with_explicit_sums():
    logits = random(5, 5, 5)
    expected = [logit_coefficient_by_sums(logits.numpy(), k) for k in (1, 2)]
    assert logit_coefficients(logits).tolist() == pytest.approx(expected, rel=1e-11)


def test_nothing_stands_out_of_nothing():
    assert above_quarter(torch.zeros(5, dtype=torch.float64)) == ()
    assert above_quarter(torch.ones(3, dtype=torch.float64)) == (1, 2, 3)


def test_gini_at_its_ends():
    assert gini(torch.full((56,), 0.3)) == pytest.approx(0, abs=1e-12)
    one = torch.zeros(56)
    one[17] = -2
    assert gini(one) == pytest.approx(1 - 1 / 56, abs=1e-12)
    assert round(gini(one), 5) == 0.98214
    with pytest.raises(ValueError, match="all 3 values are 0"):
        gini(torch.zeros(3))


def test_gini_of_gaussians_is_known():
    assert gini(random(200_000)) == pytest.approx(math.sqrt(2) - 1, abs=3e-3)
    # norms of Gaussian rows of n entries: nearly normal with variation 1/sqrt(2n), gini = variation/sqrt(π)
    assert gini(random(20_000, 128).norm(dim=1)) == pytest.approx(0.036, abs=1e-3)
    # a frequency pools two rows: n = 256
    norms = [gini(frequency_norms(random(113, 128, seed=s))) for s in range(20)]
    assert np.mean(norms) == pytest.approx(0.025, abs=1e-3)


@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=12), scale=st.floats(0.1, 10))
def test_gini_agrees_with_all_pairs_and_ignores_scale_and_order(values, scale):
    if sum(map(abs, values)) < 1e-6:
        return
    numbers = torch.tensor(values, dtype=torch.float64)
    assert gini(numbers) == pytest.approx(gini_by_pairs(values), abs=1e-9)
    assert gini(-scale * numbers.flip(0)) == pytest.approx(gini(numbers), abs=1e-9)


def test_the_grid_transform_keeps_the_sum_of_squares_and_comes_back():
    values = random(7, 7, 3)
    transformed = grid_transform(values)
    assert float(transformed.square().sum()) == pytest.approx(float(values.square().sum()), rel=1e-12)
    basis = fourier_basis(7)
    torch.testing.assert_close(torch.einsum("ia,jb,ijn->abn", basis, basis, transformed), values)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("frequencies", [(), (1,), (3,), (1, 3), (3, 1, 3), (1, 2, 3)])
def test_parts_agree_with_explicit_directions(variant, frequencies):
    values = random(7, 7, 4)
    part = part_of_frequencies(grid_transform(values), frequencies, variant)
    expected = part_by_directions(values.numpy(), set(frequencies), variant)
    np.testing.assert_allclose(part.numpy(), expected, atol=1e-12)


@given(seed=st.integers(0, 30), variant=st.sampled_from(VARIANTS))
def test_a_part_is_a_projection(seed, variant):
    values = random(5, 5, 2, seed=seed)
    part = part_of_frequencies(grid_transform(values), [2], variant)
    again = part_of_frequencies(grid_transform(part), [2], variant)
    torch.testing.assert_close(again, part, atol=1e-12, rtol=0)
    assert abs(float((part * (values - part)).sum())) < 1e-10
    assert float(part.mean((0, 1)).abs().max()) < 1e-12


@pytest.mark.parametrize("wrong", [0, 4, -1])
def test_a_frequency_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"frequency {wrong} modulo 7: expected 1 … 3"):
        part_of_frequencies(grid_transform(random(7, 7, 1)), [1, wrong], "block_2x2")


def test_neurons_of_one_frequency_are_explained_by_it_alone():
    p = 11
    a, b = (axis.double() for axis in torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij"))
    w = 2 * math.pi * 5 / p
    pure = 2 + torch.cos(w * a + 0.3) - 0.5 * torch.sin(w * b) + torch.cos(w * (a + b))
    fractions = neuron_fractions(torch.stack([pure, torch.full_like(pure, 0.1)], 2))
    assert fractions.shape == (5, 2)
    assert fractions[:, 0].tolist() == pytest.approx([0, 0, 0, 0, 1], abs=1e-12)
    assert fractions[:, 1].tolist() == [0] * 5  # a dead neuron


def test_neuron_fractions_agree_with_a_fit_and_are_shares():
    values = random(7, 7, 3)
    fractions = neuron_fractions(values)
    for neuron in range(3):
        for k in (1, 2, 3):
            expected = neuron_fraction_by_fit(values[:, :, neuron].numpy(), k)
            assert float(fractions[k - 1, neuron]) == pytest.approx(expected, rel=1e-10)
    assert (fractions.sum(0) <= 1).all()


def test_clusters_count_neurons_by_their_best_frequency_and_leave_out_the_rest():
    rows = [[0.9, 0.1, 0.5, 0.0], [0.05, 0.85, 0.4, 0.0], [0.0, 0.0, 0.0, 0.95]]
    fractions = torch.tensor(rows, dtype=torch.float64)
    assert clustered(fractions, 0.85) == {1: 1, 2: 1, 3: 1}
    assert clustered(fractions, 0.9) == {1: 1, 3: 1}
    assert clustered(fractions, 0.3) == {1: 2, 2: 1, 3: 1}
    assert clustered(torch.zeros(3, 4)) == {}
