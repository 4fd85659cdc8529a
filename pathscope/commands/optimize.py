"""`pathscope optimize` and `pathscope upgrade`: writing the archive anew, in better order or with a newer schema."""

from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("optimize")(optimize)
    app.command("upgrade")(upgrade)


def optimize(archive: ArchiveOption = None, quiet: QuietOption = False, json: JsonOption = False) -> None:
    """Rewrite the archive sorted for questions over training, and remove what the folders no longer promise.

    Needs as much free space as the archive is large. Killed at any moment, the old file stays; readers may stay open.
    """
    from archive.layout import Layout
    from archive.upkeep.optimize import optimize as rewrite
    from archive.upkeep.words import size_words

    done = rewrite(Layout.of(archive_path(archive)))
    pruned = done.pruned

    def human(console: Console) -> None:
        if quiet:
            return
        console.print(
            f"{size_words(done.n_bytes_before)} before, {size_words(done.n_bytes_after)} after, {done.n_rows:,} rows"
        )
        if pruned.n_units or pruned.n_logs:
            console.print(
                f"removed {pruned.n_units} committed unit(s) and {pruned.n_logs} log file(s), "
                f"{size_words(pruned.n_bytes)}"
            )
        if pruned.kept_because:
            console.print(f"older committed units are kept: {escape(pruned.kept_because)}", soft_wrap=True)

    emit(asdict(done), as_json=json, human=human)


def upgrade(archive: ArchiveOption = None, quiet: QuietOption = False, json: JsonOption = False) -> None:
    """Bring an archive of an older version to this version's schema; a copy of the old file stays beside it."""
    from archive.migrate import upgrade_archive

    done = upgrade_archive(archive_path(archive))

    def human(console: Console) -> None:
        if quiet:
            return
        if done.copy is None:
            console.print(f"the schema is {done.after} already; the views were renewed")
        else:
            console.print(
                f"schema {done.before} -> {done.after}; the old file is kept as {escape(str(done.copy))}",
                soft_wrap=True,
            )

    emit(
        {
            "archive": str(done.archive),
            "before": done.before,
            "after": done.after,
            "copy": str(done.copy) if done.copy else None,
        },
        as_json=json,
        human=human,
    )
