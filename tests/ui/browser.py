"""The explorer in a real browser: starting it as `pathscope ui` does, and driving Debian's Chromium."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from archive.layout import Layout
from archive.store import WRITE_PATIENCE, connect

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # a second window of the explorer has the scripts of the first, compiled
    "--process-per-site",
]
START_SECONDS = 60
# the colour of the page's ground, by whether the system is dark
GROUNDS = {False: "rgb(255, 255, 255)", True: "rgb(17, 22, 28)"}
# On an address below the root Streamlit's own page first asks for these beneath that address, then at the root.
PROBES = ("/_stcore/health", "/_stcore/host-config")


def chromium_is_there() -> bool:
    return Path(CHROMIUM).exists()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return int(s.getsockname()[1])


@contextmanager
def explorer(archive: Path) -> Iterator[str]:
    """`pathscope ui` on an archive, on a free port, from another folder; gives its address."""
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "pathscope",
        "ui",
        "--archive",
        str(archive),
        "--port",
        str(port),
        "--no-browser",
    ]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        address = f"http://localhost:{port}"
        try:
            _wait(f"{address}/_stcore/health", process)
            yield address
        finally:
            process.terminate()
            process.communicate()


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"pathscope ui ended with {process.returncode}: {process.communicate()[0]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)  # the server is starting: nothing to wait on but its port
    raise RuntimeError(f"pathscope ui did not answer within {START_SECONDS} s")


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


# what the fixtures `made` and `look` give
Made = Callable[[str], Path]
Look = Callable[..., "Watched"]


@dataclass
class Watched:
    """A page with what it complained about, and where it asked for things outside this machine."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, context: BrowserContext) -> "Watched":
        watched = cls(context.new_page())
        page = watched.page
        page.on("console", lambda m: watched.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: watched.complaints.append(str(e)))
        page.on("dialog", lambda d: (watched.complaints.append(f"dialog: {d.message}"), d.dismiss()))
        page.on("response", watched._forgive_probes)
        page.on("request", lambda r: watched.strangers.append(r.url) if _is_strange(r.url) else None)
        return watched

    def _forgive_probes(self, response: object) -> None:
        url, status = response.url, response.status  # type: ignore[attr-defined]
        if status >= 400 and not url.endswith(PROBES):
            self.complaints.append(f"{status} {url}")

    @property
    def real_complaints(self) -> list[str]:
        """Complaints but for the bare line about Streamlit's own probes; `response` above names every other."""
        return [c for c in self.complaints if not c.startswith("Failed to load resource")]

    def settle(self) -> None:
        """Wait until the script has run and every figure is drawn."""
        self.page.wait_for_selector(
            '[data-testid="stApp"][data-test-script-state="notRunning"][data-test-connection-state="CONNECTED"] '
            '[data-testid="stMainBlockContainer"] [data-testid="stElementContainer"]'
        )
        self.page.wait_for_function(
            "[...document.querySelectorAll('[data-testid=stPlotlyChart]')].every(e => e.querySelector('.main-svg'))"
        )
        self.page.wait_for_selector('[data-testid="stSkeleton"]', state="detached")

    def turn(self, dark: bool, width: int) -> None:
        """The system turns dark or light and the window takes another width, while the page is open."""
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.set_viewport_size({"width": width, "height": 1000})
        expect(self.page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[dark])
        self.settle()

    def grow(self, width: int) -> None:
        """Make the window as tall as what is in it, so that a picture shows all of it."""
        tall = self.page.evaluate(
            "Math.max(...[...document.querySelectorAll('[data-testid=stMainBlockContainer]')].map(e => e.scrollHeight))"
        )
        self.page.set_viewport_size({"width": width, "height": max(700, int(tall))})


def _is_strange(url: str) -> bool:
    return not url.startswith(("http://localhost", "ws://localhost", "data:", "blob:", "about:"))


@dataclass
class Windows:
    """Windows of one context that wait for their next test."""

    context: BrowserContext
    _idle: list[Watched] = field(default_factory=list)

    def take(self) -> Watched:
        return self._idle.pop() if self._idle else Watched.open(self.context)

    def give_back(self, watched: Watched) -> None:
        """Leave the page with all that it knows; the next one may be of another archive."""
        if watched.page.url.startswith("http"):  # not where the page could not be opened
            watched.page.evaluate("sessionStorage.clear()")
        watched.page.goto("about:blank")
        watched.complaints.clear()
        watched.strangers.clear()
        self._idle.append(watched)


@dataclass
class Address:
    """The address of an explorer by the name of the invented archive that it shows.

    Starting one takes as long as three pages, so there is one for a file of tests: what it shows is replaced, and it
    notices as it notices any change.
    """

    made: Made
    archive: Path
    running: ExitStack
    _shown: str = ""
    _url: str = ""

    def __call__(self, name: str, *, will_write: bool = False) -> str:
        """will_write: the test changes `archive`, so that the next one needs another copy."""
        if name != self._shown:
            self._replace(self.made(name))
        self._shown = "" if will_write else name
        self._url = self._url or self.running.enter_context(explorer(self.archive))
        return self._url

    def _replace(self, source: Path) -> None:
        if self.archive.exists():
            with connect(self.archive, read_only=False, patience=WRITE_PATIENCE):
                pass  # nobody reads it any more: DuckDB has one state of a path at a time
        folder, fresh = Layout.of(self.archive).folder, self.archive.with_suffix(".fresh")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Layout.of(source).folder, folder)
        shutil.copy(source, fresh)
        fresh.replace(self.archive)


def assert_sound(window: Watched) -> None:
    """No complaint, nothing from elsewhere, nothing wider than the window, every figure told in words."""
    assert window.real_complaints == window.strangers == []
    assert window.page.get_by_test_id("stException").count() == 0
    assert window.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    figures = window.page.get_by_test_id("stPlotlyChart")
    assert figures.count() > 0
    assert all(figure.get_attribute("aria-label") for figure in figures.all())
