"""Who is at work on an archive: what lock files say, read without taking a lock, so that nobody is kept out.

A process that holds a lock writes its number into the file and empties it when done. One that was killed leaves
its words behind; that its process is gone tells them apart, on this machine.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from archive.layout import Layout

_PREFIX, _SUFFIX = "study-", ".lock"
_PROCESS = re.compile(r"process (\d+)")


@dataclass(frozen=True)
class Holder:
    """What a lock file says, such as `process 12 (commit) since 2026-01-31 09:00:00`.

    alive: such a process runs on this machine now; False: it was killed, or it runs on another machine.
    """

    words: str
    alive: bool


def writer(layout: Layout) -> Holder | None:
    """Who writes into the archive at this moment; None when nobody does."""
    return _holder(layout.writer_lock)


def ingests(layout: Layout) -> dict[str, Holder]:
    """Who carries out which study, by its name."""
    found = {}
    for path in sorted(layout.folder.glob(f"{_PREFIX}*{_SUFFIX}")):
        if holder := _holder(path):
            found[path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)] = holder
    return found


def _holder(path: Path) -> Holder | None:
    try:
        words = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # no lock was ever taken here, or it is not for us to read
        return None
    if not words:
        return None
    process = _PROCESS.search(words)
    return Holder(words, process is not None and _runs(int(process.group(1))))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing; asks whether one could
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
