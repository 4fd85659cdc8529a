"""B10: does a head raise the logits of the tokens it attends to? Three scores, never to be merged."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.mathematics.ranking import largest

# rows of the vocabulary raised to float64 at a time
_TOKENS = 8192


def copying_eig(
    values: Float[Tensor, "head d_model d_head"],
    outputs: Float[Tensor, "head d_head d_model"],
    embedding: Float[Tensor, "token d_model"],
    unembedding: Float[Tensor, "d_model token"],
) -> Float[Tensor, " head"]:
    """Re Σ λ / Σ |λ| over the eigenvalues of W_E W_V W_O W_U, float64 in [-1, 1]; NaN for a head that is zero.

    1: every direction of tokens that the head moves comes out raised. The token × token matrix has at most d_head
    eigenvalues that are not 0; they are those of the d_head × d_head matrix W_O (W_U W_E) W_V, which is what is
    decomposed. Tied embeddings raise it. Raises ValueError where what is read and what is written are not the same
    tokens. Source: Elhage et al. 2021.

    Random weights score 0 with a standard deviation of 1.5 / d_head: the eigenvalues of n × n Gaussian matrices fill a
    disc (circular law), so that their sum has standard deviation r and their mean modulus is 2 r / 3, with r the radius.
    Heads are like that where d_model is many times d_head; at 4 times it is about a tenth more.
    """
    if len(embedding) != unembedding.shape[1]:
        raise ValueError(
            f"{len(embedding)} tokens are read and {unembedding.shape[1]} written; eigenvalues need the same tokens"
        )
    between = torch.zeros(values.shape[1], values.shape[1], dtype=torch.float64, device=values.device)
    for start in range(0, len(embedding), _TOKENS):
        some = slice(start, start + _TOKENS)
        between += unembedding[:, some].double() @ embedding[some].double()
    small = outputs.double() @ between @ values.double()
    eigenvalues = torch.linalg.eigvals(small)
    score: Tensor = eigenvalues.real.sum(1) / eigenvalues.abs().sum(1)
    return score


def copying_logit(
    inputs: Float[Tensor, "source d_model"],
    values: Float[Tensor, "head d_model d_head"],
    outputs: Float[Tensor, "head d_head d_model"],
    unembedding: Float[Tensor, "d_model candidate"],
    own: Int[Tensor, " source"],
) -> Float[Tensor, " head"]:
    """Of how much attending to a token raises logits, the share that falls on that token itself; in [-1, 1].

    inputs: what the head reads at each source token. unembedding: the columns of the candidates, the whole
    vocabulary or the tokens of the sequence; own: the candidate each source token is. For each source the logits
    W_V W_O W_U less their mean over candidates, negative ones set to 0; the share of the own token in their sum s,
    meaned over sources; 2 s - 1, so that 1 is nothing but copying. Random logits score 2 / n_candidates - 1. A
    head that writes nothing raises nothing: share 0. Float64.

    After the evaluator of Olsson et al. 2022, who rescale a share of [0, 0.5] to [-1, 1]: of the sum of absolute
    deviations from the mean exactly one half is raise, so their share is half of ours and the score the same.
    """
    scores = []
    for value, output in zip(values.double(), outputs.double(), strict=True):
        logits = inputs.double() @ value @ (output @ unembedding.double())
        raised = (logits - logits.mean(1, keepdim=True)).relu()
        total = raised.sum(1)
        share = raised.gather(1, own.long()[:, None])[:, 0] / torch.where(total > 0, total, 1.0)
        scores.append(2 * share.mean() - 1)
    return torch.stack(scores)


def among_top(
    logits: Float[Tensor, "source token"], own: Int[Tensor, " source"], k: int
) -> Bool[Tensor, " source"]:
    """Whether each source's own token is among the k of most logit; of equals the lower ids come first."""
    _, columns = largest(logits, min(k, logits.shape[1]))
    return (columns == own.to(columns)[:, None]).any(1)


def written(
    inputs: Float[Tensor, "source d_model"],
    values: Float[Tensor, "head d_model d_head"],
    outputs: Float[Tensor, "head d_head d_model"],
    value_bias: Float[Tensor, "head d_head"] | None = None,
) -> Float[Tensor, "head source d_model"]:
    """What each head would write on attending to each source with all its weight.

    inputs: what heads read there, after their LayerNorm. The bias of the projection belongs to no head.
    """
    read = inputs @ values
    if value_bias is not None:
        read = read + value_bias[:, None]
    return read @ outputs
