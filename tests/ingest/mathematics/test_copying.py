"""B10: copying scores."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.copying import (
    among_top,
    copying_eig,
    copying_logit,
    written,
)
from tests.references.heads import copying_eig_full, copying_logit_by_loops, in_top_by_loops


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_heads(seed: int, heads: int, d: int, d_head: int) -> tuple[torch.Tensor, torch.Tensor]:
    return draw(seed, heads, d, d_head), draw(seed + 1, heads, d_head, d)


def test_eigenvalues_are_those_of_the_matrix_of_all_tokens() -> None:
    values, outputs = random_heads(0, 3, 10, 4)
    embedding, unembedding = draw(2, 25, 10), draw(3, 10, 25)
    found = copying_eig(values, outputs, embedding, unembedding)
    for head in range(3):
        full = copying_eig_full(
            values[head].numpy(), outputs[head].numpy(), embedding.numpy(), unembedding.numpy()
        )
        assert float(found[head]) == pytest.approx(full, abs=1e-8)


def test_a_copier_scores_one_and_its_opposite_minus_one() -> None:
    values = draw(0, 1, 10, 4)
    outputs = torch.linalg.pinv(values)
    embedding = draw(1, 25, 10)
    unembedding = torch.linalg.pinv(embedding)  # W_U W_E = 1: what remains is a projection
    assert float(copying_eig(values, outputs, embedding, unembedding)) == pytest.approx(1)
    assert float(copying_eig(values, -outputs, embedding, unembedding)) == pytest.approx(-1)


def test_a_head_that_turns_tokens_around_scores_zero() -> None:
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()  # eigenvalues ±i
    eye = torch.eye(2).double()
    assert float(copying_eig(turn[None], eye[None], eye, eye)) == pytest.approx(0)
    assert copying_eig(turn[None], torch.zeros(1, 2, 2), eye, eye).isnan().all()


@pytest.mark.parametrize(("d_head", "published", "heads"), [(16, 0.095, 800), (64, 0.024, 150)])
def test_random_weights_have_mean_zero_and_the_null_spread(d_head: int, published: float, heads: int) -> None:
    sd, d = 1.5 / d_head, 16 * d_head
    assert sd == pytest.approx(published, rel=0.03)
    values, outputs = random_heads(0, heads, d, d_head)
    # the orthonormal embedding of as many tokens as dimensions changes nothing
    eye = torch.eye(d).double()
    found = copying_eig(values, outputs, eye, eye)
    assert abs(float(found.mean())) < 4 * sd / math.sqrt(heads)
    # a spread of n draws is known to 1/√(2n); 3% for the finite size
    assert float(found.std()) == pytest.approx(sd, rel=4 / math.sqrt(2 * heads) + 0.03)


def test_large_vocabularies_are_read_in_pieces() -> None:
    values, outputs = random_heads(0, 2, 4, 2)
    embedding, unembedding = draw(2, 9000, 4), draw(3, 4, 9000)
    direct = torch.linalg.eigvals(values @ outputs @ (unembedding @ embedding))
    expected = direct.real.sum(1) / direct.abs().sum(1)
    torch.testing.assert_close(copying_eig(values, outputs, embedding, unembedding), expected)
    with pytest.raises(ValueError, match="9000 tokens are read and 8999 written"):
        copying_eig(values, outputs, embedding, unembedding[:, :-1])


def test_the_share_of_raise_agrees_with_loops() -> None:
    values, outputs = random_heads(0, 3, 8, 4)
    inputs, unembedding, own = draw(2, 7, 8), draw(3, 8, 25), torch.arange(3, 10)
    found = copying_logit(inputs, values, outputs, unembedding, own)
    for head in range(3):
        expected = copying_logit_by_loops(
            inputs.numpy(), values[head].numpy(), outputs[head].numpy(), unembedding.numpy(), own.tolist()
        )
        assert float(found[head]) == pytest.approx(expected, rel=1e-10)


def test_pure_copying_raises_nothing_else_and_random_logits_a_fair_share() -> None:
    eye = torch.eye(6).double()[None]
    own = torch.arange(6)
    assert float(copying_logit(eye[0], eye, eye, eye[0], own)) == pytest.approx(1)
    assert float(copying_logit(eye[0], eye, -eye, eye[0], own)) == pytest.approx(-1)
    assert float(copying_logit(eye[0], eye, torch.zeros_like(eye), eye[0], own)) == -1
    n, heads = 25, 300
    values, outputs = random_heads(0, heads, 64, 16)
    found = copying_logit(draw(2, n, 64), values, outputs, draw(3, 64, n), torch.arange(n))
    assert float(found.mean()) == pytest.approx(2 / n - 1, abs=4 * float(found.std()) / math.sqrt(heads))


@given(st.integers(0, 999), st.integers(1, 12))
def test_being_among_the_top_agrees_with_loops(seed: int, k: int) -> None:
    logits = draw(seed, 12, 9).mul(2).round()
    own = torch.randint(9, (12,), generator=torch.Generator().manual_seed(seed))
    found = float(among_top(logits, own, k).double().mean())
    assert found == pytest.approx(in_top_by_loops(logits.tolist(), own.tolist(), k))


def test_chance_of_being_among_the_top() -> None:
    n, k, n_tokens = 4000, 5, 50
    found = float(among_top(draw(0, n, n_tokens), torch.arange(n) % n_tokens, k).double().mean())
    chance = k / n_tokens
    assert found == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / n))


def test_what_a_head_would_write_step_by_step() -> None:
    inputs, values, outputs, bias = draw(0, 3, 6), draw(1, 2, 6, 4), draw(2, 2, 4, 6), draw(4, 2, 4)
    found = written(inputs, values, outputs, bias)
    for head in range(2):
        torch.testing.assert_close(found[head], (inputs @ values[head] + bias[head]) @ outputs[head])
    torch.testing.assert_close(written(inputs, values, outputs), written(inputs, values, outputs, 0 * bias))


@given(st.integers(0, 99), st.permutations(range(4)))
def test_relabelling_heads_relabels_scores(seed: int, order: list[int]) -> None:
    values, outputs = random_heads(seed, 4, 8, 3)
    embedding, unembedding, own = draw(2, 12, 8), draw(3, 8, 12), torch.arange(12)
    turned = (values[order], outputs[order])
    torch.testing.assert_close(
        copying_eig(*turned, embedding, unembedding),
        copying_eig(values, outputs, embedding, unembedding)[order],
    )
    torch.testing.assert_close(
        copying_logit(embedding, *turned, unembedding, own),
        copying_logit(embedding, values, outputs, unembedding, own)[order],
    )
