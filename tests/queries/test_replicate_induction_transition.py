"""replicate_induction_transition: planted rises found or left open, what falls with them, and the verdict over runs."""

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import WHOLE, Encoding, Quantity
from queries.replicate_induction_transition import replicate_induction_transition
from queries.stats.few_runs import share_interval
from tests.queries.language import ICL, LAST_TARGET_HERE, PREFIX, cell, induction
from tests.queries.simulated import Simulation, rising

DENSE = [0, *(round(2 ** (k / 6)) for k in range(18, 97))]  # six an octave, 8 to 65,536
PYTHIA = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 20000, 1000)]


def plant(
    simulation: Simulation,
    run: str,
    at: float,
    *,
    width: float = 0.15,
    steps: list[int] = DENSE,
    later: float = 0.0,
) -> None:
    """A rise to 0.9 at step `at`; in-context score falls by 0.3 and loss on copies by 3 nats `later` octaves later."""
    score = 0.01 + 0.89 * rising(steps, at, width=width)
    fall = rising(steps, at * 2**later, width=width)
    induction(simulation, run, steps, score, icl=-0.1 - 0.3 * fall, copies=5 - 3 * fall)


def test_sharp_rises_are_found_with_what_falls_beside_them(simulation: Simulation) -> None:
    times = [900.0, 1000.0, 1100.0, 1250.0, 1400.0]
    for run, at in zip(simulation.seeds(5), times, strict=True):
        plant(simulation, run, at)
    answer = replicate_induction_transition(simulation.commit())
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    for row, at in zip(answer.table.to_pylist(), times, strict=True):
        assert (row["class"], row["head"], row["why"]) == ("major_transition", "L1H1", "")
        assert row["t50_after"] < at <= row["t50"]
        assert row["width_low"] <= 4.394 * 0.15 <= row["width_high"]
        assert row["share_low"] - 0.01 <= np.tanh(1 / (4 * 0.15)) <= row["share_high"] + 0.01
        assert (row["icl_together"], row["copies_together"]) == ("yes", "yes")
        assert row["icl_before"] == pytest.approx(-0.1, abs=0.04)
        assert row["icl_after"] == pytest.approx(-0.4, abs=0.04)
        assert row["copies_after"] < 2.4
    assert (summary["n_major"], summary["n_resolved"], summary["n_icl_together"]) == (5, 5, 5)
    assert summary["share_low"] == pytest.approx(0.478, abs=1e-3)
    assert summary["icl_lag_low"] <= 0 <= summary["icl_lag_high"]
    assert np.log2(answer.estimate) == pytest.approx(np.log2(1115), abs=0.2)
    assert answer.verdict == "yes"
    assert not any("unresolved" in line for line in answer.limits)


def test_slow_and_absent_rises_are_a_no(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(6)):
        if k < 5:
            plant(simulation, run, 700, width=0.9)
        else:
            induction(simulation, run, DENSE, [0.02] * len(DENSE))
    answer = replicate_induction_transition(simulation.commit())
    kinds = answer.table["class"].to_pylist()
    none = answer.table.to_pylist()[-1]

    assert kinds == ["gradual"] * 5 + ["none"]
    assert answer.verdict == "no"
    assert none["t50"] is None
    assert none["icl_together"] is None
    assert any("one may form later" in line for line in answer.limits)


def test_checkpoints_an_octave_apart_are_unresolved_and_the_steps_needed_are_named(
    simulation: Simulation,
) -> None:
    simulation.run("published", family="published")
    plant(simulation, "published", 1500, steps=PYTHIA)
    answer = replicate_induction_transition(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert row["class"] == "unresolved"
    assert "of 3 checkpoints needed" in row["why"]
    assert (row["t10_after"], row["t90"]) == (1000, 2000)
    assert len(row["needed"]) >= 4
    assert all(1000 < step < 2000 for step in row["needed"])
    assert row["measurable"] == []
    assert answer.verdict == "unresolved"
    assert any("would be needed" in line for line in answer.limits)


def test_checkpoints_that_are_there_but_not_measured_are_named_first(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", 1500, steps=PYTHIA)
    for step in (1250, 1500, 1750, 5500):
        cell(simulation, "a", ICL, step)
        simulation.scalar("a", ICL, step, {WHOLE: -0.2})
    answer = replicate_induction_transition(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert row["measurable"] == [1250, 1500, 1750]
    assert any("there and not measured" in line for line in answer.limits)


def test_falls_that_come_later_are_not_together(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", 500, later=3.0)
    (row,) = replicate_induction_transition(simulation.commit()).table.to_pylist()

    assert (row["icl_together"], row["copies_together"]) == ("no", "no")
    assert row["icl_lag_low"] <= 3 <= row["icl_lag_high"]


def test_a_rise_without_a_fall_and_one_without_losses(simulation: Simulation) -> None:
    score = 0.01 + 0.89 * rising(DENSE, 500, width=0.15)
    simulation.run("a")
    induction(simulation, "a", DENSE, score, icl=[-0.1] * len(DENSE))
    answer = replicate_induction_transition(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert (row["icl_together"], row["copies_together"]) == ("no", None)
    assert any("--fill induction_loss" in line for line in answer.limits)


def test_one_path_for_variants_and_sources_and_refusals(simulation: Simulation) -> None:
    score = 0.01 + 0.89 * rising(DENSE, 500, width=0.15)
    elsewhere = Quantity(measure=PREFIX, encoding=Encoding(hash="elsewhere", name="elsewhere"))
    simulation.run("a")
    induction(simulation, "a", DENSE, score)
    induction(simulation, "a", DENSE, score / 2, quantity=LAST_TARGET_HERE)
    induction(simulation, "a", DENSE, score / 3, quantity=elsewhere)
    archive = simulation.commit()

    with pytest.raises(NotComparable, match="eval_set='repeated'"):
        replicate_induction_transition(archive)
    answer = replicate_induction_transition(archive, eval_set="repeated")
    assert answer.table["score_after"].to_pylist() == pytest.approx([0.9])
    assert answer.table["chance"].to_pylist() == [0.0136]
    with pytest.raises(UsageError, match="tokens_seen is not known"):
        replicate_induction_transition(archive, eval_set="repeated", axis="tokens")


def test_tokens_as_the_axis(simulation: Simulation) -> None:
    simulation.run("a", tokens_per_step=100.0)
    plant(simulation, "a", 500)
    answer = replicate_induction_transition(simulation.commit(), axis="tokens")
    (row,) = answer.table.to_pylist()

    assert row["t50_after"] < 50_000 <= row["t50"]
    assert row["icl_together"] == "yes"
    assert answer.unit == "tokens"


def test_a_head_at_the_first_checkpoint_has_no_beginning(simulation: Simulation) -> None:
    simulation.run("a")
    induction(simulation, "a", DENSE, [0.8] * len(DENSE))
    answer = replicate_induction_transition(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert (row["class"], row["t50"]) == ("unresolved", None)
    assert "at the first checkpoint" in row["why"]
    assert answer.plot().data


def test_crossed_runs_are_as_many_as_their_inits(simulation: Simulation) -> None:
    times = (700.0, 1000.0, 1400.0)
    for k in range(9):
        plant(simulation, simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3), times[k % 3])
    answer = replicate_induction_transition(simulation.commit())
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (summary["n_major"], summary["n_units"], summary["unit"]) == (9, 3, "init")
    assert (summary["share_low"], summary["share_high"]) == pytest.approx(share_interval(3, 3))
    assert answer.verdict == "unresolved"
    assert "9 of 9 resolved runs (3 independent inits)" in answer.sentence
    # times are those of three inits, half an octave apart: a t interval with two degrees of freedom, and no spread of nine runs
    assert np.log2(answer.ci_high / answer.estimate) > 1
    assert "over independent seeds" in answer.ci_method
    assert (summary["sd_low"], summary["sd_high"]) == (None, None)
    assert summary["icl_lag_low"] <= 0 <= summary["icl_lag_high"]
