"""Asking a problem asks its questions of the runs that can answer them, and says what is missing of the others."""

import numpy as np
import pytest

import pathscope
from archive.errors import UnknownName, UsageError
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.hypotheses import add_hypothesis
from queries.problems.asking import NOT_REGISTERED, Asked, ask
from queries.problems.coverage import read_coverage
from queries.problems.fitting import run_terms
from tests.queries.language import losses
from tests.queries.problems.conftest import BACKWARDS, FORWARDS, STEPS, digits
from tests.queries.simulated import LOSS_HERE, Simulation


def digit_order(asked: Asked) -> list[str]:
    """The positions by the median time, as the first answer has them."""
    rows = asked.answers[0].summary.to_pylist()
    return [row["label"] for row in sorted(rows, key=lambda row: row["mean_rank"])]


def test_a_planted_order_is_found_among_other_runs(addition: Archive) -> None:
    asked = ask(addition, "5.1")

    assert digit_order(asked) == ["carry", "hundreds", "tens", "units"]
    assert [part.letter for part in asked.parts] == ["a", "b"]
    assert {answer.n_runs for answer in asked.answers} == {3}
    assert asked.answers[0].parameters == {"runs": "family:toy"}


def test_the_python_line_of_a_part_repeats_it(addition: Archive) -> None:
    asked = ask(addition, "5.1")
    again = eval(asked.answers[0].python, {"pathscope": pathscope})

    assert again.sentence == asked.answers[0].sentence
    assert addition.query(asked.answers[0].sql).num_rows


def test_parameters_go_to_the_questions_that_have_them(addition: Archive) -> None:
    asked = ask(addition, "5.1", level=1.5, draws=99)
    first, second = asked.answers

    assert first.parameters["level"] == 1.5
    assert second.parameters["draws"] == 99
    assert "draws" not in first.parameters


def test_one_question_can_be_asked_alone(addition: Archive) -> None:
    asked = ask(addition, "5.1", letters="a")

    assert [part.letter for part in asked.parts] == ["a"]
    assert asked.answers[0].sentence == ask(addition, "5.1").answers[0].sentence
    assert not ask(addition, "5.1", letters="z").parts


def test_runs_that_are_named_are_asked_whatever_else_is_there(addition: Archive) -> None:
    asked = ask(addition, "5.1", runs=["digits/s0", "digits/s1"])
    assert asked.answers[0].n_runs == 2

    refused = ask(addition, "5.1", runs="sums/*")
    assert not refused.answers
    assert all(isinstance(error, UsageError) for error in refused.errors)
    assert "position_loss" in refused.parts[0].why_not


def test_what_cannot_be_asked_says_what_is_missing(addition: Archive) -> None:
    asked = ask(addition, "5.2")
    first, second = asked.parts[0], asked.parts[1]

    assert first.answer is not None
    assert second.answer is None
    assert second.why_not.startswith(
        "no run here has position_loss on 'digit_addition*, least significant first'"
    )
    text = str(asked)
    assert "No answer: intervention_effect needs" in text
    assert "Next: `pathscope ask 5.2 --write-study 5.2.toml`" in text


def test_of_several_eval_sets_the_question_is_told_which(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        digits(simulation, run)
        digits(simulation, run, encoding=BACKWARDS)
    asked = ask(simulation.commit(), "5.2")

    assert [part.answer is not None for part in asked.parts] == [True, True, False, False]
    assert asked.answers[1].parameters["eval_set"] == BACKWARDS.name


def test_runs_on_another_eval_set_are_not_asked_without_a_word(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        digits(simulation, run)
    fewer = FORWARDS.model_copy(update={"hash": "fewer", "name": FORWARDS.name.replace("512", "64")})
    others = simulation.seeds(3, prefix="fewer")
    for run in others:
        digits(simulation, run, encoding=fewer)
    archive = simulation.commit()

    (answer,) = ask(archive, "5.1", letters="a").answers
    assert answer.n_runs == 3
    assert answer.limits[0] == (
        f"Asked of 3 runs measured on {FORWARDS.name} by pathscope; 1 other choice of runs, eval set or source could "
        "answer too and is not in it: name runs (`--runs`) to ask of them."
    )
    (named,) = ask(archive, "5.1", letters="a", runs=list(others)).answers
    assert set(named.provenance.runs) == set(others)
    assert not any(line.startswith("Asked of") for line in named.limits)


def test_a_lineage_is_asked_as_a_pair(simulation: Simulation) -> None:
    for name, fields in (("base", {}), ("tuned", {"parent_run": "base"})):
        run = simulation.run(name, **fields)
        losses(simulation, run, 100, np.full((4, 8), 2.0 if name == "base" else 1.0))
    asked = ask(simulation.commit(), "5.16")

    assert asked.state.state == "answered"
    (answer,) = asked.answers
    assert (answer.parameters["run_a"], answer.parameters["run_b"]) == ("base", "tuned")
    assert answer.estimate == pytest.approx(-1)


def test_an_exploratory_problem_has_no_parts_and_no_p_values(addition: Archive) -> None:
    asked = ask(addition, "5.19")

    assert (asked.parts, asked.state.state) == ((), "exploratory")
    assert "Nothing here is tested" in str(asked)


def test_unknown_names_are_refused_before_anything_is_asked(addition: Archive) -> None:
    with pytest.raises(UnknownName, match=r"no open problem '5.99'"):
        ask(addition, "5.99")
    with pytest.raises(UnknownName, match=r"parameter of problem 5.1 'levle'; did you mean 'level'"):
        ask(addition, "5.1", levle=1)
    with pytest.raises(UnknownName, match="no hypothesis 'h'"):
        ask(addition, "5.1", hypothesis="h")


def test_a_hypothesis_brings_its_runs_and_its_level(own_addition: Archive) -> None:
    add_hypothesis(
        own_addition.layout,
        "h",
        statement="s",
        primary_measure="position_loss",
        alpha=0.1,
        runs=["digits/s0", "digits/s2"],
    )
    asked = ask(own_addition, "5.1", hypothesis="h")

    assert asked.answers[0].provenance.runs == ("digits/s0", "digits/s2")
    assert asked.answers[0].parameters["confidence"] == pytest.approx(0.9)


def test_every_answer_says_whether_it_was_registered(addition: Archive) -> None:
    asked = ask(addition, "5.1")

    assert asked.answers[0].provenance.registered == (NOT_REGISTERED,)
    assert str(asked).count(NOT_REGISTERED) == 2


def test_the_document_and_the_page_hold_every_part(addition: Archive) -> None:
    asked = ask(addition, "5.2")
    document = asked.to_dict()

    assert document["answered"] is True
    assert [(part["part"], part["answer"] is None) for part in document["parts"]] == [
        ("a", False),
        ("b", True),
        ("c", True),
        ("d", True),
    ]
    assert "No answer" not in asked._repr_html_()
    assert "intervention_effect needs" in asked._repr_html_()


def test_runs_are_named_in_the_fewest_words_that_mean_them(simulation: Simulation) -> None:
    for name, family, condition in (
        ("a/0", "f", "c"), ("a/1", "f", "c"), ("b/0", "f", "d"), ("b/1", "f", "d"), ("x", "g", "c"), ("e/p/0", "h", "e"),
        ("e/p/1", "h", "e"), ("e/q/0", "h", "d"), ("e/q/r/0", "h", "i"),
    ):  # fmt: skip
        simulation.curve(
            simulation.run(name, family=family, condition=condition), LOSS_HERE, STEPS[:1], [1.0]
        )
    archive = simulation.commit()
    everyone = read_coverage(archive, ["loss"])
    by_name = {run.run: run for run in everyone}

    def terms(*names: str) -> list[str]:
        return run_terms([by_name[name] for name in names], everyone)

    assert terms(*by_name) == []
    assert terms("e/p/0", "e/p/1") == ["e/p/*"]
    assert terms("e/q/0") == ["e/q/0"]  # e/q/* would mean e/q/r/0 too
    assert terms("a/0", "a/1", "b/0", "b/1") == ["family:f"]
    assert terms("a/0", "a/1") == ["a/*"]
    assert terms("a/0", "a/1", "x") == ["condition:c"]
    assert terms("a/0", "b/1") == ["a/0", "b/1"]


def test_python_has_the_catalogue_and_the_question(addition: Archive) -> None:
    assert pathscope.problems()["5.1"].group == "Algorithmic tasks"
    assert pathscope.ask(addition, "5.1").answers


def test_a_layout_without_an_archive_is_refused(tmp_path: object) -> None:
    with pytest.raises(UsageError):
        ask(Archive(Layout.of(f"{tmp_path}/no.duckdb").database), "5.1")


def test_a_hypothesis_about_absent_runs_is_not_answered_here(own_addition: Archive) -> None:
    add_hypothesis(
        own_addition.layout,
        "absent",
        statement="s",
        primary_measure="position_loss",
        alpha=0.1,
        runs=["not/there"],
    )
    asked = ask(own_addition, "5.1", hypothesis="absent")

    assert asked.answers == ()
    assert "answered here" not in str(asked)
    assert "State: no answer of the runs asked about." in str(asked)
