"""`pathscope status`: what is there, what waits, what failed and what to do about it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pathscope.commands.common import ArchiveOption, JsonOption, archive_path, emit

if TYPE_CHECKING:
    from archive.upkeep.sizes import FolderSize
    from archive.upkeep.status import Contents, Status


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    archive: ArchiveOption = None,
    disk: Annotated[
        bool, typer.Option("--disk", help="Also the size of every folder and how long it is kept.")
    ] = False,
    max_age: Annotated[
        str | None,
        typer.Option("--max-age", help="Exit with 1 when the last commit is older than this, such as 26h."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what is in the archive, what waits to go in, and what failed with the command that tries again.

    While somebody writes for long, answers from the published copy if there is one, and says so (else exit 75).
    """
    from archive.errors import ArchiveBusy
    from archive.layout import Layout
    from archive.upkeep.sizes import folder_sizes, free_bytes
    from archive.upkeep.status import read_status
    from archive.upkeep.words import age_words, seconds_of

    limit = None if max_age is None else seconds_of(max_age)
    layout = Layout.of(archive_path(archive))
    found = read_status(layout)
    quiet = found.quiet_seconds
    stale = limit is not None and quiet is not None and quiet > limit
    folders = folder_sizes(layout) if disk else []

    document: dict[str, Any] = {
        "archive": str(layout.database),
        "read_from": found.read_from,
        "busy": found.busy,
        "contents": None if found.contents is None else asdict(found.contents),
        "queue": asdict(found.queue),
        "snapshot_seconds": found.snapshot_seconds,
        "stale": stale,
    }
    if disk:
        document["disk"] = [{**asdict(f), "path": str(f.path)} for f in folders]
        document["free_bytes"] = free_bytes(layout)

    def human(console: Console) -> None:
        console.print(f"[bold]{escape(str(layout.database))}[/bold]", soft_wrap=True)
        if found.busy:
            where = "the published copy" if found.contents else "nothing: there is no published copy"
            console.print(f"[yellow]{escape(found.busy)}[/yellow] Read from {where}.", soft_wrap=True)
        if found.contents is not None:
            _print_contents(console, found.contents)
        _print_beside(console, found)
        if disk:
            _print_disk(console, folders, free_bytes(layout))
        if stale and quiet is not None:
            console.print(
                f"[red]stale:[/red] nothing was committed for {age_words(quiet)}, more than {max_age}"
            )

    emit(document, as_json=json, human=human)
    if found.contents is None:
        raise typer.Exit(ArchiveBusy.exit_code)
    if stale:
        raise typer.Exit(1)


def _print_contents(console: Console, contents: "Contents") -> None:
    from archive.upkeep.words import age_words

    cells = ", ".join(f"{n:,} {state}" for state, n in contents.cells.items()) or "none"
    last = contents.last_commit_seconds
    console.print(
        f"{contents.n_runs:,} runs, {contents.n_checkpoints:,} checkpoints, schema {contents.schema}; cells: {cells}\n"
        f"last commit {'never' if last is None else age_words(last) + ' ago'}; "
        f"last verify that passed: {(contents.verified_at or 'never')[:16]}",
        soft_wrap=True,
    )
    if contents.coverage:
        table = Table(title="Coverage", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for name in ("family", "measure", "source"):
            table.add_column(name, overflow="fold")
        counts = {
            "runs": [row.n_runs for row in contents.coverage],
            "done": [row.n_done for row in contents.coverage],
            "failed": [row.n_failed for row in contents.coverage],
            "absent": [row.n_absent for row in contents.coverage],
            "n/a": [row.n_not_wanted for row in contents.coverage],
            "rows": [row.n_rows for row in contents.coverage],
        }
        shown = {name: numbers for name, numbers in counts.items() if any(numbers)}
        for name in shown:
            table.add_column(name, justify="right", no_wrap=True)
        for row, *numbers in zip(contents.coverage, *shown.values(), strict=True):
            names = (row.family, f"{row.measure}@{row.version}", row.source)
            table.add_row(*map(escape, names), *(f"{n:,}" for n in numbers))
        console.print(table)
    for study in contents.studies:
        others = f" (+{study.n_by_others:,} of its runs by others)" if study.n_by_others else ""
        failed = f", {study.n_failed:,} failed" if study.n_failed else ""
        console.print(
            f"study {escape(study.study)}: {study.n_done:,} of {study.n_cells_wanted:,} cells{others}{failed}, "
            f"{study.n_runs} runs",
            soft_wrap=True,
        )
    for failure in contents.failures:
        message = failure.example.partition("\n")[0]
        console.print(
            f"[red]{failure.n_cells:,} × {escape(failure.error_class or 'failed')}[/red] in "
            f"{escape(failure.measure)}, {failure.state}, up to {failure.max_attempts} attempt(s): {escape(message)}\n"
            f"    try again: `{escape(failure.retry)}`",
            soft_wrap=True,
        )
    for run in contents.excluded:
        console.print(
            f"excluded: {escape(run.run)}, by {escape(run.who)}: {escape(run.reason)}", soft_wrap=True
        )


def _print_beside(console: Console, found: "Status") -> None:
    from archive.upkeep.words import age_words, size_words

    queue = found.queue
    if queue.n_shards:
        age = "" if queue.oldest_seconds is None else f", the oldest for {age_words(queue.oldest_seconds)}"
        console.print(
            f"{queue.n_shards} unit(s) wait in the inbox ({size_words(queue.n_bytes)}{age}): `pathscope commit`"
        )
    for refused in queue.refused:
        console.print(f"[red]refused[/red] {refused.shard}: {escape(refused.reason)}", soft_wrap=True)
    published = found.snapshot_seconds
    console.print(
        "no published copy (`pathscope publish` makes one)"
        if published is None
        else f"published {age_words(published)} ago"
    )


def _print_disk(console: Console, folders: "list[FolderSize]", free: int) -> None:
    from archive.upkeep.words import size_words

    table = Table(
        "where", "holds", "kept", title="Disk", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("files", justify="right")
    table.add_column("size", justify="right")
    for folder in folders:
        table.add_row(
            escape(folder.path.name),
            folder.holds,
            folder.kept,
            f"{folder.n_files:,}",
            size_words(folder.n_bytes),
        )
    console.print(table)
    console.print(f"{size_words(free)} free")
