import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.measure import NotApplicable
from ingest.measures.first_token import first_token, first_token_attention
from ingest.measures.previous_token import previous_token, previous_token_score, uniform_chance
from ingest.models.loaded import Activations
from tests.references.attention_scores import first_token_by_loops, previous_token_by_loops, uniform


def attending(attention):
    """Activations in which only the patterns matter."""
    n, length = attention.shape[0], attention.shape[-1]
    ids = torch.zeros(n, length).long()
    return Activations(ids, ids[:, :1], torch.zeros(n, 1, 2), attention, torch.zeros(n, 0, length, 0))


def random_patterns(seed, *shape):
    """Causal rows that sum to one: [..., query, key]."""
    size = shape[-1]
    scores = torch.randn(*shape, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores.masked_fill(torch.ones(size, size).triu(1).bool(), float("-inf")).softmax(-1)


@pytest.mark.parametrize(("n", "published"), [(50, 0.0714), (100, 0.0423), (512, 0.0114)])
def test_uniform_attention_has_the_closed_form(n, published):
    # query q sees q + 1 keys alike, so both scores are the mean of 1 / (q + 1) over q >= 1: (H_n - 1) / (n - 1)
    pattern = torch.tensor(uniform(n), dtype=torch.float64)
    expected = sum(1 / (q + 1) for q in range(1, n)) / (n - 1)
    assert expected == pytest.approx(published, abs=5e-5)
    assert previous_token_score(pattern).item() == pytest.approx(expected, rel=1e-12)
    assert first_token_attention(pattern).item() == pytest.approx(expected, rel=1e-12)
    assert uniform_chance(n) == pytest.approx(expected, rel=1e-12)


def test_a_head_that_always_looks_one_back_scores_one():
    pattern = torch.eye(6).roll(-1, dims=1)
    pattern[0] = torch.tensor([1.0, 0, 0, 0, 0, 0])
    assert previous_token_score(pattern).item() == 1
    # the token before the second one is the first, so one of five queries rests there
    assert first_token_attention(pattern).item() == pytest.approx(1 / 5)


def test_a_head_that_rests_on_the_first_token_scores_one_there():
    pattern = torch.zeros(6, 6)
    pattern[:, 0] = 1
    assert first_token_attention(pattern).item() == 1
    assert previous_token_score(pattern).item() == pytest.approx(1 / 5)


def test_a_head_that_looks_at_itself_scores_zero_on_both():
    assert previous_token_score(torch.eye(6)).item() == 0
    assert first_token_attention(torch.eye(6)).item() == 0


@given(seed=st.integers(0, 1000), n=st.integers(2, 9))
def test_agree_with_the_loops(seed, n):
    patterns = random_patterns(seed, 2, 3, n)
    for index in ((0, 0), (1, 2)):
        expected = previous_token_by_loops(patterns[index].tolist())
        assert previous_token_score(patterns)[index].item() == pytest.approx(expected, abs=1e-14)
        expected = first_token_by_loops(patterns[index].tolist())
        assert first_token_attention(patterns)[index].item() == pytest.approx(expected, abs=1e-14)


@given(seed=st.integers(0, 1000), heads=st.permutations(range(4)))
def test_relabelling_heads_relabels_scores(seed, heads):
    patterns = random_patterns(seed, 2, 4, 5)
    for score in (previous_token_score, first_token_attention):
        assert torch.equal(score(patterns[:, heads]), score(patterns)[:, heads])


@given(seed=st.integers(0, 1000), n=st.integers(2, 9))
def test_scores_are_probabilities_and_the_two_never_claim_more_than_all_attention(seed, n):
    patterns = random_patterns(seed, 3, n)
    previous, first = previous_token_score(patterns), first_token_attention(patterns)
    assert ((previous >= 0) & (previous <= 1) & (first >= 0) & (first <= 1)).all()
    # they share only the second query's look at the first token
    assert (previous + first <= 1 + patterns[:, 1, 0] / (n - 1) + 1e-12).all()


@pytest.mark.parametrize("scored", [previous_token, first_token])
def test_models_without_heads_and_sequences_without_a_past_are_not_applicable(scored):
    with pytest.raises(NotApplicable, match="no attention heads"):
        scored(attending(torch.zeros(3, 0, 0, 5, 5)))
    with pytest.raises(NotApplicable, match="no earlier position"):
        scored(attending(torch.ones(3, 1, 2, 1, 1)))
