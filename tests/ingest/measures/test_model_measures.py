"""Measures of models of any kind against what their own activations, patterns, logits and weights say, by hand."""

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.evalsets.classes import TokenClass
from ingest.mathematics.head_signature import DISTANCES
from ingest.measure import MEASURES
from ingest.measures.copying import DRAWS, TOKENS, drawn_tokens
from ingest.measures.neuron_statistics import STATISTICS
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from tests.ingest.language import DOCUMENTS, KINDS, LENGTH, model_of, own, prompts, text, tokens_of
from tests.references.composition import full_matrices, full_score
from tests.references.heads import (
    classes_by_loops,
    copying_eig_full,
    copying_logit_by_loops,
    distances_by_loops,
)
from tests.references.neurons import effects_by_loops, histogram_by_loops, moments_by_loops, top_by_loops


@pytest.fixture(params=KINDS, scope="module")
def model(request: pytest.FixtureRequest) -> HookedModel:
    return model_of(request.param)


def taken(model: HookedModel, name: str, **options) -> MeasuredValue:
    task = prompts() if MEASURES.get(name).scope == "item" else text()
    [value] = scan(model, task, [MEASURES.get(name)], batch=3, **options)
    assert value.state is CellState.DONE, value.message + value.trace
    return value


def neurons_of(model: HookedModel) -> torch.Tensor:
    """[layer, sequence, position, unit]."""
    found: list[torch.Tensor] = []
    model.trunk(tokens_of(text()), neurons=lambda _, activations: found.append(activations.clone()))
    return torch.stack(found)


def patterns_of(model: HookedModel) -> torch.Tensor:
    """[layer, sequence, head, query, key]."""
    found: list[torch.Tensor] = []
    model.trunk(tokens_of(text()), attention=lambda _, pattern: found.append(pattern.clone()))
    return torch.stack(found)


def processed(model: HookedModel, layer: int) -> dict[str, np.ndarray]:
    """W_Q, W_K, W_V, W_O of a layer as `fold_ln_center` says: scaled, without the mean of rows and columns."""
    found = {part: model.weight(f"blocks.{layer}.attn.W_{part}").double().numpy() for part in "QKVO"}
    scale = model.weight(f"blocks.{layer}.ln1.w").double().numpy()
    for part in "QKV":
        scaled = scale[:, None] * found[part]
        found[part] = scaled - scaled.mean(-2, keepdims=True)
    found["O"] = found["O"] - found["O"].mean(-1, keepdims=True)
    return {f"W_{part}": matrix for part, matrix in found.items()}


def vocabulary_of(model: HookedModel) -> tuple[np.ndarray, np.ndarray]:
    """W_E and W_U likewise."""
    embedding = model.weight("embed.W_E").double().numpy()
    unembedding = model.weight("unembed.W_U").double().numpy()
    scaled = model.weight("ln_final.w").double().numpy()[:, None] * unembedding
    scaled = scaled - scaled.mean(0)
    return embedding - embedding.mean(-1, keepdims=True), scaled - scaled.mean(-1, keepdims=True)


def test_the_best_examples_are_those_of_a_sorted_list(model: HookedModel) -> None:
    columns, activations = taken(model, "neuron.top").columns, neurons_of(model)
    n_units = activations.shape[-1]
    for row in (0, 5, n_units, 2 * n_units - 1):
        layer, unit = int(columns["layer"][row]), int(columns["unit"][row])
        assert (layer, unit) == divmod(row, n_units)
        expected = top_by_loops(activations[layer], range(7), DOCUMENTS, unit, 20)
        assert len(expected) == len(columns["values"][row]) == 5
        np.testing.assert_allclose(
            columns["values"][row], [value for value, _, _ in expected], rtol=1e-4, atol=1e-5
        )
        for value, sequence, position in zip(
            *(columns[c][row] for c in ("values", "sequences", "positions")), strict=True
        ):
            assert activations[layer, sequence, position, unit].item() == pytest.approx(
                value, rel=1e-4, abs=1e-5
            )
        documents = [DOCUMENTS[sequence] for sequence in columns["sequences"][row]]
        assert len(set(documents)) == 5


def test_statistics_are_those_of_the_list_of_activations(model: HookedModel) -> None:
    value, activations = taken(model, "neuron.statistics"), neurons_of(model).double()
    n_layers, *_, n_units = activations.shape
    assert value.parts == value.parts[:5] * n_layers
    assert [part.name for part in value.parts[:5]] == list(STATISTICS)
    varying = [u for u in range(n_units) if activations[1, ..., u].std() > 1e-3][:4]
    assert varying
    for unit in varying:
        expected = moments_by_loops(activations[1, ..., unit].flatten().tolist())
        np.testing.assert_allclose(value.columns["values"][5:10, unit], expected, rtol=2e-3, atol=1e-5)
    assert value.columns["layer"].tolist() == [layer for layer in range(n_layers) for _ in range(5)]


def test_a_unit_that_does_not_vary_has_no_skew_and_is_stored_all_the_same() -> None:
    model = own()
    with torch.no_grad():
        model.loaded.weights["blocks.1.mlp.W_in"][:, 3] = 0
        model.loaded.weights["blocks.1.mlp.b_in"][3] = 0.5
    value = taken(model, "neuron.statistics")
    mean, variance, skew, kurtosis, firing = value.columns["values"][5:10, 3]
    assert (mean, firing) == (0.5, 1)
    assert variance < 1e-12
    assert np.isnan([skew, kurtosis]).all()


def test_counts_are_those_of_the_sampled_positions(model: HookedModel) -> None:
    from ingest.mathematics.unit_histogram import sampled_positions

    columns, activations = taken(model, "neuron.histogram").columns, neurons_of(model).double()
    assert set(columns["lower"]) == {-10.0}
    assert set(columns["upper"]) == {15.0}
    for row in (0, activations.shape[-1] + 3):
        layer, unit = int(columns["layer"][row]), int(columns["unit"][row])
        sample = [
            activations[layer, i, position, unit].item()
            for i in range(7)
            for position in sampled_positions(i, LENGTH, 16)
        ]
        assert columns["counts"][row].tolist() == histogram_by_loops(sample, -10.0, 15.0, 256)


def test_effects_on_logits_are_the_product_of_output_and_unembedding(model: HookedModel) -> None:
    value = taken(model, "neuron.logit_effect")
    _, unembedding = vocabulary_of(model)
    shape = model.shape
    n = shape.n_layers * shape.d_mlp
    by_part = {
        part.name: value.columns["values"][i * n : (i + 1) * n] for i, part in enumerate(value.parts[::n])
    }
    assert list(by_part) == ["top_tokens", "top_values", "bottom_tokens", "bottom_values"]
    assert {part.kind for part in value.parts} == {"logit effect"}
    outputs = model.weight("blocks.1.mlp.W_out").double().numpy()
    outputs = outputs - outputs.mean(-1, keepdims=True)
    for unit in (0, 3):
        row = shape.d_mlp + unit
        assert (value.columns["layer"][row], value.columns["unit"][row]) == (1, unit)
        effects = np.array(effects_by_loops(outputs, unembedding, unit))
        order = np.argsort(-effects, kind="stable")
        np.testing.assert_array_equal(by_part["top_tokens"][row], order[:10])
        np.testing.assert_allclose(by_part["top_values"][row], effects[order[:10]], rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(by_part["bottom_tokens"][row], order[::-1][:10])
        np.testing.assert_allclose(
            by_part["bottom_values"][row], effects[order[::-1][:10]], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("mode", ["q", "k", "v"])
def test_composition_is_that_of_the_full_products(model: HookedModel, mode: str) -> None:
    columns = taken(model, f"{mode}_composition").columns
    n_layers, n_heads = model.shape.n_layers, model.shape.n_heads
    pairs = list(zip(columns["src_layer"].tolist(), columns["dst_layer"].tolist(), strict=True))
    assert pairs == [(a, b) for a in range(n_layers) for b in range(a + 1, n_layers)]
    source, target = pairs[-1]
    earlier, later = processed(model, source), processed(model, target)
    for i in range(n_heads):
        for j in range(n_heads):
            one = {part: matrix[i] for part, matrix in earlier.items()}
            other = {part: matrix[j] for part, matrix in later.items()}
            expected = full_score(*full_matrices(one, other, mode))
            assert columns["values"][-1][i * n_heads + j] == pytest.approx(expected, rel=1e-4)
    # one direction of d_model is out, as LayerNorm subtracts the mean
    np.testing.assert_allclose(columns["baselines"][0], (model.shape.d_model - 1) ** -0.5, rtol=1e-12)


def test_copying_by_eigenvalues_is_that_of_the_token_by_token_matrix(model: HookedModel) -> None:
    columns = taken(model, "head.copying_eig").columns
    found = columns["value"].reshape(model.shape.n_layers, -1)
    embedding, unembedding = vocabulary_of(model)
    for layer, head in ((0, 0), (1, 2)):
        weights = processed(model, layer)
        expected = copying_eig_full(weights["W_V"][head], weights["W_O"][head], embedding, unembedding)
        assert found[layer, head] == pytest.approx(expected, abs=2e-3)
    assert columns["chance"] == 0


def test_random_weights_copy_no_more_than_chance() -> None:
    sizes = {"d_model": 64, "d_head": 8, "n_heads": 8, "n_layers": 4, "layer_norm": False}
    columns = taken(own(3, **sizes), "head.copying_eig").columns
    assert abs(columns["value"].mean()) < 4 * 1.5 / 8 / 32**0.5
    assert columns["value"].std() == pytest.approx(1.5 / 8, rel=0.4)


def test_copying_by_logits_is_the_share_of_the_own_token(model: HookedModel) -> None:
    found = taken(model, "head.copying_logit").columns["value"].reshape(model.shape.n_layers, -1)
    embedding, unembedding = vocabulary_of(model)
    draws = [drawn.numpy() for drawn in drawn_tokens(model.shape.d_vocab)]
    assert len(draws) == DRAWS
    assert all(len(set(drawn.tolist())) == TOKENS for drawn in draws)
    assert len({tuple(drawn.tolist()) for drawn in draws}) == DRAWS
    weights = processed(model, 1)
    expected = [
        copying_logit_by_loops(
            embedding[drawn], weights["W_V"][2], weights["W_O"][2], unembedding[:, drawn], range(TOKENS)
        )
        for drawn in draws
    ]
    assert found[1, 2] == pytest.approx(np.mean(expected), abs=1e-4)


def test_a_head_that_writes_what_it_reads_copies() -> None:
    model = own(d_model=16, n_heads=2, d_head=16, layer_norm=False)
    weights = model.loaded.weights
    weights["unembed.W_U"].copy_(weights["embed.W_E"].T)
    for head, sign in ((0, 1), (1, -1)):
        weights["blocks.0.attn.W_V"][:, head] = torch.eye(16)
        weights["blocks.0.attn.W_O"][head] = sign * torch.eye(16)
    eig = taken(model, "head.copying_eig").columns["value"]
    logit = taken(model, "head.copying_logit").columns["value"]
    np.testing.assert_allclose(eig[:2], [1, -1], atol=1e-6)
    assert logit[0] > -0.5 > -0.99 > logit[1]


def test_profiles_of_heads_are_those_of_loops(model: HookedModel) -> None:
    patterns, kinds = patterns_of(model), text().classes()
    assert kinds is not None
    distance, kind = (taken(model, f"head.{name}_profile") for name in ("distance", "class"))
    assert {part.name for part in distance.parts} == {"distance"}
    assert {part.name for part in kind.parts} == {"class"}
    n_heads = model.shape.n_heads
    for layer, head in ((0, 1), (1, 2)):
        row = layer * n_heads + head
        of_head = patterns[layer, :, head].tolist()
        assert (distance.columns["layer"][row], distance.columns["unit"][row]) == (layer, head)
        np.testing.assert_allclose(
            distance.columns["values"][row], distances_by_loops(of_head, DISTANCES), atol=1e-6
        )
        np.testing.assert_allclose(
            kind.columns["values"][row], classes_by_loops(of_head, kinds.tolist(), len(TokenClass)), atol=1e-6
        )


def mask_by_loops(patterns, kinds, wanted) -> float:
    """Mean over sequences with a target of the mean over their queries of attention on earlier targets."""
    scores = []
    for pattern, classes in zip(patterns, kinds, strict=True):
        rows = []
        for query, row in enumerate(pattern):
            targets = [key for key in range(query) if wanted(classes[query], classes[key])]
            if targets:
                rows.append(sum(float(row[key]) for key in targets))
        if rows:
            scores.append(sum(rows) / len(rows))
    return sum(scores) / len(scores)


WANTED = {
    "word_start": lambda query, key: key == TokenClass.WORD_START,
    "punctuation": lambda query, key: key == TokenClass.PUNCTUATION,
    "whitespace": lambda query, key: key == TokenClass.WHITESPACE,
    "same_class": lambda query, key: key == query,
}


@pytest.mark.parametrize("name", WANTED)
def test_attention_to_tokens_of_a_kind_is_that_of_loops(model: HookedModel, name: str) -> None:
    kinds = text().classes()
    assert kinds is not None
    columns, patterns = taken(model, f"head.mask:{name}").columns, patterns_of(model)
    for layer, head in ((0, 1), (1, 2)):
        row = layer * model.shape.n_heads + head
        expected = mask_by_loops(patterns[layer, :, head].tolist(), kinds.tolist(), WANTED[name])
        assert columns["value"][row] == pytest.approx(expected, abs=1e-6)
    evenly = (torch.ones(LENGTH, LENGTH).tril() / torch.arange(1, LENGTH + 1)[:, None]).tolist()
    assert columns["chance"] == pytest.approx(mask_by_loops([evenly] * 7, kinds.tolist(), WANTED[name]))
    # the fourth sequence has no punctuation and says nothing of it
    assert set(columns["n_items"]) == {6 if name == "punctuation" else 7}


def test_patterns_are_those_of_the_first_sequences(model: HookedModel) -> None:
    columns, patterns = taken(model, "attention_pattern").columns, patterns_of(model)
    assert (columns["n_query"], columns["n_key"]) == (LENGTH, LENGTH)
    assert columns["item"].max() == 3
    for row in (0, 5, len(columns["item"]) - 1):
        at = tuple(int(columns[c][row]) for c in ("layer", "item", "head"))
        np.testing.assert_allclose(columns["values"][row], patterns[at].flatten(), atol=1e-6)


def test_long_patterns_are_cut() -> None:
    model = own(n_positions=70)
    [value] = scan(model, text(length=70), [MEASURES.get("attention_pattern")])
    assert (value.columns["n_query"], value.columns["n_key"]) == (64, 64)
    rows = value.columns["values"].reshape(-1, 64, 64)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)


def test_likely_tokens_are_those_of_the_sorted_logits(model: HookedModel) -> None:
    columns = taken(model, "token_top").columns
    log_probs = model.logits(tokens_of(text())).double().log_softmax(-1)
    for row in (0, LENGTH - 2, LENGTH - 1):
        sequence, position = int(columns["sequence"][row]), int(columns["position"][row])
        assert (sequence, position) == divmod(row, LENGTH - 1)
        expected, tokens = log_probs[sequence, position].sort(descending=True)
        assert columns["token_ids"][row].tolist() == [*tokens[:64].tolist(), -1]
        np.testing.assert_allclose(columns["log_probs"][row, :64], expected[:64], atol=1e-5)
        assert columns["log_probs"][row, 64] == pytest.approx(
            expected[64:].exp().sum().log().item(), abs=1e-3
        )


def test_scores_of_prompts_are_those_of_their_last_logits(model: HookedModel) -> None:
    frozen = prompts().frozen
    items = frozen.items
    assert items is not None
    names = ("logit_difference", "task_accuracy", "top_accuracy", "target_prob")
    values = {name: taken(model, name).columns["value"] for name in names}
    for item in range(len(items)):
        ids = torch.from_numpy(frozen.sequences[items.sequence[item]].astype(np.int64))
        logits = model.logits(ids[None])[0, items.position[item]].double()
        right, wrong = float(logits[items.correct[item]]), float(logits[items.distractor[item]])
        assert values["logit_difference"][item] == pytest.approx(right - wrong, abs=1e-4)
        assert values["task_accuracy"][item] == (right > wrong)
        assert values["top_accuracy"][item] == (right == float(logits.max()))
        assert values["target_prob"][item] == pytest.approx(
            float(logits.softmax(-1)[items.correct[item]]), rel=1e-4
        )
    assert values["top_accuracy"].sum() == 1
    assert taken(model, "task_accuracy").columns["chance"] == 0.5
