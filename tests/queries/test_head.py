"""head: all scores with chance, partners in both directions, profiles and patterns."""

from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.head import head
from queries.render import as_text
from tests.queries.language import LAST_TARGET_HERE, PREFIX_HERE, cell, head_looks, pairs
from tests.queries.simulated import HEADS_HERE, Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    """L1H1 matches prefixes from step 100 on, reads from L0H1 and writes to L2H0; partners are of step 10."""
    simulation.run("a", n_heads=2)
    for step, height in ((0, 0.02), (10, 0.1), (100, 0.9)):
        for quantity in (PREFIX_HERE, LAST_TARGET_HERE, HEADS_HERE):
            scores = np.full((3, 2), 0.02)
            if quantity is not HEADS_HERE:
                scores[1, 1] = height
            cell(simulation, "a", quantity, step)
            simulation.heads("a", step, scores, quantity=quantity, se=0.01, chance=0.02)
    for step in (0, 10):
        z = np.array([[0.0, 1.0], [2.0, 7.0]]) * step / 10
        pairs(simulation, "a", "k", step, z, n_layers=3)
        head_looks(simulation, "a", step, layer=1, head=1)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_scores_are_rows_of_their_own_with_chance(archive: Archive) -> None:
    answer = head(archive, layer=1, head=1)
    rows = answer.table.to_pylist()
    summary = {r["score"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert [r["score"] for r in rows[::3]] == [
        "head.prefix_matching",
        "head.prefix_matching:last_target",
        "head.previous_token",
    ]
    prefix = summary["head.prefix_matching"]
    assert (prefix["first"], prefix["last"], prefix["largest_at"], prefix["n_checkpoints"]) == (
        0.02,
        0.9,
        100,
        3,
    )
    assert (prefix["chance"], prefix["last_z"]) == (0.02, pytest.approx(88))
    assert summary["head.previous_token"]["last_z"] == pytest.approx(0)
    assert "furthest above chance is head.prefix_matching" in answer.sentence


def test_partners_read_from_and_written_to(archive: Archive) -> None:
    answer = head(archive, layer=1, head=1)
    rows = [(r["mode"], r["direction"], r["partner"], r["step"], r["z"]) for r in answer.partners.to_pylist()]

    # column 1 of the matrix from layer 0, row 1 of that to layer 2
    assert rows == [
        ("k", "reads from", "L0H1", 10, 7.0),
        ("k", "reads from", "L0H0", 10, 1.0),
        ("k", "writes to", "L2H1", 10, 7.0),
        ("k", "writes to", "L2H0", 10, 2.0),
    ]
    assert head(archive, layer=1, head=1, top=1).partners.num_rows == 2
    assert {r["step"] for r in head(archive, layer=1, head=1, step=9).partners.to_pylist()} == {0}
    assert {r["direction"] for r in head(archive, layer=0, head=0).partners.to_pylist()} == {"writes to"}


def test_profiles_and_patterns_are_those_of_the_head(archive: Archive) -> None:
    answer = head(archive, layer=1, head=1)
    (profile,), (pattern,) = answer.profiles.to_pylist(), answer.patterns.to_pylist()

    assert (profile["profile"], profile["step"], profile["values"]) == ("distance", 10, [0.2, 0.8])
    assert profile["labels"] == ["0", "1"]
    assert (pattern["item"], pattern["n_query"], pattern["n_key"]) == (3, 2, 2)
    assert pattern["values"] == [1.0, 0.0, 0.5, 0.5]
    assert not head(archive, layer=0, head=0).profiles.num_rows


def test_an_eval_set_narrows_the_scores_but_not_what_needs_none(archive: Archive) -> None:
    answer = head(archive, layer=1, head=1, eval_set="repeated")

    assert set(answer.table["eval_set"].to_pylist()) == {"repeated"}
    assert answer.partners.num_rows == 4


def test_a_head_that_is_not_there_is_refused(archive: Archive) -> None:
    with pytest.raises(UsageError, match="no run asked for has a score of L7H0"):
        head(archive, layer=7)
    with pytest.raises(UsageError, match="nobody"):
        head(archive, source="nobody")


def test_what_people_need_first_fits_a_narrow_terminal(archive: Archive) -> None:
    rows, summary = head(archive, layer=1, head=1).table, head(archive, layer=1, head=1).summary
    assert rows.column_names[:5] == ["run", "score", "step", "value", "chance"]
    assert summary is not None
    assert summary.column_names[:4] == ["run", "score", "last", "chance"]
    lines = as_text(head(archive, layer=1, head=1), width=80).splitlines()
    assert any({"score", "step", "value"} <= set(line.split()) for line in lines)
