"""`pathscope verify`: finding out whether everything is whole."""

from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(archive: ArchiveOption = None, quiet: QuietOption = False, json: JsonOption = False) -> None:
    """Read every block, count the rows of every cell, look for doubles and orphans, check committed units.

    Exit code 1 when something was found; each finding says what to do. A success is recorded, and lets
    `optimize` remove old units from the committed folder.
    """
    from archive.layout import Layout
    from archive.upkeep.verify import verify as check
    from archive.upkeep.words import size_words

    progress = Console(stderr=True)
    with progress.status("verifying") as spinner:
        result = check(Layout.of(archive_path(archive)), on_step=lambda what: spinner.update(escape(what)))

    def human(console: Console) -> None:
        for finding in result.findings:
            console.print(
                f"[red]{finding.kind}[/red] {escape(finding.where)}: {escape(finding.message)}\n"
                f"    next: {escape(finding.command)}",
                soft_wrap=True,
            )
        if not quiet:
            found = f"{len(result.findings)} finding(s)" if result.findings else "everything is whole"
            console.print(
                f"{found}: {size_words(result.n_bytes)}, {result.n_tables} tables, {result.n_rows:,} rows, "
                f"{result.n_cells:,} cells, {result.n_units} committed unit(s) read in {result.seconds:.1f} s",
                soft_wrap=True,
            )
            if result.not_recorded:
                console.print(f"not recorded in the archive: {escape(result.not_recorded)}", soft_wrap=True)

    emit({**asdict(result), "ok": result.ok}, as_json=json, human=human)
    if not result.ok:
        raise typer.Exit(1)
