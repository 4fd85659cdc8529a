import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.records import WHOLE
from ingest.tasks.repeated_tokens import RepeatedTokens

TASK = RepeatedTokens()
VARIED = st.builds(
    lambda n_tokens, shortest, more, rest: RepeatedTokens(
        n_tokens=n_tokens, min_period=shortest, max_period=shortest + more, length=shortest + more + rest
    ),
    st.integers(2, 12),
    st.integers(1, 6),
    st.integers(0, 8),
    st.integers(2, 20),
)


def period_of(row, task):
    """The shortest allowed period with which a sequence repeats, found by trying them."""
    body = row[1:].tolist()
    for period in range(task.min_period, task.max_period + 1):
        if all(body[i] == body[i - period] for i in range(period, len(body))):
            return period
    raise AssertionError(f"{row} does not repeat")


def test_sizes_of_the_quick_induction_setting():
    assert (TASK.n_positions, TASK.n_outputs, len(TASK.vocabulary)) == (33, 32, 33)
    assert TASK.vocabulary[-1] == "start"
    assert TASK.read_positions == tuple(range(32))
    assert TASK.read_labels[:2] == ("p0", "p1")
    assert TASK.n_train is None
    assert (
        TASK.eval_set.encoding.name == "repeated_tokens: 256 sequences of 32 tokens repeating every 8 to 16"
    )


@given(task=VARIED, seed=st.integers(0, 2**40), step=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_sequence_repeats_and_predicts_its_next_token(task, seed, step):
    for examples in (task.fresh_batch(seed, step, 9), task.evaluation()):
        assert (examples.tokens[:, 0] == task.n_tokens).all()
        assert examples.tokens[:, 1:].min() >= 0
        assert examples.tokens[:, 1:].max() < task.n_tokens
        assert np.array_equal(examples.targets, examples.tokens[:, 1:])
        assert examples.tokens.shape[1] == task.n_positions
        for row in examples.tokens:
            block = row[1 : 1 + period_of(row, task)]
            if task.max_period <= task.n_tokens:
                assert len(set(block.tolist())) == len(block)  # drawn without replacement


def test_copies_number_the_blocks_and_are_the_same_token_for_token():
    for task in (TASK, RepeatedTokens(n_tokens=5, min_period=3, max_period=9, length=20)):
        tokens, copies = task.evaluation().tokens, task.copies()
        assert copies.shape == tokens.shape
        assert (copies[:, 0] == 0).all()
        for row, numbers in zip(tokens, copies, strict=True):
            first = row[numbers == 1]
            assert task.min_period <= len(first) <= task.max_period
            assert numbers[1:].tolist() == sorted(numbers[1:])
            for number in range(2, numbers.max() + 1):
                later = row[numbers == number]
                assert later.tolist() == first[: len(later)].tolist()
                assert len(later) == len(first) or number == numbers.max()


def test_the_evaluation_set_is_the_same_for_every_run_and_keeps_its_hash():
    assert np.array_equal(TASK.evaluation().tokens, RepeatedTokens().evaluation().tokens)
    assert np.array_equal(TASK.splits(0)[WHOLE], TASK.splits(9)[WHOLE])
    assert TASK.splits(3)[WHOLE].tolist() == [True] * 256
    # stored numbers are found by it; a change makes every measured value of this task a new quantity
    assert TASK.eval_set.encoding.hash == "2e044138ad5a9533f3fd392898e8b194b943f5c16ecaba2cf370c424b6582e23"


def test_fresh_data_is_a_function_of_seed_and_step():
    batch = TASK.fresh_batch(3, 7, 20)
    assert np.array_equal(batch.tokens, RepeatedTokens().fresh_batch(3, 7, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(3, 8, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(4, 7, 20).tokens)
    with pytest.raises(NotImplementedError, match="endless data"):
        TASK.training_set(0)


def test_periods_and_tokens_are_uniform():
    tokens = TASK.fresh_batch(0, 0, 9000).tokens
    periods = np.bincount([period_of(row, TASK) for row in tokens], minlength=17)[8:]
    # 9 periods, 1,000 each, sd 30
    assert abs(periods - 1000).max() < 150
    # each place of the first block: 9,000 / 32 = 281 of each token, sd 16.5
    for place in (1, 5, 8):
        assert abs(np.bincount(tokens[:, place], minlength=32) - 281).max() < 90


def test_blocks_longer_than_the_vocabulary_are_drawn_with_replacement():
    task = RepeatedTokens(n_tokens=4, min_period=9, max_period=9, length=12)
    tokens = task.fresh_batch(1, 0, 2000).tokens
    # neighbours are alike in a quarter of the draws: 500, sd 19.4
    assert abs((tokens[:, 1] == tokens[:, 2]).sum() - 500) < 100
    short = RepeatedTokens(n_tokens=4, min_period=3, max_period=9, length=12)
    blocks = [
        row[copy == 1].tolist() for row, copy in zip(short.evaluation().tokens, short.copies(), strict=True)
    ]
    assert {len(block) for block in blocks} == set(range(3, 10))
    assert all((len(set(block)) == len(block)) == (len(block) <= 4) for block in blocks)


def test_a_fixed_period_is_allowed():
    task = RepeatedTokens(min_period=10, max_period=10)
    assert (task.copies().max(axis=1) == 4).all()
    assert "repeating every 10" in task.evaluation_name


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"min_period": 9, "max_period": 8}, "max_period = 8 is below min_period = 9; swap them"),
        ({"length": 17}, "length = 17 leaves nothing to predict after a block of max_period = 16; give length = 18"),
        ({"n_tokens": 1}, "greater than or equal to 2"),
        ({"min_period": 0}, "greater than or equal to 1"),
        ({"period": 8}, "Extra inputs"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right_are_refused(params, words):
    with pytest.raises(ValidationError, match=words):
        RepeatedTokens(**params)
