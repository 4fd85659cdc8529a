from pathlib import Path

import pytest
from hypothesis import settings

from archive.create import ensure_archive
from tests.queries.simulated import Simulation

# a machine under load is not a failing test
settings.register_profile("pathscope", deadline=None)
settings.load_profile("pathscope")


@pytest.fixture(scope="session")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new archive to copy; creating one for every test would take most of the time."""
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def simulation(empty_archive: Path, tmp_path: Path) -> Simulation:
    """An empty archive to plant answers in."""
    return Simulation(empty_archive, tmp_path)


@pytest.fixture(scope="module")
def simulation_of_module(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """One for answers that several tests of a module ask for and none changes: planting takes longer than asking."""
    return Simulation(empty_archive, tmp_path_factory.mktemp("planted"))
