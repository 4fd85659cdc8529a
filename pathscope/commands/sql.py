"""`pathscope sql`: one read-only SQL statement."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from archive.errors import UsageError
from pathscope.commands.common import ArchiveOption, JsonOption, archive_path, emit
from pathscope.settings import load_settings

if TYPE_CHECKING:
    import pyarrow as pa

    from archive.console import SqlResult

Format = Literal["table", "json", "csv", "parquet"]
ENDINGS: dict[str, Format] = {".json": "json", ".csv": "csv", ".parquet": "parquet"}
SHOWN_ROWS = 100


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sql")(sql)


def sql(
    statement: Annotated[
        str, typer.Argument(help="SELECT, WITH, FROM, EXPLAIN, DESCRIBE, SHOW or SUMMARIZE; - reads stdin.")
    ],
    archive: ArchiveOption = None,
    format: Annotated[Format, typer.Option("--format", help="How to write the rows.")] = "table",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file; its ending chooses the format.")
    ] = None,
    limit_seconds: Annotated[
        float | None, typer.Option("--limit-seconds", min=0.01, help="Stop the statement after this time.")
    ] = None,
    snapshot: Annotated[bool, typer.Option("--snapshot", help="Read the published copy.")] = False,
    json: JsonOption = False,
) -> None:
    """Run one read-only SQL statement; the `v_*` views are the public tables (`SHOW TABLES`, docs/sql.md).

    It runs in a process of its own that reads the archive and nothing else, within limits of time, memory and
    rows (settings `sql_seconds`, `sql_memory_mb`, `sql_rows`). A result that was cut says so on stderr.
    """
    from archive.console import Limits, run_sql

    wanted: Format = "json" if json else ENDINGS.get(output.suffix.lower(), format) if output else format
    if wanted == "parquet" and output is None:
        raise UsageError("--format parquet needs --output FILE: Parquet is not text.")
    settings = load_settings()
    limits = Limits(limit_seconds or settings.sql_seconds, settings.sql_memory_mb, settings.sql_rows)
    text = sys.stdin.read() if statement == "-" else statement
    result = run_sql(archive_path(archive), text, limits, snapshot=snapshot)
    if wanted == "parquet":
        _write_parquet(result.table, output)
    elif wanted == "csv":
        _write_csv(result.table, output)
    elif output is not None:
        _write_text(result, wanted, output)
    else:
        emit(
            _document(result),
            as_json=wanted == "json",
            human=lambda console: console.print(_rendered(result.table)),
        )
    if wanted != "json" or output is not None:
        _remark(result, shown=wanted == "table" and output is None)


def _remark(result: "SqlResult", *, shown: bool) -> None:
    """What a reader of the rows must know, on stderr."""
    n_rows = result.table.num_rows
    if result.truncated:
        print(f"cut after {n_rows} rows; there are more (setting sql_rows, or aggregate).", file=sys.stderr)
    elif shown and n_rows > SHOWN_ROWS:
        print(
            f"{SHOWN_ROWS} of {n_rows} rows shown; --format csv or --output FILE has all of them.",
            file=sys.stderr,
        )
    if result.from_snapshot:
        print("answered by the published copy, which may be older than the archive.", file=sys.stderr)


def _document(result: "SqlResult") -> dict[str, Any]:
    return {
        "columns": [{"name": f.name, "type": str(f.type)} for f in result.table.schema],
        # by position: a result may have two columns of one name
        "rows": [list(row) for row in zip(*(c.to_pylist() for c in result.table.columns), strict=True)],
        "truncated": result.truncated,
        "seconds": round(result.seconds, 6),
        "from_snapshot": result.from_snapshot,
    }


def _rendered(rows: "pa.Table") -> Table:
    table = Table()
    for field in rows.schema:
        table.add_column(
            Text(field.name), justify="right" if _is_number(field.type) else "left", overflow="fold"
        )
    for row in zip(*(c.to_pylist() for c in rows.slice(0, SHOWN_ROWS).columns), strict=True):
        table.add_row(*(Text("" if value is None else _shown(value)) for value in row))
    return table


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _write_text(result: "SqlResult", wanted: Format, output: Path) -> None:
    with output.open("w", encoding="utf-8") as handle:
        if wanted == "json":
            import json

            json.dump(_document(result), handle, ensure_ascii=False, default=str, indent=1)
            handle.write("\n")
        else:
            Console(file=handle, width=200).print(_rendered(result.table))


def _write_parquet(rows: "pa.Table", output: Path | None) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows, str(output))


def _write_csv(rows: "pa.Table", output: Path | None) -> None:
    """Comma-separated values; lists and structures as JSON in their cell."""
    import json

    import pyarrow as pa
    from pyarrow import csv

    columns = [
        pa.array([None if v is None else json.dumps(v, default=str) for v in column.to_pylist()], pa.string())
        if pa.types.is_nested(column.type)
        else column
        for column in rows.columns
    ]
    flat = pa.table(columns, names=rows.schema.names)
    if output is not None:
        csv.write_csv(flat, str(output))
    else:
        sink = pa.BufferOutputStream()
        csv.write_csv(flat, sink)
        sys.stdout.write(sink.getvalue().to_pybytes().decode())
