import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.records import WHOLE
from ingest.task import TEST, TRAIN
from ingest.tasks.skip_trigram import SkipTrigram

TASK = SkipTrigram()
FINITE = SkipTrigram(train_size=300)


def test_sizes_and_names():
    assert (TASK.n_positions, TASK.n_outputs, len(TASK.vocabulary)) == (16, 32, 48)
    assert TASK.vocabulary[31:41] == ("31", "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "k0")
    assert TASK.read_positions == (15,)
    assert TASK.read_labels == ("answer",)
    assert TASK.eval_set.encoding.name == (
        "skip_trigram: 2048 sequences of 16, table 0 of 8 sources and 8 keys"
    )


@given(
    length=st.integers(2, 9),
    n_fillers=st.integers(2, 9),
    n_sources=st.integers(2, 5),
    n_keys=st.integers(1, 5),
    table_seed=st.integers(0, 9),
    seed=st.integers(0, 2**40),
)
@settings(max_examples=40, deadline=None)
def test_one_source_one_key_and_the_answer_of_both(length, n_fillers, n_sources, n_keys, table_seed, seed):
    task = SkipTrigram(
        length=length, n_fillers=n_fillers, n_sources=n_sources, n_keys=n_keys, table_seed=table_seed, pool=2
    )
    assert task.answers.shape == (n_sources, n_keys)
    for examples in (task.evaluation(), task.fresh_batch(seed, 1, 30)):
        for tokens, (answer,) in zip(examples.tokens.tolist(), examples.targets.tolist(), strict=True):
            names = [task.vocabulary[token] for token in tokens]
            sources = [name for name in names[:-1] if name.startswith("s")]
            assert len(sources) == 1
            assert names[-1].startswith("k")
            assert sum(name.isdigit() for name in names) == length - 2
            assert task.answers[int(sources[0][1:]), int(names[-1][1:])] == answer
            assert 0 <= answer < n_fillers


def test_the_table_is_frozen_and_its_seed_is_a_setting_of_the_task():
    assert np.array_equal(TASK.answers, SkipTrigram(length=4, train_size=9).answers)
    other = SkipTrigram(table_seed=1)
    assert not np.array_equal(TASK.answers, other.answers)
    # the same sequences with other answers: another eval set
    assert np.array_equal(TASK.evaluation().tokens, other.evaluation().tokens)
    assert TASK.eval_set.encoding.hash != other.eval_set.encoding.hash
    # a random table: neither source nor key alone says the answer
    assert all(len(set(row)) > 1 for row in [*TASK.answers.tolist(), *TASK.answers.T.tolist()])


def test_the_pool_is_frozen_distinct_and_shared_by_finite_and_endless_data():
    tokens = TASK.evaluation().tokens
    assert len({tuple(row) for row in tokens.tolist()}) == len(tokens) == 2048
    assert np.array_equal(tokens, SkipTrigram().evaluation().tokens)
    assert FINITE.eval_set.encoding == TASK.eval_set.encoding
    # stored numbers are found by it; a change makes every measured value of this task a new quantity
    assert TASK.eval_set.encoding.hash == "9432747b9c5de9d50707e80478cd3860a51b8527d3363e8c8ffd423a88f472a2"


def test_a_small_task_is_evaluated_on_all_there_is():
    task = SkipTrigram(length=3, n_fillers=2, n_sources=2, n_keys=3)
    rows = {tuple(row) for row in task.evaluation().tokens.tolist()}
    # by hand: the source first or second, the other one of two fillers
    expected = {
        (*pair, 4 + key) for s in (2, 3) for f in (0, 1) for pair in ((s, f), (f, s)) for key in range(3)
    }
    assert rows == expected
    assert task.n_distinct == 24


@given(seed=st.integers(0, 2**63))
@settings(max_examples=20, deadline=None)
def test_finite_data_splits_the_pool(seed):
    splits = FINITE.splits(seed)
    assert (splits[TRAIN] ^ splits[TEST]).all()
    assert splits[TRAIN].sum() == 300 == FINITE.n_train
    trained = FINITE.training_set(seed)
    assert np.array_equal(trained.tokens, FINITE.evaluation().tokens[splits[TRAIN]])
    assert np.array_equal(trained.targets, FINITE.evaluation().targets[splits[TRAIN]])
    assert np.array_equal(SkipTrigram(train_size=300).splits(seed)[TRAIN], splits[TRAIN])


def test_fresh_data_is_a_function_of_seed_and_step():
    batch = TASK.fresh_batch(3, 7, 20)
    assert np.array_equal(batch.tokens, SkipTrigram().fresh_batch(3, 7, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(3, 8, 20).tokens)
    assert not np.array_equal(batch.tokens, TASK.fresh_batch(4, 7, 20).tokens)
    assert TASK.n_train is None
    assert TASK.splits(5)[WHOLE].all()
    with pytest.raises(NotImplementedError, match="finite training set"):
        FINITE.fresh_batch(0, 0, 5)


def test_places_sources_keys_and_fillers_are_uniform():
    tokens = TASK.fresh_batch(0, 0, 15_000).tokens
    places = (tokens[:, :-1] >= 32).argmax(axis=1)
    assert abs(np.bincount(places, minlength=15) - 1000).max() < 150  # sd 31
    sources = tokens[np.arange(15_000), places] - 32
    assert abs(np.bincount(sources, minlength=8) - 1875).max() < 200  # sd 41
    assert abs(np.bincount(tokens[:, -1] - 40, minlength=8) - 1875).max() < 200
    fillers = tokens[:, 3][places != 3]
    assert abs(np.bincount(fillers, minlength=32) - 14_000 / 32).max() < 110  # sd 21


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"length": 1}, "greater than or equal to 2"),
        ({"n_sources": 1, "n_keys": 1}, "one source and one key have one answer"),
        ({"length": 2, "pool": 65}, "pool = 65 exceeds the 64 different examples"),
        ({"length": 2, "train_size": 64}, "train_size = 64 of a pool of 64 leaves nothing to test on"),
        ({"table_seed": -1}, "greater than or equal to 0"),
        ({"n_answers": 5}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(params, words):
    with pytest.raises(ValidationError, match=words):
        SkipTrigram(**params)
