import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from streamlit import config
from typer.testing import CliRunner

import ui
from pathscope.__main__ import app
from pathscope.commands.ui import command
from pathscope.settings import Settings

HOME = Path(ui.__file__).parent


def words(**given: object) -> list[str]:
    defaults = {"home": HOME, "archive": Path("/a b.duckdb"), "port": 1, "browser": False, "snapshot": False}
    return command(**{**defaults, "settings": Settings(sql_seconds=7), **given})  # type: ignore[arg-type]


def test_the_command_line_of_streamlit() -> None:
    found = words()
    assert found[:5] == [sys.executable, "-P", "-m", "streamlit", "run"]
    assert Path(found[5]).is_file()
    assert found[found.index("--") :] == ["--", "/a b.duckdb", "--sql-seconds=7.0", "--sql-memory-mb=2048"]
    assert "--server.headless=true" in found
    assert "--server.headless=false" in words(browser=True)
    assert words(snapshot=True)[-1] == "--snapshot"


def test_it_listens_on_this_machine_only_and_phones_nobody() -> None:
    found = words()
    assert "--server.address=localhost" in found
    assert "--browser.gatherUsageStats=false" in found


def test_every_option_is_one_that_streamlit_knows() -> None:
    mine = words()[: words().index("--")]
    options = [w[2:].split("=")[0] for w in mine if w.startswith("--") and "=" in w]
    assert len(options) > 5
    for option in options:
        config.get_option(option)


def test_the_theme_is_a_file_that_streamlit_accepts(caplog: pytest.LogCaptureFixture) -> None:
    from streamlit import config_util
    from streamlit.config import _config_options_template

    theme = config_util._load_theme_file(str(HOME / "theme.toml"), _config_options_template)["theme"]
    assert {"light", "dark"} <= set(theme)
    assert not caplog.records, "an option of the theme is unknown"


@pytest.mark.parametrize("content", [None, "no database at all, whatever its name says " * 30])
def test_a_missing_or_foreign_archive_fails_before_streamlit_starts(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.duckdb"
    if content:
        path.write_text(content)
    monkeypatch.setattr("pathscope.commands.ui._become", lambda *_: pytest.fail("started"))
    result = CliRunner().invoke(app, ["ui", "--archive", str(path), "--no-browser"])
    assert str(path) in str(result.exception)


@cache
def started(threads: str | None) -> list[str]:
    """What a fresh process with our command in it says: heavy modules that it loaded, and threads for NumPy."""
    code = (
        "import pathscope, sys; assert 'numpy' not in sys.modules; import pathscope.__main__, os; "
        "print([m for m in ('streamlit', 'torch') if m in sys.modules], os.environ['OPENBLAS_NUM_THREADS'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=HOME.parent,
        env=environment | ({"OPENBLAS_NUM_THREADS": threads} if threads else {}),
    )
    return done.stdout.split()


def test_importing_the_command_loads_neither_streamlit_nor_torch() -> None:
    assert started(None)[0] == "[]"


def test_commands_multiply_with_one_thread_unless_told_otherwise() -> None:
    """NumPy reads the number of threads when it is loaded: it must be set by then, and by nobody but the command."""
    assert [started(threads)[1] for threads in (None, "2")] == ["1", "2"]
