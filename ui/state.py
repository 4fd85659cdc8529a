"""What a page may know: which archive is looked at, its numbers until it changes, and what to do when it is busy.

Nothing here holds the archive open: a page opens it read-only, asks and closes when it is drawn, and answers are kept
only as long as the file on disk is the same (`Archive.version`).
"""

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa
import streamlit as st

from archive.console import Limits, SqlResult, run_sql
from archive.errors import ArchiveBusy, PathscopeError
from archive.layout import Layout
from archive.lock import writer_waits
from archive.store import Archive
from ui.models.text import age, escape_markdown
from ui.view import View

P = ParamSpec("P")
T = TypeVar("T")

SQL_LIMITS = Limits(rows=100_000)  # more rows than a browser should hold: the command line gives the rest
SHORT, MOST_RESULTS = 2**21, 100  # bytes of a result that is kept, and how many are
PATIENCE = 4.0  # seconds; a commit holds the file for milliseconds, so longer means something bigger runs
ENTRY = "app.py"
_ON_SNAPSHOT = "_reads_snapshot_while_busy"
_JUST_DRAWN = "_page_was_just_drawn"


@dataclass(frozen=True)
class Target:
    """Which archive the explorer was started on, whether it reads the published copy, what SQL may use."""

    path: Path
    snapshot: bool
    limits: Limits


def target(argv: Sequence[str], environ: Mapping[str, str]) -> Target:
    """From the words after `--`, as `pathscope ui` gives them; else $PATHSCOPE_ARCHIVE or ./pathscope.duckdb."""
    words = list(argv[1:]) if argv and Path(argv[0]).name == ENTRY else []
    paths = [w for w in words if not w.startswith("--")]
    options = dict(w[2:].split("=", 1) for w in words if w.startswith("--") and "=" in w)
    path = Path(paths[0] if paths else environ.get("PATHSCOPE_ARCHIVE") or "pathscope.duckdb")
    limits = replace(
        SQL_LIMITS,
        seconds=float(options.get("sql-seconds", SQL_LIMITS.seconds)),
        memory_mb=int(options.get("sql-memory-mb", SQL_LIMITS.memory_mb)),
    )
    return Target(path.expanduser().absolute(), "--snapshot" in words, limits)


def sql_limits() -> Limits:
    """What one statement of the SQL page may use."""
    return target(sys.argv, os.environ).limits


def for_this_archive(command: str) -> str:
    """An ingest command with the archive that is looked at, so that what it measures comes here; others stay as they are."""
    if not command.startswith("pathscope ingest ") or "--archive" in command or "\n" in command:
        return command
    return f"{command} --archive {shlex.quote(str(target(sys.argv, os.environ).path))}"


def open_target() -> Archive:
    """The archive this page draws from; raises ArchiveNotFound when it is gone."""
    wanted = target(sys.argv, os.environ)
    snapshot = wanted.snapshot or bool(st.session_state.get(_ON_SNAPSHOT))
    return _Remembering(wanted.path, snapshot=snapshot, patience=PATIENCE)


class _Remembering(Archive):
    """Keeps short results until the file changes: every question first asks which runs and quantities there are."""

    def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        with self.session():  # the file cannot change now
            key = (str(self.file), self.version, sql, repr(parameters))
            with _lock:
                found = _results.pop(key, None)
            if found is None:
                found = super().query(sql, parameters)
            if found.nbytes <= SHORT:
                with _lock:
                    _results[key] = found  # the last to be dropped
                    if len(_results) > MOST_RESULTS:
                        del _results[next(iter(_results))]
            return found


_results: dict[tuple[object, ...], pa.Table] = {}
_lock = threading.Lock()


class _Drawn(threading.local):
    """The page that this thread draws: it opens the archive at its first new question and closes it when it is drawn.

    Opening a file takes DuckDB longer than most of the questions. Outside of `page`, every question opens and closes.
    """

    is_open = False
    version: tuple[int, ...] = ()

    @contextmanager
    def page(self) -> Iterator[None]:
        """What is asked inside shares one opening, as long as the file is the same and no writer waits to get in."""
        with ExitStack() as self.held:
            self.is_open, self.version = True, ()
            try:
                yield
            finally:
                self.is_open = False

    @contextmanager
    def session(self, archive: Archive, version: tuple[int, ...]) -> Iterator[None]:
        """The archive, open, in the state of this version or a later one."""
        if self.is_open and (self.version != version or writer_waits(archive.layout)):
            self.held.close()
            self.held.enter_context(archive.session())
            self.version = version
        with archive.session():
            yield


_drawn = _Drawn()


def ask(
    archive: Archive, question: Callable[Concatenate[Archive, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """`question(archive, ...)`, remembered until the archive changes.

    Arguments must show all they are in their repr. Answers are shared between browser tabs: never change one.
    """
    words = f"{question.__module__}.{question.__qualname__}{args!r}{sorted(kwargs.items())!r}"

    version = archive.version

    def answer() -> T:
        with _drawn.session(archive, version):
            return question(archive, *args, **kwargs)

    found: T = _remember(str(archive.file), version, words, _ask=answer)
    return found


def ask_sql(archive: Archive, sql: str) -> SqlResult:
    """The result of somebody's statement, remembered until the archive changes; raises what `run_sql` does."""
    limits = sql_limits()

    def answer() -> SqlResult:
        return run_sql(
            archive.layout.database, sql, limits, snapshot=archive.snapshot, patience=archive.patience
        )

    found: SqlResult = _remember_sql(str(archive.file), archive.version, sql, repr(limits), _ask=answer)
    return found


@st.cache_resource(max_entries=64, show_spinner=False)
def _remember(file: str, version: tuple[int, ...], words: str, *, _ask: Callable[[], object]) -> Any:
    return _ask()


# few, because each may be as large as its limits allow
@st.cache_resource(max_entries=8, show_spinner="Running …", show_time=True)
def _remember_sql(
    file: str, version: tuple[int, ...], sql: str, limits: str, *, _ask: Callable[[], object]
) -> Any:
    return _ask()


def show(render: Callable[[Archive], None]) -> None:
    """Draw a page; what may go wrong with an archive becomes a sentence with the next command."""
    try:
        archive = open_target()
        version = archive.version
        if archive.snapshot:
            _say_snapshot(archive)
        with _drawn.page():
            render(archive)
    except ArchiveBusy as error:
        _while_busy(error)
    except PathscopeError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
    else:
        if st.session_state.get(_ON_SNAPSHOT):
            st.session_state[_JUST_DRAWN] = True
            _return_to_live(archive.layout.database)
        elif not _refreshes(render):
            _tell_news(archive, version)


def _refreshes(render: Callable[[Archive], None]) -> bool:
    """Whether the page shows new results by itself, so that nobody need offer them."""
    declared = getattr(render, "view", None)
    return isinstance(declared, View) and declared.refreshes


def _say_snapshot(archive: Archive) -> None:
    published = age(time.time() - archive.file.stat().st_mtime)
    why = (
        "The archive is being written; until that is done this"
        if st.session_state.get(_ON_SNAPSHOT)
        else "This"
    )
    st.caption(f":material/photo_camera: {why} is the copy published {published}.")


def _while_busy(error: ArchiveBusy) -> None:
    """Fall back on the published copy where there is one, else say who writes and try again by itself."""
    wanted = target(sys.argv, os.environ)
    if not wanted.snapshot and Layout.of(wanted.path).current_snapshot.exists():
        st.session_state[_ON_SNAPSHOT] = True
        st.rerun()
    st.info(
        "**Results are being written into the archive right now.** This page opens by itself when that is done."
        f"\n\n{escape_markdown(str(error))}",
        icon=":material/hourglass_top:",
    )
    st.session_state[_JUST_DRAWN] = True
    _try_again()


# A fragment runs once with its page and then by the clock; only the clock's runs may start the page again.
@st.fragment(run_every=2.0)
def _try_again() -> None:
    if not st.session_state.pop(_JUST_DRAWN, False):
        st.rerun()


@st.fragment(run_every=5.0)
def _return_to_live(database: Path) -> None:
    if st.session_state.pop(_JUST_DRAWN, False):
        return
    try:
        with Archive(database, patience=0.0).session():
            pass
    except PathscopeError:
        return
    st.session_state.pop(_ON_SNAPSHOT, None)
    st.rerun()


@st.fragment(run_every=10.0)
def _tell_news(archive: Archive, drawn: tuple[int, ...]) -> None:
    """Offer to redraw when results came in; redrawing unasked would move things under the reader's eyes."""
    try:
        is_old = archive.version != drawn
    except FileNotFoundError:
        is_old = True
    if is_old and st.button("New results are in: show them", icon=":material/refresh:", key="pathscope-news"):
        st.rerun()
