"""Everything that can go wrong in an archive.

PathscopeError                  exit code 1 unless said otherwise
├── UsageError                  exit 2: the request itself cannot be right
│   ├── ArchiveNotFound         no archive at that path
│   ├── NotAnArchive            the file is something else
│   ├── ArchiveTooOld           `pathscope upgrade` is needed
│   ├── ArchiveTooNew           a newer pathscope wrote it
│   ├── SqlRefused              the statement is wrong, or asks for what the console does not do
│   └── UnknownName             no such run, measure, query, ...; with the nearest names
├── TryAgain                    exit 75: locked, or time budget spent with work left
│   └── ArchiveBusy             another process holds the file
├── ArchiveDamaged              a block, a header or a checksum does not hold
├── ShardRefused                a unit of results that breaks the contract; goes to failed/
├── NoSpace                     the disk cannot take the commit
├── SqlStopped                  the statement took more time or memory than allowed
└── NotComparable               the question would mix things that must not be mixed
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class PathscopeError(Exception):
    """Base of every error pathscope raises on purpose; its text names the thing and the next command."""

    exit_code = 1


class UsageError(PathscopeError):
    """The request itself cannot be right."""

    exit_code = 2


class ArchiveNotFound(UsageError):
    """There is no archive at that path."""


class NotAnArchive(UsageError):
    """The file exists but is not a pathscope archive."""


class ArchiveTooOld(UsageError):
    """The archive has an older schema than this version needs."""


class ArchiveTooNew(UsageError):
    """The archive was written by a newer pathscope."""


class SqlRefused(UsageError):
    """The SQL statement is wrong, or asks for what the read-only console does not do.

    `line` and `column` (from 1) say where, if DuckDB knows.
    """

    line: int | None = None
    column: int | None = None


class UnknownName(UsageError):
    """No such run, measure, query or other named thing."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], *, listing: str) -> "UnknownName":
        """Word the error with the nearest known names and the command that lists all of them."""
        return cls(_Nearest(kind, name, tuple(sorted(known)), listing))


@dataclass(frozen=True)
class _Nearest:
    """The words of an unknown name: looked for when somebody reads them, as many a question does without what is absent."""

    kind: str
    name: str
    known: tuple[str, ...]
    listing: str

    def __str__(self) -> str:
        near = difflib.get_close_matches(self.name, self.known, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
        return f"no {self.kind} {self.name!r}{hint} {self.listing} lists {len(self.known)}."


class TryAgain(PathscopeError):
    """Nothing is wrong; the same command will get further later."""

    exit_code = 75


class ArchiveBusy(TryAgain):
    """Another process holds the archive file."""


class ArchiveDamaged(PathscopeError):
    """A block, a header or a checksum does not hold."""


class ShardRefused(PathscopeError):
    """A unit of results that breaks the shard contract."""


class NoSpace(PathscopeError):
    """The disk cannot take the commit."""


class SqlStopped(PathscopeError):
    """The SQL statement took more time or memory than it may."""


class NotComparable(PathscopeError):
    """The question would mix eval sets, versions, tokenizers or inits that must not be mixed."""

    exit_code = 2
