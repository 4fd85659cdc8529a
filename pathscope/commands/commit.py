"""`pathscope commit`: put waiting results into the archive."""

from typing import Annotated

import typer
from rich.console import Console

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("commit")(commit)


def commit(
    archive: ArchiveOption = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Offer the committed units again, after restoring an older file.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Put results that wait in the inbox into the archive (`ingest` does this by itself)."""
    from archive.committer import commit_inbox, describe
    from archive.layout import Layout

    report = commit_inbox(Layout.of(archive_path(archive)), replay=replay)

    def human(console: Console) -> None:
        if not quiet:
            console.print(
                f"{report.n_shards} unit(s) committed: {report.n_cells} cells, {report.n_rows} rows"
                + (f"; {report.n_known} cells were there already" if report.n_known else "")
            )
        for name, reason in report.refused:
            Console(stderr=True).print(f"refused {name}: {reason}", markup=False)

    emit(describe(report), as_json=json, human=human)
    if report.refused:
        raise typer.Exit(1)
