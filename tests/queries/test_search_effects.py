"""search_effects: neurons that list a token are found with what they do to it; what is mixed or missing is said."""

from collections.abc import Iterator

import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Part, Quantity
from archive.store import Archive
from queries.search_effects import search_effects
from tests.queries.language import (
    LOGIT_EFFECT,
    NEURON_TOP,
    OTHER_TEXT,
    OTHER_WORDS,
    cell,
    neuron_top,
    plant_texts,
)
from tests.queries.simulated import LOSS_HERE, Simulation, kept_open

Lists = dict[
    int, tuple[list[float], list[float]]
]  # unit -> token ids it raises, and lowers, the furthest first


def effects(s: Simulation, run: str, step: int, lists: Lists) -> None:
    owner, q = cell(s, run, LOGIT_EFFECT, step)
    for unit, (top, bottom) in lists.items():
        for side, ids, sign in (("top", top, 1.0), ("bottom", bottom, -1.0)):
            values = [sign * (1.0 - 0.25 * k) for k in range(len(ids))]
            for what, row in (("tokens", ids), ("values", values)):
                part = s.builder.part(Part(kind="logit effect", name=f"{side}_{what}"))
                s.builder.add("fact_vector", owner, q, part=part, layer=1, unit=unit, values=[row])


def planted(simulation: Simulation) -> Archive:
    """Of three neurons one raises w7 most, one comes to lower it, one has nothing to do with it."""
    plant_texts(simulation)
    run = simulation.run("a", init_seed=0)
    neuron_top(simulation, run, 100, [(0, 2, 1.0)])
    effects(simulation, run, 10, {0: ([7, 3], [1, 0]), 1: ([5, 4], [2, 1]), 2: ([9, 8], [6, 5])})
    effects(simulation, run, 100, {0: ([3, 7], [1, 0]), 1: ([5, 4], [7, 1]), 2: ([9, 8], [6, 5])})
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_neurons_that_list_it_are_found_strongest_first(archive: Archive) -> None:
    rows = search_effects(archive, text="w7").table.to_pylist()
    assert [(r["neuron"], r["direction"], r["rank"], r["value"]) for r in rows] == [
        ("L1N1", "lowers", 1, -1.0),
        ("L1N0", "raises", 2, 0.75),
    ]
    assert {r["token"] for r in rows} == {" w7"}
    early = search_effects(archive, text="w7", step=10)
    assert [(r["neuron"], r["value"]) for r in early.table.to_pylist()] == [("L1N0", 1.0)]
    only = search_effects(archive, text="w7", direction="lowers")
    assert [r["neuron"] for r in only.table.to_pylist()] == ["L1N1"]


def test_counts_over_training_and_what_random_lists_would_give(archive: Archive) -> None:
    answer = search_effects(archive, text="w7")
    counts = {(r["step"], r["direction"]): r["n_listing"] for r in answer.history.to_pylist()}
    assert counts == {(10, "raises"): 1, (10, "lowers"): 0, (100, "raises"): 1, (100, "lowers"): 1}
    # 3 neurons that list 2 of 40 tokens each
    assert [r["expected"] for r in answer.summary.to_pylist()] == [pytest.approx(0.15)] * 2  # type: ignore[union-attr]
    assert "1 of 3 neurons raises it most" in answer.sentence


def test_a_text_that_is_no_token_is_said_and_nothing_is_found(archive: Archive) -> None:
    answer = search_effects(archive, text="w7 w8")
    assert answer.table.num_rows == 0
    assert "no token of the vocabulary" in answer.sentence
    assert search_effects(archive).text in (" w1", " w3", " w4", " w5")


def test_bad_questions_are_refused(simulation: Simulation) -> None:
    archive = planted(simulation)
    with pytest.raises(UsageError, match="nearest steps are 10, 100"):
        search_effects(archive, text="w7", step=20)
    with pytest.raises(UsageError, match="at most 200"):
        search_effects(archive, text="x" * 9999)
    other = simulation.run("elsewhere")
    effects(simulation, other, 10, {0: ([7], [1])})
    owner, q = cell(simulation, other, Quantity(**{**NEURON_TOP.model_dump(), "encoding": OTHER_TEXT}), 10)
    simulation.builder.add(
        "fact_neuron_top", owner, q, layer=0, unit=0, sequences=[[0]], positions=[[0]], values=[[1.0]]
    )
    archive = simulation.commit()
    with pytest.raises(UsageError, match="does not know what the token ids"):
        search_effects(archive, text="w7", runs="elsewhere")
    simulation.builder.add(
        "content_vocab",
        simulation.builder.tokenizer(OTHER_WORDS),
        token_id=[7],
        text=["seven"],
        special=False,
    )
    simulation.run("more")
    with pytest.raises(NotComparable, match="2 tokenizers"):
        search_effects(simulation.commit(), text="w7")


def test_without_effects_the_command_is_named(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, [1, 2], [2.0, 1.0])
    with pytest.raises(UsageError, match=r"neuron\.logit_effect"):
        search_effects(simulation.commit())
