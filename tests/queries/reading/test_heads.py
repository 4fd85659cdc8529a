"""head_scores and head_score_history."""

from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.head_score_history import head_score_history
from queries.head_scores import head_scores
from queries.reading.heads import parse_head
from tests.queries.simulated import HEADS_HERE, LOSS_HERE, Simulation, kept_open

STEPS = [0, 10, 100]


def planted(simulation: Simulation) -> Archive:
    """Two runs of 2 × 3 heads; in run k the head L1H{k} rises to 0.8 + k/10."""
    for k, run in enumerate(simulation.seeds(2)):
        for step, height in zip(STEPS, (0.1, 0.4, 0.8 + k / 10), strict=True):
            scores = np.full((2, 3), 0.1)
            scores[1, k] = height
            simulation.heads(run, step, scores, se=0.05, chance=0.1, n_items=64)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_heads_come_best_first_with_their_distance_from_chance(archive: Archive) -> None:
    answer = head_scores(archive)
    first = answer.table.slice(0, 1).to_pylist()[0]

    assert (first["run"], first["name"], first["step"]) == ("s0", "L1H0", 100)
    assert first["z"] == pytest.approx((0.8 - 0.1) / 0.05)
    assert answer.table.num_rows == 12
    assert answer.n_items == 64


def test_best_heads_are_averaged_not_head_numbers(archive: Archive) -> None:
    answer = head_scores(archive)

    assert answer.summary is not None
    assert answer.summary["best"].to_pylist() == ["L1H0", "L1H1"]
    assert answer.estimate == pytest.approx(0.85)
    assert answer.summary["median_value"].to_pylist() == pytest.approx([0.1, 0.1])
    assert any("a head number names a different head in each" in line for line in answer.limits)


def test_an_earlier_step(archive: Archive) -> None:
    assert head_scores(archive, step=10).estimate == pytest.approx(0.4)


def test_a_score_that_is_not_a_number_is_not_the_best(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.heads("a", 0, np.array([[np.nan, 0.2, 0.3]]))
    archive = simulation.commit()

    assert head_scores(archive).table["name"].to_pylist() == ["L0H2", "L0H1", "L0H0"]
    history = head_score_history(archive, top=1)
    assert history.table["name"].to_pylist() == ["L0H2"]


def test_a_run_without_a_finite_score_has_no_best_head(simulation: Simulation) -> None:
    for run, scores in zip(simulation.seeds(2), ([np.nan, np.nan], [0.2, 0.4]), strict=True):
        simulation.heads(run, 0, np.array([scores]))
    answer = head_scores(simulation.commit())

    assert answer.estimate == pytest.approx(0.4)
    assert answer.n_runs == 1
    assert any(
        "1 run(s) have no finite value and are not in the answer (first: s0)" in line
        for line in answer.limits
    )


def test_histories_of_the_top_heads_of_each_run(archive: Archive) -> None:
    answer = head_score_history(archive, top=1)
    rows = answer.table.to_pylist()

    assert [(r["run"], r["name"], r["step"], r["value"]) for r in rows] == [
        ("s0", "L1H0", 0, 0.1),
        ("s0", "L1H0", 10, 0.4),
        ("s0", "L1H0", 100, 0.8),
        ("s1", "L1H1", 0, 0.1),
        ("s1", "L1H1", 10, 0.4),
        ("s1", "L1H1", 100, 0.9),
    ]
    assert any("Heads were chosen by their final score" in line for line in answer.limits)


def test_histories_of_named_heads(archive: Archive) -> None:
    answer = head_score_history(archive, heads=["L1H0", "0.2"])
    (last,) = [r for r in answer.summary.to_pylist() if (r["run"], r["name"]) == ("s0", "L1H0")]  # type: ignore[union-attr]

    assert answer.table.num_rows == 12
    assert (last["first"], last["last"], last["largest"], last["largest_at"]) == (0.1, 0.8, 0.8, 100)
    assert not any("chosen" in line for line in answer.limits)


def test_top_by_peak_is_not_top_by_final_score(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.heads("a", 0, np.array([[0.9, 0.1]]))
    simulation.heads("a", 1, np.array([[0.1, 0.2]]))
    archive = simulation.commit()

    assert set(head_score_history(archive, top=1).table["name"].to_pylist()) == {"L0H1"}
    assert set(head_score_history(archive, top=1, chosen_by="max").table["name"].to_pylist()) == {"L0H0"}


def test_runs_with_one_init_may_be_read_head_by_head(simulation: Simulation) -> None:
    for run in simulation.seeds(2, init_hash="same"):
        simulation.heads(run, 0, np.array([[0.5, 0.1]]))

    assert not any("head number" in line for line in head_scores(simulation.commit()).limits)


@pytest.mark.parametrize(("name", "expected"), [("L2H3", (2, 3)), ("l2h3", (2, 3)), ("10.11", (10, 11))])
def test_heads_are_read_as_people_write_them(name: str, expected: tuple[int, int]) -> None:
    assert parse_head(name) == expected


def test_a_head_that_is_none_is_refused(archive: Archive) -> None:
    with pytest.raises(UsageError, match="'head three' is not a head"):
        head_score_history(archive, heads=["head three"])
    with pytest.raises(UsageError, match=r"no run has head.previous_token of L9H9"):
        head_score_history(archive, heads=["L9H9"])


def test_a_suspect_checkpoint_is_left_out_of_histories(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.heads("a", 0, np.array([[0.5, 0.1]]))
    simulation._cell("a", HEADS_HERE, 5, {"integrity": "defect"})
    simulation.builder.add("fact_head", 2, 0, layer=0, head=0, value=99.0)
    archive = simulation.commit()
    answer = head_score_history(archive, heads=["L0H0"])

    assert answer.table["value"].to_pylist() == [0.5]
    assert answer.provenance.left_out[0]["step"] == 5


def test_a_measure_that_is_not_per_head_is_refused(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", LOSS_HERE, [0], [1])

    with pytest.raises(UsageError, match="fact_head"):
        head_scores(simulation.commit(), measure="loss")
