"""`pathscope export`: the archive as Parquet files with a dataset card."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


class ExportFormat(StrEnum):
    """What an export can be written as."""

    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is new or empty.")],
    archive: ArchiveOption = None,
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="What to write.")
    ] = ExportFormat.PARQUET,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="Leave out documents, tokens, prompts and vocabularies.")
    ] = False,
    runs: Annotated[
        str | None, typer.Option("--runs", help="Only runs whose names match, such as 'demo/*'.")
    ] = None,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Read the published copy, so that commits need not wait.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Write every public view as a Parquet file, with a README (sources, licences, citations) and SHA256SUMS."""
    from archive.layout import Layout
    from archive.upkeep.export import export as write
    from archive.upkeep.words import size_words

    del file_format  # one so far; the option is there so that scripts can say what they expect
    done = write(Layout.of(archive_path(archive)), folder, text=not no_text, runs=runs, snapshot=snapshot)

    def human(console: Console) -> None:
        if not quiet:
            rows, size = sum(f.n_rows for f in done.files), sum(f.n_bytes for f in done.files)
            console.print(
                f"{escape(str(done.folder))}: {done.runs} run(s), {rows:,} rows in {len(done.files)} files, "
                f"{size_words(size)}; README.md says what is in them",
                soft_wrap=True,
            )
        for name in done.unlicensed:
            Console(stderr=True).print(
                f"[yellow]no licence was found for source {escape(name)}[/yellow]: ask its authors before passing "
                "its numbers on",
                soft_wrap=True,
            )

    document = {
        "folder": str(done.folder),
        "runs": done.runs,
        "files": [asdict(f) for f in done.files],
        "unlicensed_sources": done.unlicensed,
    }
    emit(document, as_json=json, human=human)
