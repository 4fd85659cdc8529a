"""Retention: removing what the folders beside an archive promised to keep, once the promise is over."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from archive.errors import ArchiveNotFound
from archive.layout import FOLDERS, Layout
from archive.store import Archive
from archive.upkeep.sizes import walk
from archive.upkeep.verify import VERIFIED_AT
from archive.upkeep.verify_units import committed_units

DAYS = {folder.name: folder.days for folder in FOLDERS}
GONE = ".gone"


@dataclass(frozen=True)
class Pruned:
    """What was removed, and why older units were kept ("" when none was)."""

    n_units: int
    n_logs: int
    n_bytes: int
    kept_because: str


def prune(layout: Layout, *, now: datetime | None = None) -> Pruned:
    """Remove committed units and logs whose time is over; the caller holds the writer's lock.

    A unit goes when it is older than its folder's days, when a `verify` has passed since it was committed, and
    when the published copy holds it: copy and kept units together must always make the archive again.
    """
    now = now or datetime.now(UTC)
    n_bytes = 0
    for left in layout.committed.glob(f".*{GONE}"):  # an earlier removal was killed
        shutil.rmtree(left)
    units, kept_because = _removable(layout, now)
    for path in units:
        n_bytes += _size(path)
        hidden = path.with_name(
            f".{path.name}{GONE}"
        )  # so that half a unit is never offered to the committer
        path.rename(hidden)
        shutil.rmtree(hidden)
    n_logs = 0
    for path in _old_logs(layout, now):
        n_bytes += path.stat().st_size
        path.unlink()
        n_logs += 1
    return Pruned(len(units), n_logs, n_bytes, kept_because)


def _removable(layout: Layout, now: datetime) -> tuple[list[Path], str]:
    """Committed units that may go, and what keeps the other old ones."""
    days = DAYS["committed"]
    assert days is not None
    live = Archive(layout.database)
    committed = {r["name"]: r["at"] for r in live.rows("SELECT name, epoch(committed_at) AS at FROM shard")}
    old_before = now.timestamp() - days * 86400
    old = [p for p in committed_units(layout) if committed.get(p.name, now.timestamp()) < old_before]
    if not old:
        return [], ""
    verified = live.rows("SELECT value FROM archive_info WHERE key = $key", {"key": VERIFIED_AT})
    if not verified:
        return [], "no `pathscope verify` has passed yet"
    verified_at = datetime.fromisoformat(verified[0]["value"]).timestamp()
    checked = [p for p in old if committed[p.name] < verified_at]
    try:
        copy = Archive(layout.database, snapshot=True)
    except ArchiveNotFound:
        return [], "no published copy holds them: `pathscope publish`"
    published = {r["name"] for r in copy.rows("SELECT name FROM shard")}
    removable = [p for p in checked if p.name in published]
    if len(checked) < len(old):
        return removable, "they were committed after the last `pathscope verify` that passed"
    if len(removable) < len(checked):
        return removable, "the published copy is older than they are: `pathscope publish`"
    return removable, ""


def _old_logs(layout: Layout, now: datetime) -> list[Path]:
    days = DAYS["logs"]
    assert days is not None
    return [
        Path(e.path)
        for e in walk(layout.logs)
        if e.stat(follow_symlinks=False).st_mtime < now.timestamp() - days * 86400
    ]


def _size(folder: Path) -> int:
    return sum(e.stat(follow_symlinks=False).st_size for e in walk(folder))
