"""The SQL console: one read-only statement against an archive, in a child process that cannot get out.

Any SQL may be typed by anybody who opens the explorer. DuckDB read-only still reads files, writes them with
COPY, attaches others and can be kept busy for ever; so the statement runs in a process of its own with
DuckDB's outside access off and its settings locked, and with time, memory and file writing limited by the
kernel (`archive/console_child.py`).
"""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from archive.errors import ArchiveBusy, PathscopeError, SqlRefused, SqlStopped
from archive.layout import Layout
from archive.store import Archive, explain_damage, held_by
from archive.views import older_than

CHILD = Path(__file__).with_name("console_child.py")
# the child keeps its own time; this is for a machine so busy that it does not get to start
START_SECONDS = 60.0


@dataclass(frozen=True)
class Limits:
    """What one statement may use."""

    seconds: float = 30.0
    memory_mb: int = 2048
    rows: int = 1_000_000
    threads: int = 2


@dataclass(frozen=True, eq=False)
class SqlResult:
    """What a statement returned.

    truncated: there were more rows than `Limits.rows` (or than fit in a quarter of its memory); `table` has
    the first ones. seconds: time the statement took. from_snapshot: the live file was being written, so the
    published copy answered.
    """

    table: pa.Table
    truncated: bool
    seconds: float
    from_snapshot: bool


DEFAULT_LIMITS = Limits()


def run_sql(
    path: str | Path,
    sql: str,
    limits: Limits = DEFAULT_LIMITS,
    *,
    snapshot: bool = False,
    patience: float = 20.0,
) -> SqlResult:
    """Run one reading statement (SELECT, WITH, FROM, EXPLAIN, DESCRIBE, SHOW, SUMMARIZE) on an archive.

    Reads the live file, or the published copy while somebody writes; `snapshot=True` always the copy.
    Raises SqlRefused (wrong SQL, with the place; or something the console does not do), SqlStopped (time,
    memory), ArchiveBusy after `patience` seconds, ArchiveDamaged.
    """
    layout = Archive(path, snapshot=snapshot).layout
    files = [layout.current_snapshot] if snapshot else [layout.database, layout.current_snapshot]
    request = {
        "files": [str(f) for f in files if f.exists()],
        "sql": sql,
        "patience": patience,
        "seconds": limits.seconds,
        "memory_mb": limits.memory_mb,
        "rows": limits.rows,
        "threads": limits.threads,
    }
    status, output, errors = _child(request, limits.seconds + patience + START_SECONDS)
    header, _, body = output.partition(b"\n")
    if not body and not header:
        raise _died(status, errors, limits)
    reply = json.loads(header)
    if "error" in reply:
        raise _problem(reply, sql, layout, limits)
    if status != 0:
        raise _died(status, errors, limits)
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all()
    return SqlResult(
        table, reply["truncated"], reply["seconds"], reply["file"] == str(layout.current_snapshot)
    )


def _child(request: dict[str, Any], seconds: float) -> tuple[int, bytes, bytes]:
    """Exit status, output and complaints of the child, which is gone when this returns or raises."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
    )
    try:
        output, errors = process.communicate(json.dumps(request).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        output, errors = b"", b""
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    return process.returncode, output, errors


def _died(status: int, errors: bytes, limits: Limits) -> PathscopeError:
    """What an ended child means: the kernel ends it by a signal that says which limit it met."""
    if -status in (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL):
        return SqlStopped(
            f"stopped after {limits.seconds:g} s. Ask for less (fewer runs, a WHERE on run_id or quantity_id, a LIMIT), "
            f"or allow more: `pathscope sql --limit-seconds N`."
        )
    if -status in (
        signal.SIGABRT,
        signal.SIGSEGV,
        signal.SIGBUS,
    ):  # how DuckDB ends where an allocation fails
        return _no_memory(limits)
    lines = errors.decode(errors="replace").strip().splitlines() or ["no message"]
    return PathscopeError(f"the process of the SQL console ended with status {status}: {lines[-1]}")


def _no_memory(limits: Limits) -> SqlStopped:
    return SqlStopped(
        f"needs more than the {limits.memory_mb} MB it may use. Aggregate or filter more, or allow more: "
        f"PATHSCOPE_SQL_MEMORY_MB."
    )


def _problem(reply: dict[str, Any], sql: str, layout: Layout, limits: Limits) -> PathscopeError:
    kind, message, position = reply["error"], reply["message"], reply["position"]
    if kind == "memory":
        return _no_memory(limits)
    if kind == "busy":
        return ArchiveBusy(
            f"{layout.database} is held by {held_by(message)} and has no published copy; try again, or run "
            f"`pathscope publish --archive {layout.database}` once it is free."
        )
    if kind == "file":
        try:
            with explain_damage(layout.database):
                raise duckdb.IOException(message)
        except PathscopeError as worded:
            return worded
        except duckdb.Error:
            return SqlRefused(f"refused: {message}")
    if kind == "blocked":
        said = message.rstrip(".!")
        message = f"refused: {said}. This console only reads the archive, no other file, and changes nothing."
    elif kind == "statement":
        message = f"refused: {message}."
    told = message if position is None else f"{message}\n{_place(sql, position)}"
    if gone := older_than(message):
        told += (
            f"\nThis archive is older than {gone}: `pathscope upgrade --archive {layout.database}` adds it."
        )
    error = SqlRefused(told)
    if position is not None:
        error.line, error.column = _line_and_column(sql, position)
    return error


def _line_and_column(sql: str, position: int) -> tuple[int, int]:
    # DuckDB counts bytes of UTF-8
    before = sql.encode()[:position].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _place(sql: str, position: int) -> str:
    """The line of the mistake with a mark below it, cut to what fits."""
    line, column = _line_and_column(sql, position)
    text = sql.split("\n")[line - 1]
    start = max(0, column - 41)
    return f"line {line}, column {column}:\n  {text[start : start + 80]}\n  {' ' * (column - 1 - start)}^"
