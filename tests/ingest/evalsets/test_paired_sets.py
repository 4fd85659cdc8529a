"""Prompt sets drawn in pairs: what all of them promise, and that what each calls right is right."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from archive.committer import commit_inbox
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.evalset import EVAL_SETS, Given, make_eval_set
from ingest.evalsets import (
    acronyms,
    addition,
    bracket_matching,
    few_shot,
    greater_than,
    rhyme,
    sorting,
    translation,
)
from ingest.evalsets.hub_tokenizer import HubTokenizer, load_tokenizer
from ingest.evalsets.paired import PairedPrompts, couples
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.stored import stored_eval_set
from ingest.evalsets.template import fill, named
from tests.ingest.evalsets.making import GIVEN, byte_level, save

KINDS = sorted(name for name, entry in EVAL_SETS.entries().items() if issubclass(entry.thing, PairedPrompts))
N = 120
# how many of N prompts have a counterfactual at least
FEW_WITHOUT = {"greater_than": 90}


def words() -> list[str]:
    """Everything that the prompts are made of, each learnt as one token."""
    of_pairs = itertools.chain(*few_shot.RELATIONS.values(), *translation.LISTS.values())
    spaced = {
        *acronyms.WORDS, *addition.WORDS, *sorting.WORDS, *sorting.NUMBERS, *bracket_matching.WORDS,
        *bracket_matching.BRACKETS, *bracket_matching.BRACKETS.values(), *itertools.chain(*rhyme.RHYMES),
        *itertools.chain(*of_pairs), *greater_than.CENTURIES,
    }  # fmt: skip
    return [f" {word}" for word in sorted(spaced)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    """A byte-level BPE that keeps these words whole, and splits years after the century."""
    # digits apart from letters and in twos, as GPT-2's merges happen to read most years
    learnt = [*(words() * 3), *([f" x{year}" for year in greater_than.YEARS] * 9)]
    backend = byte_level(learnt, n_vocab=6000)
    return load_tokenizer(save(backend, tmp_path_factory.mktemp("paired") / "small"), name="small")


@pytest.fixture(scope="module")
def frozen(tokenizer):
    return {kind: make_eval_set({"kind": kind, "n_prompts": N}).freeze(Given(tokenizer)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_right_as_often_as_wrong(frozen, kind):
    items = frozen[kind].items
    assert len(items) == N
    assert Counter(items.correct.tolist()) == Counter(items.distractor.tolist())
    assert not (items.correct == items.distractor).any()
    most = Counter(items.correct.tolist()).most_common(1)[0][1]
    assert most <= (N / 2 if kind == "bracket_matching" else N / 5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_comes_twice_and_templates_are_used_about_equally_often(frozen, kind):
    one = frozen[kind]
    assert len({tuple(one.sequences[i].tolist()) for i in range(N)}) == N
    used = Counter(one.items.template)
    assert len(used) == one.encoding.facts["n_templates"] >= 3
    assert max(used.values()) <= 6 * min(used.values()) + 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_read_at_the_end_and_is_one_token_there(frozen, tokenizer, kind):
    one = frozen[kind]
    for item in range(N):
        ids = one.sequences[item]
        assert one.items.position[item] == len(ids) - 1
        text = tokenizer.backend.decode(ids.tolist())
        for answer in (one.items.correct[item], one.items.distractor[item]):
            together = text + tokenizer.backend.decode([answer])
            assert tokenizer.encode(together).ids.tolist() == [*ids.tolist(), answer]


@pytest.mark.parametrize("kind", KINDS)
def test_counterfactuals_are_as_long_and_differ(frozen, kind):
    one = frozen[kind]
    prompts = {tuple(one.sequences[i].tolist()): i for i in range(N)}
    found = 0
    for item, fact in enumerate(one.items.facts):
        if (other := fact.get("counterfactual")) is None:
            continue
        found += 1
        assert len(other) == len(one.sequences[item])
        assert other != one.sequences[item].tolist()
        if kind not in ("greater_than", "sorting"):  # there it is the partner
            partner = prompts[tuple(other)]
            assert abs(partner - item) == 1
            assert one.items.correct[partner] == one.items.distractor[item]
    assert found >= FEW_WITHOUT.get(kind, N)


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_token_moves_roles_and_stands_before_counterfactuals(frozen, tokenizer, kind):
    one = frozen[kind]
    moved = make_eval_set({"kind": kind, "n_prompts": N, "bos": "prepend"}).freeze(Given(tokenizer))
    assert moved.encoding.hash != one.encoding.hash
    for after, before in zip(moved.items.facts, one.items.facts, strict=True):
        assert before["positions"]
        assert {role: at - 1 for role, at in after["positions"].items()} == before["positions"]
        assert ("counterfactual" in after) == ("counterfactual" in before)
        if "counterfactual" in after:
            assert after["counterfactual"] == [tokenizer.bos, *before["counterfactual"]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_set_and_another_one_another(frozen, tokenizer, kind):
    settings = {"kind": kind, "n_prompts": N}
    assert make_eval_set(settings).freeze(Given(tokenizer)).encoding == frozen[kind].encoding
    other = make_eval_set({**settings, "seed": 1}).freeze(Given(tokenizer))
    assert other.encoding.hash != frozen[kind].encoding.hash


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_of_bytes_is_refused_with_the_numbers(kind):
    with pytest.raises(
        EvalSetRefused, match=rf"bytes leaves \d+ of \d+ .*{kind} takes at least \d+.*kind = \"prompts\""
    ):
        make_eval_set({"kind": kind}).freeze(GIVEN)


def test_an_odd_number_of_prompts_comes_with_the_nearest():
    with pytest.raises(ValidationError, match=r"n_prompts = 41 is odd.*nearest are 40 and 42"):
        make_eval_set({"kind": "rhyme", "n_prompts": 41})


def test_too_few_different_prompts_are_refused_and_enough_are_noted(tokenizer):
    settings = {"kind": "addition", "notation": "words", "largest": 8, "n_prompts": 400}
    with pytest.raises(
        EvalSetRefused, match=r"addition gives \d+ of 400 prompts .* came before; min_prompts = 100"
    ):
        make_eval_set(settings).freeze(Given(tokenizer))
    few = make_eval_set({**settings, "min_prompts": 10}).freeze(Given(tokenizer))
    assert 10 <= len(few.items) < 100
    assert few.notes == (f"{len(few.items)} of 400 prompts: there are no more that differ",)


# --- what is right --------------------------------------------------------------------------------------


def shown(one, tokenizer):
    """(text, right answer, wrong answer, facts, {role: token}) of every prompt, as text."""
    read = tokenizer.backend.decode
    for item, facts in enumerate(one.items.facts):
        ids = one.sequences[item].tolist()
        roles = {role: read([ids[at]]) for role, at in facts["positions"].items()}
        answers = (read([one.items.correct[item]]), read([one.items.distractor[item]]))
        yield read(ids), *answers, facts, roles


def test_a_span_ends_after_it_began(frozen, tokenizer):
    later = 0
    for text, right, wrong, facts, roles in shown(frozen["greater_than"], tokenizer):
        year, century = re.findall(r"\d+", text)
        assert year.startswith(century)
        assert len(year) == 4
        assert roles == {"start": year[2:]}
        start = int(year[2:])
        assert (facts["start"], facts["right"], facts["wrong"]) == (start, int(right), int(wrong))
        assert int(right) - start == start - int(wrong) != 0
        asks_for_later = any(re.match(named(t).replace("[EVENT]", r"\w+").replace("[YEAR]", year)
                                      .replace("[CENTURY]", century), text) for t in greater_than.LATER)  # fmt: skip
        assert (int(right) > start) == asks_for_later
        later += asks_for_later
    assert later == N / 2


def test_with_the_counterfactual_year_both_numbers_are_possible(frozen, tokenizer):
    one = frozen["greater_than"]
    for facts in one.items.facts:
        if "counterfactual" in facts:
            edge = int(re.findall(r"\d{4}", tokenizer.backend.decode(facts["counterfactual"]))[0][2:])
            sides = {(number > edge) for number in (facts["right"], facts["wrong"])}
            assert sides == {facts["right"] > facts["start"]}


def test_acronyms_are_made_of_the_initials(frozen, tokenizer):
    for text, right, wrong, _, roles in shown(frozen["acronyms"], tokenizer):
        initials = [roles[role].strip()[0] for role in ("first", "second", "third")]
        assert text.endswith("({}{}".format(*initials))
        assert right == initials[2]
        assert len({*initials, wrong}) == 4


def test_sums_are_sums(frozen, tokenizer):
    value = {f" {word}": n for n, word in enumerate(addition.WORDS, 1)} | {f" {n}": n for n in range(1, 21)}
    notations = Counter()
    for text, right, wrong, facts, roles in shown(frozen["addition"], tokenizer):
        a, b = value[roles["a"]], value[roles["b"]]
        assert a + b == value[right] != value[wrong]
        assert (right.strip().isdigit(), wrong.strip().isdigit()) == (facts["notation"] == "digits",) * 2
        assert not {right, wrong} & {roles["a"], roles["b"]}, text
        notations[facts["notation"]] += 1
    assert min(notations["digits"], notations["words"]) >= 0.4 * N


def test_the_next_of_a_list_is_what_sorting_says(frozen, tokenizer):
    for text, right, wrong, facts, roles in shown(frozen["sorting"], tokenizer):
        number = facts["items"] == "numbers"
        listed = re.search(r"(?:Unsorted: |list |words )(\w+, \w+, \w+, \w+)", text)[1].split(", ")
        falls = re.search("large to small|decreasing|reverse|Z to A", text) is not None
        order = sorted(listed, key=int if number else str, reverse=falls)
        assert re.findall(r"\w+", text)[-2:] == order[:2]
        assert (right.strip(), wrong.strip()) == tuple(order[2:])
        assert (roles["answer"], roles["other"], roles["last"].strip()) == (right, wrong, order[1])


def test_with_the_counterfactual_list_the_distractor_comes_next(frozen, tokenizer):
    one = frozen["sorting"]
    for text, _, wrong, facts, _ in shown(one, tokenizer):
        other = tokenizer.backend.decode(facts["counterfactual"])
        listed = re.search(r"(?:Unsorted: |list |words )(\w+, \w+, \w+, \w+)", other)[1].split(", ")
        falls = re.search("large to small|decreasing|reverse|Z to A", text) is not None
        order = sorted(listed, key=int if facts["items"] == "numbers" else str, reverse=falls)
        assert order[2] == wrong.strip()


def test_the_right_bracket_closes_the_innermost_open_one(frozen, tokenizer):
    closes = bracket_matching.BRACKETS
    for text, right, wrong, _, roles in shown(frozen["bracket_matching"], tokenizer):
        still_open = []
        for character in text:
            if character in closes:
                still_open.append(character)
            elif character in closes.values():
                assert closes[still_open.pop()] == character
        assert right.strip() == closes[still_open[-1]] == closes[roles["open"].strip()]
        assert wrong.strip() == closes[roles["other"].strip()]
        assert roles["open"] != roles["other"]


def test_right_answers_rhyme_and_wrong_ones_do_not(frozen, tokenizer):
    group_of = {word: number for number, group in enumerate(rhyme.RHYMES) for word in group}
    assert len(group_of) == sum(map(len, rhyme.RHYMES))  # no word is in two
    for text, right, wrong, facts, roles in shown(frozen["rhyme"], tokenizer):
        cue = roles["cue"].strip()
        assert facts["cue"] == cue
        assert re.search(rf"\b{cue}[,;]\n", text)
        assert group_of[cue] == group_of[right.strip()] != group_of[wrong.strip()]
        assert cue != right.strip()


def test_examples_and_answer_have_one_relation(frozen, tokenizer):
    used = Counter()
    for text, right, wrong, facts, roles in shown(frozen["few_shot"], tokenizer):
        pairs = dict(few_shot.RELATIONS[facts["relation"]])
        assert roles["cue"].strip() == facts["cue"]
        assert right.strip() == pairs[facts["cue"]]
        assert wrong.strip() in set(pairs.values()) - {right.strip()}
        said = re.findall(r"\w+", text)
        assert not {right.strip(), wrong.strip()} & set(said)
        assert sum(pairs.get(a) == b for a in said for b in said if a != b) >= 3
        used[facts["relation"]] += 1
    assert set(used) == set(few_shot.RELATIONS)


@pytest.mark.parametrize("language", list(translation.LISTS))
def test_translations_come_in_the_order_of_their_words(tokenizer, language):
    settings = {"kind": "translation", "language": language, "n_prompts": N}
    one = make_eval_set(settings).freeze(Given(tokenizer))
    pairs = dict(translation.LISTS[language])
    for text, right, wrong, facts, roles in shown(one, tokenizer):
        said = re.findall(r"[^\W\d]+", text)
        at = next(i for i in range(len(said)) if said[i + 3] == facts["word"] and said[i] in pairs)
        listed, translated = said[at : at + 6], said[-3:]
        assert translated == [pairs[word] for word in listed[:3]]
        assert (roles["last"].strip(), roles["source"].strip()) == (listed[2], listed[3])
        assert right.strip() == pairs[listed[3]]
        assert wrong.strip() == pairs[roles["other"].strip()]
        assert roles["other"].strip() in listed[4:]
    classes = one.encoding.facts["equivalents"]
    ids = np.array(classes).flatten()
    assert len(set(ids.tolist())) == len(ids)
    read = [tuple(tokenizer.backend.decode([i]).strip() for i in two) for two in classes]
    assert len(read) == one.encoding.facts["n_pairs"]
    assert set(read) <= set(translation.LISTS[language])


def test_lists_hold_nothing_twice():
    for pairs in (*few_shot.RELATIONS.values(), *translation.LISTS.values()):
        assert len({first for first, _ in pairs}) == len(pairs)
    for list_ in (acronyms.WORDS, sorting.WORDS, bracket_matching.WORDS, greater_than.EVENTS):
        assert len(set(list_)) == len(list_)
    assert len({word[0] for word in sorting.WORDS}) == len(sorting.WORDS)


def test_couples_use_every_word_once_a_turn():
    some = list("abcdefg")
    drawn = list(itertools.islice(couples(0, "test", some), 30))
    for turn in range(10):
        used = list(itertools.chain(*drawn[3 * turn : 3 * turn + 3]))
        assert len(set(used)) == 6
    assert len({frozenset(two) for two in drawn}) > 10


def test_templates_say_where_their_fields_end():
    filled = fill("Då {a} — {b}!{a}", {"a": "år", "b": "x"})
    assert filled.text == "Då år — x!år"
    raw = filled.text.encode()
    assert raw[: filled.last_byte["a"] + 1].decode() == filled.text
    assert raw[: filled.last_byte["b"] + 1].decode() == "Då år — x"
    assert named("{a} and {b2}", "kind") == "kind: [A] and [B2]"


def test_what_is_frozen_comes_back_from_the_archive(layout, frozen):
    for kind in ("translation", "greater_than"):
        builder = ShardBuilder(kind="content")
        frozen[kind].add_to(builder)
        builder.write(layout.inbox)
    assert commit_inbox(layout, patience=5).refused == []
    archive = Archive(layout.database)
    for kind in ("translation", "greater_than"):
        one = frozen[kind]
        stored = stored_eval_set(archive, one.encoding.hash)
        assert stored.encoding == one.encoding
        assert stored.items.facts == one.items.facts
        assert stored.items.template == one.items.template
        np.testing.assert_array_equal(stored.items.distractor, one.items.distractor)
