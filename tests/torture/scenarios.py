"""Every scenario by name; each returns what was broken by it, which must be nothing."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.torture.damaging import damaged_copies, damaged_units, full_disk
from tests.torture.killing import killed_committer, killed_workers
from tests.torture.sharing import busy_readers, open_reader, two_committers
from tests.torture.tools import Outcome

Scenario = Callable[[Path, random.Random, float], Outcome]  # folder, chance, seconds

SCENARIOS: dict[str, Scenario] = {
    s.__name__: s
    for s in (
        killed_workers,
        killed_committer,
        full_disk,
        two_committers,
        open_reader,
        busy_readers,
        damaged_units,
        damaged_copies,
    )
}
