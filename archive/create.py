"""Making an archive: the file at the newest schema, its sentinel rows, and the folder beside it."""

import time
import uuid
from pathlib import Path

from archive.errors import UsageError
from archive.layout import Layout
from archive.lock import writer_lock
from archive.schema.dimensions import SENTINELS, archive_info
from archive.store import WRITE_PATIENCE, connect

FORMAT_VERSION = "1"


def ensure_archive(path: str | Path, *, patience: float = WRITE_PATIENCE) -> Layout:
    """Create the archive if there is none; returns its layout either way.

    The file is built under another name and renamed, so a crash leaves either no archive or a whole one.
    """
    layout = Layout.of(path)
    if "?" in str(layout.database):  # DuckDB takes what follows for options and puts its log elsewhere
        raise UsageError(
            f"{layout.database} has a question mark, which DuckDB cannot have in a path; rename it."
        )
    layout.database.parent.mkdir(parents=True, exist_ok=True)
    layout.make_folders()
    if layout.database.exists():
        return layout
    from archive.migrate import migrate  # Alembic is slow to import and only needed here

    with writer_lock(layout, "create", patience=patience):
        if layout.database.exists():
            return layout
        fresh = layout.folder / f".new-{uuid.uuid4().hex[:8]}.duckdb"
        try:
            with connect(fresh, read_only=False, patience=patience) as connection:
                migrate(connection)
                for table, row in SENTINELS.items():
                    connection.execute(table.insert(), row)
                facts = {
                    "uuid": str(uuid.uuid4()),
                    "format": FORMAT_VERSION,
                    "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                }
                connection.execute(archive_info.insert(), [{"key": k, "value": v} for k, v in facts.items()])
                connection.commit()
            fresh.rename(layout.database)
        finally:
            fresh.unlink(missing_ok=True)
            fresh.with_suffix(".duckdb.wal").unlink(missing_ok=True)
    return layout
