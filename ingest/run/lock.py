"""Lock files: one ingest of a study at a time, one worker in a training folder at a time.

The kernel drops a lock when its holder dies, however it dies, so there is nothing to clean up.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive.errors import TryAgain


class StudyLocked(TryAgain):
    """Another process is carrying out the study; the same command again later will do."""


class FolderLocked(TryAgain):
    """Another process is training into the folder."""


@contextmanager
def study_lock(path: Path, study: str) -> Iterator[None]:
    """Hold the study's lock; raises StudyLocked at once, naming the holder."""
    with _held(path) as holder:
        if holder is not None:
            raise StudyLocked(
                f"study {study!r} is being ingested by {holder}; nothing was done. Give the same command again later "
                f"(the lock file is {path})."
            )
        yield


@contextmanager
def folder_lock(folder: Path, *, patience: float) -> Iterator[None]:
    """Hold a training folder; raises FolderLocked after `patience` seconds.

    A worker that outlives its parent for a moment is why one waits.
    """
    deadline = time.monotonic() + patience
    while True:
        with _held(folder / ".lock") as holder:
            if holder is None:
                yield
                return
        if time.monotonic() > deadline:
            raise FolderLocked(
                f"{folder} is in use by {holder}; waited {patience:.0f} s. Give the command again."
            )
        time.sleep(0.1)


@contextmanager
def _held(path: Path) -> Iterator[str | None]:
    """Yields None when the lock is ours, else who has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            yield handle.read().strip() or "another process"
            return
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        handle.flush()
        yield None
        handle.truncate(0)
