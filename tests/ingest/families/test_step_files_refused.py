"""Models published as files that cannot be trusted or would be computed otherwise: refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ingest.models.hooked import HookedModel, WeightsRefused
from ingest.models.lens_files import load_lens_file
from tests.ingest.families.repositories import ATTENTION, DEMO, OTHELLO, PLAIN, Published, file_state


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


def changed(tmp_path: Path, place: Path, model: Published, **config: Any) -> Path:
    folder = Path(shutil.copytree(place / model.repository, tmp_path / "changed"))
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**known, **config}))
    return folder


def load(folder: Path) -> HookedModel:
    return load_lens_file(folder, "model_final.pth", old=False, run="x", step=1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Evil(), "refused by safe loading"),
        ([torch.zeros(1)], "holds a list"),
        ({"embed.W_E": torch.zeros(257, 16)}, "no tensor pos_embed.W_pos"),
    ],
)
def test_files_that_are_no_model(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, words: str
) -> None:
    folder = changed(tmp_path, place, PLAIN)
    torch.save(content, folder / "model_final.pth")
    with pytest.raises(WeightsRefused, match=rf"model_final\.pth.*{words}"):
        load(folder)
    assert "ran" not in capsys.readouterr().out


def test_a_file_that_is_cut_off_is_named(place: Path, tmp_path: Path) -> None:
    path = changed(tmp_path, place, PLAIN) / "model_final.pth"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(WeightsRefused, match=r"model_final\.pth: damaged .*fetch or copy it again"):
        load(path.parent)


@pytest.mark.parametrize(
    ("model", "change", "words"),
    [
        (PLAIN, {"blocks.0.attn.W_Q": torch.full((2, 16, 8), torch.nan)}, r"W_Q has 256 of 256 values"),
        (PLAIN, {"blocks.2.mlp.W_in": torch.zeros(3)}, r"tensor blocks\.2\.mlp\.W_in has no place"),
        (PLAIN, {"blocks.0.mlp.W_in": torch.zeros(24, 16)}, r"W_in has shape \(24, 16\), which does not fit"),
        (ATTENTION, {"blocks.0.attn.b_K": None}, r"no tensor blocks\.0\.attn\.b_K"),
        (OTHELLO, {"blocks.1.attn.key.weight": None}, r"no tensor or setting blocks\.1\.attn\.key\.weight"),
        (OTHELLO, {"probe.weight": torch.zeros(3)}, r"tensor probe\.weight has no place"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    place: Path, tmp_path: Path, model: Published, change: dict[str, Any], words: str
) -> None:
    folder = changed(tmp_path, place, model)
    state = {k: t for k, t in {**file_state(model, 1), **change}.items() if t is not None}
    torch.save(state, folder / "model_final.pth")
    with pytest.raises(WeightsRefused, match=words):
        load(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "mamba"}, "architecture = 'mamba'; known are 'neel'"),
        ({"act_fn": "silu"}, "act_fn = 'silu'"),
        ({"normalization": "RMS"}, "normalization_type = 'RMS'"),
        ({"ln_eps": 1e-6}, "eps = 1e-06"),
        ({"n_ctx": 31}, "W_pos has shape"),
        ({"parallel_attn_mlp": True}, "parallel_attn_mlp = True"),
    ],
)
def test_settings_that_compute_something_else(
    place: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(WeightsRefused, match=words):
        load(changed(tmp_path, place, PLAIN, **change))


def test_a_configuration_that_is_missing_or_says_too_little(place: Path, tmp_path: Path) -> None:
    folder = changed(tmp_path, place, DEMO)
    known = json.loads((folder / "config.json").read_text())
    del known["normalization"]
    (folder / "config.json").write_text(json.dumps(known))
    with pytest.raises(WeightsRefused, match="neither normalization nor normalization_type"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsRefused, match=r"config\.json cannot be read"):
        load(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(WeightsRefused, match="holds a list"):
        load(folder)
