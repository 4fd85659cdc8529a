"""phase_transitions: planted transitions classed from every kind of table, and what cannot be judged said."""

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Quantity
from queries.phase_transitions import PhaseTransitions, phase_transitions
from queries.stats.few_runs import share_interval
from tests.queries import language
from tests.queries.simulated import (
    ACC,
    ACCURACY_HERE,
    GRID,
    LOG_LOSS_HERE,
    LOSS_HERE,
    PPL,
    TEST,
    TRAIN,
    Simulation,
    benchmark_quantity,
    measure,
    rising,
)

STEPS = sorted({round(2 ** (k / 4)) for k in range(8, 66)})  # four an octave, 4 to 92,682
POSITION_ACCURACY = Quantity(
    measure=measure("position_accuracy", "fact_position", scope="position", direction="higher is better"),
    encoding=GRID,
)


def noise(seed: int, n: int = len(STEPS), *, scale: float = 0.01) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=n)


def smooth(seed: int) -> np.ndarray:
    return 2 * np.asarray(STEPS, float) ** -0.2 + noise(seed)


def sharp(seed: int, at: float = 700.0) -> np.ndarray:
    return 2 - 1.5 * rising(STEPS, at, width=0.15) + noise(seed)


def ask(s: Simulation, **asked: object) -> PhaseTransitions:
    return phase_transitions(s.commit(), draws=999, **asked)


def test_sharp_losses_are_major_in_every_run_with_their_place(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(5)):
        simulation.curve(run, LOSS_HERE, STEPS, sharp(k, 500.0 + 100 * k))
    answer = ask(simulation)
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    for k, row in enumerate(answer.table.to_pylist()):
        assert (row["class"], row["why"], row["series"]) == ("major_transition", "", "test")
        assert row["event_start"] < 500 + 100 * k < row["event_end"]
        assert row["t50_after"] / 1.3 < 500 + 100 * k < row["t50"] * 1.3
        assert row["spacing"] == pytest.approx(0.25, abs=0.05)
        assert row["q"] < 0.05
        assert row["native_excess"] == pytest.approx(1.5 * row["excess"], rel=0.1)
        # 0.15 is above half of the spacing, so it is a number with an interval
        assert row["w"] == pytest.approx(0.15, rel=0.4)
        assert row["w_high"] >= 0.15
    assert (summary["n_major"], summary["n_resolved"], summary["verdict"]) == (5, 5, "yes")
    assert (answer.estimate, answer.verdict) == (1.0, "yes")
    assert answer.ci_low == pytest.approx(0.478, abs=1e-3)
    assert "5 of 5 resolved runs have a major one" in answer.sentence
    assert any("change of learning rate, is not ruled out" in line for line in answer.limits)


def test_a_width_below_half_the_spacing_is_a_bound(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, STEPS, 2 - 1.5 * rising(STEPS, 700, width=0.02) + noise(0))
    (row,) = ask(simulation).table.to_pylist()

    assert row["class"] == "major_transition"
    assert row["w"] is None
    assert row["w_low"] is None
    assert row["w_high"] >= row["spacing"] / 2


def test_smooth_losses_are_none_and_accuracy_over_them_is_of_the_metric(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        simulation.curve(run, LOSS_HERE, STEPS, smooth(k))
        accuracy = rising(STEPS, 700, width=0.15) if k else np.log2(STEPS) / 17
        simulation.curve(run, ACCURACY_HERE, STEPS, accuracy + noise(9 + k))
    archive = simulation.commit()
    pair, alone = (phase_transitions(archive, draws=999, pair=p) for p in (True, False))
    turned = phase_transitions(archive, measure="accuracy", draws=999)

    assert pair.table["class"].to_pylist() == ["none", "metric_only", "metric_only"]
    assert turned.table["class"].to_pylist() == ["none", "metric_only", "metric_only"]
    assert alone.table["class"].to_pylist() == ["none"] * 3
    assert pair.table["q_discrete"].to_pylist()[1] < 0.05
    assert len(pair.provenance.quantities) == 2
    assert pair.summary.to_pylist()[0]["n_metric_only"] == 2  # type: ignore[union-attr]


def test_accuracy_without_its_loss_is_unresolved_and_says_so(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, ACCURACY_HERE, STEPS, rising(STEPS, 700, width=0.15) + noise(0))
    answer = ask(simulation, measure="accuracy")

    assert answer.table["class"].to_pylist() == ["unresolved"]
    assert any("no continuous measure of the same answers" in line for line in answer.limits)


def test_training_logs_are_series_and_parts_are_asked_for(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.log(run, LOG_LOSS_HERE, STEPS, {TEST: sharp(0).tolist(), TRAIN: smooth(1).tolist()})
    archive = simulation.commit()
    every = phase_transitions(archive, measure="log.loss", part="all", draws=999)

    assert {r["series"]: r["class"] for r in every.table.to_pylist()} == {
        "test": "major_transition",
        "train": "none",
    }
    assert phase_transitions(archive, part="train", draws=99).table["series"].to_pylist() == ["train"]
    assert "between steps" in phase_transitions(archive, draws=999).sentence


def test_heads_are_compared_with_the_other_heads_of_their_run(simulation: Simulation) -> None:
    for seed, run in enumerate(simulation.seeds(2)):
        rng = np.random.default_rng(seed)
        # 21 heads drift by as much as the one that jumps
        scores = np.log2(STEPS)[:, None, None] / 17 + 0.01 * rng.normal(size=(len(STEPS), 2, 11))
        scores[:, 1, 3] = rising(STEPS, 700, width=0.15) + 0.01 * rng.normal(size=len(STEPS))
        for step, of_step in zip(STEPS, scores, strict=True):
            simulation.heads(run, step, of_step)
    archive = simulation.commit()
    every = phase_transitions(archive, measure="head.previous_token", draws=999)
    named = phase_transitions(
        archive, measure="head.previous_token", series=("L1H3",), controls="required", draws=999
    )
    major = [(r["run"], r["series"]) for r in every.table.to_pylist() if r["class"] == "major_transition"]

    assert every.table.num_rows == 44
    assert major == [("s0", "L1H3"), ("s1", "L1H3")]
    assert every.table["series"].to_pylist()[:12] == [*(f"L0H{k}" for k in range(11)), "L1H0"]
    for row in named.table.to_pylist():
        assert (row["class"], row["beyond"]) == ("major_transition", 1.0)
        assert row["controls"] >= 19
    # a head's number means nothing in another run: one row for any of them
    (summary,) = every.summary.to_pylist()  # type: ignore[union-attr]
    assert (summary["series"], summary["n_runs"], summary["n_major"]) == ("any of them", 2, 2)


def test_positions_have_their_names_and_pairs_of_heads_their_z(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    language.plant_eval_sets(simulation)
    curves = np.column_stack([smooth(0), sharp(1)])
    z = np.stack([noise(2) * 100, *(np.log2(STEPS) + noise(k + 3, scale=0.1) for k in range(3))], axis=1)
    z[:, 0] += 20 * rising(STEPS, 700, width=0.15)
    for step, values, cells in zip(STEPS, curves, z, strict=True):
        simulation.positions(run, step, values, ["carry", "units"])
        language.pairs(simulation, run, "k", step, cells.reshape(2, 2))
    archive = simulation.commit()
    positions = phase_transitions(archive, measure="position_loss", draws=999)
    pairs = phase_transitions(archive, measure="k_composition", series=("L0H*>L1H0",), draws=999)

    assert {r["series"]: r["class"] for r in positions.table.to_pylist()} == {
        "carry": "none",
        "units": "major_transition",
    }
    assert {r["series"]: r["class"] for r in pairs.table.to_pylist()}["L0H0>L1H0"] == "major_transition"
    assert pairs.table.num_rows == 2


def test_benchmarks_count_right_answers(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    for step, value in zip(STEPS, rising(STEPS, 700, width=0.15) + noise(0), strict=True):
        simulation.benchmark(run, benchmark_quantity(ACC, "arc", 0), step, float(value))
    (row,) = ask(simulation, measure="benchmark.acc").table.to_pylist()

    assert (row["series"], row["class"]) == ("arc", "unresolved")
    assert "discrete metric" in row["why"]


def test_several_benchmarks_are_series_of_one_call(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    few = STEPS[::6]
    for task, steps, values in (
        ("arc_sharp", STEPS, 20 * sharp(1)),
        ("arc_smooth", STEPS, 20 * smooth(2)),
        ("arc_short", few, np.linspace(9, 5, len(few))),
    ):
        for step, value in zip(steps, values, strict=True):
            simulation.benchmark(run, benchmark_quantity(PPL, task, 0), step, float(value))
    answer = ask(simulation, measure="benchmark.ppl", tasks=("arc_*",))

    assert {r["series"]: r["class"] for r in answer.table.to_pylist()} == {
        "arc_sharp": "major_transition",
        "arc_smooth": "none",
        "arc_short": "unresolved",
    }
    assert len(answer.provenance.quantities) == 3
    assert any("published set has no more of them" in line for line in answer.limits)
    with pytest.raises(UnknownName, match="benchmark task"):
        phase_transitions(simulation.commit(), measure="benchmark.ppl", tasks=("winogrande",))


def item_curves(seed: int, n: int = 24) -> np.ndarray:
    """(step, item): log-likelihoods that rise smoothly by about as much."""
    rng = np.random.default_rng(seed)
    rise = np.log2(STEPS)[:, None] / 17
    return 3 * rise * rng.uniform(0.9, 1.1, n) - 4 + 0.03 * rng.normal(size=(len(STEPS), n))


def test_a_question_that_is_learned_at_once_is_found_among_the_others(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(2)):
        values = item_curves(k)
        values[:, 7] = 3 * rising(STEPS, 700, width=0.15) - 4 + noise(k, scale=0.03)
        for step, of_step in zip(STEPS, values, strict=True):
            simulation.items(run, step, of_step)
    archive = simulation.commit()
    answer = phase_transitions(archive, measure="item.loss", items=True, draws=999)
    named = phase_transitions(archive, measure="item.loss", items=True, series=("item 7",), draws=999)
    (mean, _) = phase_transitions(archive, measure="item.loss", draws=999).table.to_pylist()
    major = [(r["run"], r["series"]) for r in answer.table.to_pylist() if r["class"] == "major_transition"]

    assert answer.table.num_rows == 48
    assert answer.table["series"].to_pylist()[:11] == [f"item {k}" for k in range(11)]
    assert major == [("s0", "item 7"), ("s1", "item 7")]
    for row in named.table.to_pylist():
        assert (row["class"], row["controls"], row["beyond"]) == ("major_transition", 23, 1.0)
    # the same item in every run: one row each, over runs
    found = {r["series"]: (r["n_runs"], r["n_major"]) for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    assert found["item 7"] == (2, 2)
    assert (mean["series"], mean["class"]) == ("", "none")
    assert any("other items are its controls" in line for line in answer.limits)


def test_items_that_all_change_at_once_are_no_transitions_of_their_own(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    values = item_curves(0) / 10 + 3 * rising(STEPS, 700, width=0.15)[:, None]
    for step, of_step in zip(STEPS, values, strict=True):
        simulation.items(run, step, of_step)
    answer = phase_transitions(simulation.commit(), measure="item.loss", items=True, draws=99)
    major = [r for r in answer.table.to_pylist() if r["class"] == "major_transition"]

    assert len(major) <= 2
    assert all(r["beyond"] >= 0.95 for r in major)
    assert sum("matched series of the run change less" in r["why"] for r in answer.table.to_pylist()) >= 22


def test_smooth_items_are_hardly_ever_called_sharp(simulation: Simulation) -> None:
    """Of 120 smooth ones none is found; those of right answers are not even where they are sharp."""
    (run,) = simulation.seeds(1)
    turned = Quantity(measure=measure("benchmark_item.acc", "fact_item", scope="item"), encoding=GRID)
    for k, (step, of_step) in enumerate(zip(STEPS, item_curves(3, 120), strict=True)):
        simulation.items(run, step, of_step)
        simulation.items(run, step, np.array([0.0, float(STEPS[k] > 700)]), quantity=turned)
    archive = simulation.commit()
    likelihoods = phase_transitions(archive, measure="item.loss", items=True, draws=999)
    right = phase_transitions(archive, measure="benchmark_item.acc", items=True, draws=999)

    assert not {"major_transition", "minor_transition"} & set(likelihoods.table["class"].to_pylist())
    assert likelihoods.table["p"].to_numpy().mean() == pytest.approx(0.5, abs=0.1)
    assert right.table["why"].to_pylist() == [
        "the values do not change",
        "only the discrete metric is there, which is sharp where items are alike",
    ]


def test_gaps_name_the_steps_that_would_close_them(simulation: Simulation) -> None:
    steps = [2**k for k in range(9)] + list(range(1000, 20_001, 1000))
    for k, run in enumerate(simulation.seeds(2)):
        values = 2 - 1.5 * rising(steps, 1500, width=0.1) + noise(k, len(steps))
        simulation.curve(run, LOSS_HERE, steps, values)
    answer = ask(simulation)

    for row in answer.table.to_pylist():
        assert row["class"] == "unresolved"
        assert "octave(s) apart" in row["why"]
        assert any(1000 < step < 2000 for step in row["needed"])
        assert not set(row["needed"]) & set(steps)
    assert answer.verdict == "unresolved"
    assert any("--fill loss" in line and "needed are steps" in line for line in answer.limits)


def test_what_cannot_be_tested_is_unresolved_with_a_way_on(simulation: Simulation) -> None:
    few, flat, bad = simulation.seeds(3)
    simulation.curve(few, LOSS_HERE, STEPS[::6], sharp(0)[::6])
    simulation.curve(flat, LOSS_HERE, STEPS, np.ones(len(STEPS)))
    simulation.curve(bad, LOSS_HERE, STEPS, np.where(np.asarray(STEPS) > 8, np.nan, sharp(1)))
    answer = ask(simulation)

    assert [(r["class"], r["p"]) for r in answer.table.to_pylist()] == [("unresolved", None)] * 3
    assert answer.table["why"].to_pylist() == [
        "10 of 16 checkpoints needed",
        "the values do not change",
        "5 of 16 checkpoints needed",
    ]
    assert any("2 series cannot be judged" in line and "--fill loss" in line for line in answer.limits)


def test_bad_questions_are_refused(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        for step in STEPS[:3]:
            simulation.heads(run, step, np.ones((2, 4)))
    archive = simulation.commit()

    with pytest.raises(UnknownName, match=r"no series of head.*'L9H9'"):
        phase_transitions(archive, measure="head.previous_token", series=("L9H9",))
    with pytest.raises(UsageError, match="16 series, more than most=10"):
        phase_transitions(archive, measure="head.previous_token", most=10)
    with pytest.raises(UsageError, match=r"head\.previous_token has no items"):
        phase_transitions(archive, measure="head.previous_token", items=True)
    with pytest.raises(UsageError, match="leave tasks out"):
        phase_transitions(archive, tasks=("arc",), items=True)
    with pytest.raises(UsageError, match="greater than or equal to 99"):
        phase_transitions(archive, draws=5)


def test_the_figure_shades_what_was_found_and_greys_the_rest(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(2)):
        simulation.curve(run, LOSS_HERE, STEPS, sharp(k) if k else smooth(k))
    answer = ask(simulation)
    figure = answer.plot()
    colours = {line.name: line.line.color for line in figure.data}

    assert isinstance(figure, go.Figure)
    assert colours["s0 · test"] == "#888888" != colours["s1 · test"]
    assert len(figure.layout.shapes) == 1
    assert answer.curves.num_rows == 2 * len(STEPS)


def test_runs_that_share_inits_are_as_many_as_the_inits(simulation: Simulation) -> None:
    """Nine of nine crossed runs are three of three inits, which cannot show that most have one."""
    for k in range(9):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        simulation.curve(run, LOSS_HERE, STEPS, sharp(k))
    archive = simulation.commit()
    answer = phase_transitions(archive, pair=False, draws=299)
    one_order = phase_transitions(archive, runs=["r0", "r1", "r2"], pair=False, draws=299)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_major"], row["n_resolved"], row["n_units"], row["unit"]) == (9, 9, 3, "init")
    assert (answer.ci_low, answer.ci_high) == pytest.approx(share_interval(3, 3))
    assert (answer.verdict, answer.n_runs) == ("unresolved", 9)
    assert "9 of 9 resolved runs (3 independent inits)" in answer.sentence
    assert any("9 runs, 3 independent inits" in line for line in answer.limits)
    assert not any("as independent" in line for line in answer.limits)
    assert (one_order.ci_low, one_order.ci_high) == pytest.approx(share_interval(3, 3))
    assert "independent" not in one_order.sentence


def test_described_only_has_shape_and_smooth_curve_and_no_verdict(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, STEPS, sharp(0))
    simulation.curve(run, ACCURACY_HERE, STEPS, rising(STEPS, 700, width=0.15) + noise(1))
    archive = simulation.commit()
    answer = phase_transitions(archive, describe_only=True)
    (row,) = answer.table.to_pylist()

    assert (row["class"], row["why"]) == ("unresolved", "it was described, not tested")
    assert (row["p"], row["q"], row["n_draws"]) == (None, None, 0)
    assert row["t50_after"] < 700 * 1.1
    assert row["t50"] > 700 / 1.1
    assert 0.9 < row["share_low"] <= row["share_high"] <= 1
    assert not any("smallest q" in line for line in answer.limits)
    values, smooth = (np.array(answer.curves[name].to_pylist(), float) for name in ("value", "smooth"))
    # the best smooth curve follows a sharp one on the whole and leaves it in the middle
    assert np.isfinite(smooth).all()
    assert np.corrcoef(values, smooth)[0, 1] > 0.8
    assert np.abs(values - smooth).max() > 0.2
    # of a pair the smooth curve is that of the continuous member
    paired, alone = (
        phase_transitions(archive, measure="accuracy", describe_only=True, pair=p) for p in (True, False)
    )
    assert paired.curves["smooth"].null_count == len(STEPS)
    assert alone.curves["smooth"].null_count == 0


def test_short_series_are_described_though_they_cannot_be_tested(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    steps = [0, 8, 64, 512, 1024, 4096]
    simulation.curve(run, LOSS_HERE, steps, np.array([2.0, 2.0, 1.9, 1.8, 0.6, 0.5]))
    (row,) = ask(simulation).table.to_pylist()

    assert (row["class"], row["why"]) == ("unresolved", "5 of 16 checkpoints needed")
    assert (row["t50_after"], row["t50"]) == (512, 1024)
    assert row["share_low"] == pytest.approx(1.2 / 1.5)
    assert row["width_low"] is None
