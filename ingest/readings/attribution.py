"""B19: what every component of the residual stream adds to the difference of two logits, prompt by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.mathematics.logit_attribution import attributed
from ingest.models.interventions import CleanRun, Intervening
from ingest.readings.asked import Row, answers_of, metric

# how far the sum may be off the logit difference, relative to the sizes of what is added up
IDENTITY = 1e-4


@dataclass(frozen=True, eq=False)
class Attribution:
    """B19: what adds up to the logit difference of every row, in logits.

    heads [row, layer, head] without the bias of the projection; mlp [row, layer] without its output bias; biases: all
    of these, and the shift of the final norm and of the unembedding. total: the logit difference itself.
    """

    embedding: Float[Tensor, " row"]
    heads: Float[Tensor, "row layer head"]
    mlp: Float[Tensor, "row layer"]
    biases: Float[Tensor, " row"]
    total: Float[Tensor, " row"]


def attribution_of(model: Intervening, run: CleanRun, rows: Sequence[Row]) -> Attribution:
    """What adds up to the logit differences of rows that went through together."""
    correct, distractor = answers_of(rows, run.tokens.device)
    direction = model.answer_direction(correct, distractor)
    biases = model.answer_bias(correct, distractor).to(direction).double()
    norm = model.final_norm
    at = (torch.arange(len(rows)), torch.tensor([int(row.positions[0]) for row in rows]))
    if norm is None:
        seen, scale = direction, torch.ones_like(biases)
    else:
        seen, scale = norm.seen_through(direction), norm.scale(run.residual[-1][at])
        if norm.bias is not None:
            biases = biases + direction.double() @ norm.bias.double()
    heads, mlp = [], []
    for layer in range(model.shape.n_layers):
        if run.heads:
            output = model.model.weight(f"blocks.{layer}.attn.W_O")
            written = torch.einsum("rhd,hdm->hrm", run.heads[layer][at], output)
            heads.append(attributed(written, seen, scale).T)
        if run.mlp:
            mlp.append(attributed(run.mlp[layer][at], seen, scale))
        for name in ("attn.b_O", "mlp.b_out"):
            bias = model.weight(f"blocks.{layer}.{name}")
            if bias is not None:
                added = attributed(bias.expand_as(seen), seen, scale)
                biases = biases + added
                if name == "mlp.b_out":
                    mlp[-1] = mlp[-1] - added
    n = len(rows)
    return Attribution(
        embedding=attributed(run.residual[0][at], seen, scale),
        heads=torch.stack(heads, 1) if heads else biases.new_zeros(n, model.shape.n_layers, 0),
        mlp=torch.stack(mlp, 1) if mlp else biases.new_zeros(n, model.shape.n_layers),
        biases=biases,
        total=metric(model, run.final, rows),
    )


def refuse_unless_it_adds_up(found: Attribution, rows: Sequence[Row]) -> None:
    """Raise FloatingPointError where components do not add up to the logit difference, naming the prompt."""
    parts = torch.stack([found.embedding, found.heads.sum((1, 2)), found.mlp.sum(1), found.biases])
    sizes = 1 + found.embedding.abs() + found.biases.abs()
    sizes = sizes + found.heads.abs().sum((1, 2)) + found.mlp.abs().sum(1)
    off = ((parts.sum(0) - found.total).abs() / sizes).nan_to_num(torch.inf)
    if bool((off > IDENTITY).any()):
        worst = int(off.argmax())
        raise FloatingPointError(
            f"the components of prompt {rows[worst].number} add up to {float(parts.sum(0)[worst]):.6g} logits, its logit "
            f"difference is {float(found.total[worst]):.6g}; expected the same"
        )
