"""The archive file as bytes: copying it and checking the checksum of every block, in a process of their own.

DuckDB's lock is a POSIX record lock, which vanishes when the process closes *any* descriptor of the file.
So a process that may have the archive open, in any thread, never opens the file itself: it runs this file
as a script. The script imports nothing of pathscope and no DuckDB.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import numpy as np

# DuckDB's layout: three headers of 4 KiB (file, and two of the database that take turns), then blocks of one
# size; each starts with the checksum of what follows it
HEADER = 4096
MAGIC = b"DUCK"
MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)
SEED = np.uint64(5381)
READ_AT_ONCE = 2**26
# a block of metadata is cut into pieces; a pointer to one is the block's id and, in its last byte, the piece
PIECES_PER_BLOCK = 64
NO_POINTER = 2**64 - 1


def copy_file(source: Path, target: Path) -> None:
    """Copy a file durably, in another process. Raises OSError with the reason when it does not work."""
    _apart("copy", str(source), str(target))


def bad_blocks(file: Path) -> list[int] | None:
    """Ids of used blocks whose bytes do not have their stored checksum, found in another process.

    Covers what no query reads: indexes. None when headers or the list of free blocks are not in the layout known
    here (a file of another DuckDB generation, or damage that DuckDB itself reports on opening).
    """
    found: list[int] | None = json.loads(_apart("check", str(file)))
    return found


def block_offset(block: int, size: int = 2**18) -> int:
    """Where a block starts in the file, in bytes."""
    return 3 * HEADER + block * size


def _apart(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        number, _, message = done.stderr.strip().rpartition("\n")[2].partition(" ")
        raise OSError(int(number) if number.isdigit() else errno.EIO, message or done.stderr.strip())
    return done.stdout


def _copy(source: Path, target: Path) -> None:
    shutil.copy(source, target)  # with its mode, without its time
    with target.open("rb") as handle:
        os.fsync(handle.fileno())


def _check(file: Path) -> list[int] | None:
    with file.open("rb") as handle:
        headers = [handle.read(HEADER) for _ in range(3)]
        if headers[0][8:12] != MAGIC or not all(_holds(h) for h in headers):
            return None
        # per database header: checksum, iteration, metadata pointer, free list pointer, number of blocks, block size
        newest = max((np.frombuffer(h, "<u8", 6) for h in headers[1:]), key=lambda h: int(h[1]))
        pointer, n_blocks, size = (int(v) for v in newest[3:])
        if size < HEADER or size % 8:
            return None
        free = _free_blocks(handle, pointer, n_blocks, size)
        if free is None:
            return None
        bad = []
        at_once = max(READ_AT_ONCE // size, 1)
        for first in range(0, n_blocks, at_once):
            handle.seek(block_offset(first, size))
            piece = handle.read(min(at_once, n_blocks - first) * size)
            words = np.frombuffer(piece, "<u8", len(piece) // size * (size // 8)).reshape(-1, size // 8)
            holds = words[:, 0] == _checksums(words[:, 1:])
            # blocks beyond the end of the file do not hold either
            bad += [
                b
                for b in range(first, min(first + at_once, n_blocks))
                if not (b - first < len(holds) and holds[b - first])
            ]
    return [b for b in bad if b not in free]


def _free_blocks(handle: BinaryIO, pointer: int, n_blocks: int, size: int) -> set[int] | None:
    """Blocks that hold nothing, from the list the header points to; None if that list makes no sense."""
    if pointer == NO_POINTER:
        return set()
    words: list[int] = []
    seen: set[int] = set()
    while (
        pointer != NO_POINTER and pointer not in seen
    ):  # a chain of pieces, each begins with the next one's pointer
        seen.add(pointer)
        block, index = pointer & (2**56 - 1), pointer >> 56
        if block >= n_blocks or index >= PIECES_PER_BLOCK:
            return None
        length = (size - 8) // PIECES_PER_BLOCK // 8 * 8
        handle.seek(block_offset(block, size) + 8 + index * length)
        piece = np.frombuffer(handle.read(length).ljust(length, b"\0"), "<u8")
        pointer = int(piece[0])
        words += piece[1:].tolist()
    free = set(words[1 : 1 + words[0]])
    return free if len(free) == words[0] and all(b < n_blocks for b in free) else None


def _holds(header: bytes) -> bool:
    words = np.frombuffer(header, "<u8")[None, :]
    return len(header) == HEADER and bool((words[:, 0] == _checksums(words[:, 1:]))[0])


def _checksums(words: np.ndarray) -> np.ndarray:
    """DuckDB's checksum of each row of 64-bit words: the exclusive or of every word times a constant."""
    sums: np.ndarray = np.bitwise_xor.reduce(words * MULTIPLIER, axis=1) ^ SEED
    return sums


if __name__ == "__main__":
    try:
        if sys.argv[1] == "copy":
            _copy(Path(sys.argv[2]), Path(sys.argv[3]))
        else:
            print(json.dumps(_check(Path(sys.argv[2]))))
    except OSError as failure:
        sys.exit(f"{failure.errno} {failure.strerror}")
