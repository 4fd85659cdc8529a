"""Judging one run's checkpoints: what is suspected, why, and that judging again adds nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archive.records import Integrity
from archive.upkeep.chain import FIX, Judgement, Link, judge

N = 30


def way(n: int = N, seed: int = 0) -> np.ndarray:
    """A walk of which every point is far from 0."""
    return 5 + np.cumsum(np.random.default_rng(seed).normal(size=(n, 200)), 0)


def chain(vectors: np.ndarray | Sequence[np.ndarray | None]) -> list[Link]:
    """A run without faults; None: no sketch."""
    return [
        Link(step=10 * k, weights_hash=f"{k:08d}…" if vector is None else named(vector), sketch=vector)
        for k, vector in enumerate(vectors)
    ]


def named(vector: np.ndarray) -> str:
    return str(hash(vector.tobytes()))


def found(judgement: Judgement) -> dict[int, tuple[Integrity, str]]:
    return {s.place: (s.integrity, s.note) for s in judgement.suspicions}


def recorded(links: Iterable[Link], judgement: Judgement) -> list[Link]:
    """The chain with what was found written down."""
    links = list(links)
    for s in judgement.suspicions:
        links[s.place] = replace(links[s.place], integrity=s.integrity, note=s.note)
    return links


def test_a_run_without_faults_has_no_findings() -> None:
    judgement = judge(chain(way()))
    assert judgement.suspicions == ()
    assert judgement.remarks == ()


def test_distances_are_relative_to_the_length_of_the_weights() -> None:
    links = chain([np.array([3.0, 4.0]), None, np.array([3.0, 9.0])])
    judgement = judge(links)
    np.testing.assert_allclose(judgement.to_next, [5 / 5, np.nan, np.nan])
    np.testing.assert_allclose(judgement.to_previous, [np.nan, np.nan, 5 / np.sqrt(90)])


def test_of_equal_weights_the_ones_far_from_their_neighbours_are_duplicates() -> None:
    vectors = way()
    vectors[20] = vectors[7]
    assert found(judge(chain(vectors))) == {
        20: ("duplicate", f"has the weights (SHA-256 {named(vectors[7])[:8]}) of step 70")
    }
    vectors = way()
    vectors[7] = vectors[20]
    assert list(found(judge(chain(vectors)))) == [7]


def test_of_three_equal_ones_one_stays() -> None:
    vectors = way()
    vectors[3] = vectors[25] = vectors[14]
    judgement = found(judge(chain(vectors)))
    assert list(judgement) == [3, 25]
    assert judgement[3][1].endswith("of step 140, step 250")


@pytest.mark.parametrize("places", [(12, 13), (28, 29)])
def test_between_equal_neighbours_nobody_can_choose_so_both_leave(places: tuple[int, int]) -> None:
    vectors = way()
    vectors[places[1]] = vectors[places[0]]
    judgement = found(judge(chain(vectors)))
    assert list(judgement) == list(places)
    assert all(note.endswith("which of them is right cannot be told") for _, note in judgement.values())


def test_step_0_keeps_its_weights_when_the_first_update_left_them() -> None:
    vectors = way()
    vectors[1] = vectors[0]
    assert list(found(judge(chain(vectors)))) == [1]


def test_what_is_known_to_have_the_weights_of_another_step_is_not_accused_of_it() -> None:
    vectors = way()
    vectors[1] = vectors[0]
    known = "the weights of step 0: the learning rate of the first update was 0"
    links = chain(vectors)
    links[1] = replace(links[1], note=known)
    assert found(judge(links)) == {}
    # nor without sketches, where the hashes are equal
    assert judge([replace(link, sketch=None) for link in links]).suspicions == ()
    # a third one with these weights is nobody's remark, and the remark is of no other step
    vectors[20] = vectors[0]
    links = chain(vectors)
    links[1] = replace(links[1], note=known)
    assert list(found(judge(links))) == [20]
    vectors = way()
    vectors[1] = vectors[12]
    links = chain(vectors)
    links[1] = replace(links[1], note=known)
    assert list(found(judge(links))) == [1]


def test_equal_hashes_are_duplicates_without_any_sketch() -> None:
    links = chain([None] * 5)
    links[3] = replace(links[3], weights_hash=links[2].weights_hash)
    judgement = judge(links)
    assert list(found(judgement)) == [2, 3]
    assert len(judgement.remarks) == 1
    assert FIX in judgement.remarks[0]


def test_the_same_weights_in_another_precision_are_found_by_their_distance() -> None:
    vectors = way()
    vectors[20] = vectors[7].astype(np.float16)
    assert found(judge(chain(vectors))) == {20: ("duplicate", "has the weights of step 70 but for rounding")}


def test_unknown_hashes_are_not_equal() -> None:
    links = [replace(link, weights_hash="") for link in chain([None] * 12)]
    assert judge(links).suspicions == ()


def test_a_step_that_hardly_moves_is_no_duplicate() -> None:
    vectors = way()
    vectors[29] = vectors[28] * (1 + 1e-5)  # the learning rate has come down to nothing
    vectors[1] = vectors[0] * (1 + 1e-5)  # or has not come up yet
    assert judge(chain(vectors)).suspicions == ()


def test_an_exchange_and_a_duplicate_in_one_run() -> None:
    vectors = way()
    vectors[[5, 22]] = vectors[[22, 5]]
    vectors[15] = vectors[9]
    judgement = found(judge(chain(vectors)))
    assert judgement.keys() == {5, 15, 22}
    assert judgement[5] == ("out_of_order", "looks exchanged with step 220")
    assert judgement[22] == ("out_of_order", "looks exchanged with step 50")


def test_absent_and_unreadable_ones_say_why() -> None:
    links = chain(way())
    links[4] = replace(links[4], sketch=None, weights_hash="", absent="no revision step40")
    links[6] = replace(links[6], sketch=None, weights_hash="", unreadable="CheckpointDamaged: cut off")
    assert found(judge(links)) == {
        4: ("absent", "no revision step40"),
        6: ("defect", "CheckpointDamaged: cut off"),
    }


def test_what_is_known_already_is_not_found_again_and_judges_nobody() -> None:
    vectors = way()
    vectors[20] = vectors[7]
    links = chain(vectors)
    links[20] = replace(links[20], integrity="defect", note="known")
    assert judge(links).suspicions == ()


def test_accepted_checkpoints_are_never_suspected_nor_is_their_partner() -> None:
    vectors = way()
    vectors[[5, 22]] = vectors[[22, 5]]
    vectors[15] = vectors[9]
    vectors[28] = vectors[27]
    links = chain(vectors)
    for k in (5, 15, 27, 28):
        links[k] = replace(links[k], accepted=True)
    assert judge(links).suspicions == ()


def test_a_run_too_short_to_judge_says_so() -> None:
    judgement = judge(chain(way(6)))
    assert judgement.suspicions == ()
    assert "order is not judged: 6 checkpoint(s)" in judgement.remarks[0]


def test_no_checkpoints_and_no_numbers() -> None:
    assert judge([]).suspicions == ()
    judgement = judge(chain([np.zeros(3), np.zeros(3)]))
    assert list(found(judgement)) == [1]
    assert np.isnan(judgement.to_next).all()


@example([(2, 10, False), (0, 2, False), (1, 4, True)])  # the exchange shows once the copy at 10 is gone
@given(st.lists(st.tuples(st.integers(0, N - 1), st.integers(0, N - 1), st.booleans()), max_size=4))
def test_judging_again_adds_nothing(faults: list[tuple[int, int, bool]]) -> None:
    vectors = way()
    for a, b, exchange in faults:
        vectors[[a, b]] = vectors[[b, a]] if exchange else vectors[[a, a]]
    links = chain(vectors)
    first = judge(links)
    assert judge(recorded(links, first)).suspicions == ()
