"""Every open problem has an entry, and an entry names only what there is, or what is later work by name."""

import re
from functools import cache
from pathlib import Path

import pytest

from archive.errors import UnknownName, UsageError
from ingest.comparison import COMPARISONS
from ingest.family import FAMILIES
from ingest.measure import MEASURES
from ingest.studies.files import parse_study
from ingest.studies.parts import AnyStudy
from ingest.studies.training import Study
from queries.problems.catalogue import find_problem, problems
from queries.problems.problem import BASE, EVAL_SET, JUDGED, TUNED, Problem, Question
from queries.problems.studies import choose_study, study_file, study_text
from queries.registry import all_queries
from queries.stats.smooth_null import FEWEST_POINTS

# the numbers of part 5 of "200 concrete open problems", with the sub-questions that have an answer of their own
PARTS = (
    "5.3a", "5.3b", "5.7a", "5.9a", "5.13a", "5.17a", "5.17b", "5.18a", "5.23a", "5.23b", "5.31a", "5.32a", "5.32b",
    "5.36a", "5.36b", "H-ft", "P0",
)  # fmt: skip
NUMBERS = {*(f"5.{n}" for n in range(1, 38) if n != 36), *PARTS}
# questions that no release answers yet; one that is registered is no longer in here
LATER = {
    "intervention_effect", "predict_onset_from_components", "factor_growth", "fit_toy_model", "role_survival",
    "patch_between_checkpoints", "superposition_probe", "token_loss_trajectory",
    "embed_trajectory", "rebasin_barrier", "rebasin_circuit_map",
}  # fmt: skip

ASKED = [
    pytest.param(problem, question, id=f"{problem.number}-{k}-{question.query}")
    for problem in problems().values()
    for k, question in enumerate(problem.questions)
]
STUDIES = sorted({name for problem in problems().values() for name in problem.studies})


def test_every_number_has_an_entry_in_order() -> None:
    numbers = list(problems())

    assert set(numbers) == NUMBERS
    assert numbers[:6] == ["5.1", "5.2", "5.3", "5.3a", "5.3b", "5.4"]
    assert numbers[-2:] == ["H-ft", "P0"]


@pytest.mark.parametrize("problem", problems().values(), ids=problems().keys())
def test_an_entry_says_what_people_need(problem: Problem) -> None:
    assert problem.title.endswith("?")
    assert 1 <= len(re.findall(r"[.?!:](?=\s|$)", problem.statement)) <= 4
    assert problem.limit
    assert bool(problem.questions) != (problem.kind == "exploratory")
    assert set(problem.families) <= set(FAMILIES.entries())
    # what has only later work to answer it needs no study; all else says where its numbers come from
    waits = all(question.query not in all_queries() for question in problem.questions)
    assert waits or problem.studies or problem.imports


@pytest.mark.parametrize(("problem", "question"), ASKED)
def test_a_question_is_registered_or_later_work(problem: Problem, question: Question) -> None:
    known = all_queries()
    assert question.query in known or question.query in LATER
    if question.query not in known:
        return
    placed = {
        name: "x" if value in (BASE, TUNED, EVAL_SET) else value
        for name, value in question.parameters.items()
    }
    known[question.query].parameters(**placed)  # raises for an unknown parameter or a value it does not take

    assert question.needs, "a question that can be asked says what it reads"
    assert (BASE in question.parameters.values()) == (question.lineage == "pair")


@pytest.mark.parametrize(("problem", "question"), ASKED)
def test_needed_measures_are_those_that_can_be_taken(problem: Problem, question: Question) -> None:
    variants = {*MEASURES.entries(), *COMPARISONS.entries()}
    names = {name.split(":")[0] for name in variants}
    for need in question.needs:
        for name in need.any_of:
            assert name in names or name.startswith(("log.", "benchmark.")), name
        if not need.any_of[0].startswith(("log.", "benchmark.")):
            assert need.to_fill in variants, f"--fill {need.to_fill}"


@cache
def parsed(name: str) -> AnyStudy:
    return parse_study(study_file(name).read_text(encoding="utf-8"), Path("/nowhere") / f"{name}.toml")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_validates_and_says_its_cost(name: str) -> None:
    study = parsed(name)

    assert study.name == name
    assert re.search(r"^# Cost: .+(GB|MB)", study.toml, re.MULTILINE)
    assert set(study.settings.measures.names) <= set(MEASURES.entries())


@pytest.mark.parametrize("problem", [p for p in problems().values() if p.studies], ids=lambda p: p.number)
def test_some_study_of_a_problem_measures_what_it_needs(problem: Problem) -> None:
    taken = {
        name.split(":")[0] for study in problem.studies for name in parsed(study).settings.measures.names
    }
    for question in problem.questions:
        for need in question.needs:
            logged = all(name.startswith(("log.", "benchmark.")) for name in need.any_of)
            assert logged or taken & set(need.any_of), f"{question.query} reads {need.words}"


def test_what_judges_curves_is_asked_of_enough_checkpoints() -> None:
    """With fewer than these an answer could only say that it cannot be told, and the state that it is answered."""
    judging = [
        need
        for problem in problems().values()
        for question in problem.questions
        if question.query in ("phase_transitions", "quanta_histogram")
        for need in question.needs
    ]

    assert judging
    assert {need.steps for need in judging} == {JUDGED} == {FEWEST_POINTS + 1}


@pytest.mark.parametrize("name", STUDIES)
def test_a_written_study_validates_and_says_what_it_answers(name: str) -> None:
    problem = next(one for one in problems().values() if name in one.studies)
    text = study_text(problem, name, Path("mine.toml"))
    head, body = text.split("#\n", 1)

    assert body == study_file(name).read_text(encoding="utf-8")  # which is validated above
    assert all(line.startswith("# ") for line in head.splitlines())
    assert f"# Open problem {problem.number}: {problem.title}" in head
    assert "# pathscope ingest mine.toml\n" in head
    assert f"# pathscope ask {problem.number}\n" in head
    assert ("hub" in head) == (not isinstance(parsed(name), Study))


def test_a_family_chooses_the_study_that_loads_it() -> None:
    problem = find_problem("5.32")

    assert choose_study(problem) == "language_model_seeds"
    assert choose_study(problem, ("stanford_gpt2",)) == "tokens_stanford"
    with pytest.raises(UsageError, match=r"no study of problem 5.32 loads pythia.*stanford_gpt2"):
        choose_study(problem, ("pythia",))


def test_a_problem_without_a_study_says_what_there_is_instead() -> None:
    with pytest.raises(UsageError, match=r"5.30 comes without a study.*pathscope import"):
        choose_study(find_problem("5.30"))
    with pytest.raises(UsageError, match="runs that nothing here can train"):
        choose_study(find_problem("5.6"))


def test_a_problem_is_found_whatever_the_case_and_a_wrong_number_comes_with_the_nearest() -> None:
    assert find_problem("h-FT").number == "H-ft"
    assert find_problem(" 5.3A ").number == "5.3a"
    with pytest.raises(UnknownName, match=r"no open problem '5.36'; did you mean '5.36"):
        find_problem("5.36")
