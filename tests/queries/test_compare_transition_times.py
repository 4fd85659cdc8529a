import math

import numpy as np
import pytest

from archive.errors import UsageError
from queries.compare_transition_times import compare_transition_times
from queries.stats.few_runs import detectable_difference, pooled_sd
from tests.queries.simulated import LOG_ACCURACY_HERE, TEST, Simulation, rising

GRID = [0, *sorted({round(2 ** (k / 8)) for k in range(24, 113)})]  # eight points an octave, 8 to 16,384


def plant(simulation: Simulation, condition: str, times: list[float | None], first_seed: int = 0) -> None:
    for k, at in enumerate(times):
        run = simulation.run(
            f"{condition}{k}", condition=condition, init_seed=first_seed + k, data_order_seed=0
        )
        values = np.zeros(len(GRID)) if at is None else rising(GRID, at, width=0.01)
        simulation.log(run, LOG_ACCURACY_HERE, GRID, {TEST: values})


def test_a_planted_ratio_is_found_with_the_smallest_p_there_is(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    early, late = 2 ** (9 + 0.2 * rng.normal(size=5)), 2 ** (11 + 0.2 * rng.normal(size=5))
    plant(simulation, "slow", late.tolist())
    plant(simulation, "fast", early.tolist())
    answer = compare_transition_times(simulation.commit(), level=0.5)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    planted = np.median(np.log2(late)) - np.median(np.log2(early))

    assert (row["earlier_group"], row["later_group"]) == ("fast", "slow")
    assert row["ratio_octaves"] == pytest.approx(planted, abs=0.13)
    assert row["ratio"] == pytest.approx(2 ** row["ratio_octaves"])
    assert answer.p_value == row["smallest_p"] == pytest.approx(0.0079, abs=1e-4)
    assert 1.3 < answer.ci_low < 2 < answer.ci_high < 2.7
    assert answer.verdict == "yes"
    assert answer.mde == pytest.approx(
        detectable_difference(5, 5) * pooled_sd([np.log2(early), np.log2(late)])[0], rel=0.2
    )
    assert answer.groups["n_reached"].to_pylist() == [5, 5]
    assert "slow is" in answer.sentence


def test_what_is_not_found_is_unresolved_with_what_would_have_been(simulation: Simulation) -> None:
    times = [2**9.0, 2**9.2, 2**9.4, 2**9.6, 2**9.8]
    plant(simulation, "a", times)
    plant(simulation, "b", [t * 1.1 for t in times])
    answer = compare_transition_times(simulation.commit(), level=0.5)

    assert answer.verdict == "unresolved"
    assert answer.ci_low < 0 < answer.ci_high
    assert answer.mde == pytest.approx(2.02 * 0.316, rel=0.15)
    assert any("shows no equality" in line for line in answer.limits)


def test_a_run_that_never_got_there_is_later_than_everything_by_rank(simulation: Simulation) -> None:
    plant(simulation, "fast", [500, 510, 520, 530, 540])
    plant(simulation, "slow", [2000, 2100, 2200, None, None])
    answer = compare_transition_times(simulation.commit(), level=0.5)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_censored"], row["test"]) == (2, "exact permutation (ranks)")
    assert row["p"] == pytest.approx(2 / 252)
    assert row["high"] == math.inf
    assert row["ratio_octaves"] == pytest.approx(math.log2(2200 / 520), abs=0.13)
    assert any("2 run(s) never got there" in line and "ranks" in line for line in answer.limits)


def test_a_group_that_never_gets_there_differs_by_no_number(simulation: Simulation) -> None:
    plant(simulation, "some", [500, 510, 520, 530])
    plant(simulation, "none", [None] * 4)
    answer = compare_transition_times(simulation.commit(), level=0.5)

    assert math.isnan(answer.estimate)
    assert answer.verdict == "yes"
    assert answer.p_value == pytest.approx(2 / 70)
    assert "by how much is unknown" in answer.sentence


def test_three_against_three_cannot_differ(simulation: Simulation) -> None:
    plant(simulation, "a", [100, 110, 120])
    plant(simulation, "b", [9000, 9100, 9200])
    answer = compare_transition_times(simulation.commit(), level=0.5)

    assert answer.p_value == pytest.approx(0.1)
    assert (answer.ci_low, answer.ci_high) == (-math.inf, math.inf)
    assert answer.verdict == "unresolved"
    assert any("smallest possible p is 0.1 for 3 against 3" in line for line in answer.limits)


@pytest.mark.parametrize(("n", "p", "verdict"), [(5, 0.0625, "unresolved"), (6, 0.03125, "yes")])
def test_pairs_are_compared_by_flipping_signs(simulation: Simulation, n: int, p: float, verdict: str) -> None:
    # seeds differ by octaves, the treatment by a quarter of one: only pairs show it
    times = [2.0 ** (7 + k) for k in range(n)]
    plant(simulation, "a", times)
    plant(simulation, "b", [t * 2 ** (0.75 + 0.05 * k) for k, t in enumerate(times)])
    archive = simulation.commit()
    paired = compare_transition_times(archive, level=0.5, paired_on=("init", "order"))
    (row,) = paired.summary.to_pylist()  # type: ignore[union-attr]

    assert paired.p_value == pytest.approx(p)
    assert paired.verdict == verdict
    assert paired.estimate == pytest.approx(0.75 + 0.025 * (n - 1), abs=0.13)
    assert row["test"] == "exact sign-flip (means)"
    assert compare_transition_times(archive, level=0.5).p_value > 0.1
    assert any("smallest possible p" in line for line in paired.limits) == (n == 5)


def test_runs_without_a_partner_are_named_and_ambiguous_pairs_refused(simulation: Simulation) -> None:
    plant(simulation, "a", [100, 200, 300])
    plant(simulation, "b", [100, 200, 300], first_seed=1)
    archive = simulation.commit()
    answer = compare_transition_times(archive, level=0.5, paired_on=("init",))

    assert answer.summary is not None
    assert answer.summary["n_a"].to_pylist() == [2]
    assert any("2 run(s) have no partner" in line for line in answer.limits)
    with pytest.raises(UsageError, match="pairs are not defined"):
        compare_transition_times(archive, level=0.5, paired_on=("order",))


def test_several_groups_are_all_compared_and_corrected(simulation: Simulation) -> None:
    for name, centre in (("a", 8.0), ("b", 8.05), ("c", 11.0)):
        plant(simulation, name, [2 ** (centre + 0.1 * k) for k in range(5)])
    archive = simulation.commit()
    holm, bh = (compare_transition_times(archive, level=0.5, correction=c) for c in ("holm", "bh"))
    rows = {
        (r["earlier_group"], r["later_group"]): r for r in (holm.summary.to_pylist() if holm.summary else [])
    }
    p = [r["p"] for r in rows.values()]

    assert len(rows) == 3
    assert rows["a", "c"]["p_adjusted"] == pytest.approx(min(1, 3 * min(p)))
    assert [rows["a", "c"]["verdict"], rows["a", "b"]["verdict"]] == ["yes", "unresolved"]
    assert holm.verdict is None
    assert "2 of 3 pairs of groups differ" in holm.sentence
    assert any("Benjamini-Hochberg" in line for line in bh.limits)


def test_groups_may_be_seeds(simulation: Simulation) -> None:
    for k in range(8):
        run = simulation.run(f"s{k}", init_seed=k // 4, data_order_seed=k % 4)
        simulation.log(
            run, LOG_ACCURACY_HERE, GRID, {TEST: rising(GRID, 100 * 2 ** (3 * (k // 4)) + k, width=0.01)}
        )
    archive = simulation.commit()
    answer = compare_transition_times(archive, level=0.5, group_by="init", paired_on=("order",))

    assert answer.summary is not None
    assert answer.summary["later_group"].to_pylist() == ["init 1"]
    assert answer.estimate == pytest.approx(3, abs=0.13)
    with pytest.raises(UsageError, match="a known split"):
        compare_transition_times(archive, group_by="split")


def test_equal_conditions_differ_as_rarely_as_promised(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    steps = [0, *(2**k for k in range(14))]
    for c in range(24):
        for k in range(4):
            run = simulation.run(f"c{c}s{k}", condition=f"c{c}", init_seed=k)
            simulation.log(
                run, LOG_ACCURACY_HERE, steps, {TEST: rising(steps, 2 ** rng.normal(7, 2), width=0.01)}
            )
    answer = compare_transition_times(simulation.commit(), level=0.5)
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]

    # 276 pairs share runs, so this is a check against gross error: 12 of them were independent
    assert np.mean([r["p"] <= 0.05 for r in rows]) <= 0.12
    assert all(r["verdict"] == "unresolved" for r in rows)


def test_one_group_has_nothing_to_be_compared_with(simulation: Simulation) -> None:
    plant(simulation, "a", [100, 200])
    answer = compare_transition_times(simulation.commit(), level=0.5)

    assert answer.verdict == "unresolved"
    assert "only one group" in answer.sentence
    assert answer.overview().num_rows == 1


def test_the_figure_has_a_colour_a_group(simulation: Simulation) -> None:
    plant(simulation, "a", [100, None])
    plant(simulation, "b", [100, 200])
    figure = compare_transition_times(simulation.commit(), level=0.5).plot()

    assert [t.name for t in figure.data if t.showlegend is not False] == ["a", "b"]
