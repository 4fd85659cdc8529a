"""neuron: examples with their text, turnover, births, statistics, logit effect; what is missing is said."""

from collections.abc import Iterator

import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.neuron import neuron
from queries.reading.neuron_examples import Tops
from tests.queries.language import neuron_beside, neuron_top, plant_texts
from tests.queries.simulated import Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    """Of three examples one stays from the first checkpoint, one from the second, one is new; one left and came back."""
    plant_texts(simulation)
    simulation.run("a", init_seed=0)
    neuron_top(simulation, "a", 0, [(0, 2, 1.0), (2, 0, 0.5), (4, 1, 0.4)])
    neuron_top(simulation, "a", 10, [(0, 2, 2.0), (6, 9, 1.5), (3, 3, 1.0)])
    neuron_top(simulation, "a", 100, [(6, 9, 4.0), (0, 2, 3.0), (2, 0, 2.0)])
    neuron_top(simulation, "a", 100, [(1, 1, 9.0)], unit=1)
    neuron_beside(simulation, "a", 10, firing_rate=0.5)
    neuron_beside(simulation, "a", 100)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_examples_come_with_their_words_and_documents(archive: Archive) -> None:
    rows = neuron(archive, window=2).table.to_pylist()

    assert [(r["rank"], r["value"], r["document"]) for r in rows] == [
        (1, 4.0, "book 3"),
        (2, 3.0, "book 0"),
        (3, 2.0, "book 1"),
    ]
    # sequence q holds the words 4q + position; windows end at the ends of sequences
    assert (rows[0]["before"], rows[0]["token"], rows[0]["after"]) == (" w31 w32", " w33", "")
    assert (rows[1]["before"], rows[1]["token"], rows[1]["after"]) == (" w0 w1", " w2", " w3 w4")
    assert (rows[2]["tokens"], rows[2]["at"]) == ([" w8", " w9", " w10"], 0)


def test_turnover_and_births(archive: Archive) -> None:
    answer = neuron(archive)
    rows = answer.table.to_pylist()
    history = {r["step"]: r for r in answer.history.to_pylist()}
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert [(r["born_after"], r["born"]) for r in rows] == [(0, 10), (None, 0), (10, 100)]
    assert history[0]["turnover"] is None
    assert history[10]["turnover"] == pytest.approx(2 / 3)
    assert history[100]["turnover"] == pytest.approx(1 / 3)
    assert [history[s]["maximum"] for s in (0, 10, 100)] == [1.0, 2.0, 4.0]
    assert history[10]["firing_rate"] == 0.5
    assert summary["firing_rate"] == 0.25
    assert (summary["median_birth"], summary["latest_birth"]) == (10, 100)
    assert summary["mean_turnover"] == pytest.approx(0.5)
    assert summary["chance_overlap"] == pytest.approx(3 / 80)


def test_an_earlier_checkpoint_knows_no_later_one(archive: Archive) -> None:
    answer = neuron(archive, step=10)

    assert [(r["sequence"], r["born"]) for r in answer.table.to_pylist()] == [(0, 0), (6, 10), (3, 10)]
    assert answer.histogram["step"].to_pylist() == [10]
    with pytest.raises(
        UsageError, match="no run has examples of L0N0 at step 11; the nearest steps are 10, 0, 100"
    ):
        neuron(archive, step=11)


def test_histogram_and_logit_effect_have_words(archive: Archive) -> None:
    answer = neuron(archive)
    effect = [(r["direction"], r["rank"], r["token"], r["value"]) for r in answer.effect.to_pylist()]

    assert answer.histogram.to_pylist()[0]["counts"] == [70, 5, 4, 1]
    assert sorted(effect) == [
        ("lowers", 1, " w1", -0.8),
        ("lowers", 2, " w0", -0.2),
        ("raises", 1, " w7", 0.9),
        ("raises", 2, " w3", 0.4),
    ]


def test_another_neuron_and_one_that_is_not_there(archive: Archive) -> None:
    answer = neuron(archive, unit=1)

    assert answer.table["value"].to_pylist() == [9.0]
    assert answer.history.to_pylist()[-1]["mean"] == -1.0
    assert not answer.effect.num_rows
    with pytest.raises(UsageError, match="no run asked for has examples of L3N0"):
        neuron(archive, layer=3)


def test_without_texts_or_the_rest_examples_are_places(simulation: Simulation) -> None:
    simulation.run("a")
    neuron_top(simulation, "a", 5, [(0, 2, 1.0)])
    answer = neuron(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert (row["sequence"], row["position"], row["token"], row["born"]) == (0, 2, None, 5)
    assert any("without text" in line for line in answer.limits)
    assert any("No neuron.histogram is there" in line for line in answer.limits)
    assert answer.plot().data


def test_equal_and_disjoint_examples_turn_over_not_and_wholly() -> None:
    same = Tops(0, "a", [1, 2], [[(0, 0), (1, 0)]] * 2, [[2.0, 1.0]] * 2)
    other = Tops(0, "a", [1, 2], [[(0, 0)], [(5, 0)]], [[2.0], [1.0]])

    assert same.turnover() == [None, 0.0]
    assert same.births(1) == [(None, 1), (None, 1)]
    assert other.turnover() == [None, 1.0]
    assert other.births(1) == [(1, 2)]
