"""`pathscope hypothesis`: what is claimed before the runs that test it are there."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit

if TYPE_CHECKING:
    from archive.store import Archive
    from queries.reading.registration import Hypothesis

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]


def register(app: typer.Typer) -> None:
    """Add `hypothesis add`, `list` and `show`."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
    group.callback()(hypothesis)
    group.command("add")(add)
    group.command("list")(list_all)
    group.command("show")(show)
    app.add_typer(group, name="hypothesis")


def hypothesis() -> None:
    """Register a question before the runs that test it; answers say which were, and whether in time."""


def add(
    name: NameArgument,
    statement: Annotated[
        str, typer.Option("--statement", help="What is claimed, so that others can judge it.")
    ],
    primary_measure: Annotated[
        str,
        typer.Option(
            "--primary-measure", help="The one measure that decides; `pathscope measures` lists them."
        ),
    ],
    alpha: Annotated[float, typer.Option("--alpha", help="The level of the test.")] = 0.05,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--runs",
            help="The runs it is about, such as 'mine/*' or family:X; they need not be there. May be repeated.",
        ),
    ] = None,
    archive: ArchiveOption = None,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Register a question with its measure, level and runs; it cannot be changed afterwards.

    Where there is no archive yet it is made: before the first runs is the time to register.
    """
    from archive.create import ensure_archive
    from archive.layout import Layout
    from archive.store import Archive
    from archive.upkeep.hypotheses import add_hypothesis, refuse_unfit
    from queries.reading.registration import find_hypothesis
    from queries.reading.select import RunSelection

    refuse_unfit(name, statement, primary_measure, alpha)
    layout = Layout.of(archive_path(archive))
    is_new = not layout.database.exists()
    terms = RunSelection.of(runs).terms() if runs else []
    _check_measure(None if is_new else Archive(layout.database), primary_measure)
    if is_new:  # the best time to register: nothing has been measured
        ensure_archive(layout.database)
    add_hypothesis(
        layout,
        name,
        statement=statement,
        primary_measure=primary_measure,
        alpha=alpha,
        runs=[] if terms == ["*"] else terms,
    )
    found = find_hypothesis(Archive(layout.database), name)

    def human(console: Console) -> None:
        if not quiet:
            if is_new:
                console.print(
                    f"made the archive {layout.database}", markup=False, highlight=False, soft_wrap=True
                )
            _show(console, found)

    emit(_document(found), as_json=json, human=human)


def list_all(archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """List what is registered, the oldest first."""
    from archive.store import Archive
    from queries.reading.registration import read_hypotheses

    found = read_hypotheses(Archive(archive_path(archive)))

    def human(console: Console) -> None:
        if not found:
            console.print(
                "No hypothesis is registered; `pathscope hypothesis add --help` says how.", markup=False
            )
            return
        table = Table("name", "registered", "measure", "alpha", "runs", "statement")
        for one in found:
            cells = (
                one.name,
                _when(one),
                one.primary_measure,
                f"{one.alpha:g}",
                ", ".join(one.runs),
                one.statement,
            )
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)

    emit({"hypotheses": [_document(one) for one in found]}, as_json=json, human=human)


def show(name: NameArgument, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show one hypothesis as it was registered."""
    from archive.store import Archive
    from queries.reading.registration import find_hypothesis

    found = find_hypothesis(Archive(archive_path(archive)), name)
    emit(_document(found), as_json=json, human=lambda console: _show(console, found))


def _check_measure(archive: "Archive | None", name: str) -> None:
    """Raise UnknownName for a measure that neither the archive, if any, nor this installation knows: nobody could mend it later.

    Measures of an installation are looked up only where the archive does not have it: that loads torch.
    """
    from archive.errors import UnknownName

    base = name.split(":")[0]
    rows = archive.rows("SELECT DISTINCT measure FROM v_measure") if archive is not None else []
    there = {row["measure"] for row in rows}
    if base in there or base.startswith(("log.", "benchmark.")):
        return
    from ingest.comparison import COMPARISONS
    from ingest.measure import MEASURES

    known = {*there, *MEASURES.entries(), *COMPARISONS.entries()}
    if name not in known and base not in {one.split(":")[0] for one in known}:
        raise UnknownName.of("measure", name, known, listing="`pathscope measures`")


def _document(found: "Hypothesis") -> dict[str, Any]:
    return {
        "name": found.name,
        "statement": found.statement,
        "primary_measure": found.primary_measure,
        "alpha": found.alpha,
        "runs": list(found.runs),
        "who": found.who,
        "registered_at": found.registered_at.isoformat(),
    }


def _when(found: "Hypothesis") -> str:
    return f"{found.registered_at:%Y-%m-%d %H:%M}"


def _show(console: Console, found: "Hypothesis") -> None:
    lines = (
        f"{found.name}: {found.statement}",
        f"judged by {found.primary_measure} at alpha {found.alpha:g}, of runs {', '.join(found.runs)}",
        f"registered by {found.who} on {_when(found)}; it cannot be changed",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
