"""Invented archives, made once a session; pages run in Streamlit's own test harness or in a real browser."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, local_script_runner

from archive.store import READ_PATIENCE, Archive, connect
from tests.ui.archives import ARCHIVES
from tests.ui.browser import Address, Look, Made, Watched, Windows, launch
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
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The path of an invented archive by name; made on first use and never written to again.

    Workers of pytest share them. Each is held open here: opening what its process has open takes a tenth of the time.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = folder / "invented"
    folder.mkdir(exist_ok=True)
    known = ARCHIVES | GROKKING_ARCHIVES | COMPONENT_ARCHIVES | COMPARE_ARCHIVES | PUBLISHED_ARCHIVES
    known |= SEEDS_ARCHIVES | SIZES_ARCHIVES | TRANSITION_ARCHIVES | SEARCH_ARCHIVES | QUESTION_ARCHIVES
    known |= INGESTION_ARCHIVES | INTEGRITY_ARCHIVES
    with ExitStack() as held:

        @cache
        def make(name: str) -> Path:
            path = folder / f"{name.replace(' ', '-')}.duckdb"
            done = path.with_suffix(".made")
            with path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
                if not done.exists():
                    known[name](path)
                    done.touch()
            held.enter_context(connect(path, read_only=True, patience=READ_PATIENCE))
            return path

        yield make


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


@pytest.fixture(autouse=True)
def _main_stays_main() -> Iterator[None]:
    """An AppTest leaves its script as `__main__`: every process started afterwards would import the explorer first."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session", autouse=True)
def _scripts_are_compiled_once() -> Iterator[None]:
    """As a server does, which has one cache for all its visitors; every run of an AppTest has a new one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_script_runner, "ScriptCache", cache(ScriptCache))
        yield


@pytest.fixture(scope="session")
def addresses(made: Made) -> Callable[[], dict[str, Any]]:
    """Which address belongs to which file, as Streamlit knows it once a page was drawn."""

    @cache
    def registered() -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATHSCOPE_ARCHIVE", str(made("empty")))
            return AppTest.from_file(str(APP), default_timeout=60).run()._registered_pages

    return registered


@pytest.fixture
def page(
    made: Made, addresses: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AppTest]:
    """Run one page on an archive: page("demo", "curves", measure="loss")."""

    def run(archive: str | Path, name: str = "home", **address: str | list[str]) -> AppTest:
        path = made(archive) if isinstance(archive, str) else archive
        monkeypatch.setenv("PATHSCOPE_ARCHIVE", str(path))
        app = AppTest.from_file(str(APP), default_timeout=60)
        if name != "home":
            if ADDRESSES[name] != name:
                app._registered_pages = addresses()  # known after a run, which would draw the first page
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
def address(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of an explorer on an invented archive, started when it is first asked for."""
    with ExitStack() as running:
        yield Address(made, tmp_path_factory.mktemp("explored") / "x.duckdb", running)


@pytest.fixture(scope="module")
def windows(browser: Browser) -> Windows:
    """Windows that tests have left; kept, because a new one reads and compiles all scripts again."""
    return Windows(browser.new_context())


@pytest.fixture
def look(windows: Windows) -> Iterator[Look]:
    """Open an address in a window of its own: look(url, width=1000, dark=False)."""
    used: list[Watched] = []

    def show(url: str, width: int = 1000, dark: bool = False) -> Watched:
        watched = windows.take()
        used.append(watched)
        watched.page.emulate_media(color_scheme="dark" if dark else "light")
        watched.page.set_viewport_size({"width": width, "height": 1000})
        watched.page.goto(url)
        watched.settle()
        return watched

    yield show
    for watched in reversed(used):
        windows.give_back(watched)
