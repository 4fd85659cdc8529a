"""The k largest of a row: exact, and the same ones for equal values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.ranking import largest


def by_loops(row: list[float], k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]


@pytest.mark.parametrize("n", [1, 5, 900, 1537])
@pytest.mark.parametrize("k", [1, 4, 7])
def test_agrees_with_sorting_whether_or_not_the_row_is_cut_into_pieces(n: int, k: int) -> None:
    values = torch.randn(6, n, generator=torch.Generator().manual_seed(n + k))
    found, columns = largest(values, k)
    for row, numbers, at in zip(values.tolist(), found.tolist(), columns.tolist(), strict=True):
        assert at == by_loops(row, k)
        assert numbers == [row[i] for i in at]


@given(st.integers(0, 999), st.integers(1, 6), st.integers(2, 30))
def test_equal_values_come_by_column_also_across_pieces(seed: int, k: int, n_different: int) -> None:
    values = torch.randint(n_different, (3, 1030), generator=torch.Generator().manual_seed(seed)).float()
    values[1] = torch.randn(1030, generator=torch.Generator().manual_seed(seed))
    values[2] = 0
    values[2, [1029, 900]] = 1
    found, columns = largest(values, k)
    for row, numbers, at in zip(values.tolist(), found.tolist(), columns.tolist(), strict=True):
        assert at == by_loops(row, k)
        assert numbers == [row[i] for i in at]


def test_minus_infinity_may_be_among_them_and_k_must_be_positive() -> None:
    values = torch.full((1, 2000), -torch.inf)
    values[0, 1999] = 3
    found, columns = largest(values, 2)
    assert (found.tolist(), columns.tolist()) == ([[3, -torch.inf]], [[1999, 0]])
    with pytest.raises(ValueError, match="k = 0"):
        largest(values, 0)
