"""The child process of the SQL console: opens one file read-only, locks itself in, runs one statement.

Started as a script by `archive.console`, never imported, and without anything of pathscope: a JSON request
on stdin; on stdout one line of JSON and, if all went well, the rows as an Arrow IPC stream. Whatever a
statement does, the kernel ends this process at the time limit, at the processor limit and at the memory
limit, and lets it write no file: DuckDB's own limits and `interrupt()` do not stop every statement.
"""

import json
import math
import re
import resource
import signal
import sys
import time
from typing import Any

import duckdb
import pyarrow as pa

MIB = 2**20
# address space that DuckDB's threads and allocators reserve without using it
OVERHEAD = 1280 * MIB
BATCH = 2048
LOCKED_DOWN = {
    "enable_external_access": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "python_scan_all_frames": "false",
    "temp_directory": "",  # nothing spills: a size of 0 still makes a folder beside the archive
    "errors_as_json": "true",
}
# the types of statement that only read; SHOW, DESCRIBE, SUMMARIZE, FROM and VALUES are SELECTs to DuckDB
READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", re.DOTALL)


class Problem(Exception):
    """What goes back instead of rows."""

    def __init__(self, kind: str, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reply: dict[str, Any] = {"error": kind, "message": message, "position": position}


def main() -> None:
    """Answer the one request on stdin."""
    request = json.loads(sys.stdin.buffer.read())
    rows: pa.Table | None = None
    reply: dict[str, Any]
    try:
        connection, file = open_first(request["files"], request)
        lock_in(request)
        began = time.monotonic()
        rows, truncated = run(connection, request)
        reply = {"file": file, "truncated": truncated, "seconds": time.monotonic() - began}
    except Problem as problem:
        reply = problem.reply
    except (MemoryError, pa.ArrowMemoryError):
        reply = {"error": "memory", "message": "", "position": None}
    except duckdb.Error as error:
        reply = explained(error).reply
    out = sys.stdout.buffer
    out.write(json.dumps(reply).encode() + b"\n")
    if rows is not None:
        with pa.ipc.new_stream(out, rows.schema) as writer:
            writer.write_table(rows)
    out.flush()


def open_first(files: list[str], request: dict[str, Any]) -> tuple[duckdb.DuckDBPyConnection, str]:
    """Open the first file that nobody holds; wait for it up to `patience` seconds."""
    config: dict[str, str | bool | int | float | list[str]] = {
        **LOCKED_DOWN,
        "memory_limit": f"{request['memory_mb']}MiB",
        "threads": str(request["threads"]),
    }
    deadline = time.monotonic() + request["patience"]
    while True:
        for file in files:
            try:
                connection = duckdb.connect(file, read_only=True, config=config)
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error):
                    raise Problem("file", explained(error).message) from error
                held = error
            else:
                connection.execute("SET enable_progress_bar = false")  # stdout is for the rows
                connection.execute("SET lock_configuration = true")
                return connection, file
        if time.monotonic() > deadline:
            raise Problem("busy", str(held))
        time.sleep(0.02)


def lock_in(request: dict[str, Any]) -> None:
    """Ask the kernel to hold this process to its limits, from now on and for good."""
    seconds = float(request["seconds"])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write to a file then fails instead of killing
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the default action needs no Python and no DuckDB to run
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    processor = math.ceil(seconds * request["threads"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor))
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            reserved = int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        pass  # not Linux: DuckDB's own memory limit and the clock remain
    else:
        space = reserved + request["memory_mb"] * MIB + OVERHEAD
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def run(connection: duckdb.DuckDBPyConnection, request: dict[str, Any]) -> tuple[pa.Table, bool]:
    """The rows of the one statement, and whether there were more than may be returned."""
    statement = the_statement(connection, request["sql"])
    reader = connection.execute(statement).to_arrow_reader(BATCH)
    batches: list[pa.RecordBatch] = []
    n_rows = n_bytes = 0
    try:
        for batch in reader:
            batches.append(batch)
            n_rows += batch.num_rows
            n_bytes += batch.nbytes
            if n_rows > request["rows"] or n_bytes > request["memory_mb"] * MIB // 4:
                return pa.Table.from_batches(batches).slice(0, request["rows"]), True
    except OSError as error:  # what Arrow makes of DuckDB's errors
        if not str(error).startswith("Out of Memory"):
            raise
        if not batches:
            raise Problem("memory", "") from error
        return pa.Table.from_batches(batches), True
    return pa.Table.from_batches(batches, schema=reader.schema), False


def the_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The one reading statement in the text; raises Problem for none, several, or another kind."""
    statements = connection.extract_statements(sql)
    word = FIRST_WORD.match(sql)
    first = word.group(1).upper() if word else ""
    if first == "PIVOT" and len(statements) == 2:
        raise Problem(
            "statement",
            "PIVOT needs the values it makes columns of here: PIVOT t ON column IN (a, b) USING ...",
        )
    if not statements:
        raise Problem("statement", "there is no statement")
    if len(statements) > 1:
        raise Problem("statement", f"these are {len(statements)} statements, and one is run at a time")
    kind = statements[0].type
    if kind not in READING or first in {"PRAGMA", "CALL"}:
        name = first or kind.name
        raise Problem(
            "statement",
            f"{name} is not run here; SELECT, WITH, FROM, EXPLAIN, DESCRIBE, SHOW and SUMMARIZE are",
        )
    return statements[0]


def explained(error: duckdb.Error) -> Problem:
    """What DuckDB says, from its JSON form, and what kind of problem it is."""
    text = str(error)
    try:
        said = json.loads(text[text.index("{") :])
        message, position = str(said["exception_message"]), said.get("position")
    except (ValueError, KeyError):
        message, position = re.sub(r"^[A-Z][\w ]* Error: ", "", text), None
    at = int(position) if position is not None else None
    if isinstance(error, duckdb.OutOfMemoryException):
        return Problem("memory", "")
    if isinstance(error, duckdb.IOException):
        return Problem("file", message)
    blocked = ("disabled", "read-only", "locked", "not allowed", "lock_configuration")
    if isinstance(error, duckdb.PermissionException) or any(word in message for word in blocked):
        return Problem("blocked", message, at)
    return Problem("sql", message, at)


if __name__ == "__main__":
    main()
