"""Every typed query in a table, and the pages that show its answers."""

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from queries.problems.catalogue import problems
from queries.reading.select import RunSelection
from queries.registry import QuerySpec, all_queries
from queries.results import Answer
from ui.view import View, discover

_UI = Path(__file__).resolve().parents[2]


def query_table() -> pa.Table:
    """One row a query: name, question, parameters of its own, pages that show it, problems that ask it."""
    specs = list(all_queries().values())
    pages, asked = pages_of(), problems_of()
    return pa.table(
        {
            "query": [spec.name for spec in specs],
            "question": [spec.title for spec in specs],
            "pages": [", ".join(view.title for view in pages.get(spec.name, ())) for spec in specs],
            "problems": [", ".join(asked.get(spec.name, ())) for spec in specs],
            "parameters": [", ".join(own_parameters(spec)) for spec in specs],
        }
    )


def own_parameters(spec: QuerySpec[Answer]) -> list[str]:
    """Parameters that are not about which of several variants of a measure to take."""
    return [name for name in spec.fields if name not in spec.selectors]


def parameter_table(spec: QuerySpec[Answer]) -> pa.Table:
    """One row a parameter: name, default, meaning."""
    return pa.table(
        {
            "parameter": list(spec.fields),
            "default": [_default(field.default) for field in spec.fields.values()],
            "meaning": [field.description or "" for field in spec.fields.values()],
        }
    )


@cache
def problems_of() -> Mapping[str, tuple[str, ...]]:
    """Numbers of the open problems that ask each query, by its name."""
    found: dict[str, dict[str, None]] = {}
    for number, problem in problems().items():
        for question in problem.questions:
            found.setdefault(question.query, {})[number] = None
    return MappingProxyType({name: tuple(numbers) for name, numbers in found.items()})


@cache
def pages_of() -> Mapping[str, tuple[View, ...]]:
    """Pages that show each query, by its name: those with a file of their own that imports the query's function.

    Types of answers are imported for helpers that several pages share; a function is imported to be asked.
    """
    known = set(all_queries())
    found: dict[str, list[View]] = {}
    for view in discover():
        for name in sorted(known & set(_imported(_files(view)))):
            found.setdefault(name, []).append(view)
    return MappingProxyType({name: tuple(views) for name, views in found.items()})


def _files(view: View) -> Iterable[Path]:
    """The page's file, its sections and what is worked out for it, by the names of folders."""
    name = view.file.stem
    folders = [_UI / kind / name for kind in ("parts", "models")]
    return [view.file, *(path for folder in folders for path in sorted(folder.glob("*.py")))]


def _imported(files: Iterable[Path]) -> Iterable[str]:
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("queries."):
                yield from (alias.name for alias in node.names)


def _default(value: object) -> str:
    """How a default reads; nothing and an empty choice of runs leave everything in."""
    if value is None or value == RunSelection() or value in ("", ()):
        return "any"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
