"""Models published for TransformerLens as config.json and `.pth` state dicts, in the three layouts there are.

    plain     TransformerLens' own names and orientation (transformer_lens.py)
    old       the SoLU models on the Pile: norms called `norm1`, `norm2` and `norm`; W_pos transposed up to 8
              layers, and every other matrix up to 6
    mingpt    Othello-GPT: minGPT's names; queries, keys and values of all heads in one matrix [out, in]

config.json says which (`architecture`), except that the old ones are told by `_old` at the end of the repository's
name. Numbers are stored in half, bfloat16 or single precision, and are float32 here.
"""

import errno
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ingest.measuring.memory import lacks_memory
from ingest.models.hooked import WeightsRefused, refuse_not_finite
from ingest.models.loaded import LoadedModel
from ingest.models.own import OwnModel
from ingest.models.published import UnknownLayout
from ingest.models.transformer_lens import from_transformer_lens

Kind = Literal["plain", "old", "mingpt"]
# what config.json may call its architecture
KINDS: dict[str, Kind] = {"neel": "plain", "neel-solu": "plain", "neel-solu-old": "old", "mingpt": "mingpt"}
# up to how many layers the old models have W_pos transposed, and everything else
OLD_POSITIONS_LAYERS = 8
OLD_MATRICES_LAYERS = 6
State = Mapping[str, Tensor]


def load_lens_file(
    folder: Path, file: str, *, old: bool, run: str, step: int, device: str = "cpu"
) -> OwnModel:
    """The model in a `.pth` file of a repository's folder, with the folder's config.json, in float32.

    old: what the layout is where the configuration does not say. Raises WeightsRefused, naming the file, for one
    that is cut off or could only be read by running code in it, for tensors that are missing, left over, of the
    wrong shape or not finite, and for settings that the small transformer does not have.
    """
    path = folder / file
    state = _read(path)
    try:
        config = read_config(folder)
        state = in_plain_layout(config, state, kind_of(config, old=old))
        layout, weights = from_transformer_lens(plain_config(config), state, keep_zeros=True)
    except UnknownLayout as error:
        raise WeightsRefused(f"{path}: {error}") from None
    refuse_not_finite(iter(weights.items()), str(path))
    weights = {name: tensor.to(device) for name, tensor in weights.items()}
    return OwnModel(LoadedModel(run, step, layout, weights))


def read_config(folder: Path) -> dict[str, Any]:
    """A repository's config.json; raises WeightsRefused when it is none."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsRefused(f"{path} cannot be read ({type(error).__name__}: {error})") from None
    if not isinstance(config, dict):
        raise WeightsRefused(f"{path} holds a {type(config).__name__}; expected the settings of a model")
    return config


def kind_of(config: Mapping[str, Any], *, old: bool) -> Kind:
    """Which layout the files are in; raises UnknownLayout for an architecture that is none of the three."""
    said = config.get("architecture") or ("neel-solu-old" if old else "neel")
    if said not in KINDS:
        raise UnknownLayout(f"config has architecture = {said!r}; known are {', '.join(map(repr, KINDS))}")
    return KINDS[said]


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in TransformerLens' words; several generations of training programs wrote these files."""
    plain = dict(config)
    if "normalization" in config:
        plain["normalization_type"] = config["normalization"]
    if "normalization_type" not in plain:
        raise UnknownLayout("config has neither normalization nor normalization_type")
    if "ln_eps" in config:
        plain["eps"] = config["ln_eps"]
    if "shortformer_pos" in config:
        plain["positional_embedding_type"] = "shortformer" if config["shortformer_pos"] else "standard"
    return plain


def in_plain_layout(config: Mapping[str, Any], state: State, kind: Kind) -> dict[str, Tensor]:
    """The tensors in TransformerLens' names and orientation; raises UnknownLayout for one that is missing."""
    try:
        if kind == "old":
            return _from_old(state, config["n_layers"])
        if kind == "mingpt":
            return _from_mingpt(state, config["n_layers"], config["n_heads"])
    except KeyError as error:
        raise UnknownLayout(f"no tensor or setting {error.args[0]}") from None
    return dict(state)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        line = str(error).split("\n")[0][:200]
        raise WeightsRefused(f"{path}: refused by safe loading ({line})") from None
    except Exception as error:  # torch raises many kinds for a cut-off file, "invalid argument" among them
        elsewhere = isinstance(error, OSError) and error.errno != errno.EINVAL
        if elsewhere or lacks_memory(error):
            raise
        line = " ".join(str(error).split())[:300]
        raise WeightsRefused(
            f"{path}: damaged ({type(error).__name__}: {line}); fetch or copy it again, whole"
        ) from None
    if not isinstance(stored, Mapping) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise WeightsRefused(f"{path} holds a {type(stored).__name__}; expected tensors by their names")
    return {
        str(name): tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()
    }


def _from_old(state: State, n_layers: int) -> dict[str, Tensor]:
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.replace("norm", "ln")
        if name.startswith("ln."):
            name = f"ln_final.{name.removeprefix('ln.')}"
        is_positions = name == "pos_embed.W_pos"
        last = OLD_POSITIONS_LAYERS if is_positions else OLD_MATRICES_LAYERS
        turned = ".W_" in name and n_layers <= last and tensor.ndim > 1
        plain[name] = tensor.transpose(-2, -1).contiguous() if turned else tensor
    return plain


def _from_mingpt(state: State, n_layers: int, n_heads: int) -> dict[str, Tensor]:
    left = dict(state)
    plain = {
        "embed.W_E": left.pop("tok_emb.weight"),
        "pos_embed.W_pos": left.pop("pos_emb").squeeze(0),
        "ln_final.w": left.pop("ln_f.weight"),
        "ln_final.b": left.pop("ln_f.bias"),
        "unembed.W_U": left.pop("head.weight").T.contiguous(),
    }
    for layer in range(n_layers):
        block = f"blocks.{layer}"
        for norm in ("ln1", "ln2"):
            plain[f"{block}.{norm}.w"] = left.pop(f"{block}.{norm}.weight")
            plain[f"{block}.{norm}.b"] = left.pop(f"{block}.{norm}.bias")
        for ours, theirs in (("Q", "query"), ("K", "key"), ("V", "value")):
            matrix = left.pop(f"{block}.attn.{theirs}.weight")
            by_head = matrix.reshape(n_heads, -1, matrix.shape[1])
            plain[f"{block}.attn.W_{ours}"] = by_head.transpose(1, 2).contiguous()
            plain[f"{block}.attn.b_{ours}"] = left.pop(f"{block}.attn.{theirs}.bias").reshape(n_heads, -1)
        written = left.pop(f"{block}.attn.proj.weight").T
        plain[f"{block}.attn.W_O"] = written.reshape(n_heads, -1, written.shape[1])
        plain[f"{block}.attn.b_O"] = left.pop(f"{block}.attn.proj.bias")
        for ours, theirs in (("in", "0"), ("out", "2")):
            plain[f"{block}.mlp.W_{ours}"] = left.pop(f"{block}.mlp.{theirs}.weight").T.contiguous()
            plain[f"{block}.mlp.b_{ours}"] = left.pop(f"{block}.mlp.{theirs}.bias")
        left.pop(f"{block}.attn.mask", None)
    return plain | left  # what has no place is refused with its name
