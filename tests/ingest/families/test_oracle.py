"""What we see in a model is what TransformerLens sees in it: logits, patterns, activations, scores, composition.

TransformerLens reads the same files by itself. In 4.x it wraps transformers' modules, so not everything is independent of
ours: attention of GPT-NeoX and GPT-2 it computes itself, that of OPT and GPT-Neo and all MLPs it leaves to transformers.
Our small transformers run in a model of its own, and its detectors, its folding of weights and its composition scores
share nothing with ours. Twins written for the tests (tests/references) are the other half.
"""

import importlib.util
import json
from functools import cache as remembered
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from archive.schema.base import CellState
from ingest.evalset import Given
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.repeated_tokens import RepeatedTokens
from ingest.evalsets.tokenizing import TaskTokenizer
from ingest.family import make_family
from ingest.mathematics.composition import composition
from ingest.measure import MEASURES
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.models.layout import Layout
from ingest.models.own import OwnModel
from ingest.models.transformer_lens import to_transformer_lens
from ingest.readings.circuit import CircuitWeights
from ingest.tasks.repeated_tokens import RepeatedTokens as Words
from tests.ingest.families.fixtures import CONTEXT, CRFM, GPT2, NEO, OPT, PYTHIA, VOCAB, commit_of
from tests.ingest.families.repositories import ALL as IN_FILES
from tests.ingest.families.repositories import Published, write_repository
from tests.ingest.families.test_loading import FINAL, loaded
from tests.ingest.models.test_transformer_lens_layout import SHAPES
from tests.ingest.small_models import random_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("transformer_lens") is None,
    reason="TransformerLens is not installed: pip install -c constraints.txt -e '.[lens]'",
)

REPOSITORIES = {"pythia": PYTHIA, "stanford_gpt2": CRFM, "gpt2": GPT2, "opt": OPT, "gpt_neo": NEO}
EVERY_FAMILY = pytest.mark.parametrize(("family", "name", "revision"), FINAL)
# 4.3 has no place for positions that only attention sees, divides by the number of layers, and gives the norm after SoLU
# weights even where no other norm has any
HELD = {
    name: layout
    for name, layout in SHAPES.items()
    if layout.positions == "learned"
    and layout.n_layers
    and (layout.norm_weights or layout.activation != "solu_ln")
}
CLOSE: dict[str, Any] = {"rtol": 0.0, "atol": 1e-5}
BLOCK = 8


def bridge(cache: Path, family: str, revision: str) -> Any:
    """Their model, read from the files by them."""
    from transformer_lens.model_bridge import TransformerBridge

    repository = REPOSITORIES[family]
    home = cache / f"models--{repository.replace('/', '--')}" / "snapshots"
    return TransformerBridge.boot_transformers(str(home / commit_of(repository, revision)))


@remembered
def kept_bridge(cache: Path, family: str, revision: str) -> Any:
    """The same, for tests that leave it as it is."""
    return bridge(cache, family, revision)


def seen_by_them(theirs: Any, tokens: Tensor) -> tuple[Tensor, Any]:
    """Logits, and everything else by the name of its hook."""
    with torch.no_grad():
        logits, activations = theirs.run_with_cache(tokens)
    return logits, activations


def compare(ours: HookedModel, theirs: Any, tokens: Tensor) -> None:
    logits, activations = seen_by_them(theirs, tokens)
    # float32 rounding grows with depth
    close = {"rtol": 1e-5, "atol": CLOSE["atol"] * max(1, ours.shape.n_layers)}
    patterns: list[Tensor] = []
    after: list[Tensor] = []
    before: dict[int, Tensor] = {}
    ours.watch_mid(lambda layer, values: before.update({layer: values.clone()}))
    final = ours.trunk(
        tokens,
        attention=lambda _, pattern: patterns.append(pattern.clone()),
        neurons=lambda _, layer: after.append(layer.clone()),
    )
    torch.testing.assert_close(torch.stack([ours.unembed(one) for one in final]), logits, **close)
    assert len(patterns) == ours.shape.n_layers
    assert len(after) == (ours.shape.n_layers if ours.shape.d_mlp else 0)
    for layer, pattern in enumerate(patterns):
        torch.testing.assert_close(pattern, activations[f"blocks.{layer}.attn.hook_pattern"], **close)
    for layer, values in enumerate(after):
        torch.testing.assert_close(values, activations[f"blocks.{layer}.mlp.hook_post"], **close)
    for layer, values in before.items():  # SoLU before its LayerNorm
        torch.testing.assert_close(values, activations[f"blocks.{layer}.mlp.ln.hook_in"], **close)


@EVERY_FAMILY
def test_logits_patterns_and_neurons_are_theirs(cache: Path, family: str, name: str, revision: str) -> None:
    tokens = torch.randint(VOCAB, (3, CONTEXT), generator=torch.Generator().manual_seed(8))
    compare(loaded(cache, family, name, revision), kept_bridge(cache, family, revision), tokens)


@EVERY_FAMILY
def test_weights_have_their_names_and_orientation(cache: Path, family: str, name: str, revision: str) -> None:
    model, theirs = loaded(cache, family, name, revision), kept_bridge(cache, family, revision)
    stacked = {kind: getattr(theirs, kind) for kind in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out")}
    for layer in range(model.shape.n_layers):
        for kind, tensor in stacked.items():
            place = "mlp" if kind in ("W_in", "W_out") else "attn"
            assert torch.equal(model.weight(f"blocks.{layer}.{place}.{kind}"), tensor[layer]), kind
    assert torch.equal(model.weight("embed.W_E"), theirs.W_E)
    assert torch.equal(model.weight("unembed.W_U"), theirs.W_U)


@EVERY_FAMILY
def test_head_scores_are_those_of_their_detectors(cache: Path, family: str, name: str, revision: str) -> None:
    from transformer_lens import head_detector

    settings = RepeatedTokens(block=BLOCK, copies=2, n_sequences=4, bos="none")
    task = NextTokens(frozen=settings.freeze(Given(tokenizer=TaskTokenizer.of(Words(n_tokens=VOCAB - 1)))))
    tokens = torch.from_numpy(task.evaluation().tokens.astype(np.int64))
    _, activations = seen_by_them(kept_bridge(cache, family, revision), tokens)
    length = 2 * BLOCK
    # they divide by the attention of all queries, we by that of queries that have something to find
    detectors = {
        "head.previous_token": (head_detector.get_previous_token_head_detection_pattern, length - 1),
        "head.prefix_matching": (head_detector.get_induction_head_detection_pattern, BLOCK),
        "head.duplicate_token": (head_detector.get_duplicate_token_head_detection_pattern, BLOCK),
    }
    model = loaded(cache, family, name, revision)
    values = scan(model, task, [MEASURES.get(measure) for measure in detectors], batch=3)
    for value, (detector, n_queries) in zip(values, detectors.values(), strict=True):
        assert value.state == CellState.DONE
        theirs = np.zeros((model.shape.n_layers, model.shape.n_heads))
        for layer, head in np.ndindex(theirs.shape):
            for row, sequence in enumerate(tokens):
                theirs[layer, head] += head_detector.compute_head_attention_similarity_score(
                    activations[f"blocks.{layer}.attn.hook_pattern"][row, head],
                    detector(sequence),
                    exclude_bos=False,
                    exclude_current_token=False,
                    error_measure="mul",
                )
        expected = theirs.flatten() / len(tokens) * length / n_queries
        np.testing.assert_allclose(value.columns["value"], expected, rtol=0, atol=1e-6)


@EVERY_FAMILY
@pytest.mark.parametrize("mode", ["q", "k", "v"])
def test_composition_is_theirs_with_their_folding(
    cache: Path, family: str, name: str, revision: str, mode: Literal["q", "k", "v"]
) -> None:
    theirs = folded_bridge(cache, family, revision).all_composition_scores(mode.upper())
    circuit = CircuitWeights(loaded(cache, family, name, revision))
    [pair] = composition(circuit.attention, mode, dimension=circuit.n_directions)
    torch.testing.assert_close(pair.scores.float(), theirs[0, :, 1], rtol=0, atol=1e-6)


@remembered
def folded_bridge(cache: Path, family: str, revision: str) -> Any:
    """Their model with LayerNorm folded in and what is written centred."""
    theirs = bridge(cache, family, revision)
    theirs.enable_compatibility_mode()
    return theirs


@pytest.mark.parametrize("layout", HELD.values(), ids=HELD.keys())
def test_our_small_transformer_runs_in_theirs(layout: Layout) -> None:
    from transformer_lens.model_bridge.sources.native import boot
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    model = random_model(layout, 1)
    config, state = to_transformer_lens(layout, model.weights)
    theirs = boot(config)
    theirs.load_state_dict(convert_tl_checkpoint(state, theirs.cfg), strict=True)
    tokens = torch.randint(
        layout.n_tokens, (6, layout.n_positions), generator=torch.Generator().manual_seed(9)
    )
    compare(OwnModel(model), theirs, tokens)


@pytest.mark.parametrize(
    "model", [m for m in IN_FILES if m.layout.positions == "learned"], ids=lambda m: m.run
)
def test_models_in_their_old_repositories_are_read_alike(
    model: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from transformer_lens.model_bridge.sources import tl_legacy

    home = write_repository(tmp_path, model)
    config = json.loads((home / "config.json").read_text())
    config.pop("tokenizer_name", None)  # they would fetch it
    (home / "config.json").write_text(json.dumps(config))

    class Listing:
        def list_repo_files(self, repository: str) -> list[str]:
            return [path.relative_to(home).as_posix() for path in home.rglob("*.pth")]

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, name: str(home / name))
    monkeypatch.setattr(huggingface_hub, "HfApi", Listing)
    theirs = tl_legacy.boot(model.repository)
    family = make_family(model.family)
    place = f"path:{tmp_path}"
    ref = family.checkpoints_in(family.find(model.run), place)[-1]
    ours = family.load(ref, family.source(place).get(ref.repository, ref.revision))
    tokens = torch.randint(
        model.layout.n_tokens, (2, model.layout.n_positions), generator=torch.Generator().manual_seed(3)
    )
    compare(ours, theirs, tokens)
