"""Checkpoints that are single files in a folder; the revision is the file's path in it. Imports no torch."""

from pathlib import Path

from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source


class SingleFiles(Source):
    """Hands out the files as they are; the snapshot's `folder` is the file."""

    def __init__(self, root: Path) -> None:
        """`root`: the folder of the files, whatever repository is asked for."""
        self.root = root

    def get(self, repository: str, revision: str) -> Snapshot:
        """The file; raises CheckpointNotAvailable when it is gone."""
        path = self.root / revision
        if not path.is_file():
            reason = f"there is no file {path}; put it back, or leave the checkpoint out."
            raise CheckpointNotAvailable(repository, revision, reason, permanent=self.root.is_dir())
        return Snapshot(path)

    def revisions(self, repository: str) -> tuple[str, ...]:
        """Every file below the folder."""
        files = (path for path in self.root.rglob("*") if path.is_file())
        return tuple(sorted(path.relative_to(self.root).as_posix() for path in files))
