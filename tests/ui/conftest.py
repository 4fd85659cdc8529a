"""Invented archives, made once a session; pages run in Streamlit's own test harness or in a real browser."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from archive.store import Archive
from tests.ui.archives import ARCHIVES
from tests.ui.component_archive import COMPONENT_ARCHIVES
from tests.ui.grokking_archive import GROKKING_ARCHIVES

APP = Path(__file__).parents[2] / "ui" / "app.py"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The path of an invented archive by name; made on first use and never written to again."""
    folder = tmp_path_factory.mktemp("archives")

    def make(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.duckdb"
        return path if path.exists() else (ARCHIVES | GROKKING_ARCHIVES | COMPONENT_ARCHIVES)[name](path)

    return make


@pytest.fixture
def own(made: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A private copy of an invented archive, for tests that write to it."""

    def copy(name: str) -> Path:
        source = made(name)
        shutil.copytree(source.with_suffix(".d"), tmp_path / "own.d")
        return Path(shutil.copy(source, tmp_path / "own.duckdb"))

    return copy


@pytest.fixture
def demo(made: Callable[[str], Path]) -> Archive:
    return Archive(made("demo"))


@pytest.fixture
def page(made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Run one page on an archive: page("demo", "curves", measure="loss")."""

    def run(archive: str | Path, name: str = "home", **address: str | list[str]) -> AppTest:
        path = made(archive) if isinstance(archive, str) else archive
        monkeypatch.setenv("PATHSCOPE_ARCHIVE", str(path))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if name != "home":
            app.run()
            app.switch_page(f"views/{name}.py")
        for key, value in address.items():
            app.query_params[key] = value
        return app.run()

    return run
