import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.task import TEST, TRAIN
from ingest.tasks.modular_arithmetic import ModularArithmetic, is_prime

OPERATIONS = ("add", "subtract", "multiply", "divide")


def test_the_whole_grid_with_its_answers():
    examples = ModularArithmetic(p=3, frac_train=0.5).evaluation()
    assert examples.tokens.tolist() == [
        [0, 0, 3], [0, 1, 3], [0, 2, 3], [1, 0, 3], [1, 1, 3], [1, 2, 3], [2, 0, 3], [2, 1, 3], [2, 2, 3],
    ]  # fmt: skip
    assert examples.targets[:, 0].tolist() == [0, 1, 2, 1, 2, 0, 2, 0, 1]


@pytest.mark.parametrize("p", [2, 3, 7, 13])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_answers_are_those_of_counting_on_the_clock(operation, p):
    # addition by steps, the others from it: a − b is the c with b + c = a, a · b is a added b times, ...
    def plus(a, b):
        for _ in range(b):
            a = 0 if a == p - 1 else a + 1
        return a

    def times(a, b):
        total = 0
        for _ in range(b):
            total = plus(total, a)
        return total

    examples = ModularArithmetic(operation=operation, p=p, frac_train=0.5).evaluation()
    for (a, b, equals), (answer,) in zip(examples.tokens.tolist(), examples.targets.tolist(), strict=True):
        assert equals == p
        assert 0 <= answer < p
        if operation == "add":
            assert answer == plus(a, b)
        elif operation == "subtract":
            assert plus(answer, b) == a
        elif operation == "multiply":
            assert answer == times(a, b)
        else:
            assert times(answer, b) == a
    seen = [tuple(pair) for pair in examples.tokens[:, :2].tolist()]
    assert seen == sorted(set(seen))
    assert len(seen) == (p * (p - 1) if operation == "divide" else p * p)
    assert (min(b for _, b in seen) == 1) == (operation == "divide")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_as_common_as_the_operation_makes_it(operation):
    counts = np.bincount(ModularArithmetic(operation=operation, p=7).evaluation().targets[:, 0], minlength=7)
    expected = {"multiply": [13, *[6] * 6], "divide": [6] * 7}
    assert counts.tolist() == expected.get(operation, [7] * 7)


def test_published_sizes():
    mainline = ModularArithmetic(p=113, frac_train=0.3)
    splits = mainline.splits(0)
    assert (splits[TRAIN].sum(), splits[TEST].sum()) == (3830, 8939)
    assert mainline.n_train == 3830
    assert mainline.n_outputs == 114  # the softmax keeps the = class
    assert mainline.vocabulary[-2:] == ("112", "=")
    assert mainline.n_positions == 3
    assert ModularArithmetic().n_train == 883
    assert ModularArithmetic(operation="divide", p=97, frac_train=0.5).n_train == 97 * 96 // 2
    assert ModularArithmetic().read_labels == ("answer",)
    assert ModularArithmetic().copies() is None


@given(seed=st.integers(0, 2**63), p=st.sampled_from([2, 3, 5, 7, 11]), operation=st.sampled_from(OPERATIONS))
@settings(max_examples=30, deadline=None)
def test_a_split_parts_the_grid_and_is_a_function_of_its_seed(seed, p, operation):
    task = ModularArithmetic(operation=operation, p=p, frac_train=0.5)
    splits = task.splits(seed)
    assert (splits[TRAIN] ^ splits[TEST]).all()
    assert splits[TRAIN].sum() == len(task.evaluation()) // 2
    again = ModularArithmetic(operation=operation, p=p, frac_train=0.5)
    assert np.array_equal(again.splits(seed)[TRAIN], splits[TRAIN])
    trained = task.training_set(seed)
    assert np.array_equal(trained.tokens, task.evaluation().tokens[splits[TRAIN]])
    assert np.array_equal(trained.targets, task.evaluation().targets[splits[TRAIN]])


def test_every_pair_is_trained_on_about_as_often_over_many_splits():
    task = ModularArithmetic(p=5, frac_train=0.4)
    often = sum(task.splits(seed)[TRAIN].astype(int) for seed in range(1000))
    # binomial(1000, 0.4): mean 400, sd 15.5; 25 pairs stay within 4.5 sd
    assert often.sum() == 10_000
    assert abs(often - 400).max() < 70


@pytest.mark.parametrize(
    ("p", "near"), [(48, "are 47 and 53"), (1, "is 2"), (0, "is 2"), (-3, "is 2"), (9, "are 7 and 11")]
)
def test_a_modulus_that_is_not_prime_comes_with_its_neighbours(p, near):
    with pytest.raises(ValidationError, match=f"p = {p} is not a prime; the nearest {near}"):
        ModularArithmetic(p=p)


@pytest.mark.parametrize("share", [0.0, 0.001, 1.0, 1.5, -0.2, float("nan")])
def test_a_split_without_a_side_is_refused_with_the_range(share):
    with pytest.raises(ValidationError, match=r"frac_train"):
        ModularArithmetic(p=7, frac_train=share)


def test_primes():
    assert [n for n in range(-3, 30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]


def test_the_eval_set_is_the_grid_whatever_is_trained_on():
    a, b, other = (ModularArithmetic(p=p, frac_train=f).eval_set for p, f in ((7, 0.3), (7, 0.6), (5, 0.3)))
    assert a.encoding == b.encoding
    assert a.encoding.hash != other.encoding.hash
    assert a.encoding.frozen
    assert (a.encoding.n_sequences, a.encoding.n_tokens, a.encoding.context_length) == (49, 147, 3)
    assert a.encoding.tokenizer == a.tokenizer.hash
    assert a.tokenizer.n_vocab == 8
    assert a.encoding.name == "modular_arithmetic: a + b modulo 7, all pairs"


def test_the_eval_set_keeps_its_hash():
    # stored numbers are found by it; a change makes every measured value of this task a new quantity
    assert (
        ModularArithmetic(p=7).eval_set.encoding.hash
        == "c1f502c52fb6cc6a1d335793792587251eefd49d3a6c92afe5eb6e71db9258d5"
    )


def test_another_operation_is_another_eval_set_with_a_name_of_its_own():
    sets = [ModularArithmetic(operation=operation, p=7).eval_set for operation in OPERATIONS]
    assert len({one.encoding.hash for one in sets}) == 4
    assert len({one.encoding.name for one in sets}) == 4
    assert sets[3].encoding.name == "modular_arithmetic: a / b modulo 7, all pairs with b ≠ 0"
    assert len({one.tokenizer for one in sets}) == 1


def test_an_unknown_operation_is_refused_with_those_there_are():
    with pytest.raises(ValidationError, match="'add', 'subtract', 'multiply' or 'divide'"):
        ModularArithmetic(operation="times")
