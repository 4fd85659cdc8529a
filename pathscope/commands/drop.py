"""`pathscope drop`: taking a run, a study, a source or a measure out of the archive."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit

if TYPE_CHECKING:
    from archive.upkeep.drop import Dropped


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drop")(drop)


def drop(
    archive: ArchiveOption = None,
    run: Annotated[str | None, typer.Option("--run", help="A run, by its name or an alias.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="What a study brought.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="What an imported source brought.")] = None,
    measure: Annotated[
        str | None, typer.Option("--measure", help="A measure, or one version of it: NAME@2.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a run, a study, a source or a measure with everything measured of it; asks first.

    Weights of dropped runs go too. An imported source can be imported again afterwards. To leave a run out of
    answers without deleting anything, use `exclude`.
    """
    from archive.errors import UsageError
    from archive.layout import Layout
    from archive.upkeep.drop import Target, plan_drop
    from archive.upkeep.drop import drop as delete

    given = dict(zip(get_args(Target), (run, study, source, measure), strict=True))
    chosen = [(target, name) for target, name in given.items() if name is not None]
    if len(chosen) != 1:
        raise UsageError("say what to drop: one of --run, --study, --source or --measure with a name.")
    target, name = chosen[0]
    layout = Layout.of(archive_path(archive))
    plan = plan_drop(layout, target, name)
    if dry_run:
        emit(
            _document(plan, done=False), as_json=json, human=lambda console: _print(console, plan, done=False)
        )
        return
    if not yes:
        if json or not sys.stdin.isatty():
            raise UsageError(
                f"nothing was dropped: give --yes to delete {target} {plan.name!r}, or --dry-run to see what would go."
            )
        _print(Console(stderr=True), plan, done=False)
        typer.confirm(f"Delete {target} {plan.name!r} for good?", abort=True, err=True)
    done = delete(layout, target, name)
    emit(
        _document(done, done=True),
        as_json=json,
        human=lambda console: None if quiet else _print(console, done, done=True),
    )


def _document(plan: "Dropped", *, done: bool) -> dict[str, Any]:
    return {
        "target": plan.target,
        "name": plan.name,
        "dropped": done,
        "rows": plan.rows,
        "runs": plan.runs,
        "weights": [str(path) for path in plan.weights],
        "kept": plan.kept,
    }


def _print(console: Console, plan: "Dropped", *, done: bool) -> None:
    title = f"{'dropped' if done else 'would drop'} {plan.target} {escape(plan.name)}"
    table = Table("table", title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rows", justify="right")
    for name, rows in plan.rows.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    for folder in plan.weights:
        console.print(f"weights: {escape(str(folder))}", soft_wrap=True)
    for sentence in plan.kept:
        console.print(f"kept: {escape(sentence)}", soft_wrap=True)
    if done:
        console.print("`pathscope optimize` gives the space back.")
