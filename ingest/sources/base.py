"""What a source of weights promises, and the one error when a checkpoint cannot be had. Imports no torch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from archive.errors import PathscopeError


class CheckpointNotAvailable(PathscopeError):
    """A checkpoint that cannot be had: does not exist, is not here, or cannot be reached now.

    permanent: asking again later will give the same answer (the repository, revision or file does not exist).
    """

    def __init__(self, repository: str, revision: str, reason: str, *, permanent: bool) -> None:
        """`reason` ends in what to do."""
        super().__init__(f"checkpoint {revision!r} of {repository} is not available: {reason}")
        self.repository = repository
        self.revision = revision
        self.reason = reason
        self.permanent = permanent


class TokenizerNotAvailable(PathscopeError):
    """The files of a tokenizer cannot be had: they do not exist, are not here, or cannot be reached now."""

    def __init__(self, run: str, repository: str, reason: str) -> None:
        """`reason` ends in what to do."""
        super().__init__(
            f"the tokenizer of {run} (repository {repository}) is not available: {reason} Or name another one: "
            'load.tokenizer = "ORG/NAME", or "path:FOLDER" for one that lies on this disk.'
        )
        self.repository = repository


@dataclass(frozen=True)
class Snapshot:
    """The files of one checkpoint on this disk.

    commit: what the revision resolved to, 40 hex digits; empty for a plain folder. fetched: this source put
    them there and may take them away again.
    """

    folder: Path
    commit: str = ""
    fetched: bool = False


class Source(ABC):
    """Hands out snapshots."""

    @abstractmethod
    def get(self, repository: str, revision: str) -> Snapshot:
        """The whole snapshot, fetched if need be; it stays where it is until it is released.

        Raises CheckpointNotAvailable, and NoSpace when the disk or the budget cannot take it.
        """

    def release(self, snapshot: Snapshot) -> None:  # noqa: B027 # most sources take nothing away
        """End one use of the snapshot; a source that fetched it may now take it away."""

    def keep_within(self, budget_bytes: int) -> None:  # noqa: B027 # most sources keep nothing
        """Hold at most so many bytes of what was fetched."""

    def abandon(self) -> None:  # noqa: B027 # most sources have nothing under way
        """Stop what another thread is fetching: its `get` raises CheckpointNotAvailable, not permanent."""

    @abstractmethod
    def revisions(self, repository: str) -> tuple[str, ...]:
        """Names of the revisions that exist there, sorted; raises CheckpointNotAvailable."""
