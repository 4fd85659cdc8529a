"""`pathscope ui`: open the explorer in the browser."""

import os
import site
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pathscope.commands.common import ArchiveOption, archive_path
from pathscope.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ui")(ui)


def ui(
    archive: ArchiveOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")
    ] = 8501,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Read the published copy, so that nobody waits for anybody.")
    ] = False,
) -> None:
    """Look at an archive in the browser: coverage, curves, SQL. Reads only, on this machine only."""
    from archive.store import Archive

    path = archive_path(archive)
    with Archive(path, snapshot=snapshot).session():
        pass  # a missing, foreign, old or damaged archive is said here, not in a browser
    import ui as pages  # found by import, so that a checkout and a wheel start alike

    home = Path(str(pages.__file__)).parent
    _become(command(home, path, port, browser, snapshot, load_settings()), home)


def command(
    home: Path, archive: Path, port: int, browser: bool, snapshot: bool, settings: Settings
) -> list[str]:
    """The Streamlit command line. home: the folder of `ui`.

    Settings travel as options because a wheel has no `.streamlit` folder. -P keeps the current folder off the
    module path: a file there named `queries.py` would otherwise replace ours.
    """
    options = {
        "server.address": "localhost",
        "server.port": str(port),
        "server.headless": str(not browser).lower(),
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": "false",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "theme.base": str(home / "theme.toml"),
    }
    return [
        *(sys.executable, "-P", "-m", "streamlit", "run", str(home / "app.py")),
        *(f"--{name}={value}" for name, value in options.items()),
        *(
            "--",
            str(archive),
            f"--sql-seconds={settings.sql_seconds}",
            f"--sql-memory-mb={settings.sql_memory_mb}",
        ),
        *(["--snapshot"] if snapshot else []),
    ]


def _become(words: list[str], home: Path) -> NoReturn:
    """Turn this process into Streamlit, so that Ctrl-C, `kill` and a service manager reach it directly."""
    root = str(home.parent)
    environment = dict(os.environ)
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        # a checkout that is not installed: Streamlit has to find our packages too
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    os.execve(words[0], words, environment)
