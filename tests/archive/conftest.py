import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from archive import console
from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from tests.archive.forks import Forks
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
    """An empty archive of its own for each test, which must keep its promises whatever the test does."""
    layout = Layout.of(tmp_path / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    yield layout
    assert broken(Archive(layout.database)) == []


@pytest.fixture
def archive(layout: Layout) -> Archive:
    return Archive(layout.database)


@pytest.fixture(scope="session")
def console_forks() -> Iterator[Forks]:
    """Children of the console that need not import anything."""
    imports = f"sys.path.insert(0, {str(console.CHILD.parent)!r})\nimport console_child\nsys.path.pop(0)"
    forks = Forks(imports, flags=["-P"], folder=Path("/"))
    yield forks
    forks.close()


@pytest.fixture
def quick_console(console_forks: Forks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement has a process of its own that opens the file, locks itself in and ends, but not a new Python."""

    def child(request: dict[str, Any], _: float) -> tuple[int, bytes, bytes]:
        process = console_forks.start("import console_child; console_child.main()")
        process.stdin.write(json.dumps(request).encode())
        return process.end()

    monkeypatch.setattr(console, "_child", child)
