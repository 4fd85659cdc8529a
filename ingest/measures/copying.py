"""B10: does a head raise the logits of the tokens it attends to? Three scores, never merged.

Two are of weights alone, the third of what the model makes of tokens in their context.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest import streams
from ingest.applicable import NotApplicable
from ingest.mathematics import copying
from ingest.mathematics.clustered import Estimate, clustered_mean
from ingest.measure import measure
from ingest.readings.circuit import CircuitWeights
from ingest.readings.copied import TOP, copied, sources
from ingest.readings.interventions import Interventions

SEED, TOKENS, DRAWS = 0, 25, 10


@measure(
    "head.copying_eig",
    scope="head",
    unit="1",
    bounds=(-1.0, 1.0),
    direction="neither",
    citation="Elhage et al. 2021, A mathematical framework for transformer circuits (copying heads)",
    chance=lambda task: 0.0,
    processing="fold_ln_center",
)
def copying_eig(circuit: CircuitWeights) -> Float[Tensor, "layer head"]:
    """Sum of the eigenvalues of a head's token-to-token matrix W_E W_V W_O W_U over the sum of their sizes.

    1: every direction of tokens that the head moves comes out raised, as in a head that copies; -1: lowered. Random
    weights score 0 with a standard deviation of about 1.5 / d_head (0.094 at 16, 0.023 at 64), so what counts as
    copying depends on d_head. Tied embeddings raise it. What MLPs do to a token before the head reads it is left out.
    """
    embedding, unembedding = _same_tokens(circuit)
    layers = circuit.attention
    values, outputs = (torch.cat([layer[part] for layer in layers]) for part in ("W_V", "W_O"))
    # all heads at once: the product of the embeddings, which costs the most, is made once
    return copying.copying_eig(values, outputs, embedding, unembedding).view(len(layers), -1)


@measure(
    "head.copying_logit",
    scope="head",
    unit="1",
    bounds=(-1.0, 1.0),
    direction="neither",
    citation="Olsson et al. 2022, In-context learning and induction heads (copying head evaluator)",
    chance=lambda task: 2 / TOKENS - 1,
    params={"seed": SEED, "tokens": TOKENS, "draws": DRAWS},
    processing="fold_ln_center",
)
def copying_logit(circuit: CircuitWeights) -> Float[Tensor, "layer head"]:
    """How much of what attending to a token raises among 25 random tokens falls on that token itself, from -1 to 1.

    Tokens are drawn from the whole vocabulary by a fixed seed, 25 different ones at a time, ten times; `params`
    say so. The head reads each of them as it is embedded, and of the logits of all 25 what lies above their mean
    counts as raised; 1: only the token attended to is raised, -1: it never is. Random weights score 2/25 - 1 = -0.92.
    The division by LayerNorm leaves shares as they are; positions and MLPs before the head are left out.
    """
    embedding, unembedding = _same_tokens(circuit)
    layers = circuit.attention
    if len(embedding) < TOKENS:
        raise NotApplicable(f"the vocabulary has {len(embedding)} tokens; it takes {TOKENS} different ones")
    values, outputs = (torch.cat([layer[part] for layer in layers]) for part in ("W_V", "W_O"))
    own = torch.arange(TOKENS, device=embedding.device)
    found = [
        copying.copying_logit(embedding[drawn], values, outputs, unembedding[:, drawn], own)
        for drawn in (tokens.to(embedding.device) for tokens in drawn_tokens(len(embedding)))
    ]
    return torch.stack(found).mean(0).view(len(layers), -1)


def _topk(*, lowered: bool) -> Callable[[Interventions], Estimate]:
    def copying_topk(interventions: Interventions) -> Estimate:
        """Share of tokens that are among the 5 of most logit by what a head would write on attending to them.

        The residual stream after the first block, at the token → the head's LayerNorm, W_V, W_O → final LayerNorm →
        unembedding. `negative` turns the sign of what is written: heads that suppress what they attend to. On IOI prompts
        in GPT-2 small published name movers have above 0.95 and heads on average under 0.2; negative ones 0.98 and
        0.12. Sources are the right answers of prompts where they stand in the prompt (in IOI the name), starts of words
        in text, else all tokens; up to 128, drawn with a fixed seed, and `params` say which. Heads of the first layer never
        read that stream. Chance is 5 tokens of the vocabulary.
        """
        found = interventions.once(copied)
        chosen = found.lowered if lowered else found.raised
        return clustered_mean(chosen.double(), found.clusters)

    return copying_topk


for _variant in ("", "negative"):
    measure(
        "head.copying_topk",
        scope="head",
        unit="share",
        bounds=(0.0, 1.0),
        direction="neither",
        citation="Wang et al. 2022, Interpretability in the wild (copying score of name movers)",
        chance=lambda task: min(1.0, TOP / task.n_outputs),
        schedule="sparse",
        variant=_variant,
        params={"sign": -1 if _variant else 1},
        of_task=sources,
        taken_on="prompts first",
    )(_topk(lowered=bool(_variant)))


def drawn_tokens(n_vocab: int) -> list[Int[Tensor, " token"]]:
    """The tokens of each draw: the same for all models with a vocabulary of that size."""
    return [
        torch.from_numpy(streams.stream(SEED, "copying_logit", draw).permutation(n_vocab)[:TOKENS].copy())
        for draw in range(DRAWS)
    ]


def _same_tokens(
    circuit: CircuitWeights,
) -> tuple[Float[Tensor, "token d_model"], Float[Tensor, "d_model token"]]:
    """Embedding and unembedding; raises NotApplicable where they are not of the same tokens."""
    embedding, unembedding = circuit.embedding, circuit.unembedding
    if len(embedding) != unembedding.shape[1]:
        raise NotApplicable(
            f"the model reads {len(embedding)} tokens and writes {unembedding.shape[1]}; copying takes the same tokens"
        )
    return embedding, unembedding
