import re
import string
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from ingest.evalset import Given
from ingest.evalsets.hub_tokenizer import load_tokenizer
from ingest.evalsets.ioi import NAMES, OBJECTS, PLACES, TEMPLATES, IndirectObject
from ingest.evalsets.refusals import EvalSetRefused
from tests.ingest.evalsets.making import GIVEN, byte_level, save


@pytest.fixture(scope="module")
def frozen(hub):
    return IndirectObject(n_prompts=600).freeze(Given(hub))


def test_there_is_enough_to_choose_from():
    assert len(set(TEMPLATES)) >= 15
    assert len(set(NAMES)) == len(NAMES) >= 100
    assert not set(NAMES) & {word.strip(string.punctuation) for t in TEMPLATES for word in t.split()}
    for words in (PLACES, OBJECTS):
        assert len(set(words)) == len(words) >= 20
    assert not any(word[0] in "aeiou" for word in OBJECTS)  # templates say "a"


def test_every_template_names_two_people_and_one_of_them_again():
    for template in TEMPLATES:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field]
        assert sorted(fields) == ["again", "first", "object", "place", "second"]
        assert fields.index("first") < fields.index("second") < fields.index("again")
        assert not template.startswith("{")
        assert template.endswith(" to")


def test_templates_and_orders_are_balanced(frozen):
    kinds = Counter(
        (template, fact["order"])
        for template, fact in zip(frozen.items.template, frozen.items.facts, strict=True)
    )
    assert len(kinds) == 30
    assert set(kinds.values()) == {20}
    assert Counter(fact["order"] for fact in frozen.items.facts) == {"ABB": 300, "BAB": 300}


def test_the_template_shows_the_order(frozen):
    for template, fact in zip(frozen.items.template, frozen.items.facts, strict=True):
        io, s1 = template.index("[IO]"), template.index("[S]")
        assert (io < s1) == (fact["order"] == "ABB")
        assert template.count("[S]") == 2


def test_every_name_is_the_answer_about_equally_often(frozen):
    answers = Counter(fact["io"] for fact in frozen.items.facts)
    assert len(answers) == len(NAMES)  # all of them are whole in this tokenizer
    assert set(answers.values()) <= {600 // len(NAMES), 600 // len(NAMES) + 1}
    assert not any(fact["io"] == fact["s"] for fact in frozen.items.facts)
    assert len({fact["s"] for fact in frozen.items.facts}) > 0.8 * len(NAMES)


def test_items_say_where_the_names_are_and_what_is_right(frozen, hub):
    for i, fact in enumerate(frozen.items.facts):
        ids = frozen.sequences[i]
        io, subject = hub.single(f" {fact['io']}"), hub.single(f" {fact['s']}")
        assert (frozen.items.correct[i], frozen.items.distractor[i]) == (io, subject)
        at = fact["positions"]
        assert [ids[at[role]] for role in ("io", "s1", "s2")] == [io, subject, subject]
        assert at["s1"] < at["s2"]
        assert (at["io"] < at["s1"]) == (fact["order"] == "ABB")
        assert at["io"] < at["s2"]
        assert frozen.items.position[i] == len(ids) - 1


def test_prompts_are_their_templates_filled_in(frozen, hub):
    for i, fact in enumerate(frozen.items.facts):
        pattern = re.escape(frozen.items.template[i])
        for placeholder, words in (
            ("[IO]", [fact["io"]]),
            ("[S]", [fact["s"]]),
            ("[PLACE]", PLACES),
            ("[OBJECT]", OBJECTS),
        ):
            pattern = pattern.replace(re.escape(placeholder), f"({'|'.join(words)})")
        assert re.fullmatch(pattern, hub.backend.decode(frozen.sequences[i].tolist()))


def test_a_start_token_moves_the_positions(frozen, hub):
    moved = IndirectObject(n_prompts=600, bos="prepend").freeze(Given(hub))
    assert moved.encoding.hash != frozen.encoding.hash
    assert (moved.items.position == frozen.items.position + 1).all()
    for a, b in zip(moved.items.facts, frozen.items.facts, strict=True):
        assert {role: at - 1 for role, at in a["positions"].items()} == b["positions"]
    assert all(moved.sequences[i][0] == hub.bos for i in range(600))


def test_another_seed_gives_other_prompts_and_the_same_one_the_same(frozen, hub):
    again = IndirectObject(n_prompts=600).freeze(Given(hub))
    other = IndirectObject(n_prompts=600, seed=1).freeze(Given(hub))
    assert again.encoding == frozen.encoding
    assert not np.array_equal(other.items.correct, frozen.items.correct)


def test_names_that_are_taken_apart_are_left_out_and_counted(tmp_path):
    learnt = [f" {name}" for name in NAMES[:30]] * 3
    few = load_tokenizer(save(byte_level(learnt, n_vocab=700), tmp_path / "few"), name="few")
    whole = {name for name in NAMES if few.single(f" {name}") is not None}
    assert set(NAMES[:30]) <= whole
    frozen = IndirectObject(n_prompts=60, min_names=20).freeze(Given(few))
    assert {fact["io"] for fact in frozen.items.facts} | {fact["s"] for fact in frozen.items.facts} <= whole
    assert frozen.encoding.facts["n_names"] == len(whole)
    n_left_out = len(NAMES) - len(whole)
    assert frozen.notes == (f"{n_left_out} of {len(NAMES)} names left out, they are more than one token",)
    with pytest.raises(
        EvalSetRefused, match=rf"few keeps {len(whole)} of {len(NAMES)} names whole .* min_names = 100"
    ):
        IndirectObject().freeze(Given(few))


def test_bytes_keep_no_name_whole():
    with pytest.raises(EvalSetRefused, match=r'bytes keeps 0 of .* kind = "prompts"'):
        IndirectObject().freeze(GIVEN)


def test_a_number_of_prompts_that_cannot_be_balanced_comes_with_the_nearest():
    with pytest.raises(
        ValidationError, match=r"n_prompts = 100 cannot be balanced .* the nearest are 90 and 120"
    ):
        IndirectObject(n_prompts=100)


def test_counterfactuals_have_three_other_names_and_nothing_else(frozen, hub):
    names = {hub.single(f" {name}") for name in NAMES}
    drawn = set()
    for i, fact in enumerate(frozen.items.facts):
        ids, other = frozen.sequences[i], np.array(fact["counterfactual"])
        assert other.shape == ids.shape
        places = [fact["positions"][role] for role in ("io", "s1", "s2")]
        assert np.flatnonzero(other != ids).tolist() == sorted(places)
        three = set(other[places].tolist())
        assert len(three) == 3
        assert three <= names - {frozen.items.correct[i], frozen.items.distractor[i]}
        drawn |= three
    assert len(drawn) > 0.9 * len(names)
    moved = IndirectObject(n_prompts=60, bos="prepend").freeze(Given(hub)).items.facts[7]["counterfactual"]
    assert moved == [
        hub.bos,
        *IndirectObject(n_prompts=60).freeze(Given(hub)).items.facts[7]["counterfactual"],
    ]


def test_counterfactuals_leave_the_prompts_as_they_were(frozen, monkeypatch, hub):
    monkeypatch.setattr(IndirectObject, "_counterfactual", lambda *given: None)
    before = IndirectObject(n_prompts=600).freeze(Given(hub))
    assert not any("counterfactual" in fact for fact in before.items.facts)
    assert before.sequences.digest == frozen.sequences.digest == frozen.encoding.facts["token_hash"]
    assert before.items.correct.tolist() == frozen.items.correct.tolist()
    assert before.encoding.hash != frozen.encoding.hash  # what can be measured on it is more


def test_four_names_leave_none_for_a_counterfactual(tmp_path):
    few = load_tokenizer(
        save(byte_level([f" {name}" for name in NAMES[:4]] * 3, n_vocab=420), tmp_path / "few"), name="few"
    )
    whole = sum(few.single(f" {name}") is not None for name in NAMES)
    assert whole == 4
    facts = IndirectObject(n_prompts=30, min_names=3).freeze(Given(few)).items.facts
    assert not any("counterfactual" in fact for fact in facts)
