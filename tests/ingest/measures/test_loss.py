import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.readings.answers import negative_log_likelihood
from tests.references.behaviour import loss_by_loops

floats = st.floats(-50, 50)


@pytest.mark.parametrize("n", [2, 113, 114])
def test_uniform_logits_cost_the_log_of_the_number_of_outputs(n):
    losses = negative_log_likelihood(torch.full((5, n), 3.0), torch.arange(5) % n)
    assert losses.tolist() == pytest.approx([math.log(n)] * 5, rel=1e-15)


def test_published_chance_levels():
    # 114 outputs: the released grokking code keeps the = class in the training loss; its progress measures drop it
    for n, chance in ((113, 4.7274), (114, 4.7362)):
        assert negative_log_likelihood(torch.zeros(1, n), torch.zeros(1).long()).item() == pytest.approx(
            chance, abs=5e-5
        )


def test_two_outputs_have_the_closed_form():
    # -ln(1 / (1 + e^-d)) for a lead of d: ln(1 + e^-3)
    assert negative_log_likelihood(torch.tensor([[5.0, 2.0]]), torch.tensor([0])).item() == pytest.approx(
        math.log1p(math.exp(-3))
    )


def test_losses_far_below_the_float32_floor_are_kept():
    # float32 gives 0 or 1.2e-7 here; ln(1 + e^-20) = 2.06e-9
    loss = negative_log_likelihood(torch.tensor([[20.0, 0.0]], dtype=torch.float32), torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-20)), rel=1e-7)


@given(rows=st.lists(st.lists(floats, min_size=4, max_size=4), min_size=1, max_size=6), data=st.data())
def test_agrees_with_the_loop(rows, data):
    targets = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    losses = negative_log_likelihood(torch.tensor(rows, dtype=torch.float64), torch.tensor(targets))
    assert losses.mean().item() == pytest.approx(loss_by_loops(rows, targets), abs=1e-12)


@given(
    row=st.lists(floats, min_size=3, max_size=8), shift=floats, target=st.integers(0, 2), order=st.randoms()
)
def test_a_shift_or_another_order_of_outputs_changes_nothing(row, shift, target, order):
    logits = torch.tensor([row], dtype=torch.float64)
    before = negative_log_likelihood(logits, torch.tensor([target])).item()
    assert before >= 0
    assert negative_log_likelihood(logits + shift, torch.tensor([target])).item() == pytest.approx(
        before, abs=1e-10
    )
    places = list(range(len(row)))
    order.shuffle(places)
    moved = negative_log_likelihood(logits[:, places], torch.tensor([places.index(target)])).item()
    assert moved == pytest.approx(before, abs=1e-12)
