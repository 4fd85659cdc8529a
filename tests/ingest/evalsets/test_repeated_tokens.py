import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.repeated_tokens import RepeatedTokens
from tests.ingest.evalsets.making import GIVEN


def test_the_published_protocol():
    frozen = RepeatedTokens().freeze(GIVEN)
    assert frozen.encoding.bos_policy == "prepend <start>"
    assert (frozen.encoding.n_sequences, frozen.encoding.context_length) == (50, 101)
    tokens = frozen.sequences.stack(frozen.sequences.ids, np.arange(50))
    copies = frozen.sequences.stack(frozen.copies, np.arange(50))
    assert (tokens[:, 0] == 256).all()
    assert (copies == [0, *[1] * 25, *[2] * 25, *[3] * 25, *[4] * 25]).all()
    for later in (2, 3, 4):
        assert np.array_equal(tokens[copies == later], tokens[copies == 1])
    assert all(len(set(row[1:26])) == 25 for row in tokens.tolist())
    assert len({tuple(row) for row in tokens.tolist()}) == 50


def test_the_other_usual_protocol_without_a_start_token():
    frozen = RepeatedTokens(block=50, copies=2, n_sequences=3, bos="none").freeze(GIVEN)
    assert frozen.encoding.name == "repeated_tokens, 50 × 2"
    assert (frozen.sequences.lengths == 100).all()
    assert frozen.copies.reshape(3, 100).tolist() == [[1] * 50 + [2] * 50] * 3


@given(seed=st.integers(0, 100), n=st.integers(1, 5))
def test_a_sequence_depends_on_the_seed_and_its_number_only(seed, n):
    few, many = (RepeatedTokens(seed=seed, n_sequences=k).freeze(GIVEN).sequences for k in (n, 6))
    assert all(np.array_equal(few[i], many[i]) for i in range(n))
    other = RepeatedTokens(seed=seed + 1, n_sequences=n).freeze(GIVEN).sequences
    assert not np.array_equal(few[0], other[0])


def test_common_and_rare_tokens_are_left_out_by_id():
    settings = RepeatedTokens(n_sequences=200, most_common=0.25, least_common=0.25)
    drawn = set(settings.freeze(GIVEN).sequences.ids.tolist()) - {256}
    assert drawn == set(range(64, 192))  # 200 blocks of 25 leave out one of 128 with probability 1e-19


def test_every_candidate_is_drawn_about_as_often():
    frozen = RepeatedTokens(n_sequences=1000, copies=2, bos="none").freeze(GIVEN)
    often = np.bincount(frozen.sequences.ids[frozen.copies == 1], minlength=256)
    often = often[often > 0]
    # 125 of the 256 bytes are left: 256 − 3 − 128; binomial(1000, 25/125): mean 200, sd 12.6
    assert len(often) == 125
    assert abs(often - 200).max() < 60


def test_a_block_longer_than_what_may_be_drawn_is_refused():
    with pytest.raises(EvalSetRefused, match=r"125 of the 257 tokens of bytes are neither .* a block of 126"):
        RepeatedTokens(block=126).freeze(GIVEN)
    assert RepeatedTokens(block=125, n_sequences=1).freeze(GIVEN).encoding.n_tokens == 501


def test_leaving_out_everything_is_refused():
    with pytest.raises(ValidationError, match=r"most_common \+ least_common = 1\.1 leaves no token"):
        RepeatedTokens(most_common=0.5, least_common=0.6)


def test_a_frozen_set_keeps_its_hash():
    # stored numbers are found by it; a change makes every measured value a new quantity
    assert (
        RepeatedTokens().freeze(GIVEN).encoding.hash
        == "fb8e237f107cb1711a34ddab187de52365876b92c5a81bbdde172fd449b761b1"
    )
