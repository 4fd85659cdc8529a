import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.evalsets.surprisal import Surprisal, surprisal
from tests.references.surprisal import distributions_by_loops, surprisal_by_loops


def of(rows: list[list[int]], n_vocab: int, n_start: int = 0) -> Surprisal:
    ids = np.array([token for row in rows for token in row], dtype=np.int32)
    within = np.concatenate([np.arange(len(row)) for row in rows])
    return surprisal(ids, within == 0, within >= n_start, n_vocab)


def test_tokens_that_come_once_are_as_surprising_as_any_other():
    # 4 different tokens of 10: without itself each was never seen, so 1 of (3 others + 10)
    found = of([[0, 1, 2, 3]], 10)
    assert found.unigram == pytest.approx([math.log(13)] * 4)
    # nothing else follows 0, 1 or 2, so their followers are as likely as at any place
    assert np.isnan(found.bigram[0])
    assert found.bigram[1:] == pytest.approx([math.log(13)] * 3)


def test_one_token_over_and_over_has_the_closed_form():
    # 5 times token 0 of 2: the other 4 and add-one give 5 of (4 + 2)
    found = of([[0] * 5], 2)
    assert found.unigram == pytest.approx([math.log(6 / 5)] * 5)
    # 3 of the other 3 bigrams go to 0, one kind of follower: (3 + 1 · 5/6) of (3 + 1)
    assert found.bigram[1:] == pytest.approx([-math.log((3 + 5 / 6) / 4)] * 4)


def test_a_pair_that_always_comes_together_is_hardly_surprising():
    rows = [[7, 8, *[i % 5]] for i in range(100)]
    found = of(rows, 10)
    after = found.bigram.reshape(100, 3)
    assert after[:, 1].max() < 0.02
    assert found.unigram.reshape(100, 3)[:, 1].min() > 1  # 8 is one token in three


def test_start_tokens_are_context_only():
    found = of([[9, 0, 1], [9, 0, 2], [9, 0, 3]], 10, n_start=1)
    assert np.isnan(found.unigram[[0, 3, 6]]).all()
    assert np.isnan(found.bigram[[0, 3, 6]]).all()
    # 6 predicted tokens; 0 without itself was there twice: 3 of (5 + 10)
    assert found.unigram[1] == pytest.approx(math.log(15 / 3))
    # both other starts are followed by 0: (2 + 1 · 3/15) of (2 + 1)
    assert found.bigram[1] == pytest.approx(-math.log((2 + 0.2) / 3))


ROWS = st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=7), min_size=1, max_size=6)


@given(rows=ROWS, n_start=st.integers(0, 1))
def test_agrees_with_counting_again_without_the_token(rows, n_start):
    found = of(rows, 6, n_start)
    unigram, bigram = surprisal_by_loops(rows, n_start, 6)
    np.testing.assert_allclose(found.unigram, unigram, rtol=1e-5)
    np.testing.assert_allclose(found.bigram, bigram, rtol=1e-5)


@given(rows=ROWS)
def test_the_probabilities_of_all_tokens_add_up_to_one(rows):
    unigram, bigram = distributions_by_loops(rows, 0, 6, 0, 1)
    assert sum(unigram) == pytest.approx(1)
    assert sum(bigram) == pytest.approx(1)


@given(rows=ROWS)
def test_the_order_of_sequences_does_not_matter(rows):
    there, back = of(rows, 6), of(rows[::-1], 6)
    there_rows = np.split(there.bigram, np.cumsum([len(r) for r in rows])[:-1])
    back_rows = np.split(back.bigram, np.cumsum([len(r) for r in rows[::-1]])[:-1])
    for a, b in zip(there_rows, back_rows[::-1], strict=True):
        np.testing.assert_allclose(a, b)
