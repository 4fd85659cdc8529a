"""`pathscope export`: the archive as Parquet files with a dataset card, or in the form of another tool."""

from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from archive.errors import UsageError
from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit

if TYPE_CHECKING:
    from queries.exports.written import Written


class ExportFormat(StrEnum):
    """What an export can be written as."""

    PARQUET = "parquet"
    LM_EVAL = "lm-eval"
    NEURONPEDIA = "neuronpedia"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is new or empty.")],
    archive: ArchiveOption = None,
    file_format: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            help="parquet: every public view. lm-eval: benchmark results as the harness writes them. neuronpedia: the "
            "examples of one run's neurons at one checkpoint.",
        ),
    ] = ExportFormat.PARQUET,
    no_text: Annotated[
        bool, typer.Option("--no-text", help="Leave out documents, tokens, prompts and vocabularies.")
    ] = False,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", help="Only runs whose names match, such as 'demo/*'; may be given again."),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option("--step", help="neuronpedia: the checkpoint; default: the last with examples."),
    ] = None,
    eval_set: Annotated[
        str, typer.Option("--eval-set", help="neuronpedia: on which texts, where there are several.")
    ] = "",
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Read the published copy, so that commits need not wait.")
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Write results for others: every public view as Parquet files with a README (sources, licences) and SHA256SUMS.

    With --format lm-eval or neuronpedia in the form of those tools, which `pathscope import` reads back.
    """
    path = archive_path(archive)
    if file_format is not ExportFormat.NEURONPEDIA and (step is not None or eval_set):
        raise UsageError("--step and --eval-set belong to --format neuronpedia, which writes one checkpoint.")
    if file_format is ExportFormat.PARQUET:
        _parquet(path, folder, no_text=no_text, runs=runs or (), snapshot=snapshot, quiet=quiet, json=json)
        return
    from archive.store import Archive

    source = Archive(path, snapshot=snapshot)
    if file_format is ExportFormat.LM_EVAL:
        from queries.exports.lm_eval import export_lm_eval

        done = export_lm_eval(source, folder, runs=runs or "*")
    else:
        from queries.exports.neuronpedia import export_neuronpedia

        done = export_neuronpedia(
            source, folder, runs=runs or "*", step=step, eval_set=eval_set, text=not no_text
        )
    _tell(done, quiet=quiet, json=json)


def _tell(done: "Written", *, quiet: bool, json: bool) -> None:
    def human(console: Console) -> None:
        if not quiet:
            console.print(
                f"{escape(str(done.folder))}: {done.runs} run(s), {done.rows:,} results in {done.files} files",
                soft_wrap=True,
            )
            for note in done.notes:
                console.print(f"  {escape(note)}", soft_wrap=True)
        _warn(done.unlicensed)

    document = {name: value for name, value in asdict(done).items() if name != "unlicensed"}
    document |= {"folder": str(done.folder), "unlicensed_sources": done.unlicensed}
    emit(document, as_json=json, human=human)


def _warn(unlicensed: "list[str] | tuple[str, ...]") -> None:
    for name in unlicensed:
        Console(stderr=True).print(
            f"[yellow]no licence was found for source {escape(name)}[/yellow]: ask its authors before passing "
            "its numbers on",
            soft_wrap=True,
        )


def _parquet(
    path: Path, folder: Path, *, no_text: bool, runs: Sequence[str], snapshot: bool, quiet: bool, json: bool
) -> None:
    from archive.layout import Layout
    from archive.upkeep.export import export as write
    from archive.upkeep.words import size_words

    done = write(Layout.of(path), folder, text=not no_text, runs=runs, snapshot=snapshot)

    def human(console: Console) -> None:
        if not quiet:
            rows, size = sum(f.n_rows for f in done.files), sum(f.n_bytes for f in done.files)
            console.print(
                f"{escape(str(done.folder))}: {done.runs} run(s), {rows:,} rows in {len(done.files)} files, "
                f"{size_words(size)}; README.md says what is in them",
                soft_wrap=True,
            )
        _warn(done.unlicensed)

    document = {
        "folder": str(done.folder),
        "runs": done.runs,
        "files": [asdict(f) for f in done.files],
        "unlicensed_sources": done.unlicensed,
    }
    emit(document, as_json=json, human=human)
