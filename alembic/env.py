"""How Alembic reaches an archive: one short read-write connection, no pool, DDL in one transaction.

Used in two ways: `archive.migrate` passes its own connection in `config.attributes`; the `alembic` command
line (to write a new revision) opens the file named by `-x archive=PATH`.
"""

from alembic import context
from sqlalchemy import Connection

from archive.schema import metadata
from archive.store import engine_for


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    from pathlib import Path

    engine = engine_for(Path(context.get_x_argument(as_dictionary=True)["archive"]), read_only=False)
    with engine.connect() as opened:
        _run(opened)
        opened.commit()
