"""`pathscope merge`: bringing another archive's results into this one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge)


def merge(
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="The other archive; it is only read.")],
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Compare, and change nothing.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Bring in what another archive has and this one lacks, without measuring again.

    Merging twice adds nothing. Where the two say different things, this archive's version stays and is told.
    """
    from archive.layout import Layout
    from archive.upkeep.merge import merge as join

    with Console(stderr=True).status("merging") as spinner:
        merged = join(
            Layout.of(archive_path(archive)),
            other.expanduser(),
            dry_run=dry_run,
            on_step=lambda what: spinner.update(escape(what)),
        )

    def human(console: Console) -> None:
        for conflict in merged.conflicts if not quiet else ():
            console.print(
                f"[yellow]{conflict.what}[/yellow] {escape(conflict.name)}: here {escape(conflict.ours)}, there "
                f"{escape(conflict.theirs)}; what is here stays",
                soft_wrap=True,
            )
        for name, reason in merged.refused:
            Console(stderr=True).print(f"refused {name}: {escape(reason)}", soft_wrap=True)
        if not quiet:
            if merged.nothing_new:
                text = "nothing new"
            else:
                lacking = ", ".join(f"{n:,} {kind}" for kind, n in merged.wanted.items() if n)
                text = f"lacked here: {lacking}"
                if not dry_run:
                    text += f"; {merged.n_cells:,} cells with {merged.n_rows:,} rows entered"
            console.print(f"{escape(str(merged.other))}: {text}", soft_wrap=True)

    document = {**asdict(merged), "other": str(merged.other), "dry_run": dry_run}
    emit(document, as_json=json, human=human)
    if merged.refused:
        raise typer.Exit(1)
