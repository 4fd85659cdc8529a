"""The state of a problem follows from what an archive holds, and from nothing else."""

import re
from collections.abc import Iterator

import pytest

import queries.problems.states as states
from archive.records import Encoding, Quantity, Study
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.problems.catalogue import find_problem, problems
from queries.problems.problem import Need, Problem, Question
from queries.problems.states import ProblemState, QuestionState, problem_states
from queries.registry import all_queries
from tests.queries.problems.conftest import BACKWARDS, FORWARDS, STEPS, digits
from tests.queries.simulated import (
    ACCURACY_HERE,
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    Simulation,
    kept_open,
    measure,
)


def state_of(archive: Archive | None, number: str) -> ProblemState:
    (found,) = problem_states(archive, [find_problem(number)])
    return found


def only(archive: Archive, question: Question, **fields: object) -> tuple[ProblemState, QuestionState]:
    """The state of a problem with just this question."""
    problem = Problem("5.99", "Is it?", "Tests", "Is it?", (question,), "None.", **fields)  # type: ignore[arg-type]
    (found,) = problem_states(archive, [problem])
    return found, found.questions[0]


def test_without_an_archive_nothing_is_answered() -> None:
    found = {one.problem.number: one.state for one in problem_states(None)}

    assert set(found) == set(problems())
    assert set(found.values()) <= {"cells", "checkpoints", "interventions", "later", "exploratory"}
    assert (found["5.1"], found["5.6"], found["5.16"], found["5.19"]) == (
        "cells",
        "interventions",
        "checkpoints",
        "exploratory",
    )


def test_an_empty_archive_is_like_none(simulation: Simulation) -> None:
    archive = simulation.commit()

    assert [one.to_dict() for one in problem_states(archive)] == [
        one.to_dict() for one in problem_states(None)
    ]


def test_one_statement_answers_for_all_problems(addition: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    query = Archive.query
    monkeypatch.setattr(
        Archive, "query", lambda self, sql, *rest: (asked.append(sql), query(self, sql, *rest))[1]
    )
    problem_states(addition)

    assert len(asked) == 1


def test_what_is_there_is_answered_of_the_runs_that_have_it(addition: Archive) -> None:
    found = state_of(addition, "5.1")

    assert (found.state, found.command, found.missing) == ("answered", "pathscope ask 5.1", ())
    assert [run.run for run in found.questions[0].fit.runs] == ["digits/s0", "digits/s1", "digits/s2"]
    assert found.questions[0].fit.place == (FORWARDS.name, "pathscope")


def test_excluded_runs_do_not_count(own_addition: Archive) -> None:
    for k in range(3):
        exclude(own_addition.layout, f"digits/s{k}", "odd")

    assert state_of(own_addition, "5.1").questions[0].missing == (
        "no run here has position_loss on 'digit_addition*most significant first' at 8 checkpoints or more",
    )


def test_too_few_checkpoints_are_missing_cells(simulation: Simulation) -> None:
    digits(simulation, simulation.run("short"), steps=STEPS[:4])
    found = state_of(simulation.commit(), "5.1")

    assert found.state == "cells"
    assert re.match(
        r"1 run lacks position_loss on .* at 8 checkpoints or more \(first: short\); no study",
        found.missing[0],
    )


def planted(simulation: Simulation) -> Archive:
    """Three runs of a study, of which two lack accuracy, and a published one that lacks it too."""
    study = Study(name="mine", toml="name = 'mine'", resolved={}, n_cells_wanted=4)
    simulation.builder = ShardBuilder(kind="measure", study=study)
    for k, run in enumerate(simulation.seeds(3, prefix="mine/s")):
        simulation.curve(run, LOSS_HERE, STEPS, [1.0] * len(STEPS))
        if k == 0:
            simulation.curve(run, ACCURACY_HERE, STEPS, [1.0] * len(STEPS))
    simulation.commit()
    simulation.curve(simulation.run("theirs", family="published"), LOSS_HERE, STEPS, [1.0] * len(STEPS))
    return simulation.commit()


@pytest.fixture(scope="module")
def studied(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_missing_cells_come_with_the_command_that_measures_them(studied: Archive) -> None:
    needs = (Need.of("loss", steps=8), Need.of("accuracy", steps=8, fill="accuracy:variant"))
    found, question = only(studied, Question("loss_curves", "Which?", needs, repeats=2))

    assert (found.state, found.command) == ("cells", "pathscope ingest mine.toml --fill accuracy:variant")
    assert [(lack.n_runs, lack.first, lack.study) for lack in question.lacks] == [
        (2, "mine/s1", "mine"),
        (1, "theirs", ""),
    ]
    assert question.missing == (
        "2 runs lack accuracy at 8 checkpoints or more (first: mine/s1): "
        "`pathscope ingest mine.toml --fill accuracy:variant`",
        "1 run lacks accuracy at 8 checkpoints or more (first: theirs); no study in the archive measured them",
        "of the runs that have what loss_curves needs: 1 run of one condition where 2 or more are needed",
    )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"runs": 5}, "4 runs where 5 or more are needed"),
        ({"repeats": 4}, "3 runs of one condition where 4 or more are needed"),
        ({"conditions": 3}, "2 conditions where 3 or more are needed"),
        ({"same_init": 2}, "no 2 runs share an init"),
        ({"lineage": "pair"}, "no two of them are a run and the one it goes on from"),
    ],
)
def test_too_few_runs_are_said_to_be(studied: Archive, counts: dict[str, object], words: str) -> None:
    question = Question("loss_curves", "Which?", (Need.of("loss"),), **counts)  # type: ignore[arg-type]
    found, one = only(studied, question)

    assert (found.state, one.missing) == (
        "cells",
        (f"of the runs that have what loss_curves needs: {words}",),
    )


def test_a_study_that_asks_for_less_is_to_be_changed_not_filled(studied: Archive) -> None:
    """--fill would find nothing to do: the study has all the cells it wants."""
    needs = (Need.of("loss", steps=len(STEPS) + 1),)
    found, one = only(studied, Question("loss_curves", "Which?", needs), studies=("demo",))

    assert [lack.command for lack in one.lacks] == ["", ""]
    assert "mine.toml asks for it at fewer checkpoints or on other texts" in one.missing[0]
    assert found.command == "pathscope ask 5.99 --write-study 5.99.toml"


def test_a_question_that_is_not_there_is_later_work_until_it_is(
    studied: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = Question("new_one", "Which?", (Need.of("loss"),))
    assert only(studied, question)[0].state == "later"
    known = {**all_queries(), "new_one": all_queries()["loss_curves"]}
    monkeypatch.setattr(states, "all_queries", lambda: known)

    assert only(studied, question)[0].state == "answered"


def test_interventions_are_later_work_until_there_are_such_runs(simulation: Simulation) -> None:
    simulation.curve(simulation.run("plain"), LOSS_HERE, [0], [1.0])
    question = Question("loss_curves", "Which?", (Need.of("loss"),), arms="runs with the circuit cut out")
    before, one = only(simulation.commit(), question)
    assert (before.state, one.missing) == (
        "interventions",
        ("loss_curves needs runs with the circuit cut out, which is later work",),
    )
    simulation.curve(simulation.run("cut", intervention={"cut": ["L0H1"]}), LOSS_HERE, [0], [1.0])

    assert only(simulation.commit(), question)[0].state == "answered"


def test_some_answers_make_it_answered_in_part(studied: Archive) -> None:
    loss, neurons = Need.of("loss"), Need.of("neuron.top")
    both = (Question("loss_curves", "Which?", (loss,)), Question("neuron_change", "Which?", (neurons,)))
    problem = Problem("5.99", "Is it?", "Tests", "Is it?", both, "None.", studies=("demo",))
    (found,) = problem_states(studied, [problem])

    assert (found.state, found.command) == ("part", "pathscope ask 5.99")
    assert found.repair == "pathscope ask 5.99 --write-study 5.99.toml"
    assert found.missing == ("no run here has neuron.top",)


def test_published_checkpoints_are_named_where_nothing_is_there(studied: Archive) -> None:
    question = Question("neuron_change", "Which?", (Need.of("neuron.top"),))
    found, one = only(studied, question, kind="checkpoints", families=("toy_models",), studies=("demo",))

    assert found.state == "checkpoints"
    assert one.missing[1] == "checkpoints of toy_models are on the hub and nowhere else"


@pytest.mark.parametrize(
    ("lineage", "words"),
    [
        ("tuned", "none of them goes on from another run"),
        ("pair", "no two of them are a run and the one it goes on from"),
    ],
)
def test_runs_that_go_on_from_none_leave_the_hub(studied: Archive, lineage: str, words: str) -> None:
    """Their numbers are there and said to be; no filling of cells makes a fine-tuned run of one that is not."""
    question = Question("loss_curves", "Which?", (Need.of("loss", steps=8),), lineage=lineage)  # type: ignore[arg-type]
    found, one = only(studied, question, kind="checkpoints", families=("toy_models",), studies=("demo",))

    assert found.state == "checkpoints"
    assert one.missing[0] == f"of the runs that have what loss_curves needs: {words}"


def test_cells_of_published_runs_that_are_there_can_be_filled(studied: Archive) -> None:
    needs = (Need.of("loss"), Need.of("accuracy"))
    found = only(
        studied, Question("loss_curves", "?", needs, runs=4), kind="checkpoints", families=("published",)
    )[0]

    assert (found.state, found.command) == ("cells", "pathscope ingest mine.toml --fill accuracy")


def test_factors_on_different_texts_are_not_read_together(simulation: Simulation) -> None:
    run = simulation.run("model")
    for name, text in (
        ("head.prefix_matching", "repeated_tokens, 16 × 4"),
        ("head.previous_token", "held-out text"),
    ):
        encoding = Encoding(hash=text, name=text, n_sequences=9, n_tokens=9)
        quantity = Quantity(measure=measure(name, "fact_scalar", scope="split"), encoding=encoding)
        simulation.curve(run, quantity, STEPS, [0.5] * len(STEPS))
    archive = simulation.commit()
    (factors,) = [one for one in state_of(archive, "5.7").questions if one.question.query == "role_history"]

    assert factors.state == "cells"
    assert factors.missing[0].startswith("1 run lacks head.previous_token on 'repeated_tokens*'")


def test_runs_of_others_than_the_problem_names_are_noted(studied: Archive) -> None:
    question = Question("loss_curves", "Which?", (Need.of("loss"),))

    assert only(studied, question, families=("published",))[0].note == ""
    assert (
        only(studied, question, families=("pythia",))[0].note
        == "on runs of published, toy; the problem names pythia"
    )


def test_a_log_counts_as_many_checkpoints(simulation: Simulation) -> None:
    simulation.log(simulation.run("logged"), LOG_LOSS_HERE, [1, 2], {TEST: [2.0, 1.0]})
    archive = simulation.commit()

    assert (
        only(archive, Question("loss_curves", "?", (Need.of("log.loss", steps=1000),)))[0].state == "answered"
    )


def test_eval_sets_are_kept_apart_and_the_larger_group_is_asked(simulation: Simulation) -> None:
    for run in simulation.seeds(2, prefix="back"):
        digits(simulation, run, encoding=BACKWARDS)
    for run in simulation.seeds(3, prefix="forth"):
        digits(simulation, run)
    archive = simulation.commit()
    need = Need.of("position_loss", on="digit_addition*")
    (fit,) = [one.fit for one in only(archive, Question("loss_curves", "?", (need,)))[0].questions]

    assert (fit.place[0], len(fit.runs), fit.others) == (FORWARDS.name, 3, 1)
    assert only(archive, Question("loss_curves", "?", (need,), runs=4))[1].missing == (
        "of the runs that have what loss_curves needs: those that have them are on different eval sets",
    )


def test_a_lineage_is_a_run_and_the_one_it_goes_on_from(simulation: Simulation) -> None:
    simulation.curve(simulation.run("base"), LOSS_HERE, [0], [1.0])
    simulation.curve(simulation.run("tuned", parent_run="base"), LOSS_HERE, [0], [1.0])
    simulation.curve(simulation.run("orphan", parent_run="gone"), LOSS_HERE, [0], [1.0])
    archive = simulation.commit()
    pair = only(archive, Question("loss_curves", "?", (Need.of("loss"),), lineage="pair"))[1]
    tuned = only(archive, Question("loss_curves", "?", (Need.of("loss"),), lineage="tuned"))[1]

    assert pair.fit.pair == ("tuned", "base")
    assert {run.run for run in tuned.fit.runs} == {"orphan", "tuned"}


def test_the_document_names_runs_cells_and_commands(studied: Archive) -> None:
    needs = (Need.of("loss", steps=8), Need.of("accuracy", steps=8))
    document = only(studied, Question("loss_curves", "Which?", needs, repeats=2))[0].to_dict()

    assert document["state_words"] == "needs cells"
    assert document["measures"] == ["loss", "accuracy"]
    assert document["questions"][0]["commands"] == ["pathscope ingest mine.toml --fill accuracy"]
