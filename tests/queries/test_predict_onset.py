from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Part, Quantity
from archive.store import Archive
from queries.predict_onset import PredictOnset, predict_onset
from tests.queries.simulated import (
    ACCURACY_HERE,
    GRID,
    HEADS_HERE,
    LOG_ACCURACY,
    LOG_ACCURACY_HERE,
    LOG_LOSS_HERE,
    LOSS,
    LOSS_HERE,
    OTHER_GRID,
    TEST,
    TRAIN,
    Simulation,
    measure,
)

STEPS = [0, *sorted({round(2 ** (k / 4)) for k in range(49)})]
DECAYS = (0.0, 0.5, 1.0, 2.0)
N_SEEDS = 6
AUTHORED = Quantity(measure=measure("event.grokked", "fact_event", unit="step", direction="neither"))
FINAL = Quantity(
    measure=measure("restricted_loss:final", "fact_scalar"), encoding=GRID, params={"frequencies": "final"}
)


def log(name: str) -> Quantity:
    return Quantity(measure=measure(f"log.{name}", "fact_log", unit="1", direction="neither"))


@pytest.fixture(scope="module")
def sweep(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """4 strengths of weight decay × 6 seeds; the norm at any step says what weight decay leaves open."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("sweep"))
    rng = np.random.default_rng(0)
    steps = np.array(STEPS, float)
    for c, decay in enumerate(DECAYS):
        for k in range(N_SEEDS):
            run = s.run(
                f"wd{decay:g}-s{k}",
                init_seed=k,
                split_seed=k,
                condition=f"weight decay {decay:g}",
                config={"spec_hash": "x", "train": {"optimizer": {"weight_decay": decay}, "steps": 4096}},
            )
            own = float(rng.normal())
            at = 2 ** (10 - 0.6 * c + 0.6 * own)
            reached = (steps >= at).astype(float)
            s.log(run, LOG_ACCURACY_HERE, STEPS, {TEST: reached, TRAIN: np.ones(len(steps))})
            s.log(run, log("norm"), STEPS, {Part(): 10 - own + 0.01 * np.log2(steps + 1)})
            s.log(run, log("growth"), STEPS, {Part(): 5 + own * np.log2(steps + 1)})
            s.log(run, log("repeat"), STEPS, {Part(): np.full(len(steps), decay)})
            s.log(run, log("flat"), STEPS, {Part(): np.full(len(steps), 3.0)})
            s.log(run, log("noise"), STEPS, {Part(): rng.normal(size=len(steps))})
            s.log(run, log("broken"), STEPS, {Part(): np.full(len(steps), np.nan)})
            s.log(run, log("late"), [3000, 4096], {Part(): np.array([own, own])})
            index = c * N_SEEDS + k
            s.log(run, log("rare"), STEPS, {Part(): reached * (index % 8 < 3)})
            s.log(run, log("half"), STEPS, {Part(): reached * (index % 2)})
            wide = (steps >= 2 ** (6 + 1.5 * c + 0.1 * rng.normal())).astype(float)
            s.log(run, log("wide"), STEPS, {Part(): wide})
            b = s.builder
            owner, q = b.run(s.runs[run]), b.quantity(AUTHORED)
            b.add("fact_event", owner, q, part=b.part(Part()), ordinal=0, step=round(at), censored_at=None)
            b.cell(owner, q)
    return s.commit()


def ask(archive: Archive, predictor: str | tuple[str, ...] = "norm", **given: object) -> PredictOnset:
    names = (predictor,) if isinstance(predictor, str) else predictor
    return predict_onset(archive, **{"predictor": names, "cutoff": (32,), "draws": 99, **given})  # type: ignore[arg-type]


def only(answer: PredictOnset) -> dict[str, object]:
    assert answer.summary is not None
    (row,) = answer.summary.to_pylist()
    return row


def test_what_decides_the_onset_is_found(sweep: Archive) -> None:
    answer = ask(sweep)
    row = only(answer)

    assert answer.verdict == "yes"
    assert row["c_index"] > 0.95
    assert row["c_within"] > 0.9
    assert 0.6 < row["c_baseline"] < 0.9
    assert answer.estimate == pytest.approx(row["c_index"] - row["c_baseline"])
    assert answer.ci_low > 0
    assert answer.p_value == pytest.approx(0.01)
    assert (answer.n_runs, row["n_events"], row["n_left_out"]) == (24, 24, N_SEEDS)
    assert row["mae_log2"] < 0.5 * row["mae_baseline"]
    assert row["rank_corr"] > 0.9
    assert row["lead_octaves"] == pytest.approx(4.2, abs=0.5)
    assert "By step 32 norm with the settings orders runs by when accuracy[test] >= 0.99" in answer.sentence
    assert answer.sentence.endswith(": it adds to them.")
    limits = " ".join(answer.limits)
    assert "The baseline knows the settings optimizer.weight_decay and which of the 4 conditions" in limits
    assert "Runs with the same init and split are left out together, 6 groups" in limits
    assert {q["measure"] for q in answer.provenance.quantities} == {"log.norm", "log.accuracy"}


def test_every_run_is_predicted_by_fits_that_have_not_seen_it(sweep: Archive) -> None:
    rows = ask(sweep).table.to_pylist()

    assert len(rows) == 24
    assert {r["status"] for r in rows} == {"at risk"}
    for r in rows:
        assert r["after"] < r["reached"]
        assert r["read_at"] == 32
        middle = (r["after"] * r["reached"]) ** 0.5
        assert abs(np.log2(r["predicted"] / middle)) < 0.6
        assert r["lead_octaves"] == pytest.approx(np.log2(middle / 32))


def test_what_only_repeats_a_setting_adds_nothing(sweep: Archive) -> None:
    answer = ask(sweep, "repeat")
    row = only(answer)

    assert answer.verdict == "no"
    assert answer.p_value == 1
    assert abs(row["gain"]) < 0.02
    assert row["gain_high"] < 0.05
    assert "it adds nothing that matters" in answer.sentence


def test_noise_is_not_said_to_foretell(sweep: Archive) -> None:
    answer = ask(sweep, "noise")

    assert answer.verdict != "yes"
    assert answer.p_value > 0.05


def test_a_slope_is_read_from_the_last_octaves(sweep: Archive) -> None:
    answer = ask(sweep, "growth slope", cutoff=(100,))
    slopes = {r["run"]: r["values"][0] for r in answer.table.to_pylist() if r["values"]}
    norms = {r["run"]: r["values"][0] for r in ask(sweep).table.to_pylist()}

    for run, slope in slopes.items():  # a norm of 10 − own, a slope of about own
        assert slope == pytest.approx(10 - norms[run], rel=0.1, abs=0.12)
    assert answer.verdict == "yes"


def test_several_predictors_are_used_together(sweep: Archive) -> None:
    answer = ask(sweep, ("noise", "norm", "norm slope"))

    assert [len(r["values"]) for r in answer.table.to_pylist()] == [3] * 24
    assert only(answer)["c_index"] > 0.9
    assert "noise and norm and norm slope" in answer.sentence
    with pytest.raises(UsageError, match="none twice"):
        ask(sweep, ("norm", "norm"))
    with pytest.raises(UsageError, match="name at least one"):
        ask(sweep, ())


def test_runs_that_had_the_event_are_out_and_named(sweep: Archive) -> None:
    answer = ask(sweep, cutoff=(600,))
    row, rows = only(answer), answer.table.to_pylist()
    by_status = {
        status: [r for r in rows if r["status"] == status] for status in ("at risk", "before", "unclear")
    }

    assert row["n_runs"] + row["n_before"] + row["n_unclear"] == 24
    assert [len(by_status[k]) for k in ("at risk", "before")] == [row["n_runs"], row["n_before"]]
    assert row["n_before"] > 5
    if row["n_unclear"]:
        assert f"{row['n_unclear']} run(s) that may have had it by then are left out" in answer.sentence
    assert all(r["after"] >= 600 for r in by_status["at risk"])
    assert all(r["reached"] <= 600 for r in by_status["before"])
    assert all(r["after"] < 600 < r["reached"] for r in by_status["unclear"])
    assert all(r["predicted"] is None and r["values"] is None for r in by_status["before"])
    assert all(r["predicted"] is None or r["predicted"] >= 600 for r in by_status["at risk"])
    assert any(
        f"Of 24 runs {row['n_before']} had the event by then and are not predicted at step 600" in line
        for line in answer.limits
    )


def test_a_predictor_that_is_measured_only_afterwards_is_refused(sweep: Archive) -> None:
    with pytest.raises(
        UsageError, match=r"late was not measured by step 32 .* its first value is at step 3,000"
    ):
        ask(sweep, "late")
    with pytest.raises(UsageError, match=r"broken .* it has no finite value"):
        ask(sweep, "broken")


def test_a_predictor_from_the_end_of_the_run_is_refused(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.scalar(run, FINAL, 1, {TEST: 1.0})
        simulation.scalar(run, ACCURACY_HERE, 1, {TEST: 0.1})
    with pytest.raises(UsageError, match="nobody knows at a cutoff: ask for restricted_loss,"):
        ask(simulation.commit(), "restricted_loss:final")


def test_a_constant_predictor_is_unresolved(sweep: Archive) -> None:
    answer = ask(sweep, "flat")

    assert answer.verdict == "unresolved"
    assert np.isnan(answer.estimate)
    assert "unresolved at step 32: the predictor has the same value in all runs" in answer.sentence


def test_too_few_events_are_unresolved_and_say_how_many_runs_would_do(sweep: Archive) -> None:
    answer = ask(sweep, event="log.rare >= 1")
    row = only(answer)

    assert (row["n_events"], row["c_index"], answer.verdict) == (9, None, "unresolved")
    assert row["runs_needed"] == 27
    assert "9 of the 24 runs at risk got there, and 10 are needed; about 27 such runs" in answer.sentence


def test_runs_that_never_get_there_count_as_late(sweep: Archive) -> None:
    answer = ask(sweep, event="log.half >= 1")
    row, rows = only(answer), answer.table.to_pylist()
    never = [r for r in rows if r["kind"] == "never"]

    assert (row["n_runs"], row["n_events"], len(never)) == (24, 12, 12)
    assert all(r["after"] == 4096 and r["reached"] is None for r in never)
    assert row["c_index"] is not None
    assert any("12 of 24 runs at risk never got there by their last point" in line for line in answer.limits)
    figure = answer.plot()
    arrows = [t for t in figure.data if t.marker.symbol == "triangle-up-open"]
    assert sum(len(t.x) for t in arrows) == 12


def test_one_run_tells_nothing(sweep: Archive) -> None:
    answer = ask(sweep, runs="wd1-s0")

    assert (answer.verdict, answer.n_runs) == ("unresolved", 1)
    assert "1 of the 1 runs at risk got there, and 10 are needed" in answer.sentence


def test_after_all_events_nobody_is_at_risk(sweep: Archive) -> None:
    answer = ask(sweep, cutoff=(4000,))

    assert (answer.verdict, answer.n_runs) == ("unresolved", 0)
    assert "no run is at risk: 24 of 24 were there before" in answer.sentence


def test_cutoffs_are_steps_that_no_outcome_chose(sweep: Archive) -> None:
    answer = ask(sweep, cutoff=())

    assert answer.summary is not None
    assert answer.summary["cutoff"].to_pylist() == [1, 10, 100, 1000]
    found = answer.summary.to_pylist()
    tested = [r for r in found if r["p"] is not None]
    assert len(tested) > 1
    # each is tested, so p is of all of them
    assert min(r["p_adjusted"] for r in tested) == pytest.approx(len(tested) * min(r["p"] for r in tested))
    assert answer.shown == 1
    assert f"({len(tested)} cutoffs: " in answer.sentence


def test_three_seeds_can_show_nothing(sweep: Archive) -> None:
    answer = ask(sweep, runs="*-s[012]")

    assert answer.verdict == "unresolved"
    assert only(answer)["runs_needed"] is None
    assert "more seeds per condition are needed" in answer.sentence
    assert any("Only 6 exchange(s) are possible" in line for line in answer.limits)


def test_conditions_without_repeats_cannot_tell_predictor_from_settings(sweep: Archive) -> None:
    answer = ask(sweep, runs=["wd0-s0", "wd0.5-s1", "wd1-s2", "wd2-s3"])
    assert answer.verdict == "unresolved"


def test_where_settings_tell_all_a_small_gain_says_nothing(sweep: Archive) -> None:
    answer = ask(sweep, "noise", event="log.wide >= 1")

    assert only(answer)["c_baseline"] > 0.9
    assert only(answer)["gain_high"] < 0.05
    assert answer.verdict == "unresolved"
    assert any("a gain of 0.05 has no room" in line for line in answer.limits)


def test_events_that_authors_give_are_exact(sweep: Archive) -> None:
    answer = ask(sweep, event="event.grokked")

    assert answer.verdict == "yes"
    assert all(r["reached"] - r["after"] == 1 for r in answer.table.to_pylist())


def test_settings_can_be_named(sweep: Archive) -> None:
    assert ask(sweep, settings=("weight_decay",)).verdict == "yes"
    with pytest.raises(UnknownName, match="no setting 'frac_train'"):
        ask(sweep, settings=("frac_train",))


def checkpoints(simulation: Simulation, **second: object) -> Archive:
    """Twelve runs that get there at step 8; of run s0 the checkpoint at step 4 claims to be there already."""
    for k, run in enumerate(simulation.seeds(12)):
        for step in (1, 2, 4, 8):
            odd = {"checkpoint": {"integrity": "out_of_order"}} if (k, step) == (0, 4) else {}
            value = 1.0 if step == 8 or odd else 0.0
            simulation.scalar(run, ACCURACY_HERE, step, {TEST: value}, **odd)
            quantity = Quantity(measure=LOSS, encoding=OTHER_GRID) if k == 1 and second else LOSS_HERE
            simulation.scalar(run, quantity, step, {TEST: 1.0 + k / step}, **odd)
    return simulation.commit()


def test_suspect_checkpoints_stay_out(simulation: Simulation) -> None:
    archive = checkpoints(simulation)
    answer = ask(archive, "loss[test]", cutoff=(2,))
    first = answer.table.to_pylist()[0]

    assert (first["run"], first["after"], first["reached"]) == ("s0", 2, 8)
    assert any("1 checkpoint(s) left out as suspect (out_of_order)" in line for line in answer.limits)
    # all got there between the same two checkpoints but one: no pair is in a certain order
    assert answer.verdict == "unresolved"
    assert "no two runs are in a certain order" in answer.sentence
    trusting = ask(archive, "loss[test]", cutoff=(2,), with_suspect=True)
    assert trusting.table.to_pylist()[0]["reached"] == 4


def test_predictors_of_different_eval_sets_are_not_mixed(simulation: Simulation) -> None:
    with pytest.raises(NotComparable):
        ask(checkpoints(simulation, mixed=True), "loss[test]", cutoff=(2,))


def test_a_run_that_was_not_seen_after_the_cutoff_says_nothing(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(12)):
        steps = [0, 1, 2] if k == 0 else [0, 1, 2, 4 + k, 20]
        accuracy = Quantity(measure=LOG_ACCURACY)
        simulation.log(run, accuracy, steps, {TEST: [0.0, 0, 0, 1, 1][: len(steps)]})
        if k != 1:
            simulation.log(run, LOG_LOSS_HERE, steps, {TEST: np.full(len(steps), float(k))})
    answer = ask(simulation.commit(), "loss[test]", cutoff=(2,))
    status = {r["run"]: r["status"] for r in answer.table.to_pylist()}

    assert (status["s0"], status["s1"], status["s2"]) == ("not seen", "no predictor", "at risk")
    assert only(answer)["n_without"] == 2
    assert any("were last looked at before then" in line for line in answer.limits)
    assert any("have no value of the predictor by then" in line for line in answer.limits)


def test_of_heads_the_largest_foretells_or_the_one_named(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(12)):
        simulation.log(run, Quantity(measure=LOG_ACCURACY), [0, 1, 2, 4 + k], {TEST: [0.0, 0, 0, 1]})
        simulation.heads(run, 1, np.array([[0.1, 0.5 + k / 100], [0.3, 0.2]]))
    name = HEADS_HERE.measure.name
    answer = ask(simulation.commit(), (name, f"{name}[L1H0]"), event="accuracy[test] >= 1", cutoff=(2,))

    assert answer.table["values"].to_pylist() == [pytest.approx([0.5 + k / 100, 0.3]) for k in range(12)]


def test_runs_that_share_seeds_are_not_said_to_be_counted_as_independent(simulation: Simulation) -> None:
    for k in range(12):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        steps = list(range(5 + k))
        simulation.log(run, Quantity(measure=LOG_ACCURACY), steps, {TEST: [float(s == 4 + k) for s in steps]})
        simulation.log(run, LOG_LOSS_HERE, [0, 1, 2], {TEST: np.full(3, float(k))})
    answer = ask(simulation.commit(), "loss[test]", cutoff=(2,))

    assert not any("as independent" in line for line in answer.limits)
    assert any(
        "seeds relabelled alike in all of them (3 of init, 4 of order)" in line for line in answer.limits
    )


@pytest.mark.parametrize("level", ["nan", "inf", "1e999"])
def test_a_level_that_nothing_reaches_is_no_event(sweep: Archive, level: str) -> None:
    with pytest.raises(UsageError, match="is not an event"):
        ask(sweep, event=f"log.accuracy[test] >= {level}")
