"""Weights that cannot be trusted are refused, by name of the file or tensor; the rest of a list goes on."""

import json
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ingest.models.hooked import WeightsRefused
from ingest.models.hugging_face import load_hugging_face
from tests.ingest.families.fixtures import (
    CONFIGS,
    GPT2,
    OPT,
    PYTHIA,
    gpt2_file,
    neox_file,
    opt_file,
    state,
    write_bin,
    write_safetensors,
    write_snapshot,
)


def load(folder: Path) -> None:
    load_hugging_face(folder, run="x", step=0)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return neox_file(state(PYTHIA, 5), buffers=True)


def pythia(folder: Path, stored: Mapping[str, Tensor], write: Callable[..., None] = write_bin) -> Path:
    return write_snapshot(folder / "snapshot", PYTHIA, stored, write)


@pytest.mark.parametrize(
    ("write", "name"), [(write_bin, "pytorch_model.bin"), (write_safetensors, "model.safetensors")]
)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_off(
    tmp_path: Path, tensors: dict[str, Tensor], write: Callable[..., None], name: str, kept: float
) -> None:
    folder = pythia(tmp_path, tensors, write)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(WeightsRefused, match=r"snapshot.*fetch it again"):
        load(folder)


class Evil:
    """Opening the pickle would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_that_would_run_code(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = pythia(tmp_path, tensors)
    torch.save({**tensors, "evil": Evil(tmp_path / "was here")}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsRefused, match=r"refused by safe loading.*Ask its authors"):
        load(folder)
    assert not (tmp_path / "was here").exists()


def test_a_bare_pickle(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = pythia(tmp_path, tensors)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "was here")))
    with pytest.raises(WeightsRefused):
        load(folder)
    assert not (tmp_path / "was here").exists()


def test_a_file_beside_the_weights_is_not_opened(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = pythia(tmp_path, tensors)
    (folder / "training_args.bin").write_bytes(pickle.dumps(Evil(tmp_path / "was here")))
    load(folder)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite(tmp_path: Path, tensors: dict[str, Tensor], bad: float) -> None:
    name = "gpt_neox.layers.1.mlp.dense_h_to_4h.weight"
    spoilt = tensors[name].clone()
    spoilt[3, 2] = bad
    with pytest.raises(WeightsRefused, match=rf"{name} has 1 of 4096 values that are NaN or infinite"):
        load(pythia(tmp_path, {**tensors, name: spoilt}))


def test_large_values_whose_sum_overflows_are_finite(tmp_path: Path) -> None:
    stored = gpt2_file(state(GPT2, 1))
    stored["wte.weight"] = torch.full_like(stored["wte.weight"], 3e38)
    load(write_snapshot(tmp_path / "large", GPT2, stored, write_safetensors))


def test_a_missing_tensor(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    name = "gpt_neox.layers.0.attention.dense.weight"
    with pytest.raises(WeightsRefused, match=rf"1 tensor\(s\) missing, the first is {name}"):
        load(pythia(tmp_path, {k: t for k, t in tensors.items() if k != name}))


def test_a_missing_unembedding_is_only_right_where_it_is_the_embedding(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    load(write_snapshot(tmp_path / "opt", OPT, opt_file(state(OPT, 1)), write_bin))
    with pytest.raises(WeightsRefused, match="missing"):
        load(pythia(tmp_path, {k: t for k, t in tensors.items() if k != "embed_out.weight"}))


def test_weights_of_more_layers_than_the_configuration_has(
    tmp_path: Path, tensors: dict[str, Tensor]
) -> None:
    more = {k.replace("layers.1.", "layers.2."): t for k, t in tensors.items() if "layers.1." in k}
    with pytest.raises(WeightsRefused, match=r"left over.*gpt_neox\.layers\.2\."):
        load(pythia(tmp_path, {**tensors, **more}))


def test_weights_of_another_size(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    stored = {**tensors, "gpt_neox.embed_in.weight": torch.zeros(100, 32).half()}
    with pytest.raises(WeightsRefused, match="snapshot"):
        load(pythia(tmp_path, stored))


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("llama", **settings, vocab_size=16)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsRefused, match=r"'llama' is none of gpt_neox, gpt2.*family `module`"):
        load(tmp_path)


def test_code_in_the_repository_is_not_run(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = pythia(tmp_path, tensors)
    config = {**CONFIGS[PYTHIA], "model_type": "theirs", "auto_map": {"AutoModelForCausalLM": "theirs.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')")
    with pytest.raises(WeightsRefused):
        load(folder)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (struct.pack("<Q", 10**12) + b"{}", "fetch it again"),
        (b"<html>404</html>", "fetch it again"),
    ],
)
def test_a_file_that_is_something_else(
    tmp_path: Path, tensors: dict[str, Tensor], content: bytes, words: str
) -> None:
    folder = pythia(tmp_path, tensors, write_safetensors)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsRefused, match=words):
        load(folder)


def test_missing_files(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    folder = pythia(tmp_path, tensors)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(WeightsRefused, match=r"none of model\.safetensors"):
        load(folder)
    index = {"weight_map": {name: "model-00002-of-00002.safetensors" for name in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsRefused, match=r"model-00002-of-00002\.safetensors is missing"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsRefused, match=r"no config\.json"):
        load(folder)
