"""One quantity for all runs asked for, or a refusal that says how to ask."""

from collections.abc import Sequence

import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Quantity
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import select_runs
from tests.queries.simulated import (
    ACC,
    GRID,
    LOG_LOSS_HERE,
    LOSS,
    LOSS_HERE,
    OTHER_GRID,
    PUBLISHED,
    TEST,
    Simulation,
    benchmark_quantity,
    measure,
)

LOSS_2 = Quantity(measure=measure("loss", "fact_scalar", scope="split", version=2), encoding=GRID)
ELSEWHERE = Quantity(measure=LOSS, encoding=OTHER_GRID)
FOLDED = Quantity(measure=LOSS, encoding=GRID, weight_processing="fold_ln")
THEIRS = Quantity(measure=LOSS, encoding=GRID, source=PUBLISHED)


def choose(
    simulation: Simulation, measures: Sequence[str] = ("loss", "log.loss"), runs: str = "*", **which: object
) -> Choice:
    archive = simulation.commit()
    selector: Which = which  # type: ignore[assignment]
    return choose_quantity(
        archive, select_runs(archive, runs), measures, selector, tables=("fact_scalar", "fact_log")
    )


def give(simulation: Simulation, run: str, *quantities: Quantity, steps: Sequence[int] = (0, 10)) -> None:
    simulation.run(run)
    for quantity in quantities:
        if quantity.measure.table == "fact_log":
            simulation.log(run, quantity, steps, {TEST: [1.0] * len(steps)})
        else:
            simulation.curve(run, quantity, steps, [1.0] * len(steps))


def test_the_only_quantity_is_taken(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    choice = choose(simulation)

    assert (choice.quantity.measure, choice.quantity.eval_set, choice.notes, choice.n_odd) == (
        "loss",
        "all pairs",
        (),
        0,
    )


def test_runs_without_the_measure_are_named_not_used(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    simulation.run("b")
    choice = choose(simulation)

    assert [r.run for r in choice.selected.runs] == ["a"]
    assert choice.without == ("b",)


def test_what_was_measured_is_preferred_to_the_log(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, LOG_LOSS_HERE)
    choice = choose(simulation)

    assert choice.quantity.origin == "checkpoint"
    assert "log.loss is in the archive too" in choice.notes[0]


def test_the_log_answers_where_only_it_is_there_for_every_run(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, LOG_LOSS_HERE)
    give(simulation, "b", LOG_LOSS_HERE)

    assert choose(simulation).quantity.measure == "log.loss"


def test_measured_and_logged_values_are_not_mixed(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    give(simulation, "b", LOG_LOSS_HERE)

    with pytest.raises(NotComparable, match=r"loss \(1 runs\), log.loss \(1 runs\).*--fill loss"):
        choose(simulation)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            ELSEWHERE,
            r"differs in eval set.*\n.*eval_set='all pairs': 1 runs \(a\).*\n.*eval_set='half of the pairs'",
        ),
        (
            FOLDED,
            r"differs in weight processing.*\n.*weight_processing='raw'.*\n.*weight_processing='fold_ln'",
        ),
        (THEIRS, r"differs in source.*\n.*source='pathscope'.*\n.*source='published set'"),
        (Quantity(measure=LOSS, encoding=GRID, dtype="float16"), "differs in dtype"),
        (Quantity(measure=LOSS, encoding=GRID, params={"k": 3}), "differs in parameters"),
    ],
    ids=["eval set", "weights", "source", "dtype", "params"],
)
def test_numbers_that_must_not_be_compared_are_refused(
    simulation: Simulation, other: Quantity, words: str
) -> None:
    give(simulation, "a", LOSS_HERE)
    give(simulation, "b", other)

    with pytest.raises(NotComparable, match=words):
        choose(simulation)


def test_two_variants_on_the_same_runs_are_not_guessed_between(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, ELSEWHERE)

    with pytest.raises(NotComparable, match="eval_set="):
        choose(simulation)


def test_the_repair_that_the_refusal_names_works(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, ELSEWHERE)
    give(simulation, "b", ELSEWHERE)

    assert choose(simulation, eval_set="half of the pairs").quantity.eval_set == "half of the pairs"


def test_a_value_measured_here_is_preferred_to_a_published_one_and_says_so(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, THEIRS)
    choice = choose(simulation)

    assert choice.quantity.source == "pathscope"
    assert "published set has published it too" in choice.notes[0]


def test_the_newest_version_answers_when_it_is_complete(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, LOSS_2)
    give(simulation, "b", LOSS_HERE, LOSS_2)
    choice = choose(simulation)

    assert (choice.quantity.version, choice.notes) == (2, ())


def test_an_older_version_answers_while_the_newest_is_not_complete(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, LOSS_2)
    give(simulation, "b", LOSS_HERE, steps=(0, 10, 20))
    simulation.curve("b", LOSS_2, [0], [1.0])
    choice = choose(simulation)

    assert choice.quantity.version == 1
    assert "version 2 is newer but not complete on 1 of 2 runs (first: b)" in choice.notes[0]


def test_no_version_on_all_runs_is_refused(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    give(simulation, "b", LOSS_2)

    with pytest.raises(NotComparable, match=r"no version of loss is complete on all 2 runs.*--fill loss"):
        choose(simulation)


def test_a_version_may_be_asked_for(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, LOSS_2)

    assert choose(simulation, version=1).quantity.version == 1


def test_an_unknown_measure_is_refused_with_the_nearest(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)

    with pytest.raises(UnknownName, match=r"no measure 'los'; did you mean 'loss'\?"):
        choose(simulation, ("los",))


def test_a_variant_that_is_not_there_is_refused_with_what_is(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, ELSEWHERE)

    with pytest.raises(
        UsageError, match=r"eval_set='al pairs'.*the archive has eval_set: all pairs, half of the pairs"
    ):
        choose(simulation, eval_set="al pairs")


def test_parameters_are_asked_for_as_json(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE, Quantity(measure=LOSS, encoding=GRID, params={"k": 3}))

    assert choose(simulation, params='{"k": 3}').quantity.params == {"k": 3}
    with pytest.raises(UsageError, match="params='k=3' is not JSON"):
        choose(simulation, params="k=3")


def test_runs_that_never_had_the_measure_are_refused(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    simulation.run("b")

    with pytest.raises(
        UsageError,
        match=r"none of the 1 runs asked for \(b\) has loss or log.loss.*`pathscope ingest STUDY.toml --fill loss`",
    ):
        choose(simulation, runs="b")


def test_a_measure_of_another_kind_is_refused(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.benchmark("a", benchmark_quantity(ACC, "sciq", 0), 0, 0.5)

    with pytest.raises(
        UsageError, match=r"benchmark\.acc is measured per checkpoint.*Try benchmark_curves\."
    ):
        choose(simulation, ("benchmark.acc",))


def test_odd_checkpoints_are_counted(simulation: Simulation) -> None:
    give(simulation, "a", LOSS_HERE)
    simulation.scalar("a", LOSS_HERE, 20, {TEST: 1.0}, checkpoint={"integrity": "defect"})
    simulation.failed("a", LOSS_HERE, 30)

    assert choose(simulation).n_odd == 2


def test_the_questions_that_refusals_send_people_to_exist() -> None:
    from queries.reading.refusals import READERS
    from queries.registry import all_queries

    assert {name for names in READERS.values() for name in names.split(" and ")} <= set(all_queries())
