"""neuron_change: planted overlaps, categories, controls, and which runs have a common numbering."""

from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.neuron_change import neuron_change
from tests.queries.language import NEURON_TOP, cell, neuron_top, plant_texts
from tests.queries.simulated import Simulation, kept_open

Example = tuple[int, int, float]


def ranked(*places: tuple[int, int]) -> list[Example]:
    return [(q, p, 9.0 - k) for k, (q, p) in enumerate(places)]


def planted(simulation: Simulation) -> Archive:
    """Neuron 0 keeps its examples, 1 reverses them, 2 keeps one of three, 3 none, 4 has none at the end."""
    s = simulation
    plant_texts(s)
    s.run("base", init_hash="x")
    s.run("tuned", parent_run="base")
    s.run("other", init_hash="y")
    early = [ranked((0, u), (2, u), (4, u)) for u in range(5)]
    late = [
        early[0],
        ranked((4, 1), (2, 1), (0, 1)),
        ranked((0, 2), (3, 3), (5, 3)),
        ranked((1, 8), (3, 8), (5, 8)),
    ]
    late.append([(-1, -1, float("nan"))] * 3)
    for run in ("base", "tuned", "other"):
        for step, lists in ((0, early), (9, late)):
            for unit, examples in enumerate(lists):
                neuron_top(s, run, step, examples, unit=unit)
    return s.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_each_neuron_has_its_planted_overlap_and_category(archive: Archive) -> None:
    answer = neuron_change(archive, runs="base")
    rows = answer.table.to_pylist()
    (layer,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert [r["shared"] for r in rows] == [3, 3, 1, 0, 0]
    assert [r["category"] for r in rows] == ["kept", "kept", "changed", "replaced", "no examples"]
    assert rows[0]["rank_overlap"] == pytest.approx(1.0)
    assert 0 < rows[1]["rank_overlap"] < rows[0]["rank_overlap"]
    assert rows[2]["overlap"] == pytest.approx(1 / 3)
    assert (rows[4]["overlap"], rows[4]["n_b"]) == (None, 0)
    assert layer["mean_overlap"] == pytest.approx((1 + 1 + 1 / 3 + 0) / 4)
    assert (layer["kept"], layer["no_examples"]) == (0.4, 0.2)
    # of 80 tokens: one in three in common by chance has probability 0.11, two 0.003
    assert layer["above_chance"] == 0.5
    assert layer["other_overlap"] == 0.0
    assert (answer.k, answer.chance) == (3, pytest.approx(3 / 80))
    assert answer.n_items == 5
    assert any("1 of 5 neurons have no example" in line for line in answer.limits)
    assert any("part of what is in common is chance" in line for line in answer.limits)


def test_fewer_examples_may_be_compared(archive: Archive) -> None:
    rows = neuron_change(archive, runs="base", k=1).table.to_pylist()
    assert [r["overlap"] for r in rows] == [1.0, 0.0, 1.0, 0.0, None]


def test_only_runs_with_a_common_numbering_are_compared(simulation: Simulation) -> None:
    archive = planted(simulation)
    assert neuron_change(archive, run_a="base", run_b="tuned").estimate == 1.0
    assert neuron_change(archive, run_a="tuned", run_b="base", step_a=0).n_runs == 2
    for a, b in (("base", "other"), ("tuned", "other")):
        with pytest.raises(NotComparable, match=f"Neurons of {a} and {b} have no common numbering"):
            neuron_change(archive, run_a=a, run_b=b)
    simulation.run("twin", init_hash="x")
    simulation.run("second", parent_run="base")
    for run in ("twin", "second"):
        neuron_top(simulation, run, 9, ranked((0, 0)))
    both = simulation.commit()
    assert neuron_change(both, run_a="base", run_b="twin").table.num_rows == 1
    assert neuron_change(both, run_a="tuned", run_b="second").table.num_rows == 1


def test_neurons_that_only_one_checkpoint_has_are_left_out(simulation: Simulation) -> None:
    simulation.run("a")
    neuron_top(simulation, "a", 0, ranked((0, 0)))
    neuron_top(simulation, "a", 5, ranked((0, 0)), unit=1)
    with pytest.raises(UsageError, match="no neuron is there at both"):
        neuron_change(simulation.commit())


def test_random_lists_share_what_chance_gives(simulation: Simulation) -> None:
    """The null: examples drawn anew; overlap, the control and the share above chance are at their levels."""
    s = simulation
    plant_texts(s)
    rng = np.random.default_rng(0)
    s.run("a", init_seed=0)
    for step in (0, 1):
        owner, q = cell(s, "a", NEURON_TOP, step)
        places = np.stack([rng.permutation(80)[:6] for _ in range(2000)])
        s.builder.add(
            "fact_neuron_top",
            owner,
            q,
            layer=0,
            unit=np.arange(2000),
            sequences=places // 10,
            positions=places % 10,
            values=np.tile(np.arange(6.0)[::-1], (2000, 1)),
        )
    answer = neuron_change(s.commit())
    (layer,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert answer.chance == pytest.approx(6 / 80)
    assert answer.estimate == pytest.approx(answer.chance, abs=0.006)
    assert answer.null_mean == pytest.approx(answer.chance, abs=0.006)
    assert layer["above_chance"] <= 0.013
