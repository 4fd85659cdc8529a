import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ingest.mathematics.recovery import first_order, rank_correlation, recovery

ROWS = torch.arange(4)


def test_everything_recovers_all_and_nothing_nothing():
    whole = torch.tensor([2.0, 2.5, 3.0, 2.2])
    found = recovery(torch.stack([whole, 0 * whole, -whole, 2 * whole], 1), whole, ROWS)
    assert found.value.tolist() == [1.0, 0.0, -1.0, 2.0]
    assert found.se.tolist() == pytest.approx([0.0] * 4, abs=1e-12)
    assert found.note == ""


def test_the_means_are_divided_not_the_shares():
    # shares of single prompts are 10 and 0, and the first of them hardly differs
    found = recovery(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.1, 1.0, 1.1, 0.9]), ROWS)
    assert float(found.value) == pytest.approx(1 / 3.1)


def test_a_difference_of_less_than_three_errors_has_no_shares():
    # mean 1; deviations of ±d give 4 rows a standard error of d/√3: 1/3 at d = 1/√3
    deviations = torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64) / math.sqrt(3)
    above = recovery(torch.ones(4, 2), 1 + deviations * 0.99, ROWS)
    assert above.value.tolist() == pytest.approx([1.0, 1.0])
    below = recovery(torch.ones(4, 2), 1 + deviations * 1.01, ROWS)
    assert below.value.isnan().all()
    assert below.se.isnan().all()
    assert below.note.startswith("unresolved: prompts and counterfactuals differ by 1 ± 0.337 logits")


@pytest.mark.parametrize("whole", [torch.zeros(4), torch.tensor([1.0])])
def test_no_difference_and_no_error_are_unresolved(whole):
    assert recovery(torch.ones(len(whole)), whole, torch.arange(len(whole))).value.isnan()


def test_the_first_order_is_a_product_summed_over_positions():
    there, here = torch.ones(2, 3, 2, 4), torch.zeros(2, 3, 2, 4)
    gradient = torch.arange(48.0).view(2, 3, 2, 4)
    found = first_order(there, here, gradient)
    assert found.tolist() == gradient.sum((1, 3)).tolist()
    assert first_order(here, here, gradient).abs().max() == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=3, max_size=20))
def test_ranks_correlate_as_spearman_says(rows):
    first, second = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    found = rank_correlation(first, second)
    if len(first.unique()) == 1 or len(second.unique()) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic)


def test_any_rising_function_agrees():
    values = torch.tensor([0.3, -2.0, 5.0, 1.0])
    assert rank_correlation(values, values.exp()) == pytest.approx(1.0)
    assert rank_correlation(values, -values) == pytest.approx(-1.0)
