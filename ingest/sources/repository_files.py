"""Checkpoints that are files of one revision of a repository, beside its config.json. Imports no torch.

What other sources call a revision is here the file's path in revision `main`: `checkpoints/tokens_000000262144.pth`,
`model_final.pth`, or `config.json` alone. A snapshot's folder holds config.json and the file at its path.
"""

import hashlib
import json
from pathlib import Path
from uuid import uuid4

from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source
from ingest.sources.files import CONFIG, Incomplete, refuse_pointer
from ingest.sources.folder import cache_folder, resolved
from ingest.sources.hub import HubSource, users_cache

MAIN = "main"
WEIGHTS_SUFFIXES = (".pth", ".pt")
LISTING = "files-of-main.json"


class RepositoryFiles(Source):
    """A source whose revisions are files."""

    def known(self, repository: str) -> tuple[str, ...]:
        """Files of weights that the repository is known to have, whether or not all of them are here."""
        return self.revisions(repository)


class FolderFiles(RepositoryFiles):
    """Files that lie in a folder already: of repository ORG/NAME in the first of these that has them.

    models--ORG--NAME/snapshots/COMMIT/   a cache; COMMIT is in models--ORG--NAME/refs/main
    ORG/NAME/                             a copy of the repository
    NAME/
    ./                                    the folder is the repository
    """

    def __init__(self, root: Path) -> None:
        """`root`: see above; a cache that pathscope fetched into will do too."""
        self.root = root

    def get(self, repository: str, revision: str) -> Snapshot:
        """The repository's folder; raises CheckpointNotAvailable where the file or its config.json is not in it."""
        for snapshot in self._homes(repository, revision):
            if (snapshot.folder / revision).is_file() and (snapshot.folder / CONFIG).is_file():
                try:
                    refuse_pointer(snapshot.folder / revision)
                except Incomplete as error:
                    reason = f"{error} in {snapshot.folder}."
                    raise CheckpointNotAvailable(repository, revision, reason, permanent=False) from None
                return snapshot
        # a folder that is gone or empty may be a disk that is not mounted or a mistyped path
        others = self.root.is_dir() and bool(self._listed(repository))
        raise CheckpointNotAvailable(repository, revision, self._reason(repository), permanent=others)

    def has(self, repository: str, revision: str) -> bool:
        """True when the file is there."""
        try:
            self.get(repository, revision)
        except CheckpointNotAvailable:
            return False
        return True

    def revisions(self, repository: str) -> tuple[str, ...]:
        """Every file of weights."""
        if found := self._listed(repository):
            return found
        raise CheckpointNotAvailable(repository, "any", self._reason(repository), permanent=True)

    def known(self, repository: str) -> tuple[str, ...]:
        """Those that are here, and in a cache that was fetched into those that were listed then."""
        path = cache_folder(self.root, repository) / LISTING
        try:
            names = json.loads(path.read_text(encoding="utf-8"))["sizes"]
        except (OSError, ValueError, KeyError):
            names = ()
        listed = {name for name in names if name.endswith(WEIGHTS_SUFFIXES)}
        return tuple(sorted({*listed, *self.revisions(repository)}))

    def _homes(self, repository: str, revision: str) -> list[Snapshot]:
        cached = [resolved(self.root, repository, name) for name in (revision, MAIN)]
        snapshots = cache_folder(self.root, repository) / "snapshots"
        plain = (self.root / repository, self.root / repository.rsplit("/", 1)[-1], self.root)
        return [
            *(Snapshot(snapshots / key, key.partition(".")[0]) for key in cached if key),
            *(Snapshot(place) for place in plain),
        ]

    def _listed(self, repository: str) -> tuple[str, ...]:
        refs = cache_folder(self.root, repository) / "refs"
        names = {path.relative_to(refs).as_posix() for path in refs.rglob("*") if path.is_file()}
        # a name stays where its snapshot had to make room for others
        fetched = {name for name in names if name.endswith(WEIGHTS_SUFFIXES)}
        found = {name for name in fetched if self._homes(repository, name)[0].folder.is_dir()}
        for home in self._homes(repository, MAIN):
            if found:
                break
            if (home.folder / CONFIG).is_file():
                files = (path.relative_to(home.folder).as_posix() for path in home.folder.rglob("*"))
                found = {name for name in files if name.endswith(WEIGHTS_SUFFIXES)}
        return tuple(sorted(found))

    def _reason(self, repository: str) -> str:
        if not self.root.is_dir():
            return f"there is no folder {self.root}; mount or create it, or use another source."
        there = len(self._listed(repository))
        has = f"has {there} other file(s) of it" if there else "has none of it"
        return f"{self.root} {has}; fetch it with source `hub`, or copy it there."


class HubFiles(HubSource, RepositoryFiles):
    """Fetches files of `main` one by one, each with config.json, under the rules of HubSource.

    Which files there are is asked once and kept beside them: from then on a study asks for the same checkpoints,
    of the same commit, with or without a network.
    """

    def get(self, repository: str, revision: str) -> Snapshot:
        """From the own cache, from the user's, or fetched."""
        self._abandoned.clear()
        key = resolved(self.cache, repository, revision)
        if key and (snapshot := self._used(repository, key)):
            return snapshot
        theirs = FolderFiles(users_cache())
        if theirs.has(repository, revision):
            return theirs.get(repository, revision)
        return self._fetch(repository, revision)

    def revisions(self, repository: str) -> tuple[str, ...]:
        """Every file of weights that `main` had when it was first asked for; offline, those of the user's cache."""
        try:
            _, sizes = self._listing(repository, MAIN)
        except CheckpointNotAvailable:
            theirs = FolderFiles(users_cache())
            if not theirs.has(repository, CONFIG):
                raise
            return theirs.revisions(repository)
        return tuple(sorted(name for name in sizes if name.endswith(WEIGHTS_SUFFIXES)))

    def _listing(self, repository: str, revision: str) -> tuple[str, dict[str, int]]:
        path = cache_folder(self.cache, repository) / LISTING
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return kept["commit"], kept["sizes"]
        except (OSError, ValueError, KeyError):
            pass  # not asked yet, or not readable: ask
        commit, sizes = super()._listing(repository, MAIN)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid4().hex}")
        temporary.write_text(json.dumps({"commit": commit, "sizes": sizes}), encoding="utf-8")
        temporary.replace(path)
        return commit, sizes

    def _wanted(self, sizes: dict[str, int], revision: str) -> tuple[str, ...]:
        if missing := [name for name in (CONFIG, revision) if name not in sizes]:
            raise Incomplete(f"it has no {missing[0]}")
        return tuple(dict.fromkeys((CONFIG, revision)))

    def _key(self, commit: str, revision: str) -> str:
        return f"{commit}.{hashlib.sha1(revision.encode(), usedforsecurity=False).hexdigest()[:12]}"


def make_files_source(place: str) -> RepositoryFiles:
    """`hub`, `hub:FOLDER` or `path:FOLDER`, as `ingest.sources.make_source` has them."""
    from ingest.sources import place_of

    kind, where = place_of(place)
    return FolderFiles(where) if kind == "path" and where is not None else HubFiles(where)
