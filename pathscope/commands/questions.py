"""`pathscope questions`: every open problem, and what this archive can say about it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pathscope.commands.common import ArchiveOption, JsonOption, archive_path, emit

if TYPE_CHECKING:
    from queries.problems.states import ProblemState

StateOption = Annotated[
    str | None,
    typer.Option(
        "--state",
        help="Only problems in this state: answered, part, cells, checkpoints, interventions, later or exploratory.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("questions")(questions)


def questions(archive: ArchiveOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """List the open problems with what this archive can say about each, and the command to type next.

    Without an archive, as in an empty one.
    """
    show_states(archive, state, as_json=json)


def show_states(archive: Path | None, state: str | None, *, as_json: bool) -> None:
    """Print the list, of one state if one is asked for; raises UnknownName for a state that there is not."""
    from archive.errors import UnknownName
    from archive.store import Archive
    from queries.problems.states import WORDS, problem_states

    if state is not None and state not in WORDS:
        raise UnknownName.of("state", state, WORDS, listing="`pathscope questions --help`")
    path = archive_path(archive)
    # an archive that was named has to be there; without any, the list says what there is to do
    opened = Archive(path) if archive is not None or path.exists() else None
    found = [one for one in problem_states(opened) if state in (None, one.state)]
    counts = {name: sum(one.state == name for one in found) for name in WORDS}
    document: dict[str, Any] = {
        "archive": str(path) if opened else None,
        "counts": counts,
        "problems": [one.to_dict() for one in found],
    }

    def human(console: Console) -> None:
        for group, rows in groupby(found, key=lambda one: one.problem.group):
            console.print(_table(group, list(rows)))
        told = ", ".join(f"{n} {WORDS[name]}" for name, n in counts.items() if n)
        console.print(escape(f"{len(found)} problems: {told or 'none in this state'}."), soft_wrap=True)
        console.print(
            "`pathscope ask NUMBER` answers one or says what is missing; `--write-study FILE` writes the study for it.",
            markup=False,
            soft_wrap=True,
        )

    emit(document, as_json=as_json, human=human)


def _table(group: str, rows: "Sequence[ProblemState]") -> Table:
    from queries.problems.states import WORDS

    table = Table("", "problem", "state", "next", title=group, title_justify="left")
    for one in rows:
        note = f"\n{one.note}" if one.note else ""
        table.add_row(
            one.problem.number,
            escape(one.problem.title),
            escape(WORDS[one.state] + note),
            escape(one.command),
        )
    return table
