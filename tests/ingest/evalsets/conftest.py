import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive
from ingest.evalsets.hub_tokenizer import HubTokenizer, load_tokenizer
from tests.ingest.evalsets.making import byte_level, names_and_words, save
from tests.torture.invariants import broken


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(names_and_words()), tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture(scope="session")
def hub(hub_folder: Path) -> HubTokenizer:
    """A small byte-level BPE that keeps the names of the prompts whole."""
    return load_tokenizer(hub_folder, name="someone/small")


@pytest.fixture(scope="session")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def layout(empty_archive: Path, tmp_path: Path) -> Iterator[Layout]:
    layout = Layout.of(tmp_path / "archive" / "x.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive, layout.database)
    yield layout
    assert broken(Archive(layout.database)) == []
