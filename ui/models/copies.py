"""What a figure's or a result's numbers are taken away as: lines of Python, a command, CSV, Parquet."""

import io
import json
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.csv import write_csv

from archive.store import Archive


def opened(archive: Archive) -> str:
    """The archive in an expression of Python."""
    copy = ", snapshot=True" if archive.snapshot else ""
    return f"pathscope.open_archive({str(archive.layout.database)!r}{copy})"


def in_python(archive: Archive, sql: str) -> str:
    """The lines that give a statement's table in Python, without the import."""
    plain = not sql.endswith('"') and not any(part in sql for part in ('"""', "\\"))
    quoted = f'"""\\\n{sql}"""' if plain else repr(sql)
    return f"archive = {opened(archive)}\narchive.query({quoted})"


def in_shell(archive: Archive, sql: str) -> str:
    """The command that prints the same table."""
    return shlex.join(["pathscope", "sql", sql, "--archive", str(archive.layout.database)])


def to_csv(table: pa.Table) -> bytes:
    """The table as CSV; what has no plain text form (lists, structs, intervals) is written as JSON."""
    sink = pa.BufferOutputStream()
    columns = [c if _writes_as_text(c.type) else _as_json(c) for c in table.columns]
    write_csv(pa.table(columns, names=table.column_names), sink)
    return bytes(sink.getvalue().to_pybytes())


def to_parquet(table: pa.Table) -> bytes:
    """The table as a Parquet file; intervals, which the format lacks, as text."""
    sink = io.BytesIO()
    columns = [_as_json(c) if pa.types.is_interval(c.type) else c for c in table.columns]
    pq.write_table(pa.table(columns, names=table.column_names), sink, compression="zstd")
    return sink.getvalue()


def _writes_as_text(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (
        t.is_integer,
        t.is_floating,
        t.is_decimal,
        t.is_boolean,
        t.is_string,
        t.is_large_string,
        t.is_null,
    )
    return any(test(kind) for test in (*tests, t.is_date, t.is_timestamp))


def _as_json(column: pa.ChunkedArray) -> pa.Array:
    values = column.to_pylist()
    return pa.array([None if v is None else json.dumps(v, default=str) for v in values], pa.string())
