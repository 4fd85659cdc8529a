import gc
import os
import sys
from pathlib import Path

# before torch is imported: equality of bits is promised at one thread, and two files of tests share two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# the variable that tells DuckDB how many cores there are; three files of tests share them, and its tasks are tiny here
os.environ.setdefault("SLURM_CPUS_ON_NODE", "1")
# a hundred processes start below, workers of pytest among them: none should compile what another one has
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest

sys.dont_write_bytecode = False

TESTS = Path(__file__).parent
# what takes longest comes first, so that no core waits for it at the end: many of these wait for other processes
LONGEST = (
    "torture/test_killed_ingest.py",
    "ui/test_browser.py",
    "test_cron.py",
    "test_packaging.py",
    "ui/components/test_component_browser.py",
    "ui/test_pages.py",
    "torture/test_torture.py",
    "archive/test_console.py",
    "ingest/importers/test_refdata.py",
    "ingest/importers/test_refdata_grokking.py",
    "ui/compare/test_compare_browser.py",
    "ui/test_state.py",
    "ingest/run/",
    "ingest/train/",
    "queries/stats/test_calibration.py",
    "contracts/",
    "ui/",
    "archive/",
    "ingest/families/",
    "ingest/importers/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files in order of time; tests of a file stay in theirs."""
    places: dict[Path, int] = {}

    def place(item: pytest.Item) -> int:
        if item.path not in places:
            name = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
            places[item.path] = next(
                (k for k, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST)
            )
        return places[item.path]

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: looking through them for garbage again and again takes a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def refdata() -> Path:
    """The published result sets, where they are."""
    root = Path(__file__).resolve().parents[1]
    found = Path(os.environ.get("PATHSCOPE_REFDATA", root.parent / "shared" / "refdata"))
    if not (found / "open-facts.json").is_file():
        pytest.skip(f"no published result sets at {found}; $PATHSCOPE_REFDATA says where they are")
    return found
