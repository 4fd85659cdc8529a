"""`pathscope verify`: finding out whether everything is whole."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    archive: ArchiveOption = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            "--checkpoints",
            metavar="RUN",
            help="Judge the checkpoints of these runs instead: a name, a pattern with * or ?, or all.",
        ),
    ] = None,
    accept: Annotated[
        int | None,
        typer.Option(
            "--accept",
            metavar="STEP",
            help="With --checkpoints RUN: take a suspect checkpoint back into curves.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="With --accept: why; kept with your name.")] = "",
    undo: Annotated[
        bool, typer.Option("--undo", help="With --accept: put back what was said against the checkpoint.")
    ] = False,
    recompute: Annotated[
        str | None,
        typer.Option(
            "--recompute",
            metavar="SHARE",
            help="Measure a random share of the stored results again and compare, such as 1%.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="With --recompute: which sample is drawn.")] = 0,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Read every block, count the rows of every cell, look for doubles and orphans, check committed units.

    Exit code 1 when something was found; each finding says what to do. A success is recorded, and lets
    `optimize` remove old units from the committed folder.

    With --checkpoints: the integrity ledger of runs. Weights hashes, distances between checkpoints, duplicates,
    checkpoints out of order, absent or unreadable ones. Findings are recorded, so that curves leave those out and
    say so; exit code 1 when there are new ones.

    With --recompute: exit code 1 when a value differs by more than its tolerance; nothing is changed.
    """
    from archive.errors import UsageError

    path = archive_path(archive)
    if accept is not None or undo or reason:
        if accept is None or checkpoints is None:
            raise UsageError("--accept STEP goes with --checkpoints RUN and --reason WHY (or --undo).")
        if recompute is not None:
            raise UsageError("--accept and --recompute are two commands; give one of them.")
        _accept(path, checkpoints, accept, reason, undo=undo, quiet=quiet, json=json)
    elif recompute is not None:
        _recompute(path, recompute, seed, checkpoints, quiet=quiet, json=json)
    elif checkpoints is not None:
        _checkpoints(path, checkpoints, quiet=quiet, json=json)
    else:
        _whole(path, quiet=quiet, json=json)


def _whole(path: Path, *, quiet: bool, json: bool) -> None:
    from archive.layout import Layout
    from archive.upkeep.verify import verify as check
    from archive.upkeep.words import size_words

    progress = Console(stderr=True)
    with progress.status("verifying") as spinner:
        result = check(Layout.of(path), on_step=lambda what: spinner.update(escape(what)))

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


def _checkpoints(path: Path, wanted: str, *, quiet: bool, json: bool) -> None:
    from archive.layout import Layout
    from archive.store import Archive
    from archive.upkeep.integrity import find_runs, read_ledger, record
    from pathscope.integrity_table import print_ledgers

    archive = Archive(path)
    with Console(stderr=True).status("judging checkpoints") as spinner:
        ledgers = []
        for run_id, run in find_runs(archive, wanted):
            spinner.update(escape(run))
            ledgers.append(read_ledger(archive, run_id, run))
        n_new = record(Layout.of(path), ledgers)
    document = {
        "runs": [{**asdict(ledger), "n_suspect": ledger.n_suspect} for ledger in ledgers],
        "n_new": n_new,
        "ok": n_new == 0,
    }
    emit(document, as_json=json, human=lambda console: print_ledgers(console, ledgers, quiet=quiet))
    if n_new:
        raise typer.Exit(1)


def _accept(path: Path, run: str, step: int, reason: str, *, undo: bool, quiet: bool, json: bool) -> None:
    from archive.layout import Layout
    from archive.upkeep.acceptance import accept

    done = accept(Layout.of(path), run, step, reason, undo=undo)

    def human(console: Console) -> None:
        if not quiet:
            what = f"is suspect ({done.integrity})" if undo else "is in curves"
            before = "" if done.changed else " (as before)"
            console.print(escape(f"{done.run} step {step} {what}: {done.note}{before}"), soft_wrap=True)

    emit(asdict(done), as_json=json, human=human)


def _recompute(path: Path, share: str, seed: int, runs: str | None, *, quiet: bool, json: bool) -> None:
    from archive.upkeep.recomputing import recompute
    from archive.upkeep.sampled import parse_share
    from ingest.measuring.recompute import now, recompute_cells
    from pathscope.drift_table import print_drift

    with Console(stderr=True).status("measuring again") as spinner:
        result = recompute(
            path,
            parse_share(share),
            seed,
            runs or "all",
            recompute_cells,
            now,
            on_step=lambda what: spinner.update(escape(what)),
        )
    emit(result.as_plain(), as_json=json, human=lambda console: print_drift(console, result, quiet=quiet))
    if not result.ok:
        raise typer.Exit(1)
