"""Is everything in the archive whole? Reads every block, and looks for what no key guards."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from archive.errors import ArchiveBusy, UsageError
from archive.layout import Layout
from archive.schema.facts import CONTENT, FACTS
from archive.store import WRITE_PATIENCE, Archive
from archive.upkeep.change import changing, require
from archive.upkeep.findings import DAMAGED, Finding
from archive.upkeep.verify_blocks import (
    TROUBLE,
    Rows,
    Step,
    check_block_sums,
    read_table,
    table_names,
    unreadable,
)
from archive.upkeep.verify_facts import check_content_table, check_fact_table
from archive.upkeep.verify_tables import check_ledger, check_references, check_segments, check_shape
from archive.upkeep.verify_units import check_committed, check_folders, committed_units

VERIFIED_AT = "verified_at"
# the file is held for reading no longer than this and one table more, so that commits come in between
SESSION_SECONDS = 1.0

Check = tuple[str, Callable[[], Iterable[Finding]]]


@dataclass(frozen=True)
class Verification:
    """What was checked and what was found; `not_recorded` says why a success could not be written down."""

    findings: list[Finding]
    n_tables: int
    n_rows: int
    n_cells: int
    n_units: int
    n_bytes: int
    seconds: float
    verified_at: str
    not_recorded: str = ""

    @property
    def ok(self) -> bool:
        """True when nothing was found."""
        return not self.findings


def verify(
    layout: Layout, *, patience: float = WRITE_PATIENCE, on_step: Step = lambda _: None
) -> Verification:
    """Check the archive, its kept units and the published copy; never changes a number.

    A success is recorded in the archive (`archive_info.verified_at`), which lets `optimize` remove committed
    units that are older. The file is opened for one table at a time, so commits come in between.
    on_step is told what is looked at. Raises ArchiveNotFound, ArchiveTooOld, ArchiveBusy; damage is a finding.
    """
    require(layout)
    started, clock = datetime.now(UTC).isoformat(), time.monotonic()
    archive = Archive(layout.database, patience=patience)
    findings: list[Finding] = []
    rows: Rows = {}
    readable: Archive | None = archive
    try:
        tables = table_names(archive)
    except TROUBLE as error:
        findings.append(unreadable(layout.database, error))
        readable = None
    else:
        findings += _in_turns(archive, _reading(archive, tables, rows), on_step)
        damaged = sorted(set(tables) - set(rows))
        findings += check_block_sums(archive, damaged, on_step)
        findings += _in_turns(archive, _checks(archive), on_step)
        findings += _guarded("units in the inbox", partial(check_folders, layout, archive, patience=patience))
    on_step("checking committed units")
    n_units = len(committed_units(layout))
    findings += _guarded("committed units", partial(check_committed, layout, readable))
    if layout.current_snapshot.exists():
        findings += _snapshot(layout, patience, on_step)
    not_recorded = ""
    if not findings:
        not_recorded = _record(layout, started, patience)
    return Verification(
        findings=findings,
        n_tables=len(rows),
        n_rows=sum(rows.values()),
        n_cells=rows.get("cell", 0),
        n_units=n_units,
        n_bytes=layout.database.stat().st_size,
        seconds=time.monotonic() - clock,
        verified_at=started,
        not_recorded=not_recorded,
    )


def _reading(archive: Archive, tables: Iterable[str], rows: Rows) -> list[Check]:
    return [(f"reading {table}", partial(read_table, archive, table, rows)) for table in tables]


def _checks(archive: Archive) -> list[Check]:
    """The checks inside the database, each of which damage may stop without stopping the others."""
    return [
        ("checking the schema", partial(check_shape, archive)),
        ("checking references", partial(check_references, archive)),
        ("checking the ledger", partial(check_ledger, archive)),
        ("checking log segments", partial(check_segments, archive)),
        *((f"checking {spec.name}", partial(check_fact_table, archive, spec)) for spec in FACTS),
        *((f"checking {spec.name}", partial(check_content_table, archive, spec)) for spec in CONTENT),
    ]


def _in_turns(archive: Archive, checks: Iterable[Check], on_step: Step) -> list[Finding]:
    """Do many short checks in one session, and open a new one after a second or after damage."""
    findings: list[Finding] = []
    waiting = deque(checks)
    while waiting:
        try:
            with archive.session():
                until = time.monotonic() + SESSION_SECONDS
                while waiting and time.monotonic() < until:
                    what, check = waiting.popleft()
                    on_step(what)
                    found = _guarded(what, check)
                    findings += found
                    if any(f.kind == "damage" for f in found):
                        break  # DuckDB may refuse to go on with this connection
        except TROUBLE as error:
            return [*findings, unreadable(archive.file, error)]
    return findings


def _guarded(what: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """A check's findings; damage that stops it is one."""
    try:
        return list(check())
    except TROUBLE as error:
        text = f"{what}: stopped by damage ({str(error).splitlines()[0][:200]})"
        return [Finding("damage", what.removeprefix("checking "), text, DAMAGED)]


def _snapshot(layout: Layout, patience: float, on_step: Step) -> list[Finding]:
    """The published copy is what a recovery starts from, so its blocks are read too."""
    on_step("reading the published copy")
    snapshot = layout.current_snapshot
    try:
        archive = Archive(layout.database, snapshot=True, patience=patience)
        damage = _in_turns(archive, _reading(archive, table_names(archive), {}), lambda _: None)
    except (UsageError, *TROUBLE) as error:
        damage = [unreadable(snapshot, error)]
    return [
        Finding(
            "damage",
            str(snapshot),
            f"the published copy: {f.message}",
            "pathscope publish",
            f.count,
            f.examples,
        )
        for f in damage
    ]


def _record(layout: Layout, started: str, patience: float) -> str:
    """Write down that everything committed before `started` was found whole; why not, if it cannot be."""
    if not layout.folder.is_dir():
        return "there are no folders beside the archive whose retention would need it"
    try:
        with changing(layout, "verify", patience=patience) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO archive_info VALUES ($key, $at)", {"key": VERIFIED_AT, "at": started}
            )
    except (ArchiveBusy, OSError, UsageError) as error:
        return str(error)
    return ""
