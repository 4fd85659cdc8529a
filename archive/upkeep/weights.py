"""Weights on disk that belong to runs which are dropped.

Runs of one condition train side by side in one folder, `checkpoints/<study>/<group>/`, whose safetensors files
name the runs in their headers. A folder goes when all its runs do.
"""

import fcntl
import json
import shutil
import struct
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from archive.errors import ArchiveBusy
from archive.layout import Layout

ASIDE = ".dropped"
LONGEST_HEADER = 100 * 2**20


def weight_folders(layout: Layout) -> Iterator[tuple[Path, frozenset[str]]]:
    """Every training folder of the archive with the names of the runs in it."""
    for folder in sorted(layout.checkpoints.glob("*/*")):
        if folder.parent.name != ASIDE and folder.is_dir() and not folder.is_symlink():
            runs = runs_in(folder)
            if runs:
                yield folder, runs


def runs_in(folder: Path) -> frozenset[str]:
    """Runs that the headers in a training folder name; empty when none can be read."""
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        named = _header(file).get("runs", "[]")
        # a checkpoint lists names, a resume state pairs of name and seeds
        names |= {entry if isinstance(entry, str) else str(entry[0]) for entry in json.loads(named)}
    return frozenset(names)


def put_aside(layout: Layout, folders: Collection[Path]) -> None:
    """Move training folders out of sight by renames; `settle` decides what becomes of them.

    Raises ArchiveBusy, before anything is moved, when somebody trains in one of them.
    """
    for folder in folders:
        _refuse_if_training(folder)
    for folder in folders:
        place = layout.checkpoints / ASIDE / uuid.uuid4().hex[:8] / folder.relative_to(layout.checkpoints)
        place.parent.mkdir(parents=True)
        folder.rename(place)


def settle(layout: Layout, runs_in_archive: Collection[str]) -> None:
    """Finish or undo a drop's work on disk, also one that was killed, by what the archive says.

    Folders put aside whose runs are gone are deleted; those of a run that is still there are put back.
    """
    aside = layout.checkpoints / ASIDE
    for folder in sorted(aside.glob("*/*/*")):
        home = layout.checkpoints / folder.relative_to(aside).relative_to(folder.parents[1].name)
        if runs_in(folder).isdisjoint(runs_in_archive) or home.exists():
            shutil.rmtree(folder)
        else:
            home.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(home)
    shutil.rmtree(aside, ignore_errors=True)


def _refuse_if_training(folder: Path) -> None:
    lock = folder / ".lock"
    if not lock.exists():
        return
    with lock.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise ArchiveBusy(
                f"{folder} is being trained in by {handle.read().strip() or 'another process'}: let it finish or stop "
                "it, then run the same command. Nothing was dropped."
            ) from None


def _header(file: Path) -> dict[str, str]:
    """The free-text part of a safetensors header: 8 bytes of length, then JSON."""
    try:
        with file.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            if length > LONGEST_HEADER:
                return {}
            header = json.loads(handle.read(length))
            return dict(header.get("__metadata__") or {})
    except (OSError, ValueError, struct.error, AttributeError):
        return {}
