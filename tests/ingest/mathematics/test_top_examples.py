"""B11: the best examples of every unit."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.top_examples import TopExamples, TopTable
from tests.references.neurons import top_by_loops


def corpus(seed: int, n: int, length: int, units: int, coarse: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, length, units, generator=generator)
    return (2 * values).round() if coarse else values  # coarse: many equal activations


def scanned(
    activations: torch.Tensor, documents: torch.Tensor, k: int, order: list[int], batch: int
) -> TopTable:
    found = TopExamples(activations.shape[2], k)
    for rows in torch.tensor(order).split(batch):
        found.update(activations[rows], rows, documents[rows])
    return found.table()


@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 22),
    length=st.integers(1, 35),
    k=st.integers(1, 6),
    n_documents=st.integers(1, 12),
    batch=st.integers(1, 23),
    coarse=st.booleans(),
    data=st.data(),
)
def test_agrees_with_loops_whatever_the_batches_and_the_order(
    seed: int,
    n: int,
    length: int,
    k: int,
    n_documents: int,
    batch: int,
    coarse: bool,
    data: st.DataObject,
) -> None:
    activations = corpus(seed, n, length, 3, coarse)
    documents = torch.randint(n_documents, (n,), generator=torch.Generator().manual_seed(seed))
    order = data.draw(st.permutations(range(n)))
    table = scanned(activations, documents, k, order, batch)
    for unit in range(3):
        expected = top_by_loops(activations.tolist(), range(n), documents.tolist(), unit, k)
        places = zip(table.values[unit], table.sequences[unit], table.positions[unit], strict=True)
        assert [tuple(float(x) for x in place) for place in places] == expected
        assert table.documents[unit].tolist() == [documents[int(s)] for _, s, _ in expected]


def test_a_unit_that_is_never_positive_has_its_own_largest() -> None:
    activations = -1 - torch.arange(12.0).view(3, 4, 1)
    table = scanned(activations, torch.arange(3), 2, [0, 1, 2], 2)
    assert table.values.tolist() == [[-1, -5]]
    assert table.positions.tolist() == [[0, 0]]
    assert table.sequences.tolist() == [[0, 1]]


def test_one_example_a_document() -> None:
    activations = torch.tensor([5.0, 4.0, 3.0, 9.0]).view(4, 1, 1)
    table = scanned(activations, torch.tensor([7, 7, 8, 7]), 3, [0, 1, 2, 3], 1)
    assert table.values.tolist() == [[9, 3]]
    assert table.documents.tolist() == [[7, 8]]


def test_units_do_not_know_of_each_other() -> None:
    activations = corpus(0, 30, 40, 5, False)
    documents = torch.arange(30)
    whole = scanned(activations, documents, 4, list(range(30)), 8)
    turned = scanned(activations[:, :, [3, 1]], documents, 4, list(range(30)), 8)
    for part in ("values", "sequences", "positions"):
        assert torch.equal(getattr(turned, part), getattr(whole, part)[[3, 1]])


def test_says_how_large_the_corpus_was() -> None:
    found = TopExamples(1)
    assert found.table().values.shape == (1, 0)
    found.update(torch.zeros(3, 5, 1), torch.arange(3), torch.tensor([0, 0, 4]))
    assert (found.n_documents, found.n_positions) == (2, 15)
    assert found.table().values.shape == (1, 2)


def test_refuses_what_cannot_be_ranked() -> None:
    found = TopExamples(2, 3)
    for odd in (torch.nan, torch.inf):
        activations = torch.zeros(2, 3, 2)
        activations[1, 2, 0] = odd
        with pytest.raises(ValueError, match="sequence 6 has activations that are NaN or infinite"):
            found.update(activations, torch.tensor([5, 6]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="activations of 3 units; expected 2"):
        found.update(torch.zeros(1, 1, 3), torch.zeros(1), torch.zeros(1))
    with pytest.raises(ValueError, match="k = 0"):
        TopExamples(2, 0)
