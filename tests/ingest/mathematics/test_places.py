"""Means over chosen places, and places that share their token."""

import numpy as np
import pytest
import torch

from ingest.mathematics.places import PlaceMeans, Places, same_tokens

ACTIVATIONS = torch.arange(2 * 3 * 2, dtype=torch.float32).reshape(2, 3, 2)  # sequence, position, unit


def places(sequences: list[list[int]], positions: list[list[int]]) -> Places:
    return Places(torch.tensor(sequences), torch.tensor(positions))


def means_of(chosen: Places, order: tuple[int, ...] = (0, 1), **options: object) -> np.ndarray:
    found = PlaceMeans(chosen, **options)  # type: ignore[arg-type]
    for number in order:
        found.update(ACTIVATIONS[[number]], torch.tensor([number]))
    return found.means.numpy()


def test_means_by_hand_whatever_comes_first() -> None:
    chosen = places([[0, 1], [1, -1]], [[2, 0], [1, -1]])
    for order in ((0, 1), (1, 0)):
        # unit 0: 4 and 6; unit 1: 9 alone
        np.testing.assert_array_equal(means_of(chosen, order), [5.0, 9.0])
    whole = PlaceMeans(chosen)
    whole.update(ACTIVATIONS, torch.tensor([0, 1]))
    np.testing.assert_array_equal(whole.means.numpy(), [5.0, 9.0])


def test_directions_are_sums_and_rows_beyond_them_have_no_value() -> None:
    found = means_of(places([[0, 1]], [[0, 0]]), directions=torch.tensor([[0.5, -2.0]]), n_rows=3)
    # (0, 1) and (6, 7)
    np.testing.assert_allclose(found[0], (0.5 * 0 - 2 * 1 + 0.5 * 6 - 2 * 7) / 2)
    assert np.isnan(found[1:]).all()


def test_a_unit_without_places_has_no_mean() -> None:
    assert np.isnan(means_of(places([[-1], [-1]], [[-1], [-1]]))).all()


def test_numbers_that_are_none_are_refused_where_they_are_read() -> None:
    broken = ACTIVATIONS.clone()
    broken[1, 0, 0] = torch.nan
    fine = PlaceMeans(places([[0], [1]], [[1], [0]]))
    fine.update(broken, torch.tensor([0, 1]))  # reads unit 1 there
    bad = PlaceMeans(places([[1], [1]], [[0], [0]]))
    with pytest.raises(ValueError, match="sequence 1 has activations that are NaN"):
        bad.update(broken, torch.tensor([0, 1]))


def test_the_same_token_is_found_in_the_other_sequences_only() -> None:
    tokens = np.array([[5, 7], [5, 5], [7, 8], [9, 5]])
    examples = places([[0, 0], [1, -1]], [[0, 1], [1, -1]])
    among = np.array([False, False, True, True])
    found = same_tokens(tokens, examples, among, np.array([[0.0, 0.99], [0.99, 0.0]]))
    assert found.sequences.tolist() == [[3, 2], [3, -1]]
    assert found.positions.tolist() == [[1, 0], [1, -1]]
    nowhere = same_tokens(tokens, examples, np.zeros(4, dtype=bool), np.zeros((2, 2)))
    assert (nowhere.sequences == -1).all()


def test_draws_choose_evenly_among_those_there_are() -> None:
    tokens = np.array([[1, 1, 1, 1], [1, 2, 2, 2]])
    examples = places([[1] * 1000], [[0] * 1000])
    draws = np.random.default_rng(0).random((1, 1000))
    found = same_tokens(tokens, examples, np.array([True, False]), draws)
    counts = np.bincount(found.positions.numpy()[0], minlength=4)
    assert counts.min() > 200
