import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from tests.torture.invariants import broken

# a machine under load is not a failing test
settings.register_profile("pathscope", deadline=None)
settings.load_profile("pathscope")


@pytest.fixture(scope="session")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new archive to copy; creating one for every test would take most of the time."""
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def layout(empty_archive: Path, tmp_path: Path) -> Iterator[Layout]:
    """An empty archive, which must keep its promises whatever is written into it."""
    layout = Layout.of(tmp_path / "archive" / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    yield layout
    assert broken(Archive(layout.database)) == []


@pytest.fixture
def archive(layout: Layout) -> Archive:
    return Archive(layout.database)
