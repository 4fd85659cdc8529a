import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.records import WHOLE
from ingest.studies.naming import condition_of
from ingest.task import TEST, TRAIN
from ingest.tasks.digit_addition import DigitAddition
from ingest.train.spec import TrainSpec

TASK = DigitAddition()
FINITE = DigitAddition(train_size=500)


def spelled(examples, row):
    """A sequence as text with the answer's last digit, which only the targets hold."""
    text = "".join(TASK.vocabulary[token] for token in examples.tokens[row])
    return text + str(examples.targets[row, -1])


def test_a_sequence_reads_as_a_sum():
    examples = TASK.evaluation()
    assert spelled(examples, 0) == "287+019=0306"
    assert examples.targets[0].tolist() == [0, 3, 0, 6]
    assert TASK.read_positions == (7, 8, 9, 10)  # from `=` on
    assert TASK.read_labels == ("carry", "hundreds", "tens", "units")
    assert TASK.n_positions == 11
    assert (TASK.n_outputs, len(TASK.vocabulary)) == (10, 12)
    assert TASK.eval_set.encoding.name == (
        "digit_addition: 2048 pairs of 3-digit numbers, most significant first"
    )


@given(
    n=st.integers(1, 9),
    order=st.sampled_from(["most_significant_first", "least_significant_first"]),
    carries=st.sampled_from(["any", "none"]),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=40, deadline=None)
def test_answers_are_those_of_python(n, order, carries, seed):
    task = DigitAddition(n_digits=n, order=order, carries=carries, pool=20)
    for examples in (task.evaluation(), task.fresh_batch(seed, 3, 20)):
        for row in range(20):
            a, b, answer = spelled(examples, row).replace("=", "+").split("+")
            assert (len(a), len(b), len(answer)) == (n, n, n + 1)
            answer = answer if order == "most_significant_first" else answer[::-1]
            assert int(a) + int(b) == int(answer)
            if carries == "none":
                assert all(int(x) + int(y) < 10 for x, y in zip(a, b, strict=True))
        # what is read in at each read position but the first is what was right one before
        assert np.array_equal(examples.tokens[:, task.read_positions[1] :], examples.targets[:, :-1])
    assert len(task.read_labels) == len(task.read_positions) == n + 1
    labels = task.read_labels if order == "most_significant_first" else task.read_labels[::-1]
    assert labels[0] == "carry"
    assert labels[-1] == "units"


def test_labels_follow_the_order_of_the_answer():
    reversed_ = DigitAddition(n_digits=5, order="least_significant_first")
    assert reversed_.read_labels == ("units", "tens", "hundreds", "thousands", "ten thousands", "carry")


def test_the_carry_pattern_is_that_of_adding_by_hand():
    task = DigitAddition(n_digits=4)
    pattern = task.carry_pattern()
    assert pattern.shape == (2048, 4)
    for row, carried in enumerate(pattern):
        a, b = (int(x) for x in spelled(task.evaluation(), row).split("=")[0].split("+"))
        # column k carries when the last k + 1 digits of the two add to 10^(k + 1) or more
        expected = [a % 10**k + b % 10**k >= 10**k for k in (1, 2, 3, 4)]
        assert carried.tolist() == expected
    assert not DigitAddition(carries="none").carry_pattern().any()


def test_the_pool_is_frozen_distinct_and_shared_by_finite_and_endless_data():
    tokens = TASK.evaluation().tokens
    assert len({tuple(row) for row in tokens.tolist()}) == len(tokens) == 2048
    assert np.array_equal(tokens, DigitAddition().evaluation().tokens)
    assert FINITE.eval_set.encoding == TASK.eval_set.encoding
    assert (
        TASK.eval_set.encoding.hash != DigitAddition(order="least_significant_first").eval_set.encoding.hash
    )
    # a pool is the beginning of a larger one
    assert np.array_equal(DigitAddition(pool=100).evaluation().tokens, tokens[:100])
    # stored numbers are found by it; a change makes every measured value of this task a new quantity
    assert TASK.eval_set.encoding.hash == "a0b6495b408bcc14e3a91d5fc15ae8074b6084851b42d0aa9bcb94b3a1542be5"


def test_a_small_task_is_evaluated_on_all_there_is():
    for task, n in ((DigitAddition(n_digits=1), 100), (DigitAddition(n_digits=1, carries="none"), 55)):
        rows = {tuple(row) for row in task.evaluation().tokens.tolist()}
        assert len(rows) == len(task.evaluation()) == n


@given(seed=st.integers(0, 2**63))
@settings(max_examples=20, deadline=None)
def test_finite_data_splits_the_pool(seed):
    splits = FINITE.splits(seed)
    assert (splits[TRAIN] ^ splits[TEST]).all()
    assert splits[TRAIN].sum() == 500 == FINITE.n_train
    assert np.array_equal(DigitAddition(train_size=500).splits(seed)[TRAIN], splits[TRAIN])
    trained = FINITE.training_set(seed)
    assert np.array_equal(trained.tokens, FINITE.evaluation().tokens[splits[TRAIN]])
    assert np.array_equal(trained.targets, FINITE.evaluation().targets[splits[TRAIN]])


def test_another_split_seed_is_another_split():
    assert not np.array_equal(FINITE.splits(0)[TRAIN], FINITE.splits(1)[TRAIN])
    often = sum(FINITE.splits(seed)[TRAIN].astype(int) for seed in range(400))
    # binomial(400, 500 / 2048): mean 97.7, sd 8.6
    assert often.sum() == 400 * 500
    assert abs(often - 97.7).max() < 5 * 8.6


def test_fresh_data_is_a_function_of_seed_and_step_and_finite_data_is_not_fresh():
    batch = TASK.fresh_batch(3, 7, 20)
    assert np.array_equal(batch.tokens, DigitAddition().fresh_batch(3, 7, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(3, 8, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(4, 7, 20).tokens)
    assert TASK.splits(5)[WHOLE].all()
    with pytest.raises(NotImplementedError, match="endless data"):
        TASK.training_set(0)
    with pytest.raises(NotImplementedError, match="finite training set"):
        FINITE.fresh_batch(0, 0, 5)


def test_pairs_are_uniform_and_carries_as_common_as_that_makes_them():
    tokens = TASK.fresh_batch(0, 0, 10_000).tokens
    for place in (0, 2, 4, 6):
        # 1,000 of each digit, sd 30
        assert abs(np.bincount(tokens[:, place], minlength=10) - 1000).max() < 150
    carried = DigitAddition(pool=20_000).carry_pattern().mean(axis=0)
    # pairs below 10^k with a sum of 10^k or more: (1 − 10^−k) / 2; sd 0.0035
    assert carried == pytest.approx([0.45, 0.495, 0.4995], abs=0.016)
    bare = DigitAddition(carries="none").fresh_batch(0, 0, 11_000).tokens
    pairs = np.bincount(bare[:, 2] * 10 + bare[:, 6], minlength=100)
    # the 55 pairs of digits with sum below ten: 200 each, sd 14
    assert (pairs > 0).sum() == 55
    assert abs(pairs[pairs > 0] - 200).max() < 65


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"n_digits": 0}, "greater than or equal to 1"),
        ({"n_digits": 10}, "less than or equal to 9"),
        ({"n_digits": 1, "pool": 101}, "pool = 101 exceeds the 100 different examples of this task; give 100 or less"),
        ({"n_digits": 1, "carries": "none", "pool": 60}, "exceeds the 55 different"),
        ({"train_size": 2048}, "train_size = 2048 of a pool of 2048 leaves nothing to test on; give 2047 or less"),
        ({"train_size": 0}, "greater than or equal to 1"),
        ({"order": "units_first"}, "'most_significant_first' or 'least_significant_first'"),
        ({"carries": "some"}, "'any' or 'none'"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_right_are_refused(params, words):
    with pytest.raises(ValidationError, match=words):
        DigitAddition(**params)


def test_endless_data_needs_a_batch_and_finite_data_a_batch_that_fits():
    with pytest.raises(ValidationError, match="endless data: give batch"):
        TrainSpec(task="digit_addition")
    with pytest.raises(ValidationError, match="batch = 501 exceeds the 500 training examples"):
        TrainSpec(task="digit_addition", task_params={"train_size": 500}, batch=501)
    finite = TrainSpec(task="digit_addition", task_params={"train_size": 500})
    assert finite.tokens_per_step == 500 * 11
    # a run of finite data is named without supposing that the task's default, endless data, would do
    assert "train_size=500" in condition_of(finite)
