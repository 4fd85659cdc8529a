"""What every command shares: where the archive is, how to print, how to fail."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from archive.errors import PathscopeError
from pathscope.settings import load_settings

ArchiveOption = Annotated[
    Path | None,
    typer.Option("--archive", "-a", help="The archive; else $PATHSCOPE_ARCHIVE, else ./pathscope.duckdb."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only (for cron).")]


def archive_path(option: Path | None) -> Path:
    """The archive a command works on: the option, else the setting (environment, pathscope.toml, default)."""
    return (option or load_settings().archive).expanduser().absolute()


def emit(document: Mapping[str, Any], *, as_json: bool, human: Callable[[Console], None]) -> None:
    """Print a result: one JSON document, or what `human` writes for people."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, default=str, allow_nan=True))
    else:
        human(Console())


def fail(error: PathscopeError, *, as_json: bool) -> NoReturn:
    """Say what went wrong on stderr (or as JSON on stdout) and exit with the error's code."""
    if as_json:
        print(
            json.dumps({"error": type(error).__name__, "message": str(error), "exit_code": error.exit_code})
        )
    else:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
