"""Writing a file so that a crash leaves the old one or the new one, never a part."""

import os
from pathlib import Path

from archive.errors import PathscopeError


class CheckpointFolderLost(PathscopeError):
    """The folder a run is being trained into is gone or cannot be written."""


def write_durably(path: Path, content: bytes) -> None:
    """Write under a temporary name, flush to disk, rename.

    Raises CheckpointFolderLost when the folder has vanished meanwhile or the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointFolderLost(
            f"cannot write {path.name} into {path.parent}: {error.strerror or error}; "
            "make the folder writable with free space, then give the same command again: training goes on "
            "from the last state that is still there"
        ) from error
