import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from tests.ingest.run.running import Content, FirstCall, Quiet, content, copy_finished, go
from tests.torture.invariants import broken


@pytest.fixture(scope="session")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new archive to copy: making one takes longer than most of these studies."""
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def path(tmp_path: Path, empty_archive: Path) -> Iterator[Path]:
    """An archive of a test's own, which must keep its promises whatever the test does."""
    path = tmp_path / "x.duckdb"
    shutil.copy(empty_archive, path)
    yield path
    assert broken(Archive(path)) == []
    assert list(Layout.of(path).failed.iterdir()) == []
    assert not list(Layout.of(path).folder.glob("*.stop"))


@pytest.fixture(scope="session")
def first_call(tmp_path_factory: pytest.TempPathFactory) -> FirstCall:
    """One whole call of the study, which makes its archive."""
    path, watcher = tmp_path_factory.mktemp("reference") / "x.duckdb", Quiet()
    return FirstCall(path, go(path, watcher=watcher), watcher)


@pytest.fixture(scope="session")
def finished_once(first_call: FirstCall) -> Path:
    """An archive made by one whole call of the study, for nobody to write to."""
    assert first_call.report.state == "done"
    assert broken(Archive(first_call.path)) == []
    return first_call.path


@pytest.fixture
def finished(finished_once: Path, path: Path) -> Path:
    """The test's own archive after one whole call of the study, which is faster copied than carried out."""
    return copy_finished(finished_once, path)


@pytest.fixture(scope="session")
def reference(finished_once: Path) -> Content:
    return content(finished_once)
