"""Small archives that hold just what some problem needs, or just not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from archive.layout import Layout
from archive.records import Encoding, Quantity
from archive.store import Archive
from tests.queries.simulated import ACCURACY, LOSS, POSITION_LOSS, TEST, Simulation, kept_open

FORWARDS = Encoding(
    hash="f",
    name="digit_addition: 512 pairs of 3-digit numbers, most significant first",
    n_sequences=9,
    n_tokens=9,
)
BACKWARDS = Encoding(
    hash="b",
    name="digit_addition: 512 pairs of 3-digit numbers, least significant first",
    n_sequences=9,
    n_tokens=9,
)
SUMS = Encoding(hash="s", name="modular_arithmetic: a + b modulo 47, all pairs", n_sequences=9, n_tokens=9)
LABELS = ["carry", "hundreds", "tens", "units"]
# as many as a transition is judged by: 16 after step 0
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def digits(
    s: Simulation,
    run: str,
    *,
    encoding: Encoding = FORWARDS,
    steps: tuple[int, ...] = STEPS,
    at: float = 16.0,
) -> None:
    """Losses of four digits that fall one after another around step `at`."""
    quantity = Quantity(measure=POSITION_LOSS, encoding=encoding, params={"labels": LABELS})
    for step in steps:
        values = np.array([2.3 / (1 + (step / (at * 2.0**k)) ** 6) for k in range(len(LABELS))])
        owner, q = s._cell(run, quantity, step, None)
        s.builder.add(
            "fact_position", owner, q, part=s.builder.part(TEST), values=[values], ses=[values * 0 + 0.01]
        )


@pytest.fixture(scope="session")
def addition_template(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of digit addition, and three of another task that says nothing of digits."""
    simulation = Simulation(empty_archive, tmp_path_factory.mktemp("addition"))
    for k, run in enumerate(simulation.seeds(3, prefix="digits/s")):
        digits(simulation, run, at=16.0 + k)
    for run in simulation.seeds(3, prefix="sums/s", family="sums", condition="sums"):
        simulation.curve(run, Quantity(measure=ACCURACY, encoding=SUMS), STEPS, np.linspace(0, 1, len(STEPS)))
        simulation.curve(run, Quantity(measure=LOSS, encoding=SUMS), STEPS, np.linspace(3, 0, len(STEPS)))
    return simulation.commit().layout.database


@pytest.fixture(scope="module")
def addition(addition_template: Path) -> Iterator[Archive]:
    """It itself, for those who only ask."""
    with kept_open(Archive(addition_template)) as archive:
        yield archive


@pytest.fixture
def own_addition(addition_template: Path, tmp_path: Path) -> Archive:
    """A copy of it, to write into."""
    layout = Layout.of(tmp_path / "addition.duckdb")
    layout.make_folders()
    shutil.copy(addition_template, layout.database)
    return Archive(layout.database)
