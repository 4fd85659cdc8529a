import json

import pytest

from ingest.evalset import Given
from ingest.evalsets.prompts import Prompts
from ingest.evalsets.refusals import EvalSetRefused
from tests.ingest.evalsets.making import BYTES

GOOD = {"prompt": "2+2=", "correct": "4", "distractor": "5"}


def freeze(tmp_path, *lines, tokenizer=BYTES, **settings):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (tmp_path / "p.jsonl").write_text(text)
    return Prompts(file="p.jsonl", **settings).freeze(Given(tokenizer, folder=tmp_path))


def test_prompts_keep_their_own_length_and_are_read_at_their_end(tmp_path):
    frozen = freeze(
        tmp_path,
        {**GOOD, "template": "sums", "level": 3, "positions": "first"},
        {"prompt": "a longer one", "correct": "x", "distractor": "y"},
    )
    assert [bytes(frozen.sequences[i].tolist()) for i in range(2)] == [b"2+2=", b"a longer one"]
    assert frozen.items.position.tolist() == [3, 11]
    assert frozen.items.correct.tolist() == [ord("4"), ord("x")]
    assert frozen.items.distractor.tolist() == [ord("5"), ord("y")]
    assert frozen.items.template == ("sums", "")
    assert frozen.items.facts == ({"level": 3, "positions": "first"}, {})
    assert frozen.encoding.context_length == 12
    assert frozen.encoding.name == "prompts"


def test_the_answer_is_part_of_the_hash(tmp_path):
    one = freeze(tmp_path, GOOD)
    assert freeze(tmp_path, GOOD, name="other").encoding.hash == one.encoding.hash
    assert freeze(tmp_path, {**GOOD, "distractor": "6"}).encoding.hash != one.encoding.hash
    assert freeze(tmp_path, {**GOOD, "correct": "6"}).encoding.hash != one.encoding.hash
    assert freeze(tmp_path, GOOD, bos="prepend").encoding.hash != one.encoding.hash
    assert freeze(tmp_path, GOOD, bos="prepend").items.position.tolist() == [4]


def test_places_with_a_role_are_part_of_the_hash(tmp_path):
    one = freeze(tmp_path, {**GOOD, "positions": {"a": 0, "b": 2}})
    assert freeze(tmp_path, {**GOOD, "positions": {"b": 2, "a": 0}}).encoding.hash == one.encoding.hash
    assert freeze(tmp_path, {**GOOD, "positions": {"a": 0, "b": 1}}).encoding.hash != one.encoding.hash
    assert freeze(tmp_path, {**GOOD, "level": 3}).encoding.hash == freeze(tmp_path, GOOD).encoding.hash


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"', r"p\.jsonl:2: not JSON"),
        (
            {"prompt": "a", "correct": "b"},
            r"p\.jsonl:2: 'distractor' must be a text, it is not among prompt, correct",
        ),
        ({**GOOD, "correct": 4}, r"p\.jsonl:2: 'correct' must be a text, it is 4"),
        ({**GOOD, "prompt": ""}, r"p\.jsonl:2: the prompt '' is empty"),
        ({**GOOD, "distractor": "4"}, r"p\.jsonl:2: correct and distractor are both '4'"),
        ({**GOOD, "correct": ""}, r"p\.jsonl:2: an answer is empty"),
        ({**GOOD, "template": 3}, r"p\.jsonl:2: 'template' must be a text, it is 3"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    with pytest.raises(EvalSetRefused, match=message):
        freeze(tmp_path, GOOD, line)


def test_answers_of_more_than_one_token_are_left_out_counted_and_named(tmp_path):
    frozen = freeze(
        tmp_path, GOOD, {**GOOD, "correct": "44"}, {**GOOD, "distractor": "55"}, {**GOOD, "prompt": "4="}
    )
    assert len(frozen.items) == 2
    assert frozen.notes == (
        "2 prompts left out, an answer is more than one token: '44' in line 2, '55' in line 3",
    )
    with pytest.raises(
        EvalSetRefused,
        match=r"p\.jsonl gives no prompt; bytes takes apart all answers, such as '44' in line 1",
    ):
        freeze(tmp_path, {**GOOD, "correct": "44"})
    with pytest.raises(EvalSetRefused, match=r"p\.jsonl gives no prompt\."):
        freeze(tmp_path, "")


def test_a_space_at_the_end_of_a_prompt_is_refused_where_it_belongs_to_the_answer(tmp_path, hub):
    fine = {"prompt": "Then, Mary and", "correct": " John", "distractor": " Mary"}
    frozen = freeze(tmp_path, fine, tokenizer=hub)
    assert [hub.read(int(i)) for i in (frozen.items.correct[0], frozen.items.distractor[0])] == [
        " John",
        " Mary",
    ]
    together = {"prompt": "Then, Mary and ", "correct": "J", "distractor": "M"}
    with pytest.raises(
        EvalSetRefused, match=r"p\.jsonl:1: 'Then, Mary and ' and 'J' are tokenised differently together"
    ):
        freeze(tmp_path, together, tokenizer=hub)


def test_a_prompt_beyond_the_context_is_refused_with_both_lengths(tmp_path):
    assert len(freeze(tmp_path, GOOD, context=4).items) == 1
    with pytest.raises(EvalSetRefused, match=r"p\.jsonl:1: the prompt has 5 tokens, context allows 4"):
        freeze(tmp_path, GOOD, context=4, bos="prepend")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EvalSetRefused, match=r"no file .*nowhere\.jsonl"):
        Prompts(file="nowhere.jsonl").freeze(Given(BYTES, folder=tmp_path))


def test_a_line_may_bring_a_counterfactual_of_as_many_tokens(tmp_path):
    lines = {**GOOD, "counterfactual": "7+1="}, GOOD
    frozen = freeze(tmp_path, *lines)
    assert frozen.items.facts == ({"counterfactual": list(b"7+1=")}, {})
    without = freeze(tmp_path, GOOD, GOOD)
    assert frozen.encoding.facts == without.encoding.facts  # the tokens are the same
    assert frozen.encoding.hash != without.encoding.hash
    with_start = freeze(tmp_path, *lines, bos="prepend")
    assert with_start.items.facts[0]["counterfactual"] == with_start.sequences[0].tolist()[:1] + list(b"7+1=")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("12+1=", r"p\.jsonl:2: counterfactual has 5 tokens, the prompt 4; expected as many"),
        (3, r"p\.jsonl:2: 'counterfactual' must be a text, it is 3"),
    ],
)
def test_a_counterfactual_that_cannot_be_patched_with_is_refused(tmp_path, other, message):
    with pytest.raises(EvalSetRefused, match=message):
        freeze(tmp_path, GOOD, {**GOOD, "counterfactual": other})
