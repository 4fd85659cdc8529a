"""The Hugging Face hub: what is cached already, else fetched into a cache of pathscope's own. Imports no torch.

The own cache has the layout of a Hugging Face cache, with plain files in place of links, so it serves as a
`path:` source later. A snapshot is fetched into `fetching/COMMIT` and renamed when it is whole, so what is in
`snapshots` is whole. Only the own cache is ever cleared, oldest use first, when the budget or the disk wants it,
and never of what any process uses: each use holds a shared lock on a file in `in-use`.
"""

import errno
import fcntl
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from archive.errors import NoSpace
from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source
from ingest.sources.files import WEIGHTS, FileSet, Incomplete
from ingest.sources.folder import FolderSource, cache_folder, resolved

OWN_CACHE = Path("~/.cache/pathscope/hub")
BUDGET_BYTES = 50 * 10**9
RESERVE_BYTES = 10**9  # of the disk, left to everybody else

T = TypeVar("T")


class _Abandoned(Exception):
    """Another thread asked to stop fetching."""


class HubSource(Source):
    """Fetches from the hub.

    cache: pathscope's own cache. budget_bytes: the most it may hold. HF_HUB_OFFLINE=1 is respected: then only
    what is cached can be had. The user's Hugging Face cache is read and never changed.
    """

    def __init__(
        self,
        cache: Path | None = None,
        files: FileSet = WEIGHTS,
        *,
        budget_bytes: int = BUDGET_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        endpoint: str | None = None,
    ) -> None:
        """`endpoint`: another hub than huggingface.co or $HF_ENDPOINT."""
        self.files = files
        home = cache or OWN_CACHE.expanduser()
        # apart, so that a folder in `snapshots` has all that is wanted of it
        self.cache = home if files == WEIGHTS else home / files.name
        self.budget_bytes = budget_bytes
        self.reserve_bytes = reserve_bytes
        self.endpoint = endpoint
        self._uses: dict[Path, list[BinaryIO]] = {}
        self._abandoned = Event()

    def get(self, repository: str, revision: str) -> Snapshot:
        """From the own cache, from the user's, or fetched. A name that moved is not noticed while it is cached."""
        self._abandoned.clear()
        commit = resolved(self.cache, repository, revision)
        if commit and (snapshot := self._used(repository, commit)):
            return snapshot
        theirs = FolderSource(users_cache(), self.files)
        if theirs.has(repository, revision):
            return theirs.get(repository, revision)
        return self._fetch(repository, revision)

    def release(self, snapshot: Snapshot) -> None:
        """End one use."""
        if handles := self._uses.get(snapshot.folder):
            handles.pop().close()

    def keep_within(self, budget_bytes: int) -> None:
        """From the next fetch on, the own cache may hold so many bytes."""
        self.budget_bytes = budget_bytes

    def abandon(self) -> None:
        """Stop a fetch that is under way; its files that have come whole stay for the next try."""
        self._abandoned.set()

    def _used(self, repository: str, key: str) -> Snapshot | None:
        """The fetched snapshot, in use from now on; None when it is not there (any more)."""
        folder = cache_folder(self.cache, repository) / "snapshots" / key
        handle = _use_file(folder)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if not folder.is_dir():
            handle.close()
            return None
        os.utime(folder)  # least recently used goes first
        self._uses.setdefault(folder, []).append(handle)
        return Snapshot(folder, key.partition(".")[0], fetched=True)

    def revisions(self, repository: str) -> tuple[str, ...]:
        """Branches and tags of the repository on the hub."""
        from huggingface_hub import HfApi

        refs = _translated(
            repository, "any", lambda: HfApi(endpoint=self.endpoint).list_repo_refs(repository)
        )
        return tuple(sorted({ref.name for ref in (*refs.branches, *refs.tags)}))

    def _listing(self, repository: str, revision: str) -> tuple[str, dict[str, int]]:
        """The commit a revision is now, and its files with their sizes."""
        from huggingface_hub import HfApi

        info = _translated(
            repository,
            revision,
            lambda: HfApi(endpoint=self.endpoint).model_info(
                repository, revision=revision, files_metadata=True
            ),
        )
        return str(info.sha), {file.rfilename: file.size or 0 for file in info.siblings or ()}

    def _wanted(self, sizes: dict[str, int], revision: str) -> tuple[str, ...]:
        """Which of them to fetch; raises Incomplete."""
        return self.files.wanted(sizes)

    def _key(self, commit: str, revision: str) -> str:
        """What the snapshot's folder is called: the commit, and after a dot what tells it from others of it."""
        return commit

    def _fetch(self, repository: str, revision: str) -> Snapshot:
        commit, sizes = self._listing(repository, revision)
        try:
            wanted = self._wanted(sizes, revision)
        except Incomplete as error:
            raise CheckpointNotAvailable(
                repository, revision, f"{error}; the repository has to be repaired upstream.", permanent=True
            ) from None
        key = self._key(commit, revision)
        target = cache_folder(self.cache, repository) / "snapshots" / key
        snapshot = self._used(repository, key)  # another revision may have brought the same commit
        while snapshot is None:
            with _use_file(target) as handle:
                try:
                    # without waiting: who has it may be measuring for hours, while `_used` waits for fetches only
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    self._bring(repository, revision, target, {name: sizes[name] for name in wanted})
            snapshot = self._used(repository, key)
        ref = target.parent.parent / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f".{uuid4().hex}")
        temporary.write_text(key, encoding="ascii")
        temporary.replace(ref)
        return snapshot

    def _bring(self, repository: str, revision: str, target: Path, sizes: dict[str, int]) -> None:
        """Fetch the files to their place; the caller holds the exclusive lock."""
        if target.is_dir():
            return
        part = target.parent.parent / "fetching" / target.name
        self._make_room(repository, revision, sum(sizes.values()) - _bytes_of(part))
        for name in sizes:
            commit = target.name.partition(".")[0]
            download = partial(self._download, repository, commit, name, part)
            _translated(repository, revision, download)
        self._accept(part, target, sizes, repository, revision)

    def _download(self, repository: str, commit: str, name: str, part: Path) -> None:
        """One file, unless an earlier try brought it; the client takes up broken connections itself."""
        from huggingface_hub import hf_hub_download

        # what goes wrong is told by our own error, and cron wants silence
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        hf_hub_download(
            repository,
            name,
            revision=commit,
            local_dir=part,
            endpoint=self.endpoint,
            tqdm_class=_silent_progress(self._abandoned),
        )

    def _accept(
        self, part: Path, target: Path, sizes: dict[str, int], repository: str, revision: str
    ) -> None:
        """Move what was fetched to its place, if every file has the length the hub gives."""
        for name, size in sizes.items():
            found = (part / name).stat().st_size if (part / name).is_file() else -1
            if size and found != size:
                shutil.rmtree(part, ignore_errors=True)
                raise CheckpointNotAvailable(
                    repository,
                    revision,
                    f"{name} came with {max(found, 0)} bytes, the hub says {size}; give the same command again.",
                    permanent=False,
                )
        shutil.rmtree(part / ".cache", ignore_errors=True)  # the client's notes on partial files
        target.parent.mkdir(parents=True, exist_ok=True)
        part.rename(target)

    def _make_room(self, repository: str, revision: str, needed: int) -> None:
        """Clear the own cache until `needed` bytes fit; raises NoSpace when they cannot."""
        self.cache.mkdir(parents=True, exist_ok=True)
        # fetches that broke off count too, and go first: nobody used them lately
        held = {path: _bytes_of(path) for path in self._folders()}
        oldest = sorted(held, key=lambda path: path.stat().st_mtime)

        def excess() -> int:
            free = shutil.disk_usage(self.cache).free - self.reserve_bytes
            return max(sum(held.values()) + needed - self.budget_bytes, needed - free)

        if excess() <= sum(held.values()):  # else clearing everything would not do
            while excess() > 0 and oldest:
                folder = oldest.pop(0)
                if self._evicted(folder):
                    del held[folder]
        if excess() > 0:
            free = shutil.disk_usage(self.cache).free
            raise NoSpace(
                f"{repository} at {revision} takes {_gb(needed)} more; {self.cache} holds {_gb(sum(held.values()))}, "
                f"may hold {_gb(self.budget_bytes)}, and its disk has {_gb(free)} free, of which "
                f"{_gb(self.reserve_bytes)} stay so. Free space, raise load.cache_gb, or name a larger disk with `hub:FOLDER`."
            )

    def _folders(self) -> Iterator[Path]:
        for kind in ("fetching", "snapshots"):
            yield from self.cache.glob(f"models--*/{kind}/*/")

    def _evicted(self, folder: Path) -> bool:
        """Remove a snapshot, unless it is in use; renamed first, so that it is never half there."""
        with _use_file(folder) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            leaving = folder.parent.parent / f"leaving-{folder.name}-{os.getpid()}"
            folder.rename(leaving)
        shutil.rmtree(leaving, ignore_errors=True)
        return True


def _use_file(folder: Path) -> BinaryIO:
    path = folder.parent.parent / "in-use" / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _silent_progress(abandoned: Event) -> type[Any]:
    """A progress bar that shows nothing and, told of every piece that came, can stop the fetch."""
    from tqdm import tqdm  # type: ignore[import-untyped] # no stubs

    class Silent(tqdm):  # type: ignore[misc] # no stubs
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **{**settings, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if abandoned.is_set():
                raise _Abandoned

    return Silent


def users_cache() -> Path:
    """The Hugging Face cache of whoever runs this."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _translated(repository: str, revision: str, call: Callable[[], T]) -> T:
    """The call's result; every failure of the client as CheckpointNotAvailable, or NoSpace for a full disk."""
    import httpx2
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        XetDownloadError,
    )

    def unavailable(reason: str, *, permanent: bool) -> CheckpointNotAvailable:
        return CheckpointNotAvailable(repository, revision, reason, permanent=permanent)

    try:
        return call()
    except _Abandoned:
        reason = "its fetch was stopped; give the same command again."
        raise unavailable(reason, permanent=False) from None
    except OfflineModeIsEnabled:
        reason = (
            "it is not cached, and HF_HUB_OFFLINE forbids fetching; unset it, or fetch it elsewhere first."
        )
        raise unavailable(reason, permanent=False) from None
    except GatedRepoError:
        reason = "the repository is gated; accept its terms on the hub and set HF_TOKEN."
        raise unavailable(reason, permanent=False) from None
    except RevisionNotFoundError:
        reason = "the repository has no such revision; `pathscope families` says what a run should have."
        raise unavailable(reason, permanent=True) from None
    except RepositoryNotFoundError:
        reason = "no such repository, or it is private; check its name, or set HF_TOKEN."
        raise unavailable(reason, permanent=False) from None
    except HFValidationError as error:
        raise unavailable(f"no valid name of a repository: {error}", permanent=True) from None
    except LocalEntryNotFoundError:
        reason = "the hub cannot be reached; check the network, and give the same command again."
        raise unavailable(reason, permanent=False) from None
    except EntryNotFoundError as error:
        reason = f"a file is missing upstream ({_first_line(error)})."
        raise unavailable(reason, permanent=True) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        reason = f"the hub answered {status} ({_first_line(error)}); give the same command again later."
        raise unavailable(reason, permanent=False) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(
                f"the disk filled up while {repository} at {revision} was fetched; free space."
            ) from None
        reason = f"the fetch broke off ({type(error).__name__}: {_first_line(error)}); give the same command again."
        raise unavailable(reason, permanent=False) from None
    except ValueError as error:  # more than 50 GB in one file, without the transfer library
        raise unavailable(f"{_first_line(error)}.", permanent=True) from None
    except (httpx2.HTTPError, XetDownloadError, RuntimeError) as error:
        reason = f"the hub cannot be reached ({type(error).__name__}: {_first_line(error)}); check the network, and "
        raise unavailable(f"{reason}give the same command again.", permanent=False) from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _gb(n: int) -> str:
    return f"{n / 1e9:.2f} GB"
