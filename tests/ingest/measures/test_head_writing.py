"""What heads would write and how much they write: copying_topk, output_share; and the signature of where they look."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from archive.schema.base import CellState
from ingest.evalsets.classes import TokenClass
from ingest.evalsets.frozen import FrozenEvalSet, Items
from ingest.evalsets.next_tokens import NextTokens
from ingest.measure import MEASURES
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.models.own import OwnModel
from ingest.models.own_interventions import OwnIntervening
from ingest.models.small import LAYER_NORM_EPS
from ingest.readings.copied import _outputs
from ingest.tasks.repeated_tokens import RepeatedTokens
from tests.ingest.language import frozen, own, pythia, text, tokens_of
from tests.references.copied import in_top_by_modules, output_share_by_modules


def measured(model: HookedModel, task: NextTokens, *names: str, **options: Any) -> list[MeasuredValue]:
    values = scan(model, task, [MEASURES.get(name) for name in names], **options)
    assert {value.state for value in values} == {CellState.DONE}, [value.message for value in values]
    return values


def table(value: MeasuredValue, n_heads: int) -> np.ndarray:
    return np.asarray(value.columns["value"]).reshape(-1, n_heads)


def changed(model: OwnModel, **weights: torch.Tensor) -> OwnModel:
    """The model with weights replaced; names with `_` for the dots of their block."""
    named = {name.replace("__", "."): tensor for name, tensor in weights.items()}
    assert named.keys() <= model.loaded.weights.keys()
    return OwnModel(replace(model.loaded, weights={**model.loaded.weights, **named}))


@pytest.fixture(scope="module")
def asked() -> NextTokens:
    """Prompts of two lengths: in the first three the right answer stands at position 1, 2 and 4, in the last nowhere."""
    rows = [np.array(row) for row in ([9, 30, 5, 6], [8, 7, 31, 5, 31, 6], [1, 2, 3, 4, 32, 5], [1, 2, 3, 4])]
    items = Items(
        sequence=np.arange(4),
        position=np.array([3, 5, 5, 3]),
        correct=np.array([30, 31, 32, 33], dtype=np.int32),
        distractor=np.array([5, 5, 5, 5], dtype=np.int32),
        template=("a", "a", "b", "b"),
    )
    return NextTokens(frozen=frozen(rows, items=items))


def planted() -> OwnModel:
    """Tokens are axes of the stream, the first layer adds nothing; of the second layer one head copies, one lowers, one turns."""
    n, layout = (
        16,
        {"n_layers": 2, "n_heads": 3, "d_head": 16, "d_model": 16, "d_mlp": 0, "layer_norm": False},
    )
    model = own(n_tokens=n, n_outputs=n, **layout)
    eye = torch.eye(n)
    turned = eye.roll(1, 1)
    return changed(
        model,
        embed__W_E=eye,
        unembed__W_U=eye,
        pos_embed__W_pos=torch.zeros_like(model.loaded.weights["pos_embed.W_pos"]),
        blocks__0__attn__W_O=torch.zeros(3, n, n),
        blocks__1__attn__W_V=eye[:, None].expand(n, 3, n).contiguous(),
        blocks__1__attn__W_O=torch.stack([eye, -eye, turned]),
    )


def numbers(n_vocab: int = 16) -> NextTokens:
    return NextTokens(frozen=frozen([np.arange(3, 3 + 9) % n_vocab, np.arange(5, 5 + 9) % n_vocab]))


def test_a_copier_has_every_token_among_its_top_and_its_opposite_none() -> None:
    raised, lowered = measured(planted(), numbers(), "head.copying_topk", "head.copying_topk:negative")
    # what a head that turns tokens around leaves at 0 is in order of ids; 1 is above all of them
    assert table(raised, 3)[1, :2].tolist() == [1, 0]
    assert table(lowered, 3)[1, :2].tolist() == [0, 1]
    assert raised.columns["chance"] == 5 / numbers().n_outputs
    assert raised.quantity.params["sources"] == "tokens"
    assert (raised.columns["n_items"] == 16).all()  # two sequences without their first tokens


def test_it_is_what_transformers_own_modules_give_on_prompts(asked: NextTokens) -> None:
    model = pythia(1)
    values = measured(model, asked, "head.copying_topk", "head.copying_topk:negative")
    places = [(0, 1), (1, 2), (2, 4)]
    for value, sign in zip(values, (1, -1), strict=True):
        assert value.quantity.params["sources"] == "right answers"
        assert (value.columns["n_items"] == 3).all()
        found = table(value, model.shape.n_heads)
        for layer, head in np.ndindex(found.shape):
            twin = [
                in_top_by_modules(
                    model.module, asked.frozen.sequences[s].tolist(), position, layer, head, 5, sign
                )
                for s, position in places
            ]
            assert found[layer, head] == pytest.approx(np.mean(twin))


def test_it_is_what_transformers_own_modules_give_at_starts_of_words() -> None:
    model, task = pythia(2), text()
    values = measured(model, task, "head.copying_topk", "head.copying_topk:negative", batch=3)
    classes = task.classes()
    assert classes is not None
    places = [(s, p) for s, p in np.argwhere(classes == TokenClass.WORD_START).tolist() if p > 0]
    assert 20 < len(places) <= 128
    for value, sign in zip(values, (1, -1), strict=True):
        assert (value.columns["n_items"] == len(places)).all()
        found = table(value, model.shape.n_heads)
        for layer, head in ((0, 0), (0, 3), (1, 1), (1, 2)):
            twin = [
                in_top_by_modules(model.module, task.frozen.sequences[s].tolist(), p, layer, head, 5, sign)
                for s, p in places
            ]
            assert found[layer, head] == pytest.approx(np.mean(twin))


def test_heads_read_through_a_layer_norm_also_where_the_last_norm_is_none() -> None:
    model = OwnIntervening(own(3, layer_norm=True, final_rms=True))
    stream = torch.randn(4, model.shape.d_model, generator=torch.Generator().manual_seed(0)) + 2
    scale, shift = (model.model.weight(f"blocks.1.ln1.{part}") for part in "wb")
    read = torch.nn.functional.layer_norm(stream, (model.shape.d_model,), scale, shift, LAYER_NORM_EPS)
    values, outputs = (model.model.weight(f"blocks.1.attn.W_{part}") for part in "VO")
    torch.testing.assert_close(_outputs(model, 1, stream), read @ values @ outputs)


def test_where_there_is_nothing_to_copy_it_says_so(asked: NextTokens) -> None:
    items = asked.frozen.items
    assert items is not None
    nowhere = replace(items, correct=np.full(4, 60, dtype=np.int32))
    task = NextTokens(frozen=replace(asked.frozen, items=nowhere))
    for model, words in (
        (own(), "no right answer stands in its own prompt"),
        (own(n_heads=0), "no attention heads"),
    ):
        [value] = scan(model, task, [MEASURES.get("head.copying_topk")])
        assert value.state is CellState.NOT_APPLICABLE
        assert words in value.message
    [value] = scan(own(n_outputs=100), asked, [MEASURES.get("head.copying_topk")])
    assert "reads 128 tokens and writes 100" in value.message


def test_shares_of_output_are_those_of_what_the_modules_write() -> None:
    model, task = pythia(3), text()
    [value] = measured(model, task, "head.output_share", batch=2)
    expected = output_share_by_modules(model.module, tokens_of(task).tolist())
    np.testing.assert_allclose(table(value, model.shape.n_heads), expected, rtol=1e-4)
    assert np.sum(value.columns["value"]) == pytest.approx(1)
    assert (value.columns["n_clusters"] == 5).all()


def test_a_head_that_writes_three_times_as_much_has_three_times_the_weight() -> None:
    model = own(1, n_layers=1)
    [before] = measured(model, text(), "head.output_share")
    w_o = model.loaded.weights["blocks.0.attn.W_O"].clone()
    w_o[1] *= 3
    [after] = measured(changed(model, blocks__0__attn__W_O=w_o), text(), "head.output_share")
    share = np.array(before.columns["value"])
    share[1] *= 3
    np.testing.assert_allclose(after.columns["value"], share / share.sum(), rtol=1e-5)
    nothing = changed(model, blocks__0__attn__W_O=torch.zeros_like(w_o))
    [value] = scan(nothing, text(), [MEASURES.get("head.output_share")])
    assert (value.state, value.message) == (CellState.NOT_APPLICABLE, "no head writes anything")


SINGLE = {
    "previous_token": "head.previous_token",
    "first_token": "head.first_token",
    "attention_entropy": "head.attention_entropy:normalised",
    "prefix_matching": "head.prefix_matching",
    "duplicate_token": "head.duplicate_token",
}


def repeats() -> NextTokens:
    task = RepeatedTokens(n_tokens=127, length=19, min_period=5, max_period=8)
    return NextTokens(frozen=FrozenEvalSet.of_task(task))


@pytest.mark.parametrize(("kind", "profiles"), [("text", ("distance", "class")), ("repeats", ("distance",))])
def test_a_signature_is_the_scores_and_profiles_side_by_side(kind: str, profiles: tuple[str, ...]) -> None:
    task, model = (text() if kind == "text" else repeats()), own(2)
    of_repeats = ("prefix_matching", "duplicate_token")
    names = [name for label, name in SINGLE.items() if kind == "repeats" or label not in of_repeats]
    names += [f"head.{profile}_profile" for profile in profiles]
    values = measured(model, task, "head.signature", *names, batch=3)
    signature = values[0]
    labels = signature.quantity.params["labels"]
    assert np.shape(signature.columns["values"]) == (9, len(labels))
    assert {part.kind for part in signature.parts} == {"signature"}
    by_name = dict(zip(names, values[1:], strict=True))
    found = dict(zip(labels, np.array(signature.columns["values"]).T, strict=True))
    for label, name in SINGLE.items():
        if name in names:
            np.testing.assert_allclose(found.pop(label), by_name[name].columns["value"], rtol=1e-6)
    for profile in profiles:
        expected = np.array(by_name[f"head.{profile}_profile"].columns["values"])
        there = [label for label in labels if label.startswith(f"{profile} ")]
        np.testing.assert_allclose(np.stack([found.pop(label) for label in there], 1), expected, rtol=1e-12)
    assert not found


def test_prompts_of_several_lengths_have_no_signature_and_cost_nothing_else() -> None:
    rows = [np.array([1, 2, 3, 4]), np.array([5, 6, 7])]
    task = NextTokens(frozen=frozen(rows, classes=[np.ones(len(row), dtype=np.int8) for row in rows]))
    signature, share = scan(own(), task, [MEASURES.get("head.signature"), MEASURES.get("head.output_share")])
    assert signature.state is CellState.NOT_APPLICABLE
    assert "different lengths" in signature.message
    assert "class word_start" in signature.quantity.params["labels"]
    assert share.state is CellState.DONE


def test_a_signature_does_not_depend_on_the_basis_of_d_head() -> None:
    model = own(3)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0))).Q
    turned = {
        name: weight @ turn if name.endswith((".W_Q", ".W_K")) else weight
        for name, weight in model.loaded.weights.items()
    }
    same = OwnModel(replace(model.loaded, weights=turned))
    [one], [other] = (measured(each, text(), "head.signature") for each in (model, same))
    np.testing.assert_allclose(one.columns["values"], other.columns["values"], atol=1e-5)
