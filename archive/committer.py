"""The only writer: turns shards in the inbox into rows, exactly once.

For each batch of shards: open, BEGIN; for each shard, whose files are checked (`inspection.py`) while those before
it are inserted: map natural keys to ids, look at the ledger, delete what is replaced, insert, write the ledger;
COMMIT, close; only then move the shards out of the inbox. Killed anywhere before COMMIT, nothing happened; killed
after it, the shard's name is in the ledger and the next commit only moves the folder.
"""

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import duckdb
import pyarrow.parquet as pq
from sqlalchemy import exc

from archive.errors import ArchiveNotFound, NoSpace, PathscopeError, ShardRefused
from archive.identity import canonical_json
from archive.inspection import Cells, inspect
from archive.layout import Layout
from archive.layout import pending_shards as pending_shards  # ingest asks the committer for its queue
from archive.lock import writer_lock
from archive.manifest import FACT_TABLES, Manifest, read_manifest
from archive.mapping import Dimensions
from archive.pending import NotInserted
from archive.reconcile import Decision, reconcile
from archive.schema import dimensions as d
from archive.schema.facts import FactTable
from archive.store import WRITE_PATIENCE, Archive, check_schema, connect, driver, explain_damage

P = ParamSpec("P")
T = TypeVar("T")

BATCH_SHARDS = 64
BATCH_BYTES = 64 * 2**20
CHECKING_THREADS = 4
SPACE_MARGIN = 8 * 2**20
UNFINISHED_SECONDS = 24 * 3600.0


@dataclass
class CommitReport:
    """What a commit did: n_known counts cells that were there already and were left alone."""

    n_shards: int = 0
    n_cells: int = 0
    n_rows: int = 0
    n_known: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


def commit_inbox(layout: Layout, *, patience: float = WRITE_PATIENCE, replay: bool = False) -> CommitReport:
    """Commit every shard in the inbox; with `replay` also offer the folder of committed shards again.

    Shards that break the contract are moved to `failed/` with a reason and named in the report; the others
    go in. Raises ArchiveBusy when the archive stays held, NoSpace before the disk would fill.
    """
    report = CommitReport()
    if not layout.inbox.is_dir():
        Archive(layout.database)  # raises ArchiveNotFound before the lock would make a folder for nothing
    with (
        _no_space_said(layout),
        writer_lock(layout, "commit", patience=patience),
        ThreadPoolExecutor(CHECKING_THREADS) as pool,  # hashing and Parquet work outside the interpreter lock
    ):
        if not layout.database.exists():
            raise ArchiveNotFound(
                f"no archive at {layout.database}, but its inbox may hold results: restore the file from "
                f"{layout.snapshots} or run `pathscope ingest` to make a new one."
            )
        if replay:
            _offer_again(layout)
        _sweep(layout)
        waiting = pending_shards(layout)
        while waiting:
            batch, waiting = _next_batch(waiting, pool, layout, report)
            _enter(layout, batch, report, patience)
    return report


class _Refusal(Exception):
    def __init__(self, shard: Path, reason: str) -> None:
        super().__init__(reason)
        self.shard = shard


def _is_the_shards_fault(error: Exception) -> bool:
    """False when the next shard would fail too: a full disk, a damaged archive, no memory, a bug in DuckDB.

    Anything else must not block the inbox for ever, whatever a strange shard makes our code or DuckDB raise.
    """
    if isinstance(error, NotInserted):  # it may be another's
        return False
    if isinstance(error, PathscopeError):
        return isinstance(error, ShardRefused)
    if isinstance(error, duckdb.Error | exc.DBAPIError):
        return isinstance(
            error,
            duckdb.DataError
            | duckdb.IntegrityError
            | duckdb.ProgrammingError
            | exc.DataError
            | exc.IntegrityError
            | exc.ProgrammingError,
        )
    return not isinstance(error, MemoryError) and getattr(error, "errno", None) != errno.ENOSPC


def step(name: str) -> None:
    """Marks a point between two steps of a commit; crash tests kill the process here."""


@dataclass(frozen=True)
class _Waiting:
    """A shard of a batch; `check` holds its files against its manifest and says why it is refused, if it is."""

    manifest: Manifest
    check: Future[Cells | str]


def _next_batch(
    waiting: Sequence[Path], pool: Executor, layout: Layout, report: CommitReport
) -> tuple[list[_Waiting], list[Path]]:
    """The next shards to enter, whose files are being checked, and those that wait for another batch."""
    manifests: list[Manifest] = []
    for index, path in enumerate(waiting):
        manifest = _unless_refused(read_manifest, path, check_bytes=False)
        if isinstance(manifest, str):
            _set_aside(layout, path, manifest, report)
            continue
        size = sum(m.n_bytes for m in manifests) + manifest.n_bytes
        if manifests and (len(manifests) == BATCH_SHARDS or size > BATCH_BYTES):
            return _checking(manifests, pool), list(waiting[index:])
        manifests.append(manifest)
    return _checking(manifests, pool), []


def _checking(manifests: Sequence[Manifest], pool: Executor) -> list[_Waiting]:
    return [_Waiting(m, pool.submit(_unless_refused, _check, m.path)) for m in manifests]


def _check(path: Path) -> Cells:
    return inspect(read_manifest(path))


def _unless_refused(read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | str:
    """What reading a shard gives, or why the shard is refused."""
    try:
        return read(*args, **kwargs)
    except Exception as error:
        if not _is_the_shards_fault(error):
            raise
        return _reason(error)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ShardRefused) else f"{type(error).__name__}: {error}"


def _enter(layout: Layout, batch: Sequence[_Waiting], report: CommitReport, patience: float) -> None:
    """Commit a batch without those of its shards that are refused."""
    while batch:
        try:
            _commit_batch(layout, batch, report, patience)
            return
        except _Refusal as refusal:  # the transaction is rolled back; go on without that shard
            _set_aside(layout, refusal.shard, str(refusal), report)
            batch = [shard for shard in batch if shard.manifest.path != refusal.shard]
        except NotInserted as error:
            if len(batch) == 1:
                _set_aside(layout, batch[0].manifest.path, str(error), report)
                return
            # rows of several went in together: which is at fault shows when each goes alone
            for shard in batch:
                _enter(layout, [shard], report, patience)
            return


def _commit_batch(layout: Layout, batch: Sequence[_Waiting], report: CommitReport, patience: float) -> None:
    _check_space(layout, [shard.manifest for shard in batch])
    done = CommitReport()
    refused: list[tuple[Path, str]] = []
    batch[0].check.result()  # nobody is kept out of the archive while the first shard is checked
    with (
        connect(layout.database, read_only=False, patience=patience) as connection,
        explain_damage(layout.database),
    ):
        raw = driver(connection)
        check_schema(raw, layout.database)
        step("opened")
        with connection.begin():
            names = [shard.manifest.name for shard in batch]
            known = {
                n
                for (n,) in raw.execute(
                    "SELECT name FROM shard WHERE list_contains($n, name)", {"n": names}
                ).fetchall()
            }
            dimensions = Dimensions(connection)
            for shard in batch:
                cells = shard.check.result()
                if isinstance(cells, str):
                    refused.append((shard.manifest.path, cells))
                    continue
                if shard.manifest.name in known:
                    continue
                try:
                    _commit_shard(raw, dimensions, shard.manifest, cells, done)
                except Exception as error:
                    if not _is_the_shards_fault(error):
                        raise
                    raise _Refusal(shard.manifest.path, _reason(error)) from error
                step("inserted")
            dimensions.pending.flush()
            step("before commit")
        step("after commit")
    step("closed")
    for path, reason in refused:
        _set_aside(layout, path, reason, report)
    entered = [shard.manifest.path for shard in batch if not isinstance(shard.check.result(), str)]
    for path in entered:
        _move(path, layout.committed)
        step("moved")
    report.n_shards += len(entered)
    report.n_cells += done.n_cells
    report.n_rows += done.n_rows
    report.n_known += done.n_known


def _commit_shard(
    raw: duckdb.DuckDBPyConnection,
    dimensions: Dimensions,
    manifest: Manifest,
    cells: Cells,
    done: CommitReport,
) -> None:
    """Enter one checked shard inside the open transaction."""
    dimensions.enter(manifest)
    shard_id = dimensions.fresh_ids(d.shard, 1)[0]
    file_ids = dimensions.files(manifest.records.get("source_file", []), shard_id)
    decision = reconcile(raw, dimensions, manifest, cells, shard_id, file_ids)
    for table in manifest.tables:
        if table != "cells":
            _insert_facts(raw, FACT_TABLES[table], manifest, decision)
            step(f"facts {table}")
    decision.write_ledger(raw, dimensions.pending)
    step("ledger")
    dimensions.pending.add(
        d.shard,
        [
            {
                "id": shard_id,
                "name": manifest.name,
                "kind": manifest.kind,
                "manifest_sha256": manifest.sha256,
                "study_id": dimensions.study_id(manifest.study),
                "n_cells": decision.n_entered,
                "n_rows": decision.n_rows,
                "bytes": manifest.n_bytes,
                "created_at": datetime.fromisoformat(manifest.created_at),
                "committed_at": dimensions.now,
                "provenance_json": canonical_json(manifest.provenance),
            }
        ],
    )
    done.n_cells += decision.n_entered
    done.n_rows += decision.n_rows
    done.n_known += decision.n_kept


def _insert_facts(
    raw: duckdb.DuckDBPyConnection, spec: FactTable, manifest: Manifest, decision: Decision
) -> None:
    """Let DuckDB read a shard's file into its table, in the shard's order."""
    path = manifest.path / manifest.tables[spec.name]["file"]
    try:
        decision.insert(raw, spec, path)
    except duckdb.OperationalError:
        pq.read_table(path)  # raises where it is the file, not the archive, that cannot be read
        raise


def _check_space(layout: Layout, batch: Sequence[Manifest]) -> None:
    need = 3 * sum(m.n_bytes for m in batch) + SPACE_MARGIN
    free = shutil.disk_usage(layout.database.parent).free
    if free < need:
        raise NoSpace(
            f"the disk of {layout.database} has {free / 2**20:.0f} MB free, committing {len(batch)} unit(s) may need "
            f"{need / 2**20:.0f} MB; they wait in {layout.inbox}. Free space, then `pathscope commit --archive "
            f"{layout.database}`."
        )


@contextmanager
def _no_space_said(layout: Layout) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise NoSpace(
            f"the disk of {layout.database} is full ({error}); units wait in {layout.inbox}. Free space, then "
            f"`pathscope commit --archive {layout.database}`."
        ) from error


def _set_aside(layout: Layout, path: Path, reason: str, report: CommitReport) -> None:
    target = _move(path, layout.failed)
    target.with_name(f"{target.name}.reason.txt").write_text(reason + "\n", encoding="utf-8")
    report.refused.append((path.name, f"{reason} (set aside in {target})"))


def _move(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / path.name
    if target.exists():
        shutil.rmtree(target)
    path.rename(target)
    return target


def _sweep(layout: Layout) -> None:
    """Remove what workers that were killed a day ago had begun to write."""
    for path in layout.inbox.glob(".*.tmp") if layout.inbox.is_dir() else ():
        if time.time() - path.stat().st_mtime > UNFINISHED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _offer_again(layout: Layout) -> None:
    """Put committed shards back into the inbox; those the ledger knows are only moved again."""
    layout.make_folders()
    for path in sorted(layout.committed.iterdir()):
        if path.is_dir() and not (layout.inbox / path.name).exists():
            path.rename(layout.inbox / path.name)


def describe(report: CommitReport) -> dict[str, Any]:
    """The report as plain values, for --json and log lines."""
    return {
        "shards": report.n_shards,
        "cells": report.n_cells,
        "rows": report.n_rows,
        "already_known_cells": report.n_known,
        "refused": [{"shard": name, "reason": reason} for name, reason in report.refused],
    }
