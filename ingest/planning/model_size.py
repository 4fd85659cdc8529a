"""How large a model is that is yet to be loaded: by its family's facts, else by its configuration. Imports no torch."""

import json
from collections.abc import Mapping
from typing import Any

from archive.errors import PathscopeError
from ingest.catalogue import Size
from ingest.sources.files import CONFIG
from ingest.sources.folder import FolderSource
from ingest.studies.loading import LoadedRun, LoadSpec

# of a model whose sizes nobody says before it is loaded
UNKNOWN = Size(
    n_layers=6,
    d_model=512,
    n_heads=8,
    d_mlp=2048,
    d_vocab=50304,
    context=2048,
    n_params=70_000_000,
    evidence="a guess",
)
# what the architectures call the same thing
_KEYS = {
    "n_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "d_model": ("hidden_size", "n_embd"),
    "n_heads": ("num_attention_heads", "n_head", "num_heads"),
    "d_vocab": ("vocab_size",),
    "context": ("max_position_embeddings", "n_positions"),
}
_MLP = ("intermediate_size", "ffn_dim", "n_inner")


def size_of(run: LoadedRun, load: LoadSpec) -> Size:
    """The sizes of a run's model; `UNKNOWN` where neither its family nor a configuration on this disk says them."""
    if run.spec.size is not None:
        return run.spec.size
    source = load.make_source()
    if not run.refs or not isinstance(source, FolderSource):
        return UNKNOWN
    try:
        folder = source.get(run.spec.repository, run.refs[-1].revision).folder
        return size_of_config(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (PathscopeError, OSError, ValueError):  # what is wrong with it is said when it is loaded
        return UNKNOWN


def size_of_config(config: Mapping[str, Any]) -> Size:
    """Sizes by a `config.json` of transformers; parameters are counted on the matrices, biases and norms left out.

    Raises ValueError where it does not say them.
    """

    def of(keys: tuple[str, ...]) -> int:
        found = next((config[key] for key in keys if isinstance(config.get(key), int)), None)
        if found is None:
            raise ValueError(f"the configuration has none of {', '.join(keys)}")
        return int(found)

    sizes = {name: of(keys) for name, keys in _KEYS.items()}
    layers, width, vocabulary = sizes["n_layers"], sizes["d_model"], sizes["d_vocab"]
    neurons = next((config[key] for key in _MLP if isinstance(config.get(key), int)), 4 * width)
    of_gpt_neox = config.get("model_type") == "gpt_neox"
    tied = config.get("tie_word_embeddings", not of_gpt_neox)
    embeddings = (1 if tied else 2) * vocabulary + (0 if of_gpt_neox else sizes["context"])
    return Size(
        **sizes,
        d_mlp=neurons,
        n_params=embeddings * width + layers * (4 * width**2 + 2 * width * neurons),
        evidence="its config.json",
    )
