"""The same model in other weights: LayerNorm folded into what reads, writing weights centred.

Weights go by TransformerLens' names and orientations, as `HookedModel.weight` gives them: row vectors times
matrices, W_Q, W_K, W_V [head, d_model, d_head], W_O [head, d_head, d_model]. The blocks may be one after the other
(GPT-2) or side by side (GPT-NeoX), and positions added to the embeddings or turned into queries and keys
(rotary): only what normalises right before it reads, and adds to the residual stream, is touched. Not for models
that norm after adding, that scale the residual stream, or that add positions inside attention.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Named = Mapping[str, Float[Tensor, "..."]]


def fold_ln(weights: Named) -> dict[str, Float[Tensor, "..."]]:
    """Weights of the same function whose LayerNorms only subtract the mean and divide by the standard deviation.

    The scale and shift of each LayerNorm go into the matrices that read it and into their biases (`b_Q`, `b_K`,
    `b_V`, `unembed.b_U` appear where there were none), so names that end in .w or .b of a LayerNorm are gone. The
    matrices' columns are then centred, which changes nothing, as what they read sums to 0. Logits are the same up
    to rounding. A model without LayerNorm comes back as it is. `mlp.ln` (SoLU) is folded into W_out. A norm
    without .b is taken to divide by the root mean square only: its scale is folded, and nothing is centred. Raises
    ValueError for a LayerNorm whose readers are missing or unknown.
    """
    folded = dict(weights)
    for norm in [name.removesuffix(".w") for name in weights if name.endswith(".w")]:
        scale, shift = folded.pop(f"{norm}.w"), folded.pop(f"{norm}.b", None)
        for matrix, bias in _readers(norm):
            if matrix not in folded:
                raise ValueError(f"{norm} is there but {matrix}, which should read it, is not")
            if shift is None:
                folded[matrix] = scale[:, None] * folded[matrix]
                continue
            folded[matrix], folded[bias] = _folded(folded[matrix], folded.get(bias), scale, shift)
    return folded


def fold_ln_center(weights: Named) -> dict[str, Float[Tensor, "..."]]:
    """The same with everything that writes to the residual stream centred, and the unembedding.

    Embeddings, positions, W_O, b_O, W_out and b_out lose their mean over d_model, which every LayerNorm would
    subtract: it hides the components that compare heads or neurons. W_U and b_U lose their mean over tokens: the
    logits of a position change by a constant, log-probabilities do not. Raises ValueError for a model without
    LayerNorm, which does read that mean.
    """
    if "ln_final.b" not in weights:
        raise ValueError("no tensor ln_final.b: without a final LayerNorm centring would change the model")
    folded = fold_ln(weights)
    for name, tensor in folded.items():
        last = name.rsplit(".", 1)[-1]
        if last in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out", "W_U", "b_U"):
            folded[name] = tensor - tensor.mean(-1, keepdim=True)
    return folded


def _readers(norm: str) -> list[tuple[str, str]]:
    """Names of the matrices that read a LayerNorm's output, and of their biases."""
    place, _, kind = norm.rpartition(".")
    if kind == "ln1":
        return [(f"{place}.attn.W_{part}", f"{place}.attn.b_{part}") for part in "QKV"]
    if kind == "ln2":
        return [(f"{place}.mlp.W_in", f"{place}.mlp.b_in")]
    if norm.endswith(".mlp.ln"):
        return [(f"{place}.W_out", f"{place}.b_out")]
    if norm == "ln_final":
        return [("unembed.W_U", "unembed.b_U")]
    raise ValueError(f"no known reader of LayerNorm {norm!r}; expected ln1, ln2, mlp.ln or ln_final")


def _folded(matrix: Tensor, bias: Tensor | None, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix [..., in, out] and bias [..., out] that do to a plain normed input what these do to a scaled one."""
    moved = torch.einsum("i,...io->...o", shift, matrix)
    scaled = scale[:, None] * matrix
    return scaled - scaled.mean(-2, keepdim=True), moved if bias is None else bias + moved
