import pytest
import torch
from torch.nn import functional

from ingest.mathematics.logit_attribution import FinalNorm, attributed

GENERATOR = torch.Generator().manual_seed(3)
PARTS = torch.randn(5, 7, 16, generator=GENERATOR, dtype=torch.float64)
DIRECTION = torch.randn(7, 16, generator=GENERATOR, dtype=torch.float64)
WEIGHT, BIAS = torch.randn(2, 16, generator=GENERATOR, dtype=torch.float64)


def test_parts_of_a_stream_add_up_to_what_layer_norm_and_the_direction_make_of_it():
    stream = PARTS.sum(0)
    norm = FinalNorm(WEIGHT, BIAS, 1e-5)
    found = attributed(PARTS, norm.seen_through(DIRECTION), norm.scale(stream)).sum(0) + DIRECTION @ BIAS
    expected = (functional.layer_norm(stream, (16,), WEIGHT, BIAS, 1e-5) * DIRECTION).sum(-1)
    torch.testing.assert_close(found, expected)


def test_the_root_of_the_mean_square_leaves_the_mean_in():
    stream = PARTS.sum(0) + 2
    norm = FinalNorm(WEIGHT, None, 1e-5, centred=False)
    found = attributed(stream, norm.seen_through(DIRECTION), norm.scale(stream))
    expected = (functional.rms_norm(stream, (16,), WEIGHT, 1e-5) * DIRECTION).sum(-1)
    torch.testing.assert_close(found, expected)


def test_what_all_dimensions_share_counts_for_nothing():
    norm = FinalNorm(WEIGHT, BIAS, 1e-5)
    seen, scale = norm.seen_through(DIRECTION), norm.scale(PARTS.sum(0))
    assert attributed(torch.ones(7, 16), seen, scale).abs().max() < 1e-12


def test_a_part_that_is_doubled_counts_twice_with_the_scale_held_fixed():
    seen, scale = DIRECTION, torch.full((7,), 0.5)
    once, twice = attributed(PARTS, seen, scale), attributed(2 * PARTS, seen, scale)
    torch.testing.assert_close(twice, 2 * once)
    assert once.shape == (5, 7)
    assert float(once[0, 0]) == pytest.approx(0.5 * float(PARTS[0, 0] @ DIRECTION[0]))
