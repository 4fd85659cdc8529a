"""Direct effect of neurons on logits."""

import pytest
import torch
from torch.nn.functional import layer_norm

from ingest.mathematics.direct_logit_effect import direct_logit_effect
from tests.references.neurons import effects_by_loops


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("folding", ["none", "layer norm", "rms norm"])
def test_agrees_with_loops(folding: str) -> None:
    outputs, unembedding, weight = draw(0, 150, 6), draw(1, 6, 30), draw(2, 6)
    chosen = None if folding == "none" else weight
    found = direct_logit_effect(
        outputs, unembedding, 3, final_weight=chosen, subtracts_mean=folding != "rms norm"
    )
    for unit in (0, 127, 128, 149):
        effects = effects_by_loops(outputs, unembedding, unit, chosen, folding == "layer norm")
        order = sorted(range(30), key=lambda t: -effects[t])
        assert found.top_tokens[unit].tolist() == order[:3]
        assert found.bottom_tokens[unit].tolist() == order[:-4:-1]
        assert found.top_values[unit].tolist() == pytest.approx([effects[t] for t in order[:3]])
        assert found.bottom_values[unit].tolist() == pytest.approx([effects[t] for t in order[:-4:-1]])


def test_a_neuron_that_writes_one_token_speaks_for_it() -> None:
    # effect 1 on the own token, -1/n on all after the mean is taken out
    found = direct_logit_effect(torch.eye(5), torch.eye(5), 1)
    assert found.top_tokens[:, 0].tolist() == list(range(5))
    assert found.top_values[:, 0].tolist() == pytest.approx([0.8] * 5)
    assert found.bottom_values[:, 0].tolist() == pytest.approx([-0.2] * 5)
    # equal effects: the first token
    assert found.bottom_tokens[:, 0].tolist() == [1, 0, 0, 0, 0]


def test_with_the_norm_folded_in_it_is_the_derivative_at_a_fixed_scale() -> None:
    outputs, unembedding, weight, residual = draw(0, 2, 8), draw(1, 8, 9), draw(2, 8), draw(3, 8)
    found = direct_logit_effect(outputs, unembedding, 9, final_weight=weight)
    deviation = residual.std(correction=0)

    def logits(amount: float) -> torch.Tensor:
        moved = residual + amount * outputs[0]
        centred = moved - moved.mean()
        return (centred / deviation * weight) @ unembedding

    assert torch.allclose(logits(0.0), layer_norm(residual, (8,), weight, eps=0) @ unembedding)
    change = (logits(1.0) - logits(0.0)) * deviation
    change = change - change.mean()
    torch.testing.assert_close(found.top_values[0], change[found.top_tokens[0]])


def test_a_constant_added_to_all_logits_is_no_effect() -> None:
    outputs, unembedding = draw(0, 4, 6), draw(1, 6, 30)
    shifted = unembedding + draw(2, 6, 1)
    one, other = direct_logit_effect(outputs, unembedding, 5), direct_logit_effect(outputs, shifted, 5)
    assert torch.equal(one.top_tokens, other.top_tokens)
    torch.testing.assert_close(one.bottom_values, other.bottom_values)
