"""Choices of the Questions page, and its list of open problems."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from archive.store import Archive
from queries.problems.states import WORDS, ProblemState, State, problem_states
from ui.models.questions.scales import SCALES
from ui.models.text import plural

LISTS = ("open problems", "queries", "hypotheses")

# a mark beside the words, so that a glance down the column tells states apart without colours
MARKS: Mapping[State, str] = {
    "answered": "●",
    "part": "◐",
    "cells": "○",
    "checkpoints": "⇣",
    "interventions": "✎",
    "later": "…",
    "exploratory": "⌕",
}
BRIEF: Mapping[State, str] = {
    "answered": "answered here",
    "part": "answered in part",
    "cells": "needs cells",
    "checkpoints": "needs checkpoints",
    "interventions": "needs interventions",
    "later": "later work",
    "exploratory": "exploratory",
}


@dataclass(frozen=True)
class QuestionChoices:
    """What was chosen; the fields' names are the address's.

    ask: the answer was asked for. options: parameters as `pathscope ask` takes them. x_axis, y_axis: of `SCALES`.
    """

    list: str = LISTS[0]
    state: tuple[str, ...] = ()
    like: str = ""
    problem: str = ""
    ask: bool = False
    options: str = ""
    hypothesis: str = ""
    query: str = ""
    x_axis: str = SCALES[0]
    y_axis: str = SCALES[0]


@dataclass(frozen=True)
class Section:
    """Problems of one group that are listed, with their table."""

    title: str
    numbers: tuple[str, ...]
    table: pa.Table


def every_problem(archive: Archive) -> list[ProblemState]:
    """The state of every open problem, in their order."""
    return problem_states(archive)


def counts(states: Iterable[ProblemState]) -> list[tuple[State, int]]:
    """How many problems are in each state, in the order of readiness; states without any are left out."""
    found = [one.state for one in states]
    return [(state, found.count(state)) for state in WORDS if state in found]


def matching(states: Sequence[ProblemState], *, state: Sequence[str], like: str) -> list[ProblemState]:
    """Those in one of the states (in brief words; none = all) that have all words of the text somewhere."""
    words = like.lower().split()
    return [
        one
        for one in states
        if (not state or BRIEF[one.state] in state) and all(word in _text(one) for word in words)
    ]


def sections(states: Sequence[ProblemState]) -> list[Section]:
    """The problems by group, each group once, in the order of its first problem."""
    order = list(dict.fromkeys(one.problem.group for one in states))
    ranked = sorted(states, key=lambda one: order.index(one.problem.group))  # stable: numbers stay in order
    return [
        _section(group, list(members)) for group, members in groupby(ranked, lambda one: one.problem.group)
    ]


def neighbours(states: Sequence[ProblemState], number: str) -> tuple[str, str]:
    """The numbers before and after a problem, in order of numbers; empty at the ends."""
    numbers = [one.problem.number for one in states]
    place = numbers.index(number)
    return (numbers[place - 1] if place else "", numbers[place + 1] if place + 1 < len(numbers) else "")


def in_this_archive(command: str, archive: Archive) -> str:
    """A command of the catalogue with the archive that is looked at; a study is written for it too."""
    return f"{command} --archive {shlex.quote(str(archive.layout.database))}"


def _section(group: str, members: Sequence[ProblemState]) -> Section:
    table = pa.table(
        {
            "number": [one.problem.number for one in members],
            # before the title, which is long: a narrow window cuts what comes last
            "state": [f"{MARKS[one.state]} {BRIEF[one.state]}" for one in members],
            "title": [one.problem.title for one in members],
            "answers": [_answers(one) for one in members],
        }
    )
    return Section(group, tuple(one.problem.number for one in members), table)


def _answers(one: ProblemState) -> str:
    """How many of its questions can be asked, and of how many runs at most."""
    if not one.questions:
        return ""
    fits = [question.fit for question in one.questions if question.fit]
    told = f"{len(fits)} of {len(one.questions)}"
    return f"{told}, {plural(max(len(fit.runs) for fit in fits), 'run')}" if fits else told


def _text(one: ProblemState) -> str:
    problem = one.problem
    questions = " ".join(f"{question.query} {question.asks}" for question in problem.questions)
    texts = (problem.number, problem.title, problem.group, problem.statement, questions, *problem.measures)
    return " ".join((*texts, *problem.families, WORDS[one.state])).lower()
