"""composition_history: the pairs that compose, their curves, the correction for choosing them, refusals."""

from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.composition_history import composition_history, parse_pair
from tests.queries.language import pairs
from tests.queries.simulated import Simulation, kept_open

STEPS = [0, 10, 100]


def planted(simulation: Simulation) -> Archive:
    """Two runs of 3 layers of 2 heads; L0H1 to L1H0 rises to z = 12 in s0 and stays noise in s1."""
    rng = np.random.default_rng(0)
    for run in simulation.seeds(2):
        for step, height in zip(STEPS, (0.0, 4.0, 12.0), strict=True):
            z = 0.5 * rng.normal(size=(2, 2))
            if run == "s0":
                z[1, 0] = height
            pairs(simulation, run, "k", step, z, n_layers=3)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_the_planted_pair_comes_first_with_its_curve(archive: Archive) -> None:
    answer = composition_history(archive, top=2, runs="s0")
    rows = [r for r in answer.table.to_pylist() if r["rank"] == 1]
    first = answer.summary.to_pylist()[0]  # type: ignore[union-attr]

    assert [(r["src"], r["dst"], r["step"]) for r in rows] == [("L0H1", "L1H0", step) for step in STEPS]
    assert [r["z"] for r in rows] == [0.0, 4.0, 12.0]
    assert rows[-1]["score"] == pytest.approx(np.sqrt(0.0055))
    assert rows[-1]["baseline"] == pytest.approx(0.05)
    assert (first["last_z"], first["largest_z_at"], first["n_checkpoints"]) == (12.0, 100, 3)
    # 3 pairs of layers of 2 × 2 heads
    assert answer.n_items == 12
    assert first["p_adjusted"] == pytest.approx(12 * first["p"])
    assert first["p"] < 1e-9
    assert first["verdict"] == "yes"
    assert any("chosen by their final z" in line for line in answer.limits)


def test_noise_is_unresolved_and_mixed_pairs_have_no_one_verdict(archive: Archive) -> None:
    assert composition_history(archive, runs="s1", top=5).verdict == "unresolved"
    assert composition_history(archive, top=12).verdict is None
    assert any("head number" in line for line in composition_history(archive).limits)


def test_named_pairs(archive: Archive) -> None:
    answer = composition_history(archive, pairs=("L0H1>L1H0", "0.0-2.1"), runs="s0")
    rows = answer.table.to_pylist()

    assert {(r["src"], r["dst"]) for r in rows} == {("L0H1", "L1H0"), ("L0H0", "L2H1")}
    assert {r["rank"] for r in rows} == {0}
    with pytest.raises(UsageError, match="no run has k_composition of L0H7>L1H0"):
        composition_history(archive, pairs=("L0H7>L1H0",))


def test_nothing_but_undefined_z_asks_for_names(simulation: Simulation) -> None:
    simulation.run("a")
    pairs(simulation, "a", "q", 0, np.full((2, 2), np.nan))
    archive = simulation.commit()

    with pytest.raises(UsageError, match="name pairs to see their scores"):
        composition_history(archive, mode="q")
    answer = composition_history(archive, mode="q", pairs=("L0H0>L1H1",))
    assert answer.table.num_rows == 1
    assert answer.verdict == "unresolved"
    assert answer.plot(of="z") is not None


@pytest.mark.parametrize("text", ["L0H3>L1H2", "L0H3 -> L1H2", "0.3-1.2", "L0H3→L1H2"])
def test_pairs_are_read_as_people_write_them(text: str) -> None:
    assert parse_pair(text) == (0, 3, 1, 2)


def test_pairs_that_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="is not a pair of heads"):
        parse_pair("L0H3")
    with pytest.raises(UsageError, match="layer 2 does not come before layer 1"):
        parse_pair("L2H0>L1H0")
