"""Stopping at the next step boundary: signals, a time budget, and a file that workers anywhere can see."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

# how often a worker looks for the file; a look costs microseconds, a training step milliseconds
LOOK_SECONDS = 0.05

_terminated = threading.Event()


@dataclass
class StopCheck:
    """Asked by a worker between steps: true from the moment anybody wants it to stop.

    file: exists when the parent wants to stop. deadline: seconds since the epoch, or None.
    """

    file: Path
    deadline: float | None
    _next_look: float = field(default=0.0, init=False)
    _stopped: bool = field(default=False, init=False)

    def __call__(self) -> bool:
        """True when it is time to stop; stays true."""
        now = time.time()
        if not self._stopped:
            self._stopped = _terminated.is_set() or (self.deadline is not None and now >= self.deadline)
        if not self._stopped and now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._stopped = self.file.exists()
        return self._stopped


def prepare_worker() -> None:
    """Make a worker process leave stopping to its parent, and die with it.

    SIGTERM, which systemd sends to every process of a service, ends the unit at the next step. Ctrl-C reaches
    the whole foreground group too; workers are started deaf to it, for only the parent should act on it.
    """
    signal.signal(signal.SIGTERM, lambda *_: _terminated.set())
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # a pool's workers wait for ever for a parent that was killed; state on disk is whole at any moment
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(75)


class Stopper:
    """The parent's side: turns signals and the deadline into the stop file, once."""

    def __init__(self, file: Path, deadline: float | None) -> None:
        """`file` must not be in use by another study; a leftover of a killed process is removed."""
        self.file = file
        self.deadline = deadline
        self.reason = ""
        file.unlink(missing_ok=True)

    @property
    def stopping(self) -> bool:
        """True from the moment anybody wants to stop; a passed deadline counts."""
        if not self.reason and self.deadline is not None and time.time() >= self.deadline:
            self.stop("the time budget is spent")
        return bool(self.reason)

    def stop(self, reason: str) -> None:
        """Tell workers to stop at their next step."""
        if not self.reason:
            self.reason = reason
            self.file.touch()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as a wish to stop; a second one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():  # Python delivers signals there only
            try:
                yield
            finally:
                self.file.unlink(missing_ok=True)
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self.reason:
                raise KeyboardInterrupt
            self.stop(f"stopped by {signal.Signals(number).name}")

        before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            self.file.unlink(missing_ok=True)
