"""Bringing an archive to the schema of this version: find the revisions, keep a copy, upgrade.

Revisions live in `alembic/versions` at the repository root; a wheel carries them as `archive/migrations`.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import duckdb
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from archive.errors import ArchiveNotFound, ArchiveTooOld, NoSpace, PathscopeError
from archive.layout import Layout
from archive.lock import writer_lock
from archive.schema import metadata
from archive.store import SCHEMA_REVISION, WRITE_PATIENCE, check_schema, connect, driver, explain_damage
from archive.views import view_statements, views_hash


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did."""

    archive: Path
    before: str
    after: str
    copy: Path | None


def migrations_folder() -> Path:
    """Where env.py and versions/ are: beside the package in a checkout, inside it in a wheel."""
    here = Path(__file__).resolve().parent
    for folder in (here / "migrations", here.parent / "alembic"):
        if (folder / "env.py").is_file():
            return folder
    raise PathscopeError(
        f"no migrations beside {here}: the installation is not whole; install pathscope again."
    )


def alembic_config(connection: Connection) -> Config:
    """Alembic settings that make env.py use an open connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config


def revisions() -> list[str]:
    """All known revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    return [r.revision for r in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]


def migrate(connection: Connection, revision: str = "head") -> None:
    """Upgrade (or, for tests, downgrade) an open archive and renew its views.

    Views go first: DuckDB will not alter a table that a view names.
    """
    current = MigrationContext.configure(connection).get_current_revision()
    known = revisions()
    target = known[-1] if revision == "head" else revision
    raw = driver(connection)
    for (name,) in raw.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        raw.execute(f'DROP VIEW IF EXISTS "{name}" CASCADE')
    macros = (
        "SELECT function_name FROM duckdb_functions() WHERE function_type = 'table_macro' AND NOT internal"
    )
    for (name,) in raw.execute(macros).fetchall():
        raw.execute(f'DROP MACRO TABLE "{name}"')
    backwards = current is not None and (target == "base" or known.index(target) < known.index(current))
    (command.downgrade if backwards else command.upgrade)(alembic_config(connection), target)
    connection.commit()
    if target == SCHEMA_REVISION:
        renew_views(connection)


def renew_views(connection: Connection) -> None:
    """Write this version's views and table macros into an archive of this version's schema."""
    for statement in view_statements():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql("INSERT OR REPLACE INTO archive_info VALUES ('views', ?)", (views_hash(),))
    connection.commit()


def differences(connection: Connection) -> list[object]:
    """What separates the file's tables from the declared ones; empty when `alembic check` is clean."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


def upgrade_archive(path: Path, *, patience: float = WRITE_PATIENCE) -> Upgrade:
    """Bring an archive to the newest schema, keeping a copy of the old file beside it.

    Nothing is copied or changed when the schema is already the newest; views are always renewed.
    """
    layout = Layout.of(path)
    if not layout.database.exists():
        raise ArchiveNotFound(f"no archive at {layout.database}: nothing to upgrade.")
    with writer_lock(layout, "upgrade", patience=patience), explain_damage(layout.database):
        with connect(layout.database, read_only=False, patience=patience) as connection:
            before = _upgradable(driver(connection), layout.database)
            driver(connection).execute("CHECKPOINT")  # so that the file alone, without its WAL, is whole
        copy = _keep_copy(layout.database, before) if before != SCHEMA_REVISION else None
        with connect(layout.database, read_only=False, patience=patience) as connection:
            migrate(connection)
    return Upgrade(layout.database, before, SCHEMA_REVISION, copy)


def _upgradable(connection: duckdb.DuckDBPyConnection, path: Path) -> str:
    """The archive's revision; raises NotAnArchive or ArchiveTooNew where there is nothing to upgrade."""
    try:
        check_schema(connection, path)
    except ArchiveTooOld:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        assert found is not None
        return str(found[0])
    return SCHEMA_REVISION


def _keep_copy(database: Path, revision: str) -> Path:
    """Copy the closed file beside itself, durably; a copy that did not get done leaves none.

    Only when no connection is open: reading the file here would drop DuckDB's lock on it.
    """
    copy = database.with_name(f"{database.stem}.schema-{revision}.duckdb")
    size, free = database.stat().st_size, shutil.disk_usage(database.parent).free
    if free < 2 * size:
        raise NoSpace(
            f"the disk of {database} has {free / 2**20:.0f} MB free; upgrading keeps a copy and may need "
            f"{2 * size / 2**20:.0f} MB. Nothing was changed; free space and run the same command."
        )
    unfinished = copy.with_name(f".{copy.name}.tmp")
    try:
        with database.open("rb") as source, unfinished.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
            target.flush()
            os.fsync(target.fileno())
        unfinished.rename(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    return copy
