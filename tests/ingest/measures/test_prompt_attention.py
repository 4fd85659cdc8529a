"""Attention between places of prompts, and soft induction: planted heads, loops, chance, and what the archive gets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.schema.base import CellState
from ingest.evalset import Given, make_eval_set
from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.prompt_attention import Roles, attention_on, chance_of, soft_mask, uniform
from ingest.measure import MEASURES
from ingest.measures.role_attention import ROLES
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.readings.attended import END, Places, all_places
from tests.ingest.language import KINDS, model_of, own, prompts, tokenizer


def patterns_of(model: HookedModel, task: NextTokens) -> list[torch.Tensor]:
    """[layer, head, query, key] of the sequence of every item."""
    found = []
    for sequence in task.frozen.items.sequence.tolist():
        layers: list[torch.Tensor] = []
        tokens = torch.from_numpy(task.frozen.sequences[sequence].astype(np.int64))[None]
        model.trunk(tokens, attention=lambda _, pattern, layers=layers: layers.append(pattern[0].clone()))
        found.append(torch.stack(layers))
    return found


def taken(model: HookedModel, task: NextTokens, name: str, **options) -> dict:
    [value] = scan(model, task, [MEASURES.get(name)], **options)
    assert value.state is CellState.DONE, value.message + value.trace
    return value.columns


def place_of(items, item: int, role: str) -> int:
    return int(items.position[item]) if role == END else items.facts[item]["positions"][role]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["end_to_io", "end_to_s2", "s2_to_s1_next"])
def test_role_attention_is_the_entry_of_the_pattern(kind, name):
    model, task = model_of(kind), prompts()
    items, roles = task.frozen.items, ROLES[name]
    entries, chances, templates = [], [], []
    for item, pattern in enumerate(patterns_of(model, task)):
        query, key = place_of(items, item, roles.query), place_of(items, item, roles.key) + roles.after
        if key <= query:
            entries.append(pattern[:, :, query, key].double().numpy())
            chances.append(1 / (query + 1))
            templates.append(items.template[item])
    columns = taken(model, task, f"head.role_attention:{name}", batch=2)
    np.testing.assert_allclose(columns["value"], np.mean(entries, 0).flatten(), rtol=1e-4, atol=1e-6)
    assert columns["chance"] == pytest.approx(np.mean(chances))
    assert (columns["n_items"], columns["n_clusters"]) == (len(entries), 2)
    # sandwich by hand, of the first head
    off = np.array([entry[0, 0] for entry in entries]) - np.mean(entries, 0)[0, 0]
    sums = [sum(d for d, t in zip(off, templates, strict=True) if t == wanted) for wanted in ("even", "odd")]
    assert columns["se"][0] == pytest.approx(math.sqrt(2 * sum(s * s for s in sums)) / len(off), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_soft_prefix_matching_is_that_of_loops(kind):
    model, task = model_of(kind), prompts()
    class_of = {i: n for n, two in enumerate(task.frozen.encoding.facts["equivalents"]) for i in two}
    scores, chances = [], []
    for item, pattern in enumerate(patterns_of(model, task)):
        row = task.frozen.sequences[int(task.frozen.items.sequence[item])].tolist()
        rows, even = [], []
        for q, token in enumerate(row):
            targets = [
                k + 1 for k in range(q) if token in class_of and class_of.get(row[k]) == class_of[token] and row[k] != token
            ]  # fmt: skip
            if targets:
                rows.append(pattern[:, :, q, targets].sum(-1).double().numpy())
                even.append(len(targets) / (q + 1))
        if rows:
            scores.append(np.mean(rows, 0))
            chances.append(np.mean(even))
    assert len(scores) > 3
    columns = taken(model, task, "head.soft_prefix_matching", batch=2)
    np.testing.assert_allclose(columns["value"], np.mean(scores, 0).flatten(), rtol=1e-4, atol=1e-6)
    assert columns["chance"] == pytest.approx(np.mean(chances))


def test_the_same_token_is_no_translation_and_every_equivalent_before_is():
    meanings = torch.tensor([[0, 1, 0, -1, 0, 1, -1]])
    tokens = torch.tensor([[5, 7, 6, 9, 5, 7, 9]])
    expected = torch.zeros(1, 7, 7, dtype=torch.bool)
    expected[0, 2, 1] = True  # 6 means what 5 means, which 7 followed
    expected[0, 4, 3] = True  # 5 after 6; the first 5 is the same token
    assert torch.equal(soft_mask(tokens, meanings), expected)


def test_a_planted_head_of_soft_induction_scores_one_and_even_attention_chance():
    settings_ = {"kind": "translation", "language": "synonyms", "n_prompts": 40, "min_prompts": 2}
    task = NextTokens(frozen=make_eval_set(settings_).freeze(Given(word_tokenizer())))
    places = list(all_places(task.frozen))
    assert sum(len(one.items) for one in places) == 40
    even = []
    for one in places:
        mask = soft_mask(one.tokens, one.meanings)
        # three words are said again in other words: at each the target follows the word
        assert (mask.sum((1, 2)) == 3).all()
        for item, roles in enumerate(one.roles):
            assert mask[item, roles[END], roles["source"]]
        planted = (mask / mask.sum(-1, keepdim=True).clamp_min(1))[:, None]
        assert (attention_on(planted, mask) == 1).all()
        length = mask.shape[1]
        flat = torch.ones(length, length).tril() / torch.arange(1, length + 1)[:, None]
        found = attention_on(flat.expand(len(mask), 1, -1, -1), mask)[:, 0]
        torch.testing.assert_close(found, uniform(mask), rtol=1e-6, atol=1e-8)
        even.append(found)
    chance = MEASURES.get("head.soft_prefix_matching").chance
    assert chance(task) == pytest.approx(torch.cat(even).mean().item(), rel=1e-6)


def word_tokenizer():
    """Every English word of the synonyms, and what stands around them, is a token."""
    import re

    from archive.records import Tokenizer
    from ingest.evalsets import translation
    from ingest.evalsets.tokenizing import Encoded, TextTokenizer, Vocabulary, lengths_from_ends

    class Words(TextTokenizer):
        def encode(self, text: str) -> Encoded:
            pieces = list(re.finditer(r" ?\w+|[^\w\s]", text))
            ids = np.array([number[piece[0]] for piece in pieces], dtype=np.int32)
            return Encoded(ids, lengths_from_ends(text, (piece.end() for piece in pieces)))

    joined = " ".join((*translation.OF_SYNONYMS, *(w for two in translation.LISTS["synonyms"] for w in two)))
    pieces = re.findall(r"\w+|[^\w\s]", joined)
    known = sorted({form for piece in pieces for form in (piece, f" {piece}")})
    number = {piece: i for i, piece in enumerate(known)}
    record = Tokenizer(hash="words", name="words", kind="task", n_vocab=len(known))
    return Words(record, Vocabulary(tuple(range(len(known))), tuple(known), frozenset()), None)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 9))
def test_scores_of_all_keys_of_a_query_add_up_to_one(seed, length):
    numbers = torch.Generator().manual_seed(seed)
    future = torch.ones(length, length).triu(1) > 0
    attention = (
        torch.randn(1, 2, length, length, generator=numbers).masked_fill(future, -torch.inf).softmax(-1)
    )
    query = int(torch.randint(length, (1,), generator=numbers))
    tokens = torch.zeros(1, length, dtype=torch.long)
    total = torch.zeros(1, 2, dtype=torch.float64)
    even = 0.0
    for key in range(length):
        places = Places(torch.tensor([0]), tokens, [{"a": query, "b": key}])
        mask = Roles("a", "b")(places)
        score = attention_on(attention, mask)
        assert score.isnan().all() == (key > query)  # nothing looks ahead
        total += score.nan_to_num()
        even += float(uniform(mask).nan_to_num())
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-6, atol=1e-6)
    assert even == pytest.approx(1)


def message(model: HookedModel, task: NextTokens, name: str) -> str:
    [value] = scan(model, task, [MEASURES.get(name)])
    assert value.state is CellState.NOT_APPLICABLE, value.message
    return value.message


def without(task: NextTokens, **changes) -> NextTokens:
    frozen = task.frozen
    items = replace(frozen.items, **{k: v for k, v in changes.items() if k != "encoding"})
    encoding = frozen.encoding.model_copy(update=changes.get("encoding", {}))
    return NextTokens(frozen=replace(frozen, items=items, encoding=encoding))


def test_what_is_not_there_is_named():
    task = prompts()
    n = len(task.frozen.items)
    for facts in ((), tuple({} for _ in range(n)), tuple({"positions": "io"} for _ in range(n))):
        bare = without(task, facts=facts, encoding={"hash": "bare", "facts": {}})
        assert "has the places" in message(own(), bare, "head.role_attention:end_to_io")
        assert "no classes of equivalent tokens" in message(own(), bare, "head.soft_prefix_matching")
    for name in ("head.role_attention:end_to_io", "head.soft_prefix_matching"):
        assert message(own(n_heads=0), task, name) == "the model has no attention heads"


def test_prompts_without_a_role_take_no_part():
    task = prompts()
    facts = [{"positions": {}} if item == 0 else fact for item, fact in enumerate(task.frozen.items.facts)]
    fewer = without(task, facts=tuple(facts), encoding={"hash": "fewer"})
    columns = taken(own(), fewer, "head.role_attention:end_to_io")
    assert columns["n_items"] == len(facts) - 1


def test_one_template_makes_every_prompt_a_cluster_of_its_own():
    task = prompts()
    n = len(task.frozen.items)
    alike = without(task, template=("one",) * n)
    assert alike.frozen.items.clusters(range(n)).tolist() == list(range(n))
    assert taken(own(), alike, "head.role_attention:end_to_s1")["n_clusters"] == n
    assert task.frozen.items.clusters(range(n)).tolist() == [0, 1, 0, 1, 0, 1, 1]


def test_where_only_one_template_has_a_role_every_prompt_is_a_cluster_of_its_own():
    task = prompts()
    items = task.frozen.items
    there = [item for item, template in enumerate(items.template) if template == items.template[0]]
    facts = tuple(fact if item in there else {} for item, fact in enumerate(items.facts))
    columns = taken(
        own(), without(task, facts=facts, encoding={"hash": "one"}), "head.role_attention:end_to_io"
    )
    assert columns["n_items"] == columns["n_clusters"] == len(there) > 1
    assert None not in columns["se"]


def test_attention_and_answers_share_one_pass(monkeypatch):
    model, task = own(), prompts()
    names = ["task_accuracy", "head.role_attention:end_to_io", "head.soft_prefix_matching"]
    alone = [scan(model, task, [MEASURES.get(name)])[0] for name in names]
    trunk, seen = model.trunk, []

    def counted(tokens, **sinks):
        seen.append(len(tokens))
        return trunk(tokens, **sinks)

    monkeypatch.setattr(model, "trunk", counted)
    together = scan(model, task, [MEASURES.get(name) for name in names])
    assert sum(seen) == len(task.frozen.sequences)
    for here, there in zip(together, alone, strict=True):
        np.testing.assert_array_equal(here.columns["value"], there.columns["value"])


def test_attention_that_is_no_number_is_named(monkeypatch):
    model, task = own(), prompts()
    trunk = model.trunk

    def broken(tokens, *, attention=None, neurons=None):
        def spoilt(layer, pattern):
            attention(layer, torch.full_like(pattern, torch.nan) if layer == 1 else pattern)

        return trunk(tokens, attention=attention and spoilt, neurons=neurons)

    monkeypatch.setattr(model, "trunk", broken)
    [value] = scan(model, task, [MEASURES.get("head.role_attention:end_to_io")])
    assert value.state is CellState.FAILED_PERMANENT
    assert "head.role_attention:end_to_io is nan: so is the attention of layer 1" in value.message


def test_chance_is_of_the_eval_set_that_was_asked_for():
    one, other = prompts(), prompts((9, 9, 9, 9, 9, 9))
    chance = chance_of(ROLES["end_to_io"])
    first = chance(one)
    assert chance(other) == pytest.approx((6 / 9 + 1 / 3) / 7)
    assert chance(one) == first


def test_a_file_of_prompts_may_name_roles(tmp_path):
    line = '{"prompt": "1 2 3 4", "correct": " 5", "distractor": " 6", "positions": {"io": 1}}\n'
    (tmp_path / "asked.jsonl").write_text(
        line + line.replace("1 2 3", "3 2 1").replace('{"io": 1}', '{"io": 2}')
    )
    given = Given(tokenizer(), folder=tmp_path)
    task = NextTokens(frozen=make_eval_set({"kind": "prompts", "file": "asked.jsonl"}).freeze(given))
    columns = taken(own(), task, "head.role_attention:end_to_io")
    one, other = patterns_of(own(), task)
    expected = ((one[:, :, 3, 1] + other[:, :, 3, 2]) / 2).flatten()
    np.testing.assert_allclose(columns["value"], expected, rtol=1e-4, atol=1e-6)
    assert columns["chance"] == 1 / 4
