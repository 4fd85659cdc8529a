import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.readings.answers import is_right
from tests.references.behaviour import accuracy_by_loops


def test_two_of_three_right():
    logits = torch.tensor([[0.0, 1.0, 0.5], [2.0, 1.0, 0.0], [0.0, 0.1, 0.2]])
    assert is_right(logits, torch.tensor([1, 1, 2])).tolist() == [1.0, 0.0, 1.0]


def test_a_perfect_model_scores_one_and_its_opposite_zero():
    targets = torch.arange(7)
    assert is_right(torch.eye(7), targets).mean() == 1
    assert is_right(-torch.eye(7), targets).mean() == 0


def test_of_equal_logits_the_first_counts_so_uniform_logits_score_one_over_the_outputs():
    targets = torch.arange(10)
    assert is_right(torch.zeros(10, 10), targets).tolist() == [1.0] + [0.0] * 9


@given(
    rows=st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=8),
    data=st.data(),
)
def test_agrees_with_the_loop(rows, data):
    targets = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    right = is_right(torch.tensor(rows, dtype=torch.float32), torch.tensor(targets))
    assert right.mean().item() == pytest.approx(accuracy_by_loops(rows, targets))


@given(
    row=st.lists(st.floats(-100, 100), min_size=2, max_size=6),
    scale=st.floats(0.1, 10),
    shift=st.integers(-5, 5),
)
def test_a_positive_scale_and_a_shift_change_nothing(row, scale, shift):
    logits = torch.tensor([row], dtype=torch.float64)
    if len({round(x, 6) for x in row}) < len(row):
        return  # near-ties may merge by rounding
    for target in range(len(row)):
        answer = torch.tensor([target])
        assert torch.equal(is_right(logits, answer), is_right(logits * scale + shift, answer))
