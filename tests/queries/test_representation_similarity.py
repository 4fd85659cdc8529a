"""representation_similarity: planted layers, depths, first checkpoints, sites, orders, and what is left out."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.representation_similarity import representation_similarity
from tests.queries.comparing import CKA_OF_NEURONS, layers_compared
from tests.queries.simulated import Simulation


def grid(k: int, same: float = 0.8) -> np.ndarray:
    """Two layers with two, alike at equal depth; the k-th pair a little off."""
    return np.array([[same + 0.01 * (k % 3), 0.3], [0.2, same - 0.1 + 0.01 * (k % 3)]])


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    s = Simulation(empty_archive, tmp_path_factory.mktemp("layers"))
    for k, (a, b) in enumerate(combinations(s.seeds(4), 2)):
        layers_compared(s, a, b, 0, grid(k, 0.4))
        layers_compared(s, a, b, 100, grid(k))
        # the other order says the same of layers turned about
        layers_compared(s, b, a, 100, grid(k).T)
        layers_compared(s, a, b, 100, grid(k, 0.5), quantity=CKA_OF_NEURONS)
    s.run("deep", condition="deep")
    layers_compared(s, "s0", "deep", 100, np.array([[0.9, 0.1, 0.2], [0.3, 0.4, 0.7]]))
    s.run("even", condition="even")
    layers_compared(s, "s0", "even", 100, np.array([[0.1], [0.2]]))
    layers_compared(s, "s0", "s0", (0, 100), grid(0, 0.95))
    return s.commit()


def test_planted_layers_are_found_at_equal_depth(archive: Archive) -> None:
    answer = representation_similarity(archive, runs=["s1", "s2", "s3"])
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    # pairs 3, 4, 5 of the six
    assert answer.estimate == pytest.approx(0.75 + 0.01)
    assert answer.ci_low < answer.estimate < answer.ci_high
    assert (summary["n_runs"], summary["n_pairs"]) == (3, 3)
    assert (summary["other_depth"], summary["first_same_depth"]) == (pytest.approx(0.25), pytest.approx(0.36))
    assert summary["above_first"] == pytest.approx(0.4)
    assert (answer.null_mean, answer.verdict, answer.site) == (pytest.approx(0.25), None, "hook_resid_post")
    assert answer.table.num_rows == 3 * 4
    assert set(answer.pairs["best_offset"].to_pylist()) == {0.0}
    assert any("3 pairs are not 3 independent" in line for line in answer.limits)
    assert any("8 documents" in line for line in answer.limits)
    assert np.array(answer.plot().data[0].z, float)[0] == pytest.approx([0.81, 0.3])


def test_another_site_is_asked_for_by_name(archive: Archive) -> None:
    answer = representation_similarity(archive, runs="s?", site="mlp.hook_post")
    assert answer.estimate == pytest.approx(0.45 + 0.01)
    assert answer.site == "mlp.hook_post"
    assert any("No earlier checkpoints" in line for line in answer.limits)


def test_conditions_depths_and_a_run_with_itself_are_kept_apart(archive: Archive) -> None:
    answer = representation_similarity(archive)
    rows = {(r["group_a"], r["group_b"], r["start"]): r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert set(rows) == {
        ("c", "c", "not shared"),
        ("c", "c", "one run"),
        ("c", "deep", "not shared"),
        ("c", "even", "not shared"),
    }
    # the first and last layers of two and of three; an only layer has no equal
    assert rows["c", "deep", "not shared"]["same_depth"] == pytest.approx(0.8)
    assert rows["c", "even", "not shared"]["same_depth"] is None
    assert rows["c", "even", "not shared"]["other_depth"] == pytest.approx(0.15)
    assert rows["c", "c", "one run"]["same_depth"] == pytest.approx(0.9)
    assert (np.isnan(answer.estimate), answer.verdict) == (True, None)
    assert "and 1 more" in answer.sentence


def test_two_runs_are_unresolved_and_layers_that_do_not_vary_are_counted(simulation: Simulation) -> None:
    a, b = simulation.seeds(2)
    layers_compared(simulation, a, b, 100, np.array([[0.5, 0.1], [np.nan, np.nan]]))
    answer = representation_similarity(simulation.commit())

    assert (answer.estimate, answer.verdict) == (0.5, "unresolved")
    assert answer.pairs["n_unknown"].to_pylist() == [2]
    assert answer.pairs["best_offset"].to_pylist() == [0.0]
    assert any("2 pair(s) of layers have no number" in line for line in answer.limits)
    assert any("an interval needs 3 runs" in line for line in answer.limits)


def test_of_several_snapshots_the_newest_is_taken_and_suspect_ones_stay_out(simulation: Simulation) -> None:
    a, b = simulation.seeds(2)
    layers_compared(simulation, a, b, 50, np.array([[0.1]]))
    layers_compared(simulation, a, b, 50, np.array([[0.2]]), checkpoint={"snapshot": "repaired"})
    layers_compared(simulation, a, b, 100, np.array([[0.9]]), checkpoint={"integrity": "out_of_order"})
    archive = simulation.commit()

    assert representation_similarity(archive).estimate == pytest.approx(0.2)
    assert representation_similarity(archive, with_suspect=True).estimate == pytest.approx(0.9)
    assert any("suspect (out_of_order)" in line for line in representation_similarity(archive).limits)


def test_what_is_not_there_is_refused_with_the_study_that_makes_it(simulation: Simulation) -> None:
    a, b = simulation.seeds(2)
    layers_compared(simulation, a, b, 100, np.array([[0.9, 0.8]]))
    archive = simulation.commit()
    with pytest.raises(UsageError, match="no two of these runs have a layer at equal relative depth"):
        representation_similarity(archive)
    with pytest.raises(UsageError, match=r"s1 alone was asked about.*names = \[\"cka\"\]"):
        representation_similarity(archive, runs="s1")
