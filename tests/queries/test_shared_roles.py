"""shared_roles: planted heads found in all runs of one init, chance as counted, depth across inits, refusals."""

from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.shared_roles import shared_roles
from tests.queries.language import head_scores
from tests.queries.simulated import Simulation

LAYERS, HEADS = 3, 8


def plant(
    s: Simulation, run: str, heads: list[tuple[int, int]], *, n_layers: int = LAYERS, start: int | None = None
) -> None:
    """Induction heads at step 100; at step 0 scores near chance that runs of one `start` have in common."""
    if start is not None:
        first = 0.02 + 0.001 * np.random.default_rng(start).normal(size=(LAYERS, HEADS))[:n_layers]
        head_scores(s, run, 0, {"prefix_matching": first})
    values = np.full((n_layers, HEADS), 0.02)
    for layer, head in heads:
        values[layer, head] = 0.9
    head_scores(s, run, 100, {"prefix_matching": values})


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """a: one init, L2H3 in all three and another head each; b: three inits, two heads each, in the last layer."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("shared"))
    for k in range(3):
        run = s.run(f"a{k}", init_seed=1, data_order_seed=k, init_hash="one")
        plant(s, run, [(2, 3), (2, k)])
    for k in range(3):
        plant(s, s.run(f"b{k}", init_seed=k, init_hash=f"hash {k}"), [(2, 2 * k), (2, 2 * k + 1)])
    return s.commit()


def test_the_planted_head_is_in_all_runs_and_chance_is_8_m_over_8_to_the_k(archive: Archive) -> None:
    answer = shared_roles(archive, runs="a?")
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    first = answer.table.to_pylist()[0]

    assert (first["head"], first["n_with"], first["n_runs"], first["without"]) == ("L2H3", 3, 3, "")
    # 2 of 8 heads in each of three runs
    assert first["p"] == pytest.approx(1 / 64)
    assert first["p_adjusted"] == pytest.approx(24 / 64)
    assert (summary["align"], summary["heads"], summary["n_common"]) == ("index", "L2H3", 1)
    assert summary["common_by_chance"] == 8 * (2 / 8) ** 3 == 0.125
    assert 0.1 < summary["p_common"] < 0.13
    assert summary["least_p"] == pytest.approx(28**-2)
    # every pair has one of three heads in common; 2 · 2 / 8 by chance
    assert answer.estimate == pytest.approx(1 / 3)
    assert answer.pairs["by_chance"].to_pylist() == [0.5] * 3
    assert answer.pairs["n_both"].to_pylist() == [1, 1, 1]
    assert answer.ci_low <= answer.estimate <= answer.ci_high
    assert answer.null_mean < answer.estimate
    assert "L2H3 in 3 of 3 runs" in answer.sentence
    assert "0.125 by chance" in answer.sentence


def test_many_shared_heads_are_beyond_chance(simulation: Simulation) -> None:
    for k in range(4):
        run = simulation.run(f"a{k}", init_seed=1, data_order_seed=k, init_hash="one")
        plant(simulation, run, [(1, 3), (1, 5), (2, 0), (2, k + 1)])
    answer = shared_roles(simulation.commit())
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert answer.verdict == "yes"
    assert answer.p_value < 0.001
    assert summary["p_common"] < 0.001
    assert summary["heads"] == "L1H3 L1H5 L2H0"


def test_heads_at_random_places_are_shared_as_often_as_chance_says(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    n = 40
    for k in range(n):
        for j in range(3):
            run = simulation.run(f"r{k}-{j}", init_seed=k, data_order_seed=j, init_hash=f"init {k}")
            plant(simulation, run, [(0, int(h)) for h in rng.permutation(8)[:3]], n_layers=1)
    answer = shared_roles(simulation.commit())
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert summary["common_by_chance"] == pytest.approx(n * 8 * (3 / 8) ** 3)
    assert summary["n_common"] == pytest.approx(n * 0.42, abs=2 * np.sqrt(n * 0.42))
    assert summary["n_pairs"] == 3 * n
    assert answer.estimate == pytest.approx(answer.null_mean, abs=0.05)
    assert min(answer.p_value, summary["p_common"]) > 0.05
    assert answer.verdict != "yes"
    assert min(answer.table["p_adjusted"].to_pylist()) > 0.05


def test_across_inits_depth_is_compared_and_numbers_are_refused(archive: Archive) -> None:
    answer = shared_roles(archive, runs="b?")
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (summary["align"], summary["n_common"], answer.estimate) == ("depth", None, 1)
    # two heads of each run in one of three layers, of 24 heads in all
    assert answer.p_value < 0.05
    assert answer.verdict == "yes"
    assert set(answer.table["n_runs"].to_pylist()) == {1}
    assert any("numbers of heads mean nothing" in line for line in answer.limits)
    with pytest.raises(
        NotComparable, match=r"no common numbers \(they began from different weights\).*align='depth'"
    ):
        shared_roles(archive, runs="b?", align="index")
    mixed = shared_roles(archive)
    assert mixed.summary["n_runs"].to_pylist() == [3]  # type: ignore[index]
    assert any("3 runs share an init with no other" in line for line in mixed.limits)


def test_models_of_other_depths_share_the_layers_that_score_the_same_at_step_0(
    simulation: Simulation,
) -> None:
    for n_layers, heads in ((1, [(0, 1)]), (2, [(1, 6)]), (3, [(1, 6), (2, 4)])):
        run = simulation.run(f"n{n_layers}", init_seed=0, init_hash=f"hash {n_layers}")
        plant(simulation, run, heads, n_layers=n_layers, start=0)
    other = simulation.run("other", init_seed=1, init_hash="other")
    plant(simulation, other, [(1, 6)], n_layers=2, start=1)
    answer = shared_roles(simulation.commit())
    rows = {r["head"]: r for r in answer.table.to_pylist()}

    # layer 0 is in three models, layer 1 in two; layer 2 in one, and so compared with nothing
    assert {h: (r["n_with"], r["n_runs"]) for h, r in rows.items()} == {"L1H6": (2, 2), "L0H1": (1, 3)}
    assert rows["L1H6"]["p"] == pytest.approx(1 / 64)
    assert answer.summary["common_by_chance"].to_pylist() == [1 / 8]  # type: ignore[index]
    assert answer.summary["p_common"].to_pylist() == pytest.approx([1 / 8])  # type: ignore[index]
    assert any("score the same at step 0" in line for line in answer.limits)
    assert any("1 run share an init with no other" in line for line in answer.limits)


def test_too_few_runs_or_heads_are_said_so(archive: Archive, simulation: Simulation) -> None:
    pair = shared_roles(archive, runs=["a0", "a1"])
    assert (pair.verdict, pair.n_runs) == ("unresolved", 2)
    assert any("no verdict" in line for line in pair.limits)
    with pytest.raises(UsageError, match=r"1 run \(a0\) has these scores"):
        shared_roles(archive, runs="a0")
    for k in range(3):
        run = simulation.run(f"a{k}", init_seed=1, data_order_seed=k, init_hash="one")
        plant(simulation, run, [])
    for k, layer in enumerate((0, 1, 2)):
        run = simulation.run(f"c{k}", init_seed=2, data_order_seed=k, init_hash="two")
        plant(simulation, run, [(layer, 0)])
    archive = simulation.commit()
    apart = shared_roles(archive, runs="c?")
    assert (apart.verdict, apart.p_value) == ("unresolved", 1)
    assert np.isnan(apart.ci_high)
    assert any("nothing else could have been found" in line for line in apart.limits)
    nothing = shared_roles(archive, runs="a?")
    assert "no head of 3 runs" in nothing.sentence
    assert nothing.verdict == "unresolved"
    assert nothing.plot().data


def test_runs_that_avoid_one_anothers_heads_do_not_share_them(simulation: Simulation) -> None:
    for k in range(4):
        run = simulation.run(f"a{k}", init_seed=1, data_order_seed=k, init_hash="one")
        plant(simulation, run, [(2, 2 * k), (2, 2 * k + 1), (1, 2 * k), (1, 2 * k + 1)])
    answer = shared_roles(simulation.commit())

    assert (answer.verdict, answer.estimate) == ("no", 0)
    assert answer.null_mean > 0.1


def test_several_roles_stand_side_by_side_and_are_drawn(archive: Archive) -> None:
    answer = shared_roles(archive, runs="a?", role="all")

    assert answer.summary["role"].to_pylist() == ["induction"]  # type: ignore[index]
    grid = shared_roles(archive, runs="a?").plot().data[0]
    assert list(grid.x) == ["L2H0", "L2H1", "L2H2", "L2H3"]
    assert [list(row) for row in grid.z] == [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]


def test_heads_of_several_inits_stand_under_their_init(simulation: Simulation) -> None:
    for init, head in ((1, (2, 3)), (2, (0, 5))):
        for k in range(2):
            run = simulation.run(f"r{init}{k}", init_seed=init, data_order_seed=k, init_hash=f"hash {init}")
            plant(simulation, run, [head])
    (summary,) = shared_roles(simulation.commit()).summary.to_pylist()  # type: ignore[union-attr]

    assert summary["heads"] == "init 1: L2H3; init 2: L0H5"
