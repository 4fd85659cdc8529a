"""Parameters typed as on the command line: read for a question, and written back as a command."""

import shlex
from collections.abc import Mapping
from types import NoneType
from typing import get_args, get_origin

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.problems.asking import parameters_of
from queries.problems.problem import Problem
from queries.registry import QuerySpec
from queries.results import Answer
from ui.models.series import RunChoice

# as for `pathscope ask`: parts of `--runs`
SHORTHANDS = ("family", "condition", "tag")

Given = tuple[tuple[str, object], ...]


def given_to(problem: Problem, runs: RunChoice, options: str) -> Given:
    """What a problem is asked with: the runs of the sidebar where it takes them, and what was typed.

    Raises UsageError and UnknownName for what `pathscope ask` would refuse.
    """
    specs = parameters_of(problem)
    found = parse(options, specs, number=problem.number)
    terms = _terms(runs)
    if terms and "runs" in specs:
        typed = found.get("runs", [])
        found["runs"] = [*terms, *(typed if isinstance(typed, list) else [typed])]
    if runs.suspect and "with_suspect" in specs:
        found["with_suspect"] = True
    return tuple(sorted(found.items()))


def parse(options: str, specs: Mapping[str, QuerySpec[Answer]], *, number: str) -> dict[str, object]:
    """`--level 0.4 --family X` as parameters; values stay text, which the question checks with better words."""
    words = _words(options)
    found: dict[str, object] = {}
    terms: list[str] = []
    known = [*specs, *(SHORTHANDS if "runs" in specs else ())]
    while words:
        word, equals, value = words.pop(0).partition("=")
        name = word.removeprefix("--").replace("-", "_")
        if not word.startswith("--"):
            raise UsageError(
                f"{word!r}: an option starts with two dashes, such as --{next(iter(specs), 'runs')}."
            )
        if name not in known:
            raise UnknownName.of(
                f"option of problem {number}", name, known, listing=f"`pathscope ask {number} --help`"
            )
        if name in specs and specs[name].fields[name].annotation in (bool, bool | None):
            found[name] = value.lower() not in ("false", "no") if equals else True
            continue
        if not equals:
            if not words:
                raise UsageError(f"{word} needs a value after it.")
            value = words.pop(0)
        if name not in specs:
            terms.append(f"{name}:{value}")
        elif name == "runs":
            terms.append(value)
        else:
            found[name] = _value(found.get(name), value, specs[name], name)
    return {**found, "runs": terms} if terms else found


def command(
    archive: Archive, problem: Problem, runs: RunChoice, options: str, *, hypothesis: str = ""
) -> str:
    """The line that asks the same on the command line."""
    words = ["pathscope", "ask", problem.number, "--archive", str(archive.layout.database)]
    specs = parameters_of(problem)
    for term in _terms(runs) if "runs" in specs else ():
        prefix, colon, rest = term.partition(":")
        words += [f"--{prefix}", rest] if colon and prefix in SHORTHANDS else ["--runs", term]
    if runs.suspect and "with_suspect" in specs:
        words.append("--with-suspect")
    if hypothesis:
        words += ["--hypothesis", hypothesis]
    return shlex.join([*words, *_words(options)])


def _words(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise UsageError(f"options {options!r}: {error}; close the quotation mark.") from None


def _terms(runs: RunChoice) -> list[str]:
    """The sidebar's choice as `runs` takes it; empty where nothing was chosen."""
    terms = runs.selection.terms()
    return [] if terms == ["*"] else terms


def _value(before: object, value: str, spec: QuerySpec[Answer], name: str) -> object:
    """A list where the question takes several; `none` is how nothing is typed, where that is not the default."""
    annotation = spec.fields[name].annotation
    if get_origin(annotation) is tuple:
        return [*(before if isinstance(before, list) else []), value]
    if value == "none" and NoneType in get_args(annotation) and name not in spec.selectors:
        return None
    return value
