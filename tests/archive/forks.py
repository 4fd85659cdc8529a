"""Other processes without the half second that starting each costs: forks of one that has imported what they need.

Each is a real process of its own, with its own locks, limits and end; only the imports are shared.
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import IO

ROOT = Path(__file__).resolve().parents[2]

# a message is a program with the three streams it gets, or the number of a process whose end is waited for
SERVE = """
import os, socket, sys, traceback
{imports}
asked = socket.socket(fileno=os.dup(0))
while True:
    text, streams, _, _ = socket.recv_fds(asked, 2**20, 3)
    if not text:
        break
    if not streams:
        asked.sendall(b"%d\\n" % os.waitstatus_to_exitcode(os.waitpid(int(text), 0)[1]))
        continue
    pid = os.fork()
    if pid == 0:
        asked.close()
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        status = 1
        try:
            exec(compile(text, "<program>", "exec"), {{"__name__": "__main__"}})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    for stream in streams:
        os.close(stream)
    asked.sendall(b"%d\\n" % pid)
"""


@dataclass
class Fork:
    """A running program."""

    pid: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]
    forks: "Forks"

    @property
    def runs(self) -> bool:
        """False once a program that writes nothing has ended."""
        return not select([self.stdout], [], [], 0)[0]

    def end(self) -> tuple[int, bytes, bytes]:
        """Its exit status (negative for a signal), what it wrote and what it complained about, once it has ended."""
        self.stdin.close()
        with self.stdout, self.stderr:
            output, complaints = self.stdout.read(), self.stderr.read()
        return self.forks.wait(self.pid), output, complaints


class Forks:
    """Starts programs in forks of one process, which ends with this one."""

    def __init__(self, imports: str, *, flags: Sequence[str] = (), folder: Path = ROOT) -> None:
        """`imports` is what all programs need; `flags` are Python's, `folder` is where they run."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *flags, "-c", SERVE.format(imports=imports)],
                stdin=theirs,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self._answers = self._socket.makefile("rb")
        atexit.register(self.close)

    def start(self, program: str) -> Fork:
        """Run a program with streams of its own."""
        read_in, write_in = os.pipe()
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        socket.send_fds(self._socket, [program.encode()], [read_in, write_out, write_err])
        for stream in (read_in, write_out, write_err):
            os.close(stream)
        pid = int(self._answers.readline())
        return Fork(
            pid, os.fdopen(write_in, "wb"), os.fdopen(read_out, "rb"), os.fdopen(read_err, "rb"), self
        )

    def wait(self, pid: int) -> int:
        """The exit status of a process when it has ended."""
        self._socket.sendall(b"%d" % pid)
        return int(self._answers.readline())

    def close(self) -> None:
        """End the process that forks."""
        self._answers.close()
        self._socket.close()
        self._process.wait()
