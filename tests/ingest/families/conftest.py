import os
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models of every published family in a Hugging Face cache."""
    from tests.ingest.families.fixtures import build_cache

    return build_cache(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny repository of every layout of `.pth` files."""
    from tests.ingest.families.repositories import ALL, write_repository

    root = tmp_path_factory.mktemp("repositories")
    for model in ALL:
        write_repository(root, model)
    return root
