"""`pathscope ingest`: carry out studies; the same command again resumes."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from archive.errors import PathscopeError, TryAgain, UsageError
from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, emit
from pathscope.settings import load_settings

if TYPE_CHECKING:
    from ingest.run.conduct import IngestReport, Options
    from ingest.studies.parts import AnyStudy, ExecutorChoice


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ingest")(ingest)


def ingest(
    studies: Annotated[
        list[Path], typer.Argument(metavar="STUDY.toml...", help="Study files (docs/studies.md).")
    ],
    archive: ArchiveOption = None,
    fill: Annotated[
        list[str] | None,
        typer.Option(
            "--fill", metavar="MEASURE", help="Only back-fill this measure from stored checkpoints."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Stop after so many minutes (exit code 75); go on next time."),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option("--executor", help="local, local:N (N processes), inline, or package.module:callable."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try what failed for good before.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print cells, hours, gigabytes and rows per measure; do nothing."),
    ] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Train and measure what studies ask for and the archive does not have yet.

    The same command again resumes; a finished study has nothing to do. Exit codes: 0 done or nothing to do,
    1 some work failed, 2 wrong study or usage, 75 time budget spent or another process at it: try again.
    """
    from ingest.run.conduct import Options

    if max_minutes is not None and max_minutes < 0:
        raise UsageError(f"--max-minutes {max_minutes:g}: give minutes from 0")
    options = Options(
        fill=tuple(fill or ()),
        deadline=None if max_minutes is None else time.time() + 60 * max_minutes,
        retry_failed=retry_failed,
        dry_run=dry_run,
    )
    outcomes: list[dict[str, Any]] = []
    for path in studies:
        outcomes.append(_one(path, archive, options, executor, quiet=quiet or json))
        if outcomes[-1].get("reason", "").startswith("stopped by"):  # a signal is meant for all of them
            break
    code = worst(outcome["exit_code"] for outcome in outcomes)
    emit(
        {"studies": outcomes, "exit_code": code},
        as_json=json,
        human=lambda console: _print(console, outcomes, quiet),
    )
    raise typer.Exit(code)


def _one(
    path: Path, archive: Path | None, options: "Options", executor: str | None, *, quiet: bool
) -> dict[str, Any]:
    """Carry out one study; one that cannot be is reported, and the next one has its turn."""
    from dataclasses import replace

    from ingest.run.calls import ingest as carry_out
    from ingest.studies.files import load_study
    from pathscope.progress import IngestProgress

    try:
        study = load_study(path)
        if executor is not None:
            options = replace(options, executor=chosen_executor(executor, study))
        with IngestProgress(quiet=quiet) as progress:
            return as_plain(carry_out(study, archive_of(study, archive), options, progress))
    except PathscopeError as error:
        return {
            "study": str(path),
            "state": "locked" if isinstance(error, TryAgain) else "refused",
            "error": type(error).__name__,
            "message": str(error),
            "exit_code": error.exit_code,
        }


def archive_of(study: "AnyStudy", option: Path | None) -> Path:
    """--archive, else PATHSCOPE_ARCHIVE or pathscope.toml, else what the study names, else the default."""
    settings = load_settings()
    if option is None and study.archive is not None and "archive" not in settings.model_fields_set:
        return study.archive
    return (option or settings.archive).expanduser().absolute()


def chosen_executor(text: str, study: "AnyStudy") -> "ExecutorChoice":
    """`--executor` over what the study says: a kind, with a number of processes for `local:N`."""
    kind, _, number = text.partition(":")
    given = study.settings.executor
    if kind != "local":
        return given.model_copy(update={"kind": text})
    if number and not (number.isdecimal() and 1 <= int(number) <= 1024):
        raise UsageError(f"--executor {text}: after local: comes the number of processes, 1 to 1024")
    processes = int(number) if number else given.processes
    return given.model_copy(update={"kind": "local", "processes": processes})


def as_plain(report: "IngestReport") -> dict[str, Any]:
    """A report as one JSON object."""
    from dataclasses import asdict

    return {
        "study": report.study,
        "archive": str(report.archive),
        "state": report.state,
        "reason": report.reason,
        "runs": report.n_runs,
        "cells": {
            "wanted": report.n_wanted,
            "present": report.n_present,
            "filled": report.n_filled,
            "given_up": report.n_given_up,
            "left": report.n_left,
        },
        "estimate": asdict(report.estimated) if report.estimated else None,
        "failures": [asdict(failure) for failure in report.failures],
        "refused": [{"shard": name, "reason": reason} for name, reason in report.refused],
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
    }


def worst(codes: "Sequence[int] | Any") -> int:
    """One exit code for several studies: wrong usage before failed work before try again before done."""
    found = set(codes)
    return next((code for code in (2, 1, 75) if code in found), 0)


def _print(console: Console, outcomes: Sequence[dict[str, Any]], quiet: bool) -> None:
    for outcome in outcomes:
        if "error" in outcome:
            # being overtaken by another ingest is what cron expects; --quiet says errors only
            if not (quiet and outcome["exit_code"] == 75):
                print(f"{outcome['error']}: {outcome['message']}", file=sys.stderr)
            continue
        for refused in outcome["refused"]:
            print(f"REFUSED {refused['shard']}: {refused['reason']}", file=sys.stderr)
        if not quiet:
            console.print(summary(outcome), markup=False, highlight=False, soft_wrap=True)


def rows_of(measure: dict[str, Any]) -> str:
    """How much one measure would write."""
    beyond = f", MORE than the {measure['limit']:,} allowed" if measure["rows"] > measure["limit"] else ""
    return (
        f"{measure['measure']}: {measure['rows']:,} rows of {measure['cells']:,} cells, "
        f"{measure['gigabytes'] * 1000:.3g} MB{beyond}"
    )


def summary(outcome: dict[str, Any]) -> str:
    """What happened to one study, in a line or two."""
    from pathscope.progress import duration

    cells, name = outcome["cells"], outcome["study"]
    given_up = (
        f"; {cells['given_up']} given up (--retry-failed tries them again)" if cells["given_up"] else ""
    )
    if outcome["state"] == "planned":
        cost = outcome["estimate"]
        basis = (
            "timed on earlier units" if cost["timed"] else "a rule of thumb, right within a factor of about 3"
        )
        lines = [
            f"{name}: {cells['left']} of {cells['wanted']} cells to fill, about {cost['hours']:.3g} hours on "
            f"{cost['n_workers']} process(es) ({basis}), {cost['gigabytes']:.3g} GB{given_up}",
            *(f"{name}: {note}" for note in cost["notes"]),
            *(f"  {rows_of(measure)}" for measure in cost["rows"]),
        ]
        return "\n".join(lines)
    if outcome["state"] == "nothing to do":
        return f"{name}: nothing to do, {cells['present']} cells present{given_up}"
    took = duration(outcome["seconds"])
    failed = f"; {len(outcome['failures'])} failures" if outcome["failures"] else ""
    text = (
        f"{name}: {cells['filled']} cells filled in {took}, {cells['present']} of {cells['wanted']} present"
        f"{failed}{given_up}"
    )
    if cells["left"]:
        reason = f" ({outcome['reason']})" if outcome["reason"] else ""
        go_on = "; the same command again goes on from here" if outcome["state"] != "done" else ""
        text += f"\n{name}: {cells['left']} cells left{reason}{go_on}"
    return text
