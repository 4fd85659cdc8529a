"""Who gave which cell: a second giver is named, whatever the shape of its blocks."""

from collections.abc import Sequence

import numpy as np

from archive.manifest import Owner
from archive.records import Checkpoint, Measure, Quantity, Run, Source
from ingest.importers.base import Block, Subject
from ingest.importers.claims import Claims

SOURCE = Source(name="s")
RUN = Run(name="r")
STEPS = [Checkpoint(run="r", step=step) for step in range(3)]


def quantity(name: str) -> Quantity:
    return Quantity(
        measure=Measure(name=name, scope="none", table="fact_scalar", unit="1", summary="x"), source=SOURCE
    )


A, B, C = (quantity(name) for name in "abc")


def block(subject: Subject | Sequence[Subject], what: Quantity | Sequence[Quantity], n: int) -> Block:
    return Block("fact_scalar", subject, what, {"value": np.arange(n, dtype=float), "n_items": 7})


def test_different_cells_of_one_checkpoint_are_merged() -> None:
    claims = Claims()

    assert claims.claim("one", [block(STEPS[0], [A, B], 2)])[1] == ""
    assert claims.claim("two", [block(STEPS[0], C, 1), block(STEPS[1], [A, B], 2)])[1] == ""


def test_the_second_giver_of_a_cell_keeps_the_rest_of_its_rows() -> None:
    claims = Claims()
    claims.claim("one", [block(STEPS[0], [A, B], 2)])

    (left,), words = claims.claim("two", [block(STEPS[0], [A, C, B], 3)])

    assert words == "2 of its 3 results are given by one already and were left out"
    assert (list(left.subject), list(left.quantity)) == ([STEPS[0]], [C])
    assert (list(left.columns["value"]), left.columns["n_items"]) == ([1.0], 7)


def test_one_quantity_at_many_checkpoints_is_cut_by_row() -> None:
    claims = Claims()
    claims.claim("one", [block(STEPS[1], A, 1)])

    (left,), _ = claims.claim("two", [block(STEPS, A, 3)])

    assert [s.step for s in left.subject] == [0, 2]
    assert list(left.columns["value"]) == [0.0, 2.0]


def test_nothing_is_left_of_a_copy_and_both_givers_are_counted() -> None:
    claims = Claims()
    claims.claim("one", [block(RUN, A, 4)])
    claims.claim("two", [block(STEPS[:1], [B], 1)])

    blocks, words = claims.claim("three", [block(RUN, A, 4), block(STEPS[0], B, 1)])

    assert list(blocks) == []
    assert words == "2 of its 2 results are given by one and 1 more already and were left out"


def test_a_cell_that_was_left_out_is_not_claimed() -> None:
    claims = Claims()
    claims.claim("one", [block(RUN, A, 1)])
    claims.claim("two", [block(RUN, [A], 1)])

    assert claims.claim("three", [block(RUN, A, 1)])[1].startswith(
        "1 of its 1 results are given by one already"
    )


def test_of_an_indivisible_file_all_or_nothing_is_taken() -> None:
    claims = Claims()
    claims.claim("one", [block(RUN, A, 1)])

    blocks, words = claims.claim("two", [block(RUN, A, 1), block(RUN, B, 1)], indivisible=True)

    assert (list(blocks), words) == (
        [],
        "1 of its 2 results are given by one already; nothing of it was taken",
    )
    assert claims.claim("three", [block(RUN, B, 1)])[1] == ""


def test_what_an_archive_holds_counts_and_a_file_does_not_stand_in_its_own_way() -> None:
    claims = Claims()
    claims.load(
        [(Owner("run", ("r",)), A.hash, "stored"), (Owner("checkpoint", ("r", 0, "")), B.hash, "stored")]
    )

    assert claims.claim("stored", [block(RUN, A, 1)])[1] == ""
    assert claims.claim("new", [block(STEPS[0], B, 1)])[1] != ""
    assert claims.claim("new", [block(STEPS[1], B, 1)])[1] == ""


def test_equal_quantities_are_one_whatever_the_object() -> None:
    claims = Claims()
    claims.claim("one", [block(RUN, quantity("a"), 1)])

    assert claims.claim("two", [block(RUN, quantity("a"), 1)])[1] != ""
