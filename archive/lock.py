"""One writer at a time: an advisory lock file that says who holds it and since when.

DuckDB's own lock already keeps two writers apart; this one covers what DuckDB cannot see (moving shards,
publishing, swapping the file) and gives the waiting side a name instead of an error number.
The kernel drops it when its owner dies, however it dies.

A second lock file makes the way in fair: DuckDB's lock lets readers in as long as there is one, so a few busy
readers would keep a writer out for ever. A writer that waits says so, and new readers give way for a moment.
"""

import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from archive.errors import ArchiveBusy
from archive.layout import Layout


@contextmanager
def writer_lock(layout: Layout, action: str, *, patience: float) -> Iterator[None]:
    """Hold the archive's writer lock; raises ArchiveBusy naming the holder after `patience` seconds."""
    layout.folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with layout.writer_lock.open("a+b", buffering=0) as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    handle.seek(0)
                    holder = handle.read().decode(errors="replace").strip() or "another process"
                    raise ArchiveBusy(
                        f"{layout.database} is being written by {holder}; waited {patience:.0f} s. Run the same "
                        f"command again; the lock file is {layout.writer_lock}."
                    ) from None
                time.sleep(random.uniform(0.01, 0.05))
        handle.truncate(0)
        with suppress(OSError):  # a full disk: the lock holds, only its note is missing
            handle.write(
                f"process {os.getpid()} ({action}) since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode()
            )
        try:
            yield
        finally:
            handle.truncate(0)
            fcntl.flock(handle, fcntl.LOCK_UN)


@contextmanager
def waiting_to_write(layout: Layout) -> Iterator[None]:
    """Tell readers that a writer waits to get in; forgotten by the kernel when this process dies."""
    if not layout.folder.is_dir():  # a file that is being made, which nobody reads
        yield
        return
    with layout.waiting_lock.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def give_way(layout: Layout, seconds: float) -> None:
    """Wait while a writer waits to get in, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and writer_waits(layout):
        time.sleep(random.uniform(0.01, 0.03))


def writer_waits(layout: Layout) -> bool:
    """Whether a writer waits to get in."""
    try:
        with layout.waiting_lock.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False  # none has ever waited here
