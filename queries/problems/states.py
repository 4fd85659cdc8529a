"""What an archive can say about each open problem: computed from what it holds and from the questions there are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archive.store import Archive
from queries.problems.catalogue import problems
from queries.problems.coverage import HoldingRun, having, read_coverage
from queries.problems.fitting import Fit, Lack, find_fit, find_lacks, shortfall
from queries.problems.problem import Problem, Question
from queries.registry import QuerySpec, all_queries
from queries.results import Answer

State = Literal["answered", "part", "cells", "checkpoints", "interventions", "later", "exploratory"]

WORDS: Mapping[State, str] = {
    "answered": "answered here",
    "part": "answered in part",
    "cells": "needs cells",
    "checkpoints": "needs checkpoints that only the hub has",
    "interventions": "needs intervention runs, later work",
    "later": "its question is later work",
    "exploratory": "exploratory: nothing to test",
}
# what a problem without any answer is called by, the first that one of its questions is in
_FIRST: tuple[State, ...] = ("cells", "checkpoints", "interventions", "later")


@dataclass(frozen=True)
class QuestionState:
    """Whether one question of a problem can be asked: of which runs, or what is missing, in sentences."""

    question: Question
    state: State
    fit: Fit | None = None
    lacks: tuple[Lack, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProblemState:
    """What an archive can say about a problem.

    command: what to type next; repair: what would bring in what is missing, empty where nothing can; runs: all that the
    archive has, excluded ones apart; note: what to know beside the state, such as that the runs are not those the problem
    names.
    """

    problem: Problem
    state: State
    questions: tuple[QuestionState, ...]
    command: str
    repair: str = ""
    runs: Sequence[HoldingRun] = ()
    note: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps questions from being asked, each sentence once."""
        return tuple(dict.fromkeys(text for question in self.questions for text in question.missing))

    def to_dict(self) -> dict[str, object]:
        """JSON-ready values."""
        problem = self.problem
        return {
            "number": problem.number,
            "title": problem.title,
            "group": problem.group,
            "kind": problem.kind,
            "state": self.state,
            "state_words": WORDS[self.state],
            "note": self.note,
            "missing": list(self.missing),
            "command": self.command,
            "repair": self.repair,
            "families": list(problem.families),
            "measures": list(problem.measures),
            "questions": [
                {
                    "query": one.question.query,
                    "asks": one.question.asks,
                    "state": one.state,
                    "runs": [run.run for run in one.fit.runs] if one.fit else [],
                    "eval_set": one.fit.place[0] if one.fit else "",
                    "missing": list(one.missing),
                    "commands": list(dict.fromkeys(lack.command for lack in one.lacks if lack.command)),
                }
                for one in self.questions
            ],
            "limit": problem.limit,
        }


def problem_states(archive: Archive | None, chosen: Iterable[Problem] | None = None) -> list[ProblemState]:
    """The state of these problems, of all by default, with one statement; without an archive as in an empty one."""
    wanted = list(problems().values() if chosen is None else chosen)
    measures = {name for problem in wanted for name in problem.measures}
    runs = read_coverage(archive, measures) if archive is not None else []
    return states_of(wanted, runs)


def states_of(wanted: Iterable[Problem], runs: Sequence[HoldingRun]) -> list[ProblemState]:
    """The same from what runs hold."""
    known = all_queries()
    return [_state(problem, runs, known) for problem in wanted]


def _state(
    problem: Problem, runs: Sequence[HoldingRun], known: Mapping[str, QuerySpec[Answer]]
) -> ProblemState:
    if problem.kind == "exploratory":
        return ProblemState(problem, "exploratory", (), f"pathscope ask {problem.number}")
    found = tuple(_of_question(problem, question, runs, known) for question in problem.questions)
    states = {one.state for one in found}
    if states == {"answered"}:
        state: State = "answered"
    elif "answered" in states:
        state = "part"
    else:
        state = next(candidate for candidate in _FIRST if candidate in states)
    repair = _repair(problem, found)
    waiting = state in ("cells", "checkpoints") and repair
    command = repair if waiting else f"pathscope ask {problem.number}"
    return ProblemState(problem, state, found, command, repair, runs, _note(problem, found))


def _of_question(
    problem: Problem, question: Question, runs: Sequence[HoldingRun], known: Mapping[str, QuerySpec[Answer]]
) -> QuestionState:
    if question.query not in known:
        if question.arms:
            return QuestionState(question, "interventions", missing=(_arms(question),))
        return QuestionState(question, "later", missing=(f"the question `{question.query}` is later work",))
    fit = find_fit(question, runs)
    if fit is not None:
        return QuestionState(question, "answered", fit)
    if question.arms and not any(run.intervened for run in runs):
        return QuestionState(question, "interventions", missing=(_arms(question),))
    lacks = find_lacks(question, runs)
    missing = tuple(_lacking(lack) for lack in lacks)
    if short := shortfall(question, runs):
        missing += (f"of the runs that have what {question.query} needs: {'; '.join(short)}",)
    if not missing:
        alone = [need.words for need in question.needs if not having(need, runs)]
        together = [need.words for need in question.needs]
        missing = (f"no run here has {'; '.join(alone) or ' together with '.join(together)}",)
    # cells of runs that are there can be filled; other runs of such a problem come from the hub
    if problem.kind == "checkpoints" and not lacks:
        families = ", ".join(problem.families)
        return QuestionState(
            question,
            "checkpoints",
            missing=(*missing, f"checkpoints of {families} are on the hub and nowhere else"),
        )
    return QuestionState(question, "cells", lacks=lacks, missing=missing)


def _arms(question: Question) -> str:
    return f"{question.query} needs {question.arms}, which is later work"


def _lacking(lack: Lack) -> str:
    who = (
        f"{lack.n_runs} run{' lacks' if lack.n_runs == 1 else 's lack'} {lack.measure} (first: {lack.first})"
    )
    if lack.command:
        return f"{who}: `{lack.command}`"
    if lack.study:
        return (
            f"{who}; {lack.study}.toml asks for it at fewer checkpoints or on other texts: change its checkpoints, "
            f"measures.schedule or eval_sets, and `pathscope ingest {lack.study}.toml` measures the rest"
        )
    return f"{who}; no study in the archive measured them"


def _repair(problem: Problem, found: Sequence[QuestionState]) -> str:
    """The command that brings in cells which are missing: of runs that are there first."""
    if fills := [lack.command for one in found for lack in one.lacks if lack.command]:
        return fills[0]
    if not any(one.state in ("cells", "checkpoints") for one in found):
        return ""
    if problem.studies:
        return f"pathscope ask {problem.number} --write-study {problem.number}.toml"
    return problem.imports


def _note(problem: Problem, found: Sequence[QuestionState]) -> str:
    """Where the runs that answer are not those the problem speaks of."""
    used = {run.family for one in found if one.fit for run in one.fit.runs}
    if not used or not problem.families or used & set(problem.families):
        return ""
    return f"on runs of {', '.join(sorted(used))}; the problem names {', '.join(problem.families)}"
