"""Other processes: one that dies between two steps, one that holds the archive, one that keeps reading it."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DEAD = 17


def killed_at(step: str, module: str, program: str) -> None:
    """Run `program` in a new process that exits hard when `module.step` is called with this name."""
    text = f"""
import importlib, os
module = importlib.import_module({module!r})
def die(name):
    if name == {step!r}:
        os._exit({DEAD})
module.step = die
{program}
"""
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == DEAD, f"never came to {step!r}: {done.stderr}"


def _serve(path: str, read_only: bool, pipe: Connection) -> None:
    import duckdb

    with duckdb.connect(path, read_only=read_only) as connection:
        pipe.send(os.getpid())
        while sql := pipe.recv():
            pipe.send(connection.execute(sql).fetchall())


@contextmanager
def open_elsewhere(
    path: Path, *, read_only: bool
) -> Iterator[tuple[int, Callable[[str], list[tuple[object, ...]]]]]:
    """The file open in another process all the while; yields that process's id and a way to ask it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(str(path), read_only, theirs))
    process.start()

    def ask(sql: str) -> list[tuple[object, ...]]:
        ours.send(sql)
        answer: list[tuple[object, ...]] = ours.recv()
        return answer

    try:
        yield ours.recv(), ask
    finally:
        ours.send("")
        process.join()
