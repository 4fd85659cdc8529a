"""B10: does a head raise the logits of the tokens it attends to? Three scores, never to be merged."""

import torch
from jaxtyping import Float, Int
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
    decomposed. `copying_null_sd` says what random weights score. Tied embeddings raise it. Raises ValueError where
    what is read and what is written are not the same tokens. Source: Elhage et al. 2021.
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


def copying_null_sd(d_head: int) -> float:
    """Standard deviation of `copying_eig` for random weights: 1.5 / d_head, where the mean is 0.

    For n × n Gaussian matrices the eigenvalues fill a disc (circular law): their sum has standard deviation r and
    their mean modulus is 2 r / 3, with r the radius. So 0.094 at 16 and 0.023 at 64. Heads are like that where
    d_model is many times d_head; at 4 times the standard deviation is about a tenth larger.
    """
    return 1.5 / d_head


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


def copying_topk(
    logits: Float[Tensor, "source token"], own: Int[Tensor, " source"], k: int = 5
) -> Float[Tensor, ""]:
    """Share of source tokens that are among the k most likely by what a head would write on attending to them.

    logits: of each source token what the head reads there → W_V, W_O → final LayerNorm → unembedding, by
    `written_logits`. Wang et al. 2022 read the residual stream after the first MLP and take k = 5: above 95% for
    their name movers, under 20% for the average head; with the sign of the output turned, 98% for negative name
    movers and 12% on average. Chance k / n_tokens.
    """
    _, columns = largest(logits, k)
    return (columns == own.to(columns)[:, None]).any(1).double().mean()


def written_logits(
    inputs: Float[Tensor, "source d_model"],
    value: Float[Tensor, "d_model d_head"],
    output: Float[Tensor, "d_head d_model"],
    unembedding: Float[Tensor, "d_model token"],
    *,
    value_bias: Float[Tensor, " d_head"] | None = None,
    final_weight: Float[Tensor, " d_model"] | None = None,
    final_bias: Float[Tensor, " d_model"] | None = None,
    eps: float = 1e-5,
    negative: bool = False,
) -> Float[Tensor, "source token"]:
    """Logits of one head's output alone, as if it attended to each source token with weight 1.

    inputs: what the head reads, after its LayerNorm. final_weight, final_bias: of the final LayerNorm; without a
    weight there is none. negative: turn the sign of what the head writes.
    """
    read = inputs @ value
    if value_bias is not None:
        read = read + value_bias
    written = read @ output * (-1 if negative else 1)
    if final_weight is not None:
        written = torch.nn.functional.layer_norm(
            written, written.shape[-1:], final_weight, final_bias, eps=eps
        )
    return written @ unembedding
