import pytest

from archive.errors import NotComparable, UsageError
from queries.reading.select import select_runs
from queries.reading.sizes import run_sizes, size_words
from tests.queries.simulated import Simulation


@pytest.fixture
def simulation(simulation: Simulation) -> Simulation:
    simulation.run("pythia-70m", n_params=70_426_624, aliases=("EleutherAI/pythia-70m",))
    for name in ("opt-1.3b", "pythia-160m-0.5MtokBS", "bloom-560m-to-1b", "step3m2", "mine"):
        simulation.run(name)
    return simulation


def test_a_size_is_recorded_or_the_only_one_in_the_name(simulation: Simulation) -> None:
    selected = select_runs(simulation.commit(), "*")
    sizes = run_sizes(selected)
    by_name = {r.run: sizes.get(r.run_id) for r in selected.runs}

    assert by_name == {
        "pythia-70m": 70_426_624.0,
        "opt-1.3b": 1.3e9,
        "pythia-160m-0.5MtokBS": 160e6,
        "bloom-560m-to-1b": None,
        "step3m2": None,
        "mine": None,
    }
    assert sizes.nominal == ("opt-1.3b", "pythia-160m-0.5MtokBS")
    assert sizes.unknown == ("bloom-560m-to-1b", "step3m2", "mine")
    assert "The size of 2 run(s) is the one in the name (first: opt-1.3b)" in sizes.limits[0]
    with pytest.raises(
        NotComparable,
        match=r"the size of 3 runs \(bloom-560m-to-1b, step3m2, mine\) .*--sizes bloom-560m-to-1b=",
    ):
        sizes.refuse_unknown("they are compared")


def test_what_is_told_goes_before_what_is_known(simulation: Simulation) -> None:
    selected = select_runs(simulation.commit(), ["pythia-70m", "mine"])
    sizes = run_sizes(selected, ("mine=1e6", "EleutherAI/pythia-70m=19e6"))

    assert sorted(sizes.of.values()) == [1e6, 19e6]
    assert (sizes.unknown, sizes.limits) == ((), ())
    sizes.refuse_unknown("they are compared")
    for wrong in ("mine", "mine=", "mine=-1", "=5", "mine=many"):
        with pytest.raises(UsageError, match="expected NAME=PARAMETERS"):
            run_sizes(selected, (wrong,))


@pytest.mark.parametrize(
    ("size", "words"), [(70_426_624, "70.4M"), (1.3e9, "1.3B"), (2e3, "2k"), (12.0, "12"), (None, "")]
)
def test_sizes_are_short_for_people(size: float | None, words: str) -> None:
    assert size_words(size) == words
