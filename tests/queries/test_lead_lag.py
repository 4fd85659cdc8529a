"""lead_lag: planted leads recovered, brackets and censoring, heads and pairs of heads as measures, refusals."""

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Quantity
from archive.upkeep.marks import exclude
from queries.lead_lag import lead_lag
from tests.queries.language import pairs
from tests.queries.simulated import (
    ACCURACY_HERE,
    GRID,
    LOSS_HERE,
    OTHER_GRID,
    TEST,
    TRAIN,
    Simulation,
    measure,
    rising,
)

STEPS = [0, *(2**k for k in range(12))]
TRAINED, TESTED = "accuracy[train] >= 0.5", "accuracy[test] >= 0.5"


def plant(s: Simulation, run: str, trained: float, tested: float) -> None:
    """Train accuracy passes a half at one step, test accuracy at another; inf is never."""
    for i, step in enumerate(STEPS):
        parts = {part: float(STEPS[i] >= at) for part, at in ((TRAIN, trained), (TEST, tested))}
        s.scalar(run, ACCURACY_HERE, step, parts)


def test_planted_leads_are_found_with_their_bounds(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(8)):
        plant(simulation, run, 4 * 2 ** (k % 2), 32 * 2 ** (k % 2))
    answer = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_leading"], row["n_following"], row["n_untold"]) == (8, 0, 0)
    assert row["p"] == pytest.approx(2 * 0.5**8)
    assert (row["least"], row["lead_octaves"], row["most"]) == pytest.approx((2, 3, 4))
    assert (answer.estimate, answer.ci_low, answer.ci_high) == pytest.approx((3, 2, 4))
    assert (answer.verdict, row["verdict"]) == ("yes", "leads")
    assert answer.table["lead_least"].to_pylist() == [2.0] * 8
    assert "in 8 of 8 runs" in answer.sentence


def test_what_comes_later_follows_and_what_comes_at_once_is_together(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(8)):
        plant(simulation, run, 2 ** (k + 3), 2 ** (k + 1) if k % 2 else 2 ** (k + 2))
        simulation.curve(run, LOSS_HERE, STEPS, [0.0 if s >= 2 ** (k + 3) else 1.0 for s in STEPS])
    archive = simulation.commit()
    answer = lead_lag(archive, measures=("loss <= 0.5", TESTED), event=TRAINED)
    rows = {r["measure"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]

    assert rows["loss <= 0.5"]["verdict"] == "together"
    assert rows["loss <= 0.5"]["n_untold"] == 8
    assert rows[TESTED]["verdict"] == "leads"
    assert rows[TESTED]["p_adjusted"] == pytest.approx(2 * 0.5**8)  # the other had no test to correct for
    assert answer.verdict is None
    swapped = lead_lag(archive, measures=(TRAINED,), event=TESTED)
    assert swapped.verdict == "no"
    assert swapped.summary["verdict"].to_pylist() == ["follows"]  # type: ignore[union-attr]


def test_an_event_that_never_comes_is_a_bound_and_told(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(8)):
        plant(simulation, run, 4, 64 if k else math.inf)
    plant(simulation, simulation.run("neither", init_seed=8), math.inf, math.inf)
    plant(simulation, simulation.run("at once", init_seed=9), 0, 64)
    answer = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_leading"], row["n_event_never"]) == (8, 8, 1)
    assert (row["n_neither"], row["n_from_start"]) == (1, 1)
    assert (row["lead_octaves"], row["high"]) == (None, None)
    assert 1.5 < row["low"] < row["least"] == pytest.approx((7 * 3 + 9) / 8)
    assert math.isnan(answer.estimate)
    assert answer.verdict == "yes"
    assert any("may as well be false alarms" in line for line in answer.limits)
    assert any("tells no time" in line for line in answer.limits)


def test_five_runs_show_no_lead(simulation: Simulation) -> None:
    for run in simulation.seeds(5):
        plant(simulation, run, 4, 64)
    answer = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED)

    assert answer.p_value == pytest.approx(1 / 16)
    assert answer.verdict == "unresolved"
    assert any("5 of 5 on one side is p = 0.06" in line for line in answer.limits)


def test_several_measures_are_corrected_for_how_many_they_are(simulation: Simulation) -> None:
    for run in simulation.seeds(6):
        plant(simulation, run, 4, 64)
        simulation.curve(run, LOSS_HERE, STEPS, rising(STEPS, 8))
    asked = (TRAINED, "loss >= 0.5")
    archive = simulation.commit()
    holm = lead_lag(archive, measures=asked, event=TESTED)
    bh = lead_lag(archive, measures=asked, event=TESTED, correction="bh")

    assert holm.summary["p_adjusted"].to_pylist() == pytest.approx([0.0625] * 2)  # type: ignore[union-attr]
    assert bh.summary["p_adjusted"].to_pylist() == pytest.approx([0.03125] * 2)  # type: ignore[union-attr]
    assert (holm.verdict, bh.verdict) == ("unresolved", "yes")


def test_the_best_head_and_the_best_pair_by_z_are_measures(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for k, run in enumerate(simulation.seeds(6)):
        for step in STEPS:
            z = rng.normal(size=(2, 2))
            z[k % 2, 1] = 6.0 if step >= 16 else 1.0
            z[0, 0] = np.nan
            pairs(simulation, run, "k", step, z)
            scores = np.full((2, 2), 0.1)
            scores[1, k % 2] = 0.8 if step >= 128 else 0.1
            simulation.heads(run, step, scores)
    archive = simulation.commit()
    answer = lead_lag(archive, measures=("k_composition >= 5",), event="head.previous_token >= 0.3")
    rows = answer.table.to_pylist()

    assert [r["measure_reached"] for r in rows] == [16] * 6
    assert [r["event_reached"] for r in rows] == [128] * 6
    assert [r["first_there"] for r in rows] == ["L0H0>L1H1", "L0H1>L1H1"] * 3
    assert answer.verdict == "yes"
    assert any("any pair of heads counts, by its z" in line for line in answer.limits)

    named = lead_lag(
        archive, measures=("k_composition[L0H0>L1H1] >= 5",), event="head.previous_token[L1H0] >= 0.3"
    )
    assert [r["order"] for r in named.table.to_pylist()] == ["leads", "neither"] * 3
    lowest = lead_lag(archive, measures=("k_composition <= -9",), event="head.previous_token[L1H0] <= 0.3")
    assert {r["order"] for r in lowest.table.to_pylist()} == {"from the start"}
    with pytest.raises(UsageError, match=r"pairs of heads, such as L0H3>L1H2, not of 'L0H0'"):
        lead_lag(archive, measures=("k_composition[L0H0] >= 5",), event="head.previous_token >= 0.3")
    with pytest.raises(UsageError, match=r"no run has L7H7 of head\.previous_token"):
        lead_lag(archive, measures=("k_composition >= 5",), event="head.previous_token[L7H7] >= 0.3")


def test_another_head_in_the_end_and_a_noisy_measure_are_told(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, 4, 256)
        for step in STEPS:
            scores = np.array([[0.4 if step == 8 else 0.1, 0.9 if step >= 512 else 0.1]])
            simulation.heads(run, step, scores)
    archive = simulation.commit()
    first = lead_lag(archive, measures=("head.previous_token >= 0.3",), event=TESTED)
    stays = lead_lag(archive, measures=("head.previous_token >= 0.3",), event=TESTED, rule="stays")

    assert first.table["times_crossed"].to_pylist() == [2] * 3
    assert any("L0H0, then L0H1 in s0" in line for line in first.limits)
    assert any("more than once" in line for line in first.limits)
    assert first.table["order"].to_pylist() == ["leads"] * 3
    assert stays.table["order"].to_pylist() == ["follows"] * 3
    assert any("describes, and could not have foretold" in line for line in stays.limits)


def test_conditions_are_asked_about_one_by_one_unless_pooled(simulation: Simulation) -> None:
    for condition in "ab":
        for run in simulation.seeds(3, prefix=condition, condition=condition):
            plant(simulation, run, 4, 64)
    archive = simulation.commit()

    assert lead_lag(archive, measures=(TRAINED,), event=TESTED).summary["group"].to_pylist() == ["a", "b"]  # type: ignore[union-attr]
    pooled = lead_lag(archive, measures=(TRAINED,), event=TESTED, pooled=True)
    assert (pooled.verdict, pooled.n_runs) == ("yes", 6)
    assert any("Runs of 2 conditions are pooled" in line for line in pooled.limits)


def test_values_that_are_not_finite_and_excluded_runs_do_not_count(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        simulation.curve(run, LOSS_HERE, STEPS, [math.nan if s == 8 else float(s < 8) for s in STEPS])
        plant(simulation, run, 4, 64)
    archive = simulation.commit()
    exclude(archive.layout, "s2", "planted defect")
    answer = lead_lag(archive, measures=("loss <= 0.5",), event=TESTED)

    assert answer.table["measure_after"].to_pylist() == [4, 4]
    assert answer.table["measure_reached"].to_pylist() == [16, 16]


def test_what_cannot_be_asked_is_refused(simulation: Simulation) -> None:
    plant(simulation, simulation.run("a"), 4, 64)
    other = Quantity(measure=measure("head.mixed", "fact_head", scope="head"), encoding=GRID)
    also = Quantity(measure=measure("head.mixed", "fact_head", scope="head"), encoding=OTHER_GRID)
    for quantity in (other, also):
        simulation.heads("a", 4, np.ones((1, 2)), quantity=quantity)
    archive = simulation.commit()

    with pytest.raises(UsageError, match="is not an event"):
        lead_lag(archive, measures=("accuracy[train] >= half",), event=TESTED)
    with pytest.raises(UsageError, match="two different events"):
        lead_lag(archive, measures=(TESTED,), event=TESTED)
    with pytest.raises(UnknownName, match="acuracy"):
        lead_lag(archive, measures=("acuracy >= 0.5",), event=TESTED)
    with pytest.raises(NotComparable, match="eval set"):
        lead_lag(archive, measures=("head.mixed >= 0.5",), event=TESTED)


def test_the_figure_has_a_row_a_measure_and_open_ends(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(2)):
        plant(simulation, run, 4, 64 if k else math.inf)
    figure = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED).plot()

    assert isinstance(figure, go.Figure)
    assert list(figure.layout.yaxis.ticktext) == [TRAINED]
    assert [list(t.x) for t in figure.data if t.marker.symbol == ("triangle-right-open",)] == [
        [pytest.approx(1.1 * 9)]
    ]


def test_runs_that_share_seeds_count_once_for_each(simulation: Simulation) -> None:
    """Nine runs on one side are three inits on one side, whatever the nine would show by themselves."""
    for k in range(9):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        plant(simulation, run, 4, 32 * 2 ** (k % 3))
    answer = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_leading"], row["n_runs"]) == (9, 9)
    assert answer.p_value == pytest.approx(2 * 0.5**3)
    assert answer.verdict == "unresolved"
    # the leads are those of three inits: 3, 4 and 5 octaves, each up to one less
    assert answer.ci_low == pytest.approx(3 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert any(
        "share seeds (3 init and 3 order): 9 runs, 3 independent inits. Each value of a seed counts once" in x
        for x in answer.limits
    )
    assert not any("as independent" in line for line in answer.limits)


def test_a_seed_of_two_values_counts_where_no_other_has_three(simulation: Simulation) -> None:
    for k in range(12):
        run = simulation.run(f"r{k}", init_seed=k % 6, data_order_seed=k // 6)
        plant(simulation, run, 4, 32)
    archive = simulation.commit()

    assert lead_lag(archive, measures=(TRAINED,), event=TESTED).p_value == pytest.approx(2 * 0.5**6)
    few = lead_lag(archive, runs=["r0", "r1", "r6", "r7"], measures=(TRAINED,), event=TESTED)
    assert few.p_value == pytest.approx(2 * 0.5**2)


def test_what_no_run_passes_does_not_follow(simulation: Simulation) -> None:
    for run in simulation.seeds(8):
        plant(simulation, run, math.inf, 64)
    answer = lead_lag(simulation.commit(), measures=(TRAINED,), event=TESTED)

    assert answer.verdict == "no"
    assert "the event comes without it, which no run passes by its last checkpoint" in answer.sentence
    assert "it follows" not in answer.sentence


def test_an_event_without_a_level_is_told_to_have_one(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, 4, 32)
    archive = simulation.commit()
    with pytest.raises(UsageError, match=r"'accuracy\[test\]' has no level: accuracy is a measure"):
        lead_lag(archive, measures=(TRAINED,), event="accuracy[test]")
    with pytest.raises(
        UnknownName, match=r"no measure 'k_composition' in this archive; .*--fill k_composition"
    ):
        lead_lag(archive, measures=("k_composition >= 5",), event=TESTED)
