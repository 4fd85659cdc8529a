"""The open problems by number: every module here with a tuple PROBLEMS is found by itself."""

import importlib
import pkgutil
import re
from functools import cache
from types import MappingProxyType

import queries.problems as here
from archive.errors import UnknownName
from queries.problems.problem import Problem


@cache
def problems() -> MappingProxyType[str, Problem]:
    """Every open problem by its number: 5.1, 5.2, 5.3, 5.3a, ... and those with a name last.

    Raises TypeError for two entries of one number.
    """
    found: dict[str, Problem] = {}
    for module in pkgutil.iter_modules(here.__path__):
        entries: tuple[Problem, ...] = getattr(
            importlib.import_module(f"{here.__name__}.{module.name}"), "PROBLEMS", ()
        )
        for problem in entries:
            if problem.number in found:
                raise TypeError(f"problem {problem.number} has two entries; the second is in {module.name}")
            found[problem.number] = problem
    return MappingProxyType({number: found[number] for number in sorted(found, key=_place)})


def find_problem(number: str) -> Problem:
    """The problem of that number; raises UnknownName with the nearest."""
    known = problems()
    found = {name.lower(): problem for name, problem in known.items()}.get(number.strip().lower())
    if found is None:
        raise UnknownName.of("open problem", number, known, listing="`pathscope questions`")
    return found


def _place(number: str) -> tuple[int, int, str]:
    numbered = re.fullmatch(r"5\.(\d+)([a-z]?)", number)
    return (0, int(numbered[1]), numbered[2]) if numbered else (1, 0, number)
