"""`pathscope ask NUMBER`: one sub-command per open problem, its options those of its questions."""

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from archive.errors import UsageError
from pathscope.commands import query as one_query
from pathscope.commands.common import ArchiveOption, JsonOption, archive_path, emit
from pathscope.commands.questions import StateOption, show_states

if TYPE_CHECKING:
    from queries.problems.asking import Asked
    from queries.problems.problem import Problem

WriteOption = Annotated[
    Path | None,
    typer.Option(
        "--write-study", help="Write the study that would answer it to this new file, and ask nothing."
    ),
]
HypothesisOption = Annotated[
    str | None, typer.Option("--hypothesis", help="A registered one: ask about its runs, at its alpha.")
]
# a question that nothing could be said to is a request that cannot be met, as for `pathscope query`
NO_ANSWER = 2


class ProblemGroup(TyperGroup):
    """Sub-commands found in the catalogue, and only when one is asked for: other commands start fast."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Numbers of all problems."""
        from queries.problems.catalogue import problems

        return list(problems())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of one problem; raises UnknownName with the nearest."""
        from queries.problems.catalogue import find_problem

        return typer.main.get_command(_app_of(find_problem(cmd_name)))


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(cls=ProblemGroup, rich_markup_mode="markdown")
    group.callback(invoke_without_command=True)(ask)
    app.add_typer(group, name="ask")


def ask(
    ctx: typer.Context, archive: ArchiveOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """Ask an open problem: `pathscope ask 5.21`; without a number, list them as `pathscope questions` does.

    `pathscope ask 5.21 --help` shows its parameters.
    """
    if ctx.invoked_subcommand is None:
        show_states(archive, state, as_json=json)
    elif state is not None:
        raise UsageError("--state is for the list: `pathscope ask --state cells`; a problem takes none.")


def _app_of(problem: "Problem") -> typer.Typer:
    """A one-command app whose options are the parameters of the problem's questions."""
    app = typer.Typer(rich_markup_mode="markdown", add_completion=False, pretty_exceptions_enable=False)
    questions = "".join(f"\n- `{one.query}`: {one.asks}" for one in problem.questions)
    words = f"{problem.title}\n\n{problem.statement}\n{questions}\n\n{problem.limit}"
    app.command(problem.number, help=words)(_command(problem))
    return app


def _command(problem: "Problem") -> Callable[..., None]:
    from queries.problems.asking import parameters_of

    specs = parameters_of(problem)
    options: dict[str, tuple[object, object]] = {
        name: (one_query.option(spec, name), None) for name, spec in specs.items()
    }
    options |= {
        name: (Annotated[list[str] | None, typer.Option(f"--{name}", help=f"Only runs {words}.")], None)
        for name, words in one_query.SHORTHANDS.items()
        if name not in options
    }
    common = {**one_query.COMMON, "hypothesis": (HypothesisOption, None), "write_study": (WriteOption, None)}

    def answer(ctx: typer.Context, **given: Any) -> None:
        ours = {name: given.pop(name) for name in common}
        before = ctx.parent.params if ctx.parent else {}  # `pathscope ask --archive A 5.21`
        ours["archive"] = ours["archive"] or before.get("archive")
        ours["json"] = ours["json"] or before.get("json", False)
        _ask(problem, given, **ours)

    answer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
        [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
                for name, (hint, default) in {**options, **common}.items()
            ),
        ]
    )
    return answer


def _ask(
    problem: "Problem",
    given: dict[str, Any],
    *,
    archive: Path | None,
    format: one_query.Format,
    output: Path | None,
    summary: bool,
    show_sql: bool,
    json: bool,
    hypothesis: str | None,
    write_study: Path | None,
) -> None:
    from archive.store import open_archive
    from queries.problems.asking import ask as ask_archive

    if write_study is not None:
        _write_study(problem, write_study, tuple(given.get("family") or ()), archive, as_json=json)
        return
    wanted = one_query.format_of("json" if json else format, output)
    asked = ask_archive(
        open_archive(archive_path(archive)),
        problem.number,
        hypothesis=hypothesis or "",
        **_parameters(problem, given),
    )
    if wanted in ("csv", "parquet"):
        for path, answer in _files(asked, output):
            one_query.write_rows(answer, wanted, path, summary=summary)
    elif output is None:
        emit(
            asked.to_dict(rows=not summary), as_json=wanted == "json", human=_human(asked, show_sql=show_sql)
        )
    else:
        output.write_text(_text(asked, wanted, rows=not summary), encoding="utf-8")
    if code := exit_code(asked):
        raise typer.Exit(code)


def exit_code(asked: "Asked") -> int:
    """0 with answers to all that was asked, 1 where some of it was refused, 2 where nothing could be answered.

    Questions that the archive has no cells for, or that are later work, are no failure beside an answer: the output says
    so. A problem for looking around needs no answer.
    """
    if asked.answers:
        return 1 if asked.errors else 0
    if asked.problem.kind == "exploratory":
        return 0
    return asked.errors[0].exit_code if asked.errors else NO_ANSWER


def _parameters(problem: "Problem", given: dict[str, Any]) -> dict[str, Any]:
    """What was typed, each value as the first question that has the parameter reads it."""
    from queries.problems.asking import parameters_of

    found: dict[str, Any] = {}
    specs = parameters_of(problem)
    runs = {name: given.get(name) for name in ("runs", *one_query.SHORTHANDS) if name in given}
    for name, spec in specs.items():
        if name != "runs":
            found |= one_query.parameters(spec, {name: given.get(name)})
    if "runs" in specs:
        found |= one_query.parameters(specs["runs"], runs)
    elif any(runs.values()):
        raise UsageError(
            f"problem {problem.number} has no question yet that takes runs; leave --family and its like out."
        )
    return found


def _human(asked: "Asked", *, show_sql: bool) -> Callable[[Console], None]:
    def show(console: Console) -> None:
        console.print(asked.renderable(width=console.width, show_sql=show_sql), highlight=False)

    return show


def _text(asked: "Asked", wanted: one_query.Format, *, rows: bool) -> str:
    import json

    if wanted == "json":
        return json.dumps(asked.to_dict(rows=rows), ensure_ascii=False, default=str, indent=1) + "\n"
    if wanted == "html":
        return _page(asked)
    return str(asked)


def _page(asked: "Asked") -> str:
    """Every answer below its figure, in one file that needs no network."""
    import html

    figures = [
        answer.plot().to_html(full_html=False, include_plotlyjs=k == 0)
        for k, answer in enumerate(asked.answers)
    ]
    title = html.escape(f"{asked.problem.number} {asked.problem.title}")
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<body style="font-family: sans-serif; max-width: 75em; margin: auto">'
        f"{''.join(figures)}{asked._repr_html_()}</body></html>\n"
    )


def _files(asked: "Asked", output: Path | None) -> Iterable[tuple[Path | None, Any]]:
    """A file for each answer: the one named, or with the letters of the questions where there are several."""
    parts = [part for part in asked.parts if part.answer is not None]
    for part in parts:
        named = output is not None and len(parts) > 1
        yield (output.with_stem(f"{output.stem}-{part.letter}") if output and named else output), part.answer


def _write_study(
    problem: "Problem", path: Path, families: tuple[str, ...], archive: Path | None, *, as_json: bool
) -> None:
    from queries.problems.studies import choose_study, study_text

    name = choose_study(problem, families)
    text = study_text(problem, name, path, archive)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already; nothing is overwritten: give --write-study a new name."
        ) from None
    except OSError as error:
        raise UsageError(f"--write-study {path}: {error.strerror}.") from None
    where = f" --archive {archive}" if archive else ""
    commands = [
        f"pathscope ingest {path} --dry-run",
        f"pathscope ingest {path}{where}",
        f"pathscope ask {problem.number}{where}",
    ]

    def human(console: Console) -> None:
        console.print(
            f"Wrote {path}, the study {name!r}. Then:", markup=False, highlight=False, soft_wrap=True
        )
        for command in commands:
            console.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)

    emit(
        {"written": str(path), "study": name, "problem": problem.number, "next": commands},
        as_json=as_json,
        human=human,
    )
