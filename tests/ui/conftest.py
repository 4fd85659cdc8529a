"""Invented archives, made once a session; pages run in Streamlit's own test harness or in a real browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from archive.store import Archive
from tests.ui.archives import ARCHIVES
from tests.ui.browser import Address, Look, Made, Watched, explorer, launch
from tests.ui.compare.archive import COMPARE_ARCHIVES
from tests.ui.components.archive import COMPONENT_ARCHIVES
from tests.ui.grokking.archive import GROKKING_ARCHIVES
from tests.ui.ingestion.archive import INGESTION_ARCHIVES
from tests.ui.integrity.archive import INTEGRITY_ARCHIVES
from tests.ui.published.archive import PUBLISHED_ARCHIVES
from tests.ui.questions.archive import QUESTION_ARCHIVES
from tests.ui.search.archive import SEARCH_ARCHIVES
from tests.ui.seeds.archive import SEEDS_ARCHIVES
from tests.ui.sizes.archive import SIZES_ARCHIVES
from tests.ui.transitions.archive import TRANSITION_ARCHIVES
from ui.view import discover

APP = Path(__file__).parents[2] / "ui" / "app.py"
ADDRESSES = {v.file.stem: v.url_path for v in discover()}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The path of an invented archive by name; made on first use and never written to again."""
    folder = tmp_path_factory.mktemp("archives")
    known = ARCHIVES | GROKKING_ARCHIVES | COMPONENT_ARCHIVES | COMPARE_ARCHIVES | PUBLISHED_ARCHIVES
    known |= SEEDS_ARCHIVES | SIZES_ARCHIVES | TRANSITION_ARCHIVES | SEARCH_ARCHIVES | QUESTION_ARCHIVES
    known |= INGESTION_ARCHIVES | INTEGRITY_ARCHIVES

    def make(name: str) -> Path:
        path = folder / f"{name.replace(' ', '-')}.duckdb"
        return path if path.exists() else known[name](path)

    return make


@pytest.fixture
def own(made: Made, tmp_path: Path) -> Made:
    """A private copy of an invented archive, for tests that write to it."""

    def copy(name: str) -> Path:
        source = made(name)
        shutil.copytree(source.with_suffix(".d"), tmp_path / "own.d")
        return Path(shutil.copy(source, tmp_path / "own.duckdb"))

    return copy


@pytest.fixture
def demo(made: Made) -> Archive:
    return Archive(made("demo"))


@pytest.fixture(scope="session", autouse=True)
def _components_are_looked_for_once() -> Iterator[None]:
    """Every new AppTest reads the metadata of every installed distribution, which takes longer than most pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests)
        )
        yield


@pytest.fixture
def page(made: Made, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Run one page on an archive: page("demo", "curves", measure="loss")."""

    def run(archive: str | Path, name: str = "home", **address: str | list[str]) -> AppTest:
        path = made(archive) if isinstance(archive, str) else archive
        monkeypatch.setenv("PATHSCOPE_ARCHIVE", str(path))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if name != "home":
            if ADDRESSES[name] != name:
                app.run()  # only now does Streamlit know which address belongs to the file
            app.switch_page(f"views/{name}.py")
        for key, value in address.items():
            app.query_params[key] = value
        return app.run()

    return run


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=30_000)  # ms: other tests share the cores
    with sync_playwright() as playwright:
        running = launch(playwright)
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[Address]:
    """The address of an explorer on an invented archive, started when it is first asked for."""
    with ExitStack() as running:

        @cache
        def of(name: str) -> str:
            return running.enter_context(explorer(made(name)))

        yield of


@pytest.fixture(scope="module")
def context(browser: Browser) -> Callable[[bool], BrowserContext]:
    """Where windows of light or dark systems are opened; kept, because a new one reads and compiles all scripts again."""
    return cache(lambda dark: browser.new_context(color_scheme="dark" if dark else "light"))


@pytest.fixture
def look(context: Callable[[bool], BrowserContext]) -> Iterator[Look]:
    """Open an address in a window of its own: look(url, width=1000, dark=False)."""
    windows: list[Watched] = []

    def show(url: str, width: int = 1000, dark: bool = False) -> Watched:
        watched = Watched.open(context(dark))
        windows.append(watched)
        watched.page.set_viewport_size({"width": width, "height": 1000})
        watched.page.goto(url)
        watched.settle()
        return watched

    yield show
    for watched in windows:
        watched.page.close()
