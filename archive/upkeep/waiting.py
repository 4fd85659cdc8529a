"""What waits beside the archive: units of results in the inbox, and units the committer refused."""

import time
from dataclasses import dataclass
from pathlib import Path

from archive.layout import Layout, pending_shards
from archive.upkeep.sizes import walk


@dataclass(frozen=True)
class Refused:
    """A unit set aside in `failed/`, with the committer's reason."""

    shard: str
    reason: str


@dataclass(frozen=True)
class Queue:
    """Units waiting in the inbox (`oldest_seconds` None when there is none) and units refused."""

    n_shards: int
    n_bytes: int
    oldest_seconds: float | None
    refused: tuple[Refused, ...]


def read_queue(layout: Layout) -> Queue:
    """Look at the folders; opens no database."""
    waiting = pending_shards(layout)
    born = [t for t in map(_born, waiting) if t is not None]
    return Queue(
        n_shards=len(waiting),
        n_bytes=sum(e.stat(follow_symlinks=False).st_size for path in waiting for e in walk(path)),
        oldest_seconds=max(time.time() - min(born), 0.0) if born else None,
        refused=tuple(refused_shards(layout)),
    )


def refused_shards(layout: Layout) -> list[Refused]:
    """Every unit in `failed/`, oldest first; the reason is empty where its file is gone."""
    if not layout.failed.is_dir():
        return []
    found = []
    for path in sorted(p for p in layout.failed.iterdir() if p.is_dir()):
        reason = reason_file(path)
        found.append(
            Refused(path.name, reason.read_text(errors="replace").strip() if reason.is_file() else "")
        )
    return found


def reason_file(shard: Path) -> Path:
    """Where the committer writes why it refused a unit."""
    return shard.with_name(f"{shard.name}.reason.txt")


def _born(path: Path) -> float | None:
    """When a unit was written, in seconds since 1970: its name starts with it in nanoseconds."""
    if path.name[:20].isdigit():
        return int(path.name[:20]) / 1e9
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # committed just now
        return None
