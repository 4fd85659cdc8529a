import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.fourier import VARIANTS, grid_transform
from ingest.mathematics.trig_losses import (
    Explained,
    excluded_losses,
    logits_explained,
    pair_losses,
    restricted_losses,
)
from tests.ingest.mathematics.test_fourier import adder, random
from tests.references.fourier import pair_losses_by_loops, part_by_directions


def test_losses_are_those_of_the_sum():
    p = 5
    losses = pair_losses(torch.zeros(p, p, p))
    assert losses.flatten().tolist() == pytest.approx([math.log(p)] * p * p)
    logits = random(p, p, p)
    np.testing.assert_allclose(pair_losses(logits).numpy(), pair_losses_by_loops(logits.numpy()), rtol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_of_a_pure_adder_restriction_changes_nothing_and_exclusion_leaves_chance(variant):
    p = 13
    logits = adder(p, {2: 3.0, 6: 2.0})
    torch.testing.assert_close(restricted_losses(logits, (2, 6), variant), pair_losses(logits))
    assert excluded_losses(logits, (2, 6), variant).flatten().tolist() == pytest.approx([math.log(p)] * p * p)
    # the other frequencies are nothing to it
    assert restricted_losses(logits, (1, 3), variant).flatten().tolist() == pytest.approx(
        [math.log(p)] * p * p
    )
    torch.testing.assert_close(excluded_losses(logits, (1, 3), variant), pair_losses(logits))


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_losses_agree_with_explicit_directions(variant):
    logits = random(7, 7, 7, seed=3)
    part = part_by_directions(logits.numpy(), [1, 3], variant)
    mean = logits.numpy().mean((0, 1))
    for transformed in (None, grid_transform(logits)):
        restricted = restricted_losses(logits, [1, 3], variant, transformed=transformed)
        excluded = excluded_losses(logits, [1, 3], variant, transformed=transformed)
        np.testing.assert_allclose(restricted.numpy(), pair_losses_by_loops(part + mean), rtol=1e-11)
        np.testing.assert_allclose(excluded.numpy(), pair_losses_by_loops(logits.numpy() - part), rtol=1e-11)


def test_a_class_bias_stays_in_both():
    # exclusion takes no mean out, restriction puts it back: a bias on one answer is felt in both
    p = 5
    bias = torch.zeros(p, dtype=torch.float64)
    bias[2] = 4
    for variant in VARIANTS:
        for losses in (restricted_losses, excluded_losses):
            torch.testing.assert_close(
                losses(bias.expand(p, p, p).clone(), (1, 2), variant), pair_losses(bias.expand(p, p, p))
            )


@given(seed=st.integers(0, 20), shift=st.floats(-50, 50))
def test_a_constant_on_all_logits_changes_no_loss(seed, shift):
    logits = random(5, 5, 5, seed=seed)
    for variant in VARIANTS:
        for losses in (restricted_losses, excluded_losses):
            torch.testing.assert_close(
                losses(logits + shift, [2], variant), losses(logits, [2], variant), rtol=1e-9, atol=1e-9
            )


def test_an_adder_is_explained_by_its_frequencies():
    logits = adder(11, {2: 3.0, 4: 4.0}) + 7
    assert logits_explained(logits, [2, 4]).share == pytest.approx(1)
    assert logits_explained(logits, [4]).share == pytest.approx(16 / 25)
    assert logits_explained(logits, [4, 4]).n_terms == 1
    assert logits_explained(logits, []).share == 0
    with pytest.raises(ValueError, match="all logits are equal"):
        logits_explained(torch.ones(5, 5, 5), [1])


def test_adjustment_takes_off_what_chance_explains():
    # a 9-parameter fit to random data explains 8/(p² − 1)
    fit = Explained(8 / (113**2 - 1), 113**2, 8)
    assert fit.chance == 8 / (113**2 - 1)
    assert fit.adjusted == pytest.approx(0, abs=1e-15)
    assert Explained(1.0, 100, 8).adjusted == 1
    shares = [logits_explained(random(7, 7, 7, seed=s), [1, 3]) for s in range(300)]
    assert np.mean([s.adjusted for s in shares]) == pytest.approx(0, abs=1e-3)
    assert np.mean([s.share for s in shares]) == pytest.approx(shares[0].chance, rel=0.25)
