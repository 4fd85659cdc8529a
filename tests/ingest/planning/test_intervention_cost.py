from dataclasses import dataclass

import pytest

from ingest.measure import MEASURES
from ingest.planning.intervention_cost import _PASSES, further_tokens
from tests.ingest.causal import model_of, pairs


@dataclass(frozen=True)
class Small:
    n_layers: int = 12
    n_heads: int = 12
    d_mlp: int = 0


def test_a_head_is_half_a_pass_of_what_is_sampled():
    given = {"most_tokens": 8192}
    assert further_tokens("head.ablation_effect", "interventions", given, Small(), 500) == (72 + 4) * 500
    assert further_tokens("head.ablation_effect", "interventions", given, Small(), 10**6) == (72 + 4) * 8192
    assert (
        further_tokens("attribution_patching_agreement", "interventions", given, Small(), 100)
        == (10 + 4) * 100
    )
    assert further_tokens("head.logit_attribution", "interventions", given, Small(), 100) == 4 * 100
    assert further_tokens("head.prefix_matching", "examples", {}, Small(), 100) == 0


@pytest.mark.parametrize("name", _PASSES)
def test_measures_are_called_what_they_are_called_here(name):
    of_that_name = [e.thing for e in MEASURES.entries().values() if e.thing.record.name == name]
    assert of_that_name
    for one in of_that_name:
        params = one.quantity(pairs()).params
        assert further_tokens(name, one.reads, params, model_of("own").shape, 50) > 4 * 50
