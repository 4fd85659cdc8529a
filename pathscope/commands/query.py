"""`pathscope query NAME`: one sub-command per question, its options taken from the question's signature."""

import inspect
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from archive.errors import UsageError
from pathscope.commands.common import ArchiveOption, JsonOption, archive_path, emit

if TYPE_CHECKING:
    import pyarrow as pa

    from queries.registry import QuerySpec
    from queries.results import Answer

Format = Literal["table", "json", "csv", "parquet", "html"]
# what people hope for in a figure, and nothing here can draw without a browser
PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
# endings of files with the words as a terminal shows them
PLAIN = ("", ".txt", ".md", ".log")

FormatOption = Annotated[
    Format, typer.Option("--format", help="How to write the answer; html: a page with its figure.")
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write to this file; its ending chooses the format.")
]
SummaryOption = Annotated[
    bool, typer.Option("--summary", help="For csv, parquet and json: one row per group instead of all rows.")
]
SqlOption = Annotated[bool, typer.Option("--show-sql", help="Also print the SQL behind the rows.")]

# options of the command itself, which no question may take as a parameter
COMMON: dict[str, tuple[object, object]] = {
    "archive": (ArchiveOption, None),
    "format": (FormatOption, "table"),
    "output": (OutputOption, None),
    "summary": (SummaryOption, False),
    "show_sql": (SqlOption, False),
    "json": (JsonOption, False),
}
# shorthands for parts of `--runs`
SHORTHANDS = {"family": "of this family", "condition": "of this condition", "tag": "with this tag"}


class QueryGroup(TyperGroup):
    """Sub-commands found by discovery, and only when a question is asked: other commands start fast."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all questions."""
        from queries.registry import all_queries

        return list(all_queries())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one question; raises UnknownName with the nearest."""
        from queries.registry import find_query

        return typer.main.get_command(_app_of(find_query(cmd_name)))


def register(app: typer.Typer) -> None:
    """Add `query` and `queries`."""
    app.command("queries")(queries)
    group = typer.Typer(cls=QueryGroup, no_args_is_help=True, rich_markup_mode="markdown")
    group.callback()(query)
    app.add_typer(group, name="query")


def query() -> None:
    """Ask a question; `pathscope queries` lists them, `pathscope query NAME --help` shows its parameters."""


def queries(json: JsonOption = False) -> None:
    """List every question with what it answers; `--json` adds the parameters."""
    from queries.registry import all_queries

    specs = all_queries().values()
    document = {
        "queries": [
            {
                "name": spec.name,
                "title": spec.title,
                "summary": spec.summary,
                "module": spec.module,
                "parameters": spec.parameters.model_json_schema()["properties"],
            }
            for spec in specs
        ]
    }

    def human(console: Console) -> None:
        table = Table("pathscope query", "question")
        for spec in specs:
            table.add_row(spec.name, spec.title)
        console.print(table)
        console.print("`pathscope query NAME --help` shows the parameters.", markup=False)

    emit(document, as_json=json, human=human)


def _app_of(spec: "QuerySpec[Answer]") -> typer.Typer:
    """A one-command app whose options are the question's parameters."""
    app = typer.Typer(rich_markup_mode="markdown", add_completion=False, pretty_exceptions_enable=False)
    app.command(spec.name, help=f"{spec.title}\n\n{spec.doc}")(_command(spec))
    return app


def _command(spec: "QuerySpec[Answer]") -> Callable[..., None]:
    options = {name: (option(spec, name), None) for name in spec.fields}
    if "runs" in spec.fields:
        options |= {
            name: (Annotated[list[str] | None, typer.Option(f"--{name}", help=f"Only runs {words}.")], None)
            for name, words in SHORTHANDS.items()
            if name not in options
        }

    def ask(**given: Any) -> None:
        common = {name: given.pop(name) for name in COMMON}
        _ask(spec, given, **common)

    ask.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
            for name, (hint, default) in {**options, **COMMON}.items()
        ]
    )
    return ask


def option(spec: "QuerySpec[Answer]", name: str) -> object:
    """A text option for one parameter: the question itself checks the value, with better words."""
    field = spec.fields[name]
    flag = f"--{name.replace('_', '-')}"
    default = field.default
    words = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    shown = "" if default in (None, "", ()) or name == "runs" else f" [default: {words}]"
    text = f"{field.description or name}.{shown}"
    union = isinstance(field.annotation, UnionType) or get_origin(field.annotation) is Union
    kinds = [k for k in (get_args(field.annotation) if union else [field.annotation]) if k is not NoneType]
    if kinds == [bool]:
        return Annotated[bool | None, typer.Option(flag, help=text)]
    if name == "runs" or get_origin(field.annotation) is tuple:
        return Annotated[
            list[str] | None, typer.Option(flag, help=f"{text} May be repeated.", metavar="TEXT")
        ]
    return Annotated[str | None, typer.Option(flag, help=text, metavar="|".join(map(_metavar, kinds)))]


def _metavar(kind: object) -> str:
    """What may be typed for a parameter: a choice's words, else INTEGER, NUMBER or TEXT."""
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return "INTEGER" if kind is int else "NUMBER" if kind is float else "TEXT"


def _ask(
    spec: "QuerySpec[Answer]",
    given: dict[str, Any],
    *,
    archive: Path | None,
    format: Format,
    output: Path | None,
    summary: bool,
    show_sql: bool,
    json: bool,
) -> None:
    from archive.store import open_archive

    wanted = format_of("json" if json else format, output)
    answer = spec.ask(open_archive(archive_path(archive)), **parameters(spec, given))
    if show_sql and wanted != "json":
        (sys.stdout if wanted == "table" else sys.stderr).write(answer.sql + "\n\n")
    if wanted in ("csv", "parquet"):
        write_rows(answer, wanted, output, summary=summary)
    elif output is None:
        emit(answer.to_dict(rows=not summary), as_json=wanted == "json", human=_human(answer))
    else:
        output.write_text(_text(answer, wanted, rows=not summary), encoding="utf-8")


def format_of(asked: Format, output: Path | None) -> Format:
    """The format asked for, or the one the file's ending names; raises UsageError where it cannot be written."""
    endings: dict[str, Format] = {".json": "json", ".csv": "csv", ".parquet": "parquet", ".html": "html"}
    wanted = endings.get(output.suffix.lower(), "table") if asked == "table" and output is not None else asked
    if wanted in ("parquet", "html") and output is None:
        raise UsageError(f"--format {wanted} needs --output FILE: it is nothing to read in a terminal.")
    if output is not None and output.suffix.lower() in PICTURES:
        raise UsageError(
            f"--output {output}: no command writes {output.suffix} files; `--output {output.with_suffix('.html')}` writes a "
            "page whose figure the browser saves as PNG."
        )
    if output is not None and asked == "table" and output.suffix.lower() not in {*endings, *PLAIN}:
        raise UsageError(
            f"--output {output}: no format is known by the ending {output.suffix!r}; {', '.join(endings)} and .txt are, or say "
            "--format."
        )
    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise UsageError(
            f"--output {output}: {'that is a folder' if output.is_dir() else f'there is no folder {output.parent}'}; "
            "name a file in a folder that is there."
        )
    return wanted


def parameters(spec: "QuerySpec[Answer]", given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, without what was not; `--family X` and its like become terms of `runs`."""
    typed = {name: value for name, value in given.items() if value not in (None, [])}
    terms = [f"{name}:{value}" for name in SHORTHANDS for value in typed.pop(name, [])]
    if terms:
        typed["runs"] = [*typed.get("runs", []), *terms]
    # `none` is how nothing is typed, where a parameter has another default
    may_be_none = {n for n, f in spec.fields.items() if NoneType in get_args(f.annotation)} - spec.selectors
    return {n: None if n in may_be_none and v == "none" else v for n, v in typed.items()}


def _human(answer: "Answer") -> Callable[[Console], None]:
    from queries.render import renderable

    def show(console: Console) -> None:
        console.print(renderable(answer, width=console.width), highlight=False)

    return show


def _text(answer: "Answer", wanted: Format, *, rows: bool) -> str:
    import json

    if wanted == "json":
        return json.dumps(answer.to_dict(rows=rows), ensure_ascii=False, default=str, indent=1) + "\n"
    if wanted == "html":
        return _page(answer)
    return str(answer)


def _page(answer: "Answer") -> str:
    """The figure above the words, in one file that needs no network."""
    import html

    figure = answer.plot().to_html(full_html=False, include_plotlyjs=True)
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{html.escape(answer.title)}</title>'
        f'<body style="font-family: sans-serif; max-width: 75em; margin: auto">{figure}{answer._repr_html_()}</body></html>\n'
    )


def write_rows(answer: "Answer", wanted: Format, output: Path | None, *, summary: bool) -> None:
    """Write the rows of an answer, or one row per group, as CSV or Parquet: to a file, CSV also to stdout."""
    import pyarrow.parquet as pq
    from pyarrow import csv

    rows: pa.Table = answer.summary if summary and answer.summary is not None else answer.table
    if wanted == "parquet":
        pq.write_table(rows, str(output))
    elif output is not None:
        csv.write_csv(_flat(rows), str(output))
    else:
        out = io.BytesIO()
        csv.write_csv(_flat(rows), out)
        sys.stdout.write(out.getvalue().decode())


def _flat(rows: "pa.Table") -> "pa.Table":
    """The rows with lists as JSON text: CSV has none."""
    import json

    import pyarrow as pa

    for k, field in enumerate(rows.schema):
        if pa.types.is_nested(field.type):
            values = [None if value is None else json.dumps(value) for value in rows.column(k).to_pylist()]
            rows = rows.set_column(k, field.name, pa.array(values, pa.string()))
    return rows
