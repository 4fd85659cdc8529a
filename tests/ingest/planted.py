"""An induction circuit put together by hand: a head that looks back by one, and one that looks for what it says."""

import torch

from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.own import OwnModel

PREVIOUS, INDUCTION = (0, 0), (1, 1)
SHARP, LOUD = 60.0, 12.0


def induction_model(n_tokens: int, n_positions: int) -> OwnModel:
    """Two layers of two heads; those without a part in it do next to nothing.

    The residual stream holds the token, the position, the token before and the token that is to come, side by side.
    """
    wide = max(n_tokens, n_positions)
    token, position = slice(0, n_tokens), slice(n_tokens, n_tokens + n_positions)
    before, coming = (
        slice(position.stop + i * n_tokens, position.stop + (i + 1) * n_tokens) for i in range(2)
    )
    layout = Layout(
        n_tokens=n_tokens,
        n_outputs=n_tokens,
        n_positions=n_positions,
        n_layers=2,
        d_model=coming.stop,
        n_heads=2,
        d_head=wide,
        d_mlp=0,
    )
    generator = torch.Generator().manual_seed(0)
    weights = {name: 1e-3 * torch.randn(shape, generator=generator) for name, shape in layout.shapes.items()}
    weights["embed.W_E"][:, token] += torch.eye(n_tokens)
    weights["pos_embed.W_pos"][:, position] += torch.eye(n_positions)
    weights["unembed.W_U"][coming] += LOUD * torch.eye(n_tokens)

    def add(layer: int, head: int, part: str, block: slice, matrix: torch.Tensor) -> None:
        one = weights[f"blocks.{layer}.attn.W_{part}"]
        where = one[:, head] if part != "O" else one[head].T
        where[block, : matrix.shape[1]] += matrix

    add(*PREVIOUS, "Q", position, SHARP * torch.eye(n_positions).roll(-1, 1))  # position p asks for p − 1
    add(*PREVIOUS, "K", position, torch.eye(n_positions))
    add(*PREVIOUS, "V", token, torch.eye(n_tokens))
    add(*PREVIOUS, "O", before, torch.eye(n_tokens))
    add(*INDUCTION, "Q", token, SHARP * torch.eye(n_tokens))  # a token asks for where it came before
    add(*INDUCTION, "K", before, torch.eye(n_tokens))
    add(*INDUCTION, "V", token, torch.eye(n_tokens))
    add(*INDUCTION, "O", coming, torch.eye(n_tokens))
    return OwnModel(LoadedModel(run="planted", step=0, layout=layout, weights=weights))
