"""Write what the code knows best about itself: `make docs`.

`docs/reference.md` and `pathscope/__init__.pyi` are written whole, `docs/sql.md` from its mark on.
tests/test_docs.py fails where one of them is stale.
"""

import inspect
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer.main

import pathscope
from archive.create import ensure_archive
from archive.macros import MACROS
from archive.records import Measure
from archive.store import open_archive
from archive.views import VIEWS
from archive.worked import WORKED
from ingest.comparison import COMPARISONS
from ingest.importers.base import IMPORTERS
from ingest.measure import MEASURES
from ingest.registry import first_sentence
from ingest.task import TASKS
from pathscope.__main__ import app
from pathscope.facade import HOMES
from pathscope.settings import Settings
from queries.reading.select import RunSelection
from queries.registry import all_queries

ROOT = Path(__file__).resolve().parent.parent
LINE_LENGTH = 110
MARK = "<!-- generated: make docs -->\n"
ABOUT_MACROS = """\
## Table macros

Questions with arguments, for use wherever a table can stand. They leave out suspect checkpoints and excluded runs, and keep
numbers of different quantities apart (`quantity_id`), but do not refuse what cannot be compared, as `pathscope query` does.
"""


def pages() -> dict[Path, str]:
    """Every generated file with the text it should have."""
    sql = ROOT / "docs" / "sql.md"
    return {
        ROOT / "docs" / "reference.md": reference(),
        sql: sql.read_text(encoding="utf-8").split(MARK)[0]
        + f"{MARK}\n{worked()}\n{ABOUT_MACROS}\n{macros()}\n## Views\n\n{views()}",
        ROOT / "pathscope" / "__init__.pyi": stub(),
    }


def reference() -> str:
    """Commands, queries, measures, tasks, importers, settings and public names, in this order."""
    sections = (commands(), questions(), measures(), tasks(), importers(), settings(), python_names())
    return f"# Reference\n\n{MARK}\n" + "\n".join("\n".join(section) for section in sections)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """A Markdown table, with an empty line after it; pipes in cells are escaped."""
    columns = list(header)
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        cells = (" ".join(str(cell).split()).replace("|", r"\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


def commands() -> Iterator[str]:
    """Every command with what it does and its options, as `--help` has them."""
    yield "## Commands\n"
    yield "Exit codes: 0 done or nothing to do, 1 some work failed (named), 2 bad usage, 75 try again.\n"
    group = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]  # typer's root is a group
        yield f"### pathscope {name}\n"
        yield f"{inspect.cleandoc(command.help or '')}\n"
        for parameter in command.params:
            spelling = (
                ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
            )
            yield f"- `{spelling}` {getattr(parameter, 'help', None) or ''}".rstrip()
        yield ""


def questions() -> Iterator[str]:
    """Every query with its parameters."""
    yield "## Queries\n"
    yield "In Python `pathscope.NAME(archive, ...)`, on the command line `pathscope query NAME --PARAMETER VALUE`.\n"
    for spec in all_queries().values():
        yield f"### {spec.name}\n"
        yield f"{spec.title}\n\n{spec.doc}\n"
        yield from table(
            ("parameter", "default", "meaning"),
            (
                (
                    f"`{name}`",
                    _default(field.default),
                    field.description or "",
                )
                for name, field in spec.fields.items()
            ),
        )


def measures() -> Iterator[str]:
    """Every measure that is computed here; imported sets bring their own into the archive."""
    yield "## Measures\n"
    yield "Measured at checkpoints. Training logs are `log.*`, imported benchmarks `benchmark.*`; `v_measure` has all.\n"
    yield from _measure_table((entry.name, entry.thing.record) for entry in MEASURES.entries().values())
    yield "### Comparisons\n"
    yield "Of an ordered pair of checkpoints, by studies with `[compare]` ([studies.md](studies.md)).\n"
    yield from _measure_table((entry.name, entry.thing.record) for entry in COMPARISONS.entries().values())


def _measure_table(records: Iterable[tuple[str, Measure]]) -> Iterator[str]:
    """What each is, a row each."""
    yield from table(
        ("measure", "unit", "range", "", "meaning", "source"),
        (
            (
                f"`{name}` v{r.version}",
                r.unit,
                _range(r.lower_bound, r.upper_bound),
                r.direction,
                r.summary,
                r.citation,
            )
            for name, r in records
        ),
    )


def tasks() -> Iterator[str]:
    """Every task that runs can be trained on, with its settings."""
    yield "## Tasks\n"
    for name, entry in TASKS.entries().items():
        yield f"### {name}\n\n{first_sentence(entry.thing)} Source: {entry.thing.citation}.\n"
        yield from table(
            ("setting", "default", "meaning"),
            (
                (f"`{key}`", f"`{field.default}`", field.description or "")
                for key, field in entry.thing.model_fields.items()
            ),
        )


def importers() -> Iterator[str]:
    """Every format of published results that can be imported."""
    yield "## Import formats\n"
    yield from table(
        ("`pathscope import …`", "results", "what a file holds", "files", "counts from", "units"),
        (
            (f"`{name}`", t.title, t.reads, " ".join(f"`{s}`" for s in t.suffixes), t.base, t.units)
            for name, t in ((name, entry.thing) for name, entry in IMPORTERS.entries().items())
        ),
    )


def settings() -> Iterator[str]:
    """Everything that can be set for a folder or a machine."""
    yield "## Settings\n"
    yield "First match wins: the command line, the environment, `pathscope.toml` in the current folder, the default.\n"
    yield from table(
        ("setting", "environment", "default", "meaning"),
        (
            (f"`{name}`", f"`PATHSCOPE_{name.upper()}`", f"`{field.default}`", field.description or "")
            for name, field in Settings.model_fields.items()
        ),
    )


def python_names() -> Iterator[str]:
    """What `import pathscope` offers beside the queries."""
    yield "## Python\n"
    yield "Every query is a function of `pathscope`, and so are these:\n"
    yield from table(
        ("name", "meaning"), ((f"`{name}`", first_sentence(getattr(pathscope, name))) for name in HOMES)
    )


def views() -> str:
    """Every public view with its sentence and its columns."""
    with tempfile.TemporaryDirectory() as folder:
        layout = ensure_archive(Path(folder) / "empty.duckdb")
        rows = open_archive(layout.database).rows(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY table_name, column_index"
        )
    columns: dict[str, list[str]] = {}
    for row in rows:
        columns.setdefault(row["table_name"], []).append(f"`{row['column_name']}` {row['data_type']}")
    return "\n".join(
        f"### {view.name}\n\n{view.about}\n\n{', '.join(columns[view.name])}\n" for view in VIEWS
    )


def worked() -> str:
    """Every worked question with its note and its statement, numbered."""
    questions = (
        textwrap.fill(f"**{number}. {one.question}** {one.note}".rstrip(), 129, break_on_hyphens=False)
        + f"\n\n```sql\n{one.sql}\n```\n"
        for number, one in enumerate(WORKED, 1)
    )
    head = "Every statement here runs on any archive; the tests run them, on an empty one too."
    return "\n".join((f"## Worked questions\n\n{head}\n", *questions))


def macros() -> str:
    """Every table macro with its sentence, its arguments and an example."""
    return "\n".join(
        f"### {macro.name}({macro.parameters})\n\n{macro.about}\n\n```sql\nSELECT * FROM {macro.example}\n```\n"
        for macro in MACROS
    )


def stub() -> str:
    """The facade as type checkers and editors see it."""
    homes = {**HOMES, **{name: spec.module for name, spec in all_queries().items()}}
    imports = [_import(home, name) for home, name in sorted((home, name) for name, home in homes.items())]
    return "# Written by `make docs`.\n\n" + "\n".join(imports) + "\n\n__version__: str\n"


def _import(home: str, name: str) -> str:
    """A re-export as the formatter writes it."""
    line = f"from {home} import {name} as {name}"
    return line if len(line) <= LINE_LENGTH else f"from {home} import (\n    {name} as {name},\n)"


def _default(value: object) -> str:
    """How a parameter's default reads; None and an empty choice of runs leave everything in."""
    return "any" if value is None or value == RunSelection() else f"`{value}`"


def _range(low: float | None, high: float | None) -> str:
    return f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip()


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
