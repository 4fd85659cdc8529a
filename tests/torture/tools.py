"""What the scenarios share: an archive to break, a look at what is left, and ways of breaking it."""

import atexit
import contextlib
import functools
import os
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from tests.torture.actors import (
    CONTEXT,
    ROWS,
    commit,
    look,
    unit,
    value_of,
)
from tests.torture.invariants import broken


@dataclass
class Outcome:
    """What a scenario did and what it broke."""

    rounds: int = 0
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, holds: bool, words: str) -> None:
        """Write down a promise that does not hold."""
        if not holds:
            self.broken.append(words)


BASE = {("r-9", step) for step in range(30)}


@functools.cache
def _archive_to_copy() -> Layout:
    """An archive with one run in it, until this process ends: making it takes longer than most rounds."""
    folder = tempfile.mkdtemp(prefix="torture-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    layout = ensure_archive(Path(folder) / "x.duckdb")
    unit("r-9", range(30)).write(layout.inbox)
    commit_inbox(layout)
    return layout


def new_archive(folder: Path) -> Layout:
    """An archive of its own with one run in it."""
    return copy_archive(_archive_to_copy(), folder)


def check_values(
    layout: Layout, expected: set[tuple[str, int]], outcome: Outcome, *, exactly: bool = False
) -> None:
    """Every expected (run, step) is there with all its heads and its own value, and nothing is broken."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in Archive(layout.database, patience=60).rows("SELECT run, step, value FROM v_head_score"):
        found.setdefault((row["run"], row["step"]), []).append(row["value"])
    for run, step in expected:
        wanted = [float(value_of(run, step))] * ROWS
        outcome.check(
            found.get((run, step)) == wanted, f"{run} step {step} is {found.get((run, step))}, not {wanted}"
        )
    if exactly:
        outcome.check(
            set(found) == expected, f"steps that nobody measured: {sorted(set(found) - expected)[:5]}"
        )
    outcome.broken += broken(Archive(layout.database, patience=60))


def run_commit(layout: Layout, **options: Any) -> tuple[list[str], tuple[Any, ...]]:
    """Commit in a process of its own: the steps it took and how it ended."""
    mine, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=commit, args=(str(layout.database),), kwargs={**options, "said": theirs})
    process.start()
    theirs.close()
    steps: list[str] = []
    ending: tuple[Any, ...] = ("killed",)
    with contextlib.suppress(EOFError):
        while True:
            message = mine.recv()
            if message[0] == "step":
                steps.append(message[1])
            else:
                ending = message
    process.join()
    if ending == ("killed",) and process.exitcode != -9:
        ending = ("ended with status", process.exitcode)
    return steps, ending


def ask(database: Path) -> tuple[object, ...]:
    """What a reader in a process of its own sees; the process may crash on a damaged file."""
    mine, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=look, args=(str(database), theirs))
    process.start()
    theirs.close()
    seen: tuple[object, ...] = ("nothing",)
    with contextlib.suppress(EOFError):
        seen = mine.recv()
    process.join()
    return seen if process.exitcode == 0 else ("ended with status", process.exitcode)


def copy_archive(layout: Layout, folder: Path) -> Layout:
    """A copy of a closed archive with all its folders."""
    folder.mkdir(exist_ok=True)
    copy = Layout.of(folder / layout.database.name)
    shutil.copy(layout.database, copy.database)
    wal = layout.database.with_name(f"{layout.database.name}.wal")
    if wal.exists():
        shutil.copy(wal, copy.database.with_name(wal.name))
    shutil.copytree(layout.folder, copy.folder, dirs_exist_ok=True)
    return copy


def damage_file(file: Path, rng: random.Random) -> str:
    """Flip a bit, cut the end off, or empty the file; says which."""
    content = file.read_bytes()
    kind = rng.choice(["bit", "bit", "cut", "empty"])
    if kind == "empty":
        file.write_bytes(b"")
        return "emptying"
    at = rng.randrange(len(content))
    if kind == "cut":
        file.write_bytes(content[:at])
        return f"cutting at byte {at}"
    file.write_bytes(content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :])
    return f"flipping a bit of byte {at}"


def empty(disk: Path) -> None:
    """Remove everything from a disk."""
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def fill(disk: Path, *, leaving: int) -> Path:
    """A file that leaves so many bytes free."""
    ballast = disk / "ballast"
    free = shutil.disk_usage(disk).free
    with ballast.open("wb") as handle:
        os.posix_fallocate(handle.fileno(), 0, max(free - leaving, 1))
    return ballast
