import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from ingest.importers.importing import import_results
from ingest.importers.report import ImportReport
from tests.torture.invariants import broken

Import = Callable[..., ImportReport]


@pytest.fixture(scope="session")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new archive to copy; creating one for every test would take most of the time."""
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def layout(empty_archive: Path, tmp_path: Path) -> Iterator[Layout]:
    """An empty archive, which must keep its promises whatever is imported into it."""
    layout = Layout.of(tmp_path / "archive" / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    yield layout
    assert broken(Archive(layout.database)) == []


@pytest.fixture
def archive(layout: Layout) -> Archive:
    return Archive(layout.database)


@pytest.fixture
def import_(layout: Layout) -> Import:
    """Import a path into this test's archive."""

    def run(path: Path, format_name: str = "auto", **fields: object) -> ImportReport:
        return import_results(layout.database, path, format_name=format_name, **fields)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="session")
def published(refdata: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Archive, ImportReport]:
    """An archive with the published grokking runs, measured."""
    path = tmp_path_factory.mktemp("grokking") / "x.duckdb"
    report = import_results(path, refdata / "grokking", format_name="grokking-runs")
    return Archive(path), report
