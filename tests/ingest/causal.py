"""Models of every architecture and pairs of prompts, for measures that replace parts of a model."""

from functools import cache
from typing import Any

import numpy as np

from ingest.evalsets.frozen import Items
from ingest.evalsets.next_tokens import NextTokens
from ingest.models.hooked import HookedModel
from ingest.models.hugging_face import HuggingFaceModel
from tests.ingest.families.fixtures import CONFIGS, CONTEXT, CRFM, NEO, OPT, PYTHIA, VOCAB, state
from tests.ingest.language import frozen, own
from tests.references.language_models import Rules, gelu, gelu_new, relu

REPOSITORIES = {"pythia": PYTHIA, "gpt2": CRFM, "opt": OPT, "gpt_neo": NEO}
RULES = {
    "own": Rules(gelu),
    "pythia": Rules(gelu, parallel=True, rotary=2),
    "gpt2": Rules(gelu_new, by_layer=True),
    "opt": Rules(relu),
    "gpt_neo": Rules(gelu_new, scaled=False, windows=(CONTEXT, 4)),
}


@cache
def model_of(kind: str, seed: int = 0) -> HookedModel:
    """Shared: leave it as it is."""
    if kind == "own":
        return own(seed, n_layers=2, activation="gelu")
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = dict(CONFIGS[REPOSITORIES[kind]]) | {"torch_dtype": "float32"}
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    module = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    module.load_state_dict(state(REPOSITORIES[kind], seed), strict=False)
    module.eval().requires_grad_(False)
    return HuggingFaceModel(module, run="a", step=0)


def pairs(order: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> NextTokens:
    """Six prompts of two lengths and three kinds, and one without a counterfactual.

    Pairs differ in their last two tokens, prompts of one length only in one: so pairs differ alike.
    """
    generator = np.random.default_rng(9)
    ends, other_ends = generator.integers(0, VOCAB, (2, 2))
    begins = {6: generator.integers(0, VOCAB, 4), 8: generator.integers(0, VOCAB, 6)}
    rows, others = [], []
    for number in range(6):
        begin = begins[6 if number % 2 else 8].copy()
        begin[1] = generator.integers(0, VOCAB)
        rows.append(np.concatenate([begin, ends]))
        others.append(np.concatenate([begin, other_ends]).tolist())
    rows, others = [rows[i] for i in order], [others[i] for i in order]
    kinds = [f"kind {i % 3}" for i in order]
    rows.append(generator.integers(0, VOCAB, 6))
    n = len(rows)
    items = Items(
        sequence=np.arange(n),
        position=np.array([len(row) - 1 for row in rows]),
        correct=np.full(n, 3, dtype=np.int32),
        distractor=np.full(n, 77, dtype=np.int32),
        template=(*kinds, "kind 0"),
        facts=(*({"counterfactual": other} for other in others), {"counterfactual": "a user's own word"}),
    )
    return NextTokens(frozen=frozen(rows, items=items))
