"""B26: the most likely tokens and the rest."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.token_top import log_normalisers, token_top
from tests.references.divergence import bounds_from_tops, jensen_shannon


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_uniform_logits_have_the_closed_form() -> None:
    top = token_top(torch.full((2, 50), 3.0), 10)
    assert top.token_ids.tolist() == [list(range(10))] * 2
    assert top.log_probs.flatten().tolist() == pytest.approx([-math.log(50)] * 20, rel=1e-6)
    assert top.remainder.tolist() == pytest.approx([0.8, 0.8])


@given(st.integers(0, 999), st.integers(1, 9), st.integers(1, 80))
def test_agrees_with_the_whole_distribution(seed: int, n: int, k: int) -> None:
    logits = 4 * draw(seed, n, 60)
    top = token_top(logits, k)
    log_probs = logits.double().log_softmax(1)
    ordered = log_probs.sort(dim=1, descending=True, stable=True)
    found = min(k, 60)
    assert torch.equal(top.token_ids, ordered.indices[:, :found])
    torch.testing.assert_close(top.log_probs.double(), ordered.values[:, :found], rtol=1e-6, atol=2e-6)
    rest = ordered.values[:, found:].exp().sum(1)
    torch.testing.assert_close(top.remainder, rest, rtol=0, atol=1e-6)


def test_a_known_normaliser_is_used_and_positions_are_alone() -> None:
    logits = draw(0, 9, 5000)
    whole = token_top(logits, 64)
    known = token_top(logits, 64, log_normaliser=logits.logsumexp(1))
    torch.testing.assert_close(known.log_probs, whole.log_probs, rtol=1e-6, atol=1e-6)
    alone = token_top(logits[4:5], 64)
    assert torch.equal(alone.token_ids[0], whole.token_ids[4])
    assert torch.equal(alone.log_probs[0], whole.log_probs[4])
    shifted = token_top(logits, 64, log_normaliser=logits.logsumexp(1) + 1)
    torch.testing.assert_close(shifted.log_probs, whole.log_probs - 1, rtol=1e-6, atol=1e-6)


def test_normalisers_neither_overflow_nor_need_float64() -> None:
    logits = draw(0, 6, 5000) + torch.tensor([0.0, 1e4, -1e4, 80, -80, 3])[:, None]
    expected = logits.double().logsumexp(1).float()
    torch.testing.assert_close(log_normalisers(logits), expected, rtol=1e-6, atol=1e-6)
    logits[:, 7] = -torch.inf
    assert log_normalisers(logits).isfinite().all()
    assert log_normalisers(logits[:0]).shape == (0,)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_logits_without_a_distribution_are_refused(odd: float) -> None:
    logits = torch.zeros(3, 5)
    logits[1, 2] = odd
    with pytest.raises(ValueError, match="the logits at position 1 have no distribution"):
        token_top(logits, 2)


@given(st.integers(0, 999), st.integers(1, 20), st.floats(0, 4), st.floats(0, 3))
def test_the_divergence_of_two_models_lies_within_the_stated_bounds(
    seed: int, k: int, spread: float, change: float
) -> None:
    a = spread * draw(seed, 1, 20).double()
    b = a + change * draw(seed + 1, 1, 20).double()
    truth = jensen_shannon(a.softmax(1)[0].tolist(), b.softmax(1)[0].tolist())
    tops = []
    for logits in (a, b):
        top = token_top(logits, k)
        ids, log_probs = top.token_ids[0].tolist(), top.log_probs[0].tolist()
        tops.append(dict(zip(ids, map(math.exp, log_probs), strict=True)))
    lower, upper = bounds_from_tops(*tops)
    assert lower - 1e-9 <= truth <= upper + 1e-9
    if k == 20:
        assert lower == pytest.approx(truth, abs=1e-9)


def test_the_bounds_are_reached() -> None:
    # the rest, half of all, lies on different tokens in the two models: all that can be missed is missed
    p, q = [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]
    lower, upper = bounds_from_tops({0: 0.5}, {0: 0.5})
    assert lower == 0
    assert upper == pytest.approx(jensen_shannon(p, q))
    assert upper == pytest.approx(math.log(2) / 2)
