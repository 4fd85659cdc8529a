import os
from pathlib import Path

# before torch is imported: equality of bits is promised at one thread, and two files of tests share two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session")
def refdata() -> Path:
    """The published result sets, where they are."""
    root = Path(__file__).resolve().parents[1]
    found = Path(os.environ.get("PATHSCOPE_REFDATA", root.parent / "shared" / "refdata"))
    if not (found / "open-facts.json").is_file():
        pytest.skip(f"no published result sets at {found}; $PATHSCOPE_REFDATA says where they are")
    return found
