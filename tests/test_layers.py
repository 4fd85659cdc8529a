"""The architecture as tests: import directions, light commands, names that cannot shadow anything."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from archive.create import ensure_archive
from pathscope.commands import COMMAND_MODULES
from pathscope.guard import PACKAGES

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "huggingface_hub", "streamlit", "plotly", "pandas")


def test_imports_follow_the_layers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    broken = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)

    assert broken == 0, capsys.readouterr().out


def loaded_by(program: str, folder: Path) -> set[str]:
    """Which of the heavy libraries a program loads, run in a process of its own."""
    report = f"\nimport sys; print('LOADED', *[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", program + report],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    assert result.returncode == 0, result.stderr
    return set(re.findall(r"^LOADED(.*)$", result.stdout, re.MULTILINE)[-1].split())


def test_the_check_sees_a_heavy_import(tmp_path: Path) -> None:
    assert loaded_by("import plotly", tmp_path) == {"plotly"}  # the lightest of them


def test_importing_pathscope_loads_nothing_heavy(tmp_path: Path) -> None:
    assert loaded_by("import pathscope", tmp_path) == set()


def command(*words: str) -> str:
    """A program that runs one command of the command line and does not leave the process."""
    return f"import sys; sys.argv = ['pathscope', *{words!r}]\nfrom pathscope.__main__ import app\napp(standalone_mode=False)"


def test_looking_at_an_archive_loads_nothing_heavy(tmp_path: Path) -> None:
    ensure_archive(tmp_path / "pathscope.duckdb")
    looks = [("status",), ("status", "--json"), ("sql", "SELECT count(*) FROM v_run")]

    # one after another in one process: what the last of them finds loaded, some of them loads
    assert loaded_by("\n".join(command(*words) for words in looks), tmp_path) == set()


def test_help_of_every_command_loads_nothing_heavy(tmp_path: Path) -> None:
    assert len(COMMAND_MODULES) > 1
    assert loaded_by(command("--help"), tmp_path) == set()


def test_nothing_in_ui_is_called_like_a_library_or_one_of_our_packages() -> None:
    # `streamlit run ui/app.py` puts ui/ first on the path: ui/queries.py would replace the package
    taken = {*sys.stdlib_module_names, *packages_distributions(), *PACKAGES, "pathscope", "alembic"}
    ours = {path.stem for path in (ROOT / "ui").iterdir() if path.suffix == ".py" or path.is_dir()}

    assert "streamlit" in taken
    assert (ours - {"__init__", "__pycache__"}) & taken == set()


@pytest.mark.parametrize("package", ["pathscope", *PACKAGES])
def test_packages_are_typed_for_their_users(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
