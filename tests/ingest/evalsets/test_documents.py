import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.evalsets.documents import Choice, Document, Documents
from ingest.evalsets.refusals import EvalSetRefused
from tests.ingest.evalsets.making import documents

TEXTS = st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=6, unique=True)


@given(texts=TEXTS, order=st.randoms())
def test_neither_order_nor_names_make_another_set(texts, order):
    shuffled = list(texts)
    order.shuffle(shuffled)
    renamed = Documents.of(
        [Document(f"other-{i}", t) for i, t in enumerate(shuffled)], name="b", kind="text", choice=Choice()
    )
    assert renamed.record.hash == documents(*texts).record.hash
    assert [d.text for d in renamed.documents] == [d.text for d in documents(*texts).documents]


@given(texts=TEXTS, extra=st.characters(exclude_categories=["Cs"]))
def test_one_changed_character_makes_another_set(texts, extra):
    changed = [texts[0] + extra, *texts[1:]]
    same = set(changed) == set(texts)
    assert (documents(*changed).record.hash == documents(*texts).record.hash) == same


def test_the_hash_of_a_document_is_that_of_its_bytes():
    assert Document("a", "naïve").sha256 == hashlib.sha256("naïve".encode()).hexdigest()


def test_empty_documents_and_repeated_texts_are_left_out_and_counted():
    found = documents("one", "", "two", " \n\t", "one", "one")
    assert sorted(d.text for d in found.documents) == ["one", "two"]
    assert found.notes == (
        "2 empty documents left out, the first is 1.txt",
        "2 documents left out: the same text is there under another name",
    )
    assert found.record.n_documents == 2
    assert (found.record.facts["n_empty"], found.record.facts["n_repeated"]) == (2, 2)


def test_nothing_but_empty_documents_is_refused_by_name():
    with pytest.raises(EvalSetRefused, match=r"'texts': 2 documents found, none .*\(0\.txt, 1\.txt\)"):
        documents("", " ")


def test_half_a_surrogate_pair_is_refused_with_its_place():
    with pytest.raises(EvalSetRefused, match=r"0\.txt: character 2 is half of a surrogate pair \(U\+D83D\)"):
        documents("ab\ud83dcd")


MANY = [Document(f"{i}", f"text number {i:04d}") for i in range(1000)]


def test_a_budget_takes_some_and_a_seed_says_which():
    taken = {seed: {d.text for d in Choice(100, None, seed).of(MANY)} for seed in (0, 1)}
    assert len(taken[0]) == len(taken[1]) == 100
    assert taken[0] == {d.text for d in Choice(100, None, 0).of(MANY[::-1])}
    # by chance 10 of 100 are in both; binomial sd 3
    assert 0 < len(taken[0] & taken[1]) < 25


def test_a_smaller_budget_and_one_more_document_change_little():
    large = Choice(100).of(MANY)
    assert Choice(40).of(MANY) == large[:40]
    one_more = Choice(100).of([*MANY, Document("new", "a new text")])
    assert len(set(one_more) & set(large)) >= 99


def test_a_budget_of_characters_is_kept():
    taken = Choice(None, 16 * 7 + 3).of(MANY)  # every text has 16 characters
    assert len(taken) == 7
    with pytest.raises(EvalSetRefused, match="has 16 characters, max_characters allows 15"):
        Choice(None, 15).of(MANY)


def test_every_document_is_taken_about_as_often():
    often = dict.fromkeys((d.text for d in MANY[:10]), 0)
    for seed in range(500):
        for document in Choice(4, None, seed).of(MANY[:10]):
            often[document.text] += 1
    # binomial(500, 0.4): mean 200, sd 11
    assert all(abs(n - 200) < 50 for n in often.values())
