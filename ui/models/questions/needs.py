"""What a problem reads, and the commands that bring in what is missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from archive.errors import UsageError
from archive.store import Archive
from queries.problems.fitting import Fit
from queries.problems.problem import BASE, EVAL_SET, TUNED, Problem, Question
from queries.problems.states import ProblemState, QuestionState
from queries.problems.studies import choose_study, study_text
from ui.models.questions.page import in_this_archive
from ui.models.text import plural, shorten

MOST_FAMILIES = 4

# what the catalogue's placeholders stand for
_PLACEHOLDERS = {
    EVAL_SET: "the eval set of its runs",
    BASE: "the run that was gone on from",
    TUNED: "the run that went on",
}


@dataclass(frozen=True)
class Way:
    """One way to bring in what is missing: lines to type, one after another, and what to know first."""

    words: str
    commands: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class StudyFile:
    """A study as `pathscope ask --write-study` writes it: its name, the file's name, its text."""

    name: str
    file: str
    text: str


def reads(question: Question) -> list[str]:
    """What a question reads of every run, and how many runs it takes, in words."""
    found = [need.words for need in question.needs]
    if question.arms:
        found.append(question.arms)
    return found + list(_sizes(question))


def parameters(question: Question) -> list[str]:
    """The parameters that the catalogue asks it with, other than their defaults."""
    return [f"{name} = {_told(value)}" for name, value in question.parameters.items()]


def answered_of(state: QuestionState) -> str:
    """Of which runs and on what it would be asked here; empty where it cannot be."""
    if state.fit is None:
        return ""
    runs = state.fit.runs
    families = list(dict.fromkeys(run.family for run in runs))
    shown = ", ".join(shorten(family, 40) for family in families[:MOST_FAMILIES])
    more = f" and {len(families) - MOST_FAMILIES} more" if len(families) > MOST_FAMILIES else ""
    return f"{plural(len(runs), 'run')} of {shown}{more}{_where(state.fit)}"


def ways(archive: Archive, state: ProblemState) -> list[Way]:
    """How to bring in what is missing, the nearest first; empty where nothing is, or nothing here can."""
    if not any(one.state in ("cells", "checkpoints") for one in state.questions):
        return []
    problem = state.problem
    fills = dict.fromkeys(lack.command for one in state.questions for lack in one.lacks if lack.command)
    found = [
        Way("Measure what runs in this archive lack:", (in_this_archive(line, archive),)) for line in fills
    ]
    for study, family in _studies(problem):
        loads = f" --family {family}" if family else ""
        file = f"{problem.number}.toml"
        found.append(
            Way(
                f"Run the study {study}, which comes with this problem"
                f"{f' and loads {family}, where the hub can be reached' if family else ''}:",
                (
                    in_this_archive(f"pathscope ask {problem.number} --write-study {file}{loads}", archive),
                    f"pathscope ingest {file} --dry-run",
                    in_this_archive(f"pathscope ingest {file}", archive),
                ),
                "The dry run says what it costs before anything runs.",
            )
        )
    if problem.imports:
        found.append(Way("Bring published numbers in:", (in_this_archive(problem.imports, archive),)))
    return found


def study_file(archive: Archive, problem: Problem) -> StudyFile | None:
    """The study that `--write-study` writes, None for a problem without one."""
    file = f"{problem.number}.toml"
    try:
        name = choose_study(problem)
        return StudyFile(name, file, study_text(problem, name, Path(file), archive.layout.database))
    except UsageError:
        return None


def unreachable(problem: Problem) -> tuple[str, ...]:
    """Studies of a problem that `--write-study` does not write: they are files to copy."""
    return tuple(name for name in problem.studies if name not in dict(_studies(problem)))


def _studies(problem: Problem) -> Iterator[tuple[str, str]]:
    """The studies that the command can write, each once, with the family to ask for; "" for the first one."""
    seen: Mapping[str, str] = {}
    for family in ("", *problem.families):
        try:
            name = choose_study(problem, (family,) if family else ())
        except UsageError:
            continue
        if name not in seen:
            seen = {**seen, name: family}
    yield from seen.items()


def _sizes(question: Question) -> Iterator[str]:
    if question.lineage:
        yield "runs that go on from another run" + (", with that other" if question.lineage == "pair" else "")
    if question.runs > 1:
        yield f"{question.runs} runs or more"
    if question.repeats > 1:
        yield f"{question.repeats} runs or more of one condition"
    if question.conditions > 1:
        yield f"{question.conditions} conditions or more"
    if question.same_init > 1:
        yield f"{question.same_init} runs or more with one init"


def _told(value: object) -> str:
    if isinstance(value, str) and value in _PLACEHOLDERS:
        return _PLACEHOLDERS[value]
    if isinstance(value, list | tuple):
        return ", ".join(_told(one) for one in value)
    return str(value)


def _where(fit: Fit) -> str:
    place, source = fit.place
    on = f" on {place}" if place and place != "none" else ""
    by = f", measured by {source}" if source and source != "pathscope" else ""
    more = f"; {plural(fit.others, 'other choice')} of eval set or runs" if fit.others else ""
    return on + by + more
