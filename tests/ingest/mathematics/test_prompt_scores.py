"""B20: scores of prompts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.prompt_scores import prompt_scores


def test_values_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 3.0, -1.0], [5.0, 1.0, 5.0]])
    scores = prompt_scores(logits, torch.tensor([0, 0, 2, 0]), torch.tensor([2, 1, 0, 1]))
    assert scores.logit_difference.tolist() == [1, 0, -1, 4]
    assert scores.preferred.tolist() == [1, 0.5, 0, 1]
    assert scores.top.tolist() == pytest.approx([1, 1 / 3, 0, 0.5])
    total = math.exp(2) + 1 + math.e
    assert float(scores.target_prob[0]) == pytest.approx(math.exp(2) / total, rel=1e-6)
    assert float(scores.target_prob[1]) == pytest.approx(1 / 3, rel=1e-6)


@given(st.integers(0, 999), st.permutations(range(6)), st.floats(-50, 50))
def test_each_prompt_for_itself_and_constants_do_not_matter(
    seed: int, order: list[int], shift: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 11, generator=generator, dtype=torch.float64)
    correct = torch.randint(11, (6,), generator=generator)
    distractor = (correct + 1 + torch.randint(10, (6,), generator=generator)) % 11
    whole = prompt_scores(logits, correct, distractor)
    turned = prompt_scores(logits[order] + shift, correct[order], distractor[order])
    for name in ("logit_difference", "preferred", "top", "target_prob"):
        torch.testing.assert_close(getattr(turned, name), getattr(whole, name)[order])
    log_probs = logits.log_softmax(1)
    rows = torch.arange(6)
    torch.testing.assert_close(whole.logit_difference, log_probs[rows, correct] - log_probs[rows, distractor])
    torch.testing.assert_close(whole.target_prob, log_probs[rows, correct].exp())


def test_guessing_is_right_half_the_time_and_on_top_one_in_n() -> None:
    n, n_tokens = 4000, 20
    logits = torch.randn(n, n_tokens, generator=torch.Generator().manual_seed(0))
    scores = prompt_scores(logits, torch.arange(n) % n_tokens, (torch.arange(n) + 1) % n_tokens)
    for found, chance in ((scores.preferred, 0.5), (scores.top, 1 / n_tokens)):
        assert float(found.mean()) == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / n))


def test_two_answers_must_differ() -> None:
    with pytest.raises(ValueError, match="prompt 1: right and wrong answer are both token 2"):
        prompt_scores(torch.zeros(2, 4), torch.tensor([1, 2]), torch.tensor([2, 2]))
