"""`pathscope publish`: an immutable copy for long sessions, dashboards and recovery."""

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("publish")(publish)


def publish(archive: ArchiveOption = None, quiet: QuietOption = False, json: JsonOption = False) -> None:
    """Copy the archive to X.d/snapshots/current.duckdb by one rename; the copy before is kept too.

    Readers of the old copy keep it; `open_archive(path, snapshot=True)` reads the new one.
    """
    from archive.layout import Layout
    from archive.upkeep.publish import publish as copy
    from archive.upkeep.words import size_words

    made = copy(Layout.of(archive_path(archive)))

    def human(console: Console) -> None:
        if not quiet:
            console.print(
                f"published {escape(str(made.snapshot))} ({size_words(made.n_bytes)})", soft_wrap=True
            )

    emit(
        {
            "snapshot": str(made.snapshot),
            "bytes": made.n_bytes,
            "previous": str(made.previous) if made.previous else None,
        },
        as_json=json,
        human=human,
    )
