"""A second process that holds an archive open, for tests of locks: real processes, no sleeps."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "ro")
print("holding", flush=True)
sys.stdin.readline()
"""
HOLD_WRITER_LOCK = """
import sys
from archive.layout import Layout
from archive.lock import writer_lock
with writer_lock(Layout.of(sys.argv[1]), sys.argv[2], patience=0):
    print("holding", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another_process(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a program until it says "holding"; it is let go (or may be killed) at the end of the block."""
    root = Path(__file__).resolve().parent.parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "holding\n"
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)
