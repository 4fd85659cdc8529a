"""The explorer on 50 million facts: what a page's script takes beside its own SQL, and how soon a browser has drawn it.

The script runs in Streamlit's test harness with nothing remembered; its own SQL is every statement that it sent, the file
opened and closed as often as the page does, so that a writer never waits. The browser opens a page that the server has
shown before.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import pyarrow as pa

from archive import store
from archive.console import Limits, SqlResult, run_sql
from archive.store import Archive
from benchmarks.made_pages import archive_of_pages
from benchmarks.measured import Measured, seconds, words
from ui import state
from ui.view import View, discover

APP = Path(__file__).resolve().parent.parent / "ui" / "app.py"
TURNS, PROMISED, AIM = 3, 3.0, 1.5
# a page whose SQL is faster than this is all opening, layout and figures: only the excess is shown
LEAST = 0.1

# all words of a page but for those of its sliders, which move before the page does
WORDS = """[...document.querySelectorAll('[data-testid=stElementContainer]')]
    .filter(e => !e.querySelector('[role=slider]'))
    .map(e => e.textContent + [...e.querySelectorAll('[aria-label]')].map(a => a.ariaLabel)).join()"""

# what a page did with the archive: a statement of one opening of the file, or a statement of the SQL page
Did = tuple[int, Callable[[Archive], object]]


def measure(folder: Path) -> Iterable[Measured]:
    """Script times of every page, then the browser's."""
    file = archive_of_pages(folder / "pages-50m.duckdb").database
    short: list[tuple[float, str]] = []
    pages = discover()
    for view in pages:
        ours, bare, n = _script(file, view)
        if bare < LEAST:
            short.append((ours - bare, view.title))
            continue
        what = f"page {view.title} on 50 M facts, nothing remembered: its script; the {n} statements it sends"
        yield Measured(what, words(ours), words(bare), ours / bare, PROMISED)
    if short:
        most, least = max(short), min(short)
        few = f"{len(short)} pages whose SQL takes under {words(LEAST)}: what their scripts take beyond it, most"
        yield Measured(
            f"{few} ({most[1]}) and least ({least[1]})", words(most[0]), words(least[0]), most[0] / least[0]
        )
    yield from _browser(file, pages)


def _script(file: Path, view: View) -> tuple[float, float, int]:
    """Seconds of a page's script, seconds of its own SQL, and how many statements that is."""
    with patch.dict(os.environ, PATHSCOPE_ARCHIVE=str(file)):
        run = _app(view)
        run()  # imports, and what the harness does once
        sent = _sent(run)
        took = []
        for _ in range(TURNS):
            _forget()
            took.append((seconds(run), seconds(lambda: _read(file, sent))))
    ours, bare = (min(side) for side in zip(*took, strict=True))
    return ours, bare, len(sent)


def _sent(run: Callable[[], object]) -> list[Did]:
    """Every statement of a script, with the number of the opening of the file in which it was sent."""
    sent: list[Did] = []
    openings = [0]
    ask, opened = Archive.query, store.connect

    def opening(*args: Any, **kwargs: Any) -> Any:
        openings[0] += 1
        return opened(*args, **kwargs)

    def listen(self: Archive, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        with self.session():
            sent.append((openings[0], lambda archive: ask(archive, sql, parameters)))
            return ask(self, sql, parameters)

    def typed(database: Path, sql: str, limits: Limits, **how: Any) -> SqlResult:
        sent.append((-len(sent), lambda _: run_sql(database, sql, limits, **how)))
        return run_sql(database, sql, limits, **how)

    with (
        patch.object(store, "connect", opening),
        patch.object(Archive, "query", listen),
        patch.object(state, "run_sql", typed),
    ):
        _forget()
        run()
    return sent


def _app(view: View) -> Callable[[], object]:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(APP), default_timeout=600)
    app.run()
    app.switch_page(f"views/{view.file.name}")

    def run() -> None:
        app.run()
        assert not app.exception, app.exception

    return run


def _forget() -> None:
    state._results.clear()
    state._remember.clear()  # type: ignore[attr-defined]  # Streamlit's decorator gives it
    state._remember_sql.clear()  # type: ignore[attr-defined]


def _read(file: Path, sent: Iterable[Did]) -> None:
    archive = Archive(file)
    for opening, together in groupby(sent, key=lambda did: did[0]):
        with archive.session() if opening > 0 else nullcontext():
            for _, action in together:
                action(archive)


def _browser(file: Path, pages: Iterable[View]) -> Iterator[Measured]:
    """Seconds from asking for a page until all of it is drawn, and until a moved slider's page is."""
    from playwright.sync_api import sync_playwright

    from tests.ui.browser import Watched, chromium_is_there, explorer, launch

    if not chromium_is_there():
        print("no Chromium: what a browser takes is not measured")
        return
    with (
        explorer(file) as address,
        sync_playwright() as playwright,
        launch(playwright) as browser,
        browser.new_context(viewport={"width": 1200, "height": 1000}) as context,
    ):
        context.set_default_timeout(600_000)  # ms

        @contextmanager
        def opened(path: str) -> Iterator[tuple[Watched, float]]:
            window = Watched.open(context)
            began = time.perf_counter()
            window.page.goto(f"{address}/{path}")
            window.settle()
            yield window, time.perf_counter() - began
            window.page.close()

        found = []
        for view in pages:
            times = []
            for _ in range(TURNS + 1):
                with opened(view.url_path) as (_, took):
                    times.append(took)
            found.append((median(times[1:]), view.title))
        slowest, fastest = max(found), min(found)
        yield Measured(
            f"a browser has drawn a page the server knows (aim {AIM:g} s; median of the pages "
            f"{words(median(took for took, _ in found))}): the slowest ({slowest[1]}) and the fastest ({fastest[1]})",
            words(slowest[0]), words(fastest[0]), slowest[0] / fastest[0],
        )  # fmt: skip
        for path in ("heads", "neuron"):
            with opened(path) as (window, _):
                slider = window.page.get_by_role("slider").first
                slider.focus()
                times = []
                for _ in range(TURNS):
                    window.page.wait_for_timeout(200)  # ms: a figure of the last move may still be labelled
                    before = window.page.evaluate(WORDS)
                    began = time.perf_counter()
                    slider.press("ArrowLeft")
                    # a quick script has ended before one sees it run, but what the page says of the step has changed
                    window.page.wait_for_function(f"before => {WORDS} !== before", arg=before)
                    window.settle()
                    times.append(time.perf_counter() - began)
            opening = dict((title.lower(), t) for t, title in found)[path]
            yield Measured(
                f"page {path}: a moved slider is drawn (left) against opening the page (right)",
                words(median(times)), words(opening), median(times) / opening, 0.5,
            )  # fmt: skip
