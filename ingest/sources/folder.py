"""Checkpoints that lie in a folder already: a Hugging Face cache, or plain folders. Imports no torch.

For repository ORG/NAME and revision R, the first of these that is there:

    models--ORG--NAME/snapshots/COMMIT/   a cache; COMMIT is in models--ORG--NAME/refs/R, or is R itself
    ORG/NAME/R/
    NAME/R/
    R/                                    the folder holds one run
    ./                                    the folder is one checkpoint, which has revision `main`
"""

from pathlib import Path

from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source
from ingest.sources.files import CONFIG, WEIGHTS, FileSet, Incomplete


def cache_folder(root: Path, repository: str) -> Path:
    """Where a Hugging Face cache keeps a repository."""
    return root / f"models--{repository.replace('/', '--')}"


def resolved(root: Path, repository: str, revision: str) -> str:
    """The commit that a cache has for a revision, which may be a commit; empty when it has none."""
    home = cache_folder(root, repository)
    if (home / "snapshots" / revision).is_dir():
        return revision
    try:
        return (home / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class FolderSource(Source):
    """Hands out what is there, and takes nothing away."""

    def __init__(self, root: Path, files: FileSet = WEIGHTS) -> None:
        """`root`: see the module's layouts."""
        self.root = root
        self.files = files

    def get(self, repository: str, revision: str) -> Snapshot:
        """The snapshot's folder, with all wanted files present."""
        snapshot = self._find(repository, revision)
        if snapshot is None:
            # a folder that is gone or empty may be a disk that is not mounted or a mistyped path
            others = self.root.is_dir() and bool(self._listed(repository))
            raise CheckpointNotAvailable(repository, revision, self._reason(repository), permanent=others)
        try:
            self.files.check(snapshot.folder)
        except Incomplete as error:
            raise CheckpointNotAvailable(
                repository,
                revision,
                f"{error} in {snapshot.folder}; fetch or copy it again, whole.",
                permanent=False,
            ) from None
        return snapshot

    def has(self, repository: str, revision: str) -> bool:
        """True when the whole snapshot is there."""
        try:
            self.get(repository, revision)
        except CheckpointNotAvailable:
            return False
        return True

    def revisions(self, repository: str) -> tuple[str, ...]:
        """Every revision of the repository in whichever layout has any."""
        if found := self._listed(repository):
            return found
        raise CheckpointNotAvailable(repository, "any", self._reason(repository), permanent=True)

    def _listed(self, repository: str) -> tuple[str, ...]:
        refs = cache_folder(self.root, repository) / "refs"
        if refs.is_dir():
            return tuple(sorted(p.relative_to(refs).as_posix() for p in refs.rglob("*") if p.is_file()))
        for place in self._plain(repository):
            if found := sorted(p.name for p in place.glob("*/") if (p / CONFIG).is_file()):
                return tuple(found)
        return ("main",) if (self.root / CONFIG).is_file() else ()

    def _find(self, repository: str, revision: str) -> Snapshot | None:
        commit = resolved(self.root, repository, revision)
        if commit:
            return Snapshot(cache_folder(self.root, repository) / "snapshots" / commit, commit)
        for place in self._plain(repository):
            if (place / revision).is_dir():
                return Snapshot(place / revision)
        if revision == "main" and (self.root / CONFIG).is_file():
            return Snapshot(self.root)
        return None

    def _plain(self, repository: str) -> tuple[Path, Path, Path]:
        return self.root / repository, self.root / repository.rsplit("/", 1)[-1], self.root

    def _reason(self, repository: str) -> str:
        if not self.root.is_dir():
            return f"there is no folder {self.root}; mount or create it, or use another source."
        there = len(self._listed(repository))
        has = f"has {there} other revision(s) of it" if there else "has none of it"
        return f"{self.root} {has}; fetch it with source `hub`, or copy it there."
