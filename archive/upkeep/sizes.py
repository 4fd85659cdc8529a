"""How much disk an archive and each folder beside it take, with the promise of how long it is kept."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from archive.layout import FOLDERS, Layout


@dataclass(frozen=True)
class FolderSize:
    """One file or folder of an archive: bytes, number of files, what it holds and until when."""

    path: Path
    holds: str
    kept: str
    n_bytes: int
    n_files: int


def folder_sizes(layout: Layout) -> list[FolderSize]:
    """The archive file and every folder of `X.d`; looks at directory entries only and follows no links."""
    wal = layout.database.with_name(f"{layout.database.name}.wal")
    files = [f.stat().st_size for f in (layout.database, wal) if f.exists()]
    sizes = [FolderSize(layout.database, "the archive itself", "until you delete it", sum(files), len(files))]
    for folder in FOLDERS:
        path = layout.folder / folder.name
        entries = [e.stat(follow_symlinks=False).st_size for e in walk(path)]
        sizes.append(FolderSize(path, folder.holds, folder.kept, sum(entries), len(entries)))
    return sizes


def free_bytes(layout: Layout) -> int:
    """Free space on the disk of the archive."""
    return shutil.disk_usage(layout.database.parent).free


def walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file below a folder; what disappears meanwhile is left out."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from walk(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield entry
    except FileNotFoundError:
        return
