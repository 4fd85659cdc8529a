"""Every way of breaking an archive, briefly; `make torture` goes on for longer."""

import random
from pathlib import Path

import pytest

from tests.torture.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_nothing_is_lost_and_nothing_doubled(name: str, tmp_path: Path) -> None:
    outcome = SCENARIOS[name](tmp_path, random.Random(1), 0.0)
    if outcome.rounds == 0:
        pytest.skip(outcome.notes[0])
    assert outcome.broken == []
