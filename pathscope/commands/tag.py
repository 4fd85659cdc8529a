"""`pathscope tag` and `pathscope exclude`: marks on runs, which can be taken back."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pathscope.commands.common import ArchiveOption, JsonOption, QuietOption, archive_path, emit

if TYPE_CHECKING:
    from archive.upkeep.marks import Marked

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, by its name or an alias.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("tag")(tag)
    app.command("exclude")(exclude)


def tag(
    run: RunArgument,
    name: Annotated[str, typer.Argument(metavar="TAG", help="The tag.")],
    archive: ArchiveOption = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag off.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Put a tag on a run, or take it off; `v_run.tags` shows it."""
    from archive.layout import Layout
    from archive.upkeep.marks import tag as mark

    marked = mark(Layout.of(archive_path(archive)), run, name, remove=remove)
    verb = "has no tag" if remove else "has the tag"
    _tell(marked, f"{marked.run} {verb} {name!r}", quiet=quiet, json=json)


def exclude(
    run: RunArgument,
    archive: ArchiveOption = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; every answer that leaves the run out says it.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the run back into answers.")] = False,
    quiet: QuietOption = False,
    json: JsonOption = False,
) -> None:
    """Leave a run out of answers, with a reason; nothing is deleted, and every answer says what it leaves out."""
    from archive.errors import UsageError
    from archive.layout import Layout
    from archive.upkeep.marks import exclude as leave_out
    from archive.upkeep.marks import include

    layout = Layout.of(archive_path(archive))
    if undo:
        if reason is not None:
            raise UsageError("--undo takes a run back and needs no --reason.")
        marked = include(layout, run)
        _tell(marked, f"{marked.run} is in answers", quiet=quiet, json=json)
        return
    if reason is None:
        raise UsageError("an exclusion needs a reason that others can judge: `--reason 'loss spike at 4k'`.")
    marked = leave_out(layout, run, reason)
    _tell(marked, f"{marked.run} is left out of answers: {reason}", quiet=quiet, json=json)


def _tell(marked: "Marked", sentence: str, *, quiet: bool, json: bool) -> None:
    def human(console: Console) -> None:
        if not quiet:
            console.print(escape(sentence + ("" if marked.changed else " (as before)")), soft_wrap=True)

    document = {"run": marked.run, "action": marked.action, "changed": marked.changed}
    emit(document, as_json=json, human=human)
