"""Asking an archive an open problem: each of its questions of the runs that can answer it, or what is missing."""

import html
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archive.errors import PathscopeError, UnknownName
from archive.store import Archive
from queries.problems.catalogue import find_problem
from queries.problems.fitting import Fit
from queries.problems.problem import BASE, EVAL_SET, TUNED, Problem, Question
from queries.problems.states import WORDS, ProblemState, QuestionState, problem_states
from queries.reading.registration import find_hypothesis
from queries.registry import QuerySpec, all_queries
from queries.results import Answer

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_REGISTERED = "exploratory: not registered before its runs"


@dataclass(frozen=True)
class Part:
    """One question of a problem: its answer, or why there is none. letter: what parts are told apart by, a, b, ..."""

    letter: str
    state: QuestionState
    answer: Answer | None = None
    error: PathscopeError | None = None

    @property
    def question(self) -> Question:
        """What was asked."""
        return self.state.question

    @property
    def why_not(self) -> str:
        """Why there is no answer; empty where there is one."""
        if self.error is not None:
            return f"{type(self.error).__name__}: {self.error}"
        return "" if self.answer is not None else "; ".join(self.state.missing)


@dataclass(frozen=True, repr=False)
class Asked:
    """The answers to one open problem.

    parts: one for each of its questions that was asked for. state: what the archive has for it.
    """

    problem: Problem
    state: ProblemState
    parts: tuple[Part, ...]

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Those that there are, in the order of the questions."""
        return tuple(part.answer for part in self.parts if part.answer is not None)

    @property
    def errors(self) -> tuple[PathscopeError, ...]:
        """Refusals of questions that were asked."""
        return tuple(part.error for part in self.parts if part.error is not None)

    def to_dict(self, *, rows: bool = True) -> dict[str, object]:
        """JSON-ready values: the problem, its state, and every part with its answer or what is missing.

        rows: as in `Answer.to_dict`.
        """
        return {
            **self.state.to_dict(),
            "statement": self.problem.statement,
            "answered": bool(self.answers),
            "parts": [
                {
                    "part": part.letter,
                    "query": part.question.query,
                    "asks": part.question.asks,
                    "why_not": part.why_not,
                    "answer": None if part.answer is None else part.answer.to_dict(rows=rows),
                }
                for part in self.parts
            ],
        }

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        console = Console(file=out, width=120, color_system=None, markup=False, highlight=False)
        console.print(self.renderable(width=120))
        return out.getvalue().rstrip() + "\n"

    def __repr__(self) -> str:
        told = f"{len(self.answers)} of {len(self.parts)} questions answered"
        return f"<Problem {self.problem.number}: {self.problem.title} {told}>"

    def _repr_html_(self) -> str:
        problem = self.problem
        head = (
            f"<h3>{problem.number} {html.escape(problem.title)}</h3><p>{html.escape(problem.statement)}</p>"
        )
        parts = [
            part.answer._repr_html_()
            if part.answer
            else f"<p>{html.escape(part.question.asks)} {html.escape(part.why_not)}</p>"
            for part in self.parts
        ]
        return head + "<hr>".join(parts) + "".join(f"<p>{html.escape(line)}</p>" for line in self._tail())

    def renderable(self, *, width: int = 120, show_sql: bool = False) -> "RenderableType":
        """The whole for a rich console: every part under its letter, then what is missing and the honest limit."""
        from rich.console import Group
        from rich.rule import Rule
        from rich.text import Text

        from queries.render import renderable

        problem = self.problem
        lines: list[RenderableType] = [
            Text(f"{problem.number} {problem.title}", style="bold"),
            Text(problem.statement),
        ]
        for part in self.parts:
            lines += [
                Text(),
                Rule(f"{problem.number} ({part.letter}) {part.question.asks}", align="left", style="dim"),
            ]
            if part.answer is None:
                lines.append(Text(f"No answer: {part.why_not}"))
            else:
                lines += [Text(part.answer.sql), Text()] if show_sql else []
                lines.append(renderable(part.answer, width=width))
        lines += [Text(), *(Text(line) for line in self._tail())]
        return Group(*lines)

    def _words(self) -> str:
        """The state of the problem, unless it is one of runs that were not asked about."""
        if self.state.state != "answered":
            return WORDS[self.state.state]
        return WORDS["part"] if self.answers else "no answer of the runs asked about"

    def _tail(self) -> Iterator[str]:
        yield f"Limit of the problem: {self.problem.limit}"
        if self.state.note:
            yield f"Answered {self.state.note}."
        if len(self.answers) < len(self.parts):
            then = f" Next: `{self.state.repair}`" if self.state.repair else ""
            yield f"State: {self._words()}.{then}"
        if not self.parts:
            yield "Nothing here is tested. `pathscope queries` and `pathscope sql` look around."


def ask(archive: Archive, number: str, *, hypothesis: str = "", letters: str = "", **given: object) -> Asked:
    """Ask one open problem: every question of it that the archive can answer, of the runs that can.

    number: such as "5.21"; `problems()` has all. given: parameters of its questions, each to those that have it; with
    `runs` the questions are asked of these, whatever else the archive holds. hypothesis: the name of a registered one, whose
    runs are asked about, at its alpha, unless other ones are given. letters: only the questions of these letters, such as
    "b", instead of all. Refusals are parts of the result.
    Raises UnknownName for a problem, a parameter or a hypothesis that there is not.
    """
    problem = find_problem(number)
    with archive.session():
        (state,) = problem_states(archive, [problem])
        registered = find_hypothesis(archive, hypothesis) if hypothesis else None
        known = all_queries()
        _refuse_unknown(problem, given, known)
        if registered is not None:
            given = {"runs": list(registered.runs), "confidence": 1 - registered.alpha, **given}
        parts = []
        for letter, one in zip("abcdefghijklmnopqrstuvwxyz", state.questions, strict=False):
            if letter in (letters or letter):
                parts.append(_part(archive, letter, one, state, given, known.get(one.question.query)))
    return Asked(problem, state, tuple(parts))


def parameters_of(problem: Problem) -> dict[str, QuerySpec[Answer]]:
    """Every parameter that a question of the problem takes, with the first query that has it."""
    known = all_queries()
    found: dict[str, QuerySpec[Answer]] = {}
    for question in problem.questions:
        for name in known[question.query].fields if question.query in known else ():
            found.setdefault(name, known[question.query])
    return found


def _part(
    archive: Archive,
    letter: str,
    state: QuestionState,
    whole: ProblemState,
    given: Mapping[str, object],
    spec: QuerySpec[Answer] | None,
) -> Part:
    if spec is None or (state.fit is None and "runs" not in given):
        return Part(letter, state)
    mine = {name: value for name, value in given.items() if name in spec.fields}
    if state.fit is None or "runs" in given:
        parameters = {**_fixed(state.question), **mine}
    else:
        parameters = {**state.fit.parameters(state.question, whole.runs, spec.fields), **mine}
    try:
        answer = spec.ask(archive, **parameters)
    except PathscopeError as error:
        return Part(letter, state, error=error)
    provenance = answer.provenance
    if not provenance.registered:
        answer = replace(answer, provenance=replace(provenance, registered=(NOT_REGISTERED,)))
    if state.fit is not None and state.fit.others and "runs" not in given:
        answer = replace(answer, limits=(_chosen(state.fit), *answer.limits))
    return Part(letter, state, answer)


def _chosen(fit: Fit) -> str:
    """Which of several sets of runs was asked: numbers on other eval sets or by others are never mixed in."""
    eval_set, source = fit.place
    n, others = len(fit.runs), fit.others
    return (
        f"Asked of {n} run{'' if n == 1 else 's'} measured on {eval_set} by {source}; {others} other "
        f"{'choice' if others == 1 else 'choices'} of runs, eval set or source could answer too and "
        f"{'is' if others == 1 else 'are'} not in it: name runs (`--runs`) to ask of them."
    )


def _fixed(question: Question) -> dict[str, object]:
    """The question's own parameters without those that only the archive can fill."""
    return {
        name: value for name, value in question.parameters.items() if value not in (BASE, TUNED, EVAL_SET)
    }


def _refuse_unknown(
    problem: Problem, given: Mapping[str, object], known: Mapping[str, QuerySpec[Answer]]
) -> None:
    there = {
        name
        for question in problem.questions
        if question.query in known
        for name in known[question.query].fields
    }
    for name in given:
        if name not in there:
            raise UnknownName.of(
                f"parameter of problem {problem.number}",
                name,
                there,
                listing=f"`pathscope ask {problem.number} --help`",
            )
