from pathlib import Path

import pytest

from ingest.evalsets.hub_tokenizer import HubTokenizer, load_tokenizer
from tests.ingest.evalsets.making import byte_level, names_and_words, save


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(byte_level(names_and_words()), tmp_path_factory.mktemp("hub") / "small")


@pytest.fixture(scope="session")
def hub(hub_folder: Path) -> HubTokenizer:
    """A small byte-level BPE that keeps the names of the prompts whole."""
    return load_tokenizer(hub_folder, name="someone/small")
