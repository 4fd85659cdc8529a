"""Other processes: one that dies between two steps, one that holds the archive, one that keeps reading it."""

from ast import literal_eval
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.archive.forks import Forks

DEAD = 17
NEEDED = (
    "import archive.upkeep.drop, archive.upkeep.merge, archive.upkeep.optimize, archive.upkeep.publish, "
    "tests.archive.upkeep.sample"
)


@cache
def forks() -> Forks:
    """What starts them all."""
    return Forks(NEEDED)


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
    status, _, complaints = forks().start(text).end()
    assert status == DEAD, f"never came to {step!r}: {complaints.decode()}"


@contextmanager
def open_elsewhere(
    path: Path, *, read_only: bool
) -> Iterator[tuple[int, Callable[[str], list[tuple[object, ...]]]]]:
    """The file open in another process all the while; yields that process's id and a way to ask it."""
    text = f"""
import duckdb, os, sys
with duckdb.connect({str(path)!r}, read_only={read_only}) as connection:
    print(os.getpid(), flush=True)
    for sql in sys.stdin:
        print(connection.execute(sql).fetchall(), flush=True)
"""
    process = forks().start(text)

    def ask(sql: str) -> list[tuple[object, ...]]:
        process.stdin.write(f"{sql}\n".encode())
        process.stdin.flush()
        answer: list[tuple[object, ...]] = literal_eval(process.stdout.readline().decode())
        return answer

    try:
        yield int(process.stdout.readline()), ask
    finally:
        process.end()
