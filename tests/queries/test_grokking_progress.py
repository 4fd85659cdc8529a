import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import WHOLE, Part, Quantity
from queries.grokking_progress import grokking_progress
from tests.queries.simulated import (
    ACCURACY_HERE,
    GRID,
    LOG_ACCURACY_HERE,
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    TRAIN,
    Simulation,
    measure,
    rising,
)

STEPS = [0, *sorted({round(2 ** (k / 2)) for k in range(29)})]
MATRIX = {name: Part(kind="matrix", name=name) for name in ("W_E", "logits")}
FINAL = {"frequencies": "final", "rule": "W_L", "reference_step": STEPS[-1]}
CURRENT = {"frequencies": "current", "rule": "W_L"}


def quantity(name: str, **params: object) -> Quantity:
    return Quantity(measure=measure(name, "fact_scalar"), encoding=GRID, params=params)


def plant(
    simulation: Simulation,
    run: str,
    at: tuple[float, float, float],
    *,
    whose: tuple[str, ...] = ("final",),
    skip: str = "",
) -> None:
    """Memorises, forms circuits and has cleaned up around these steps."""
    memory, circuit = (rising(STEPS, step, width=0.05) for step in at[:2])
    generalises = rising(STEPS, at[2] / 2, width=0.05)
    weights = 1000 - 600 * rising(STEPS, at[2] / 2, width=0.2)
    for i, step in enumerate(STEPS):
        simulation.scalar(run, ACCURACY_HERE, step, {TRAIN: memory[i], TEST: generalises[i]})
        simulation.scalar(run, LOSS_HERE, step, {TRAIN: 5 - 4.9 * memory[i], TEST: 5 - 4.9 * generalises[i]})
        for w in whose:
            params = FINAL if w == "final" else CURRENT
            if skip != "restricted_loss":
                simulation.scalar(
                    run,
                    quantity("restricted_loss", variant="sum_directions", **params),
                    step,
                    {TEST: 5 * 1e-6 ** circuit[i]},
                )
            simulation.scalar(
                run, quantity("excluded_loss", variant="sum_directions", **params), step, {TRAIN: 3.0}
            )
            simulation.scalar(
                run, quantity("fve", adjusted=False, **params), step, {MATRIX["logits"]: circuit[i]}
            )
        simulation.scalar(run, quantity("fourier_gini"), step, {MATRIX["W_E"]: circuit[i] / 2})
        if skip != "weights":
            squares = Quantity(measure=measure("sum_of_squared_weights", "fact_scalar"))
            simulation.scalar(run, squares, step, {WHOLE: weights[i], Part(kind="tensor", name="W_E"): 1.0})


def test_planted_phases_are_found_in_every_run(simulation: Simulation) -> None:
    planted = [(20.0, 300.0, 3000.0), (24.0, 400.0, 4000.0), (16.0, 250.0, 2500.0)]
    for run, at in zip(simulation.seeds(3), planted, strict=True):
        plant(simulation, run, at)
    answer = grokking_progress(simulation.commit())
    ends = {(r["run"], r["phase"]): r for r in answer.ends.to_pylist()}

    for k, (memory, circuit, clean) in enumerate(planted):
        assert ends[f"s{k}", "memorization"]["after"] < memory * 2
        assert memory <= ends[f"s{k}", "memorization"]["reached"] <= memory * 2
        assert circuit <= ends[f"s{k}", "circuit_formation"]["reached"] <= circuit * 1.5
        assert clean / 2 <= ends[f"s{k}", "cleanup"]["reached"] <= clean * 1.5
    rows = [r for r in answer.table.to_pylist() if r["run"] == "s0"]
    phases = [r["phase"] for r in rows]
    assert list(dict.fromkeys(phases)) == ["memorization", "circuit_formation", "cleanup", "done"]
    assert (rows[-1]["gini"], rows[-1]["fve"], rows[-1]["excluded_loss"]) == pytest.approx(
        (0.5, 1, 3), abs=0.01
    )
    assert rows[0]["squared_weights"] == pytest.approx(1000)
    assert (answer.rule_version, answer.frequencies, answer.verdict) == (1, "final", None)
    assert answer.summary is not None
    assert answer.summary["n_reached"].to_pylist() == [3, 3, 3]
    assert 20 < answer.summary["median"].to_pylist()[0] < 40
    assert any("must not be used to predict" in line for line in answer.limits)


@pytest.mark.parametrize(
    ("skip", "phase", "measure_name"),
    [
        ("restricted_loss", "circuit_formation", "restricted_loss"),
        ("weights", "cleanup", "sum_of_squared_weights"),
    ],
)
def test_a_missing_measure_is_unresolved_and_named_with_its_command(
    simulation: Simulation, skip: str, phase: str, measure_name: str
) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, (20, 300, 3000), skip=skip)
    answer = grokking_progress(simulation.commit())
    kinds = {r["phase"]: r["kind"] for r in answer.ends.to_pylist()}

    assert kinds[phase] == "unresolved"
    assert kinds["memorization"] == "observed"
    assert answer.verdict == "unresolved"
    assert f"unresolved without {measure_name}" in answer.sentence
    assert any(f"`pathscope ingest STUDY --fill {measure_name}" in line for line in answer.limits)
    # what is known of phases before the missing border stays
    unknown = set(answer.table["phase"].to_pylist())
    assert "memorization" in unknown
    assert None in unknown


def test_the_final_frequencies_are_preferred_only_where_all_runs_have_them(simulation: Simulation) -> None:
    plant(simulation, simulation.run("a"), (20, 300, 3000), whose=("final", "current"))
    plant(simulation, simulation.run("b"), (20, 300, 3000), whose=("current",))
    archive = simulation.commit()

    assert grokking_progress(archive).frequencies == "current"
    assert grokking_progress(archive, runs="a").frequencies == "final"
    only_a = grokking_progress(archive, frequencies="final")
    assert any("1 run(s) have no restricted_loss:final (first: b)" in line for line in only_a.limits)
    assert any("the values say little" in line for line in grokking_progress(archive).limits)


def test_runs_of_different_lengths_fall_back_to_current_frequencies(simulation: Simulation) -> None:
    for run, last in (("a", 100), ("b", 200)):
        simulation.run(run)
        for params in ({**FINAL, "reference_step": last}, CURRENT):
            for step, value in ((1, 5.0), (last, 1e-5)):
                simulation.scalar(
                    run, quantity("restricted_loss", variant="sum_directions", **params), step, {TEST: value}
                )
    archive = simulation.commit()
    answer = grokking_progress(archive)

    assert answer.frequencies == "current"
    assert any("ask for runs of one length" in line for line in answer.limits)
    with pytest.raises(NotComparable, match="differs in parameters"):
        grokking_progress(archive, frequencies="final")


def test_a_training_log_is_enough_for_losses_and_memorization(simulation: Simulation) -> None:
    run = simulation.run("a")
    simulation.log(run, LOG_ACCURACY_HERE, [0, 1, 2], {TRAIN: [0, 0.5, 1], TEST: [0, 0, 0]})
    simulation.log(run, LOG_LOSS_HERE, [0, 1, 2], {TRAIN: [5, 3, 0.1], TEST: [5, 5, 5]})
    answer = grokking_progress(simulation.commit())

    assert answer.ends["reached"].to_pylist() == [2, None, None]
    assert answer.table["train_loss"].to_pylist() == [5, 3, 0.1]


def test_a_run_that_never_generalises_is_kept_as_later(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, (20, 300, 1e9 if run == "s2" else 3000))
    answer = grokking_progress(simulation.commit())
    cleanup = [r for r in answer.ends.to_pylist() if r["phase"] == "cleanup"]

    assert [r["kind"] for r in cleanup] == ["observed", "observed", "never"]
    assert any("kept as later" in line for line in answer.limits)


def test_an_archive_without_any_of_it_says_so(simulation: Simulation) -> None:
    simulation.items(simulation.run("a"), 0, np.ones(3))

    with pytest.raises(UsageError):
        grokking_progress(simulation.commit())


def test_the_figure_shows_losses_and_ends(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, (20, 300, 3000))
    figure = grokking_progress(simulation.commit()).plot()

    assert [t.name for t in figure.data] == ["train loss", "test loss", "restricted loss", "excluded loss"]
    assert figure.layout.yaxis.type == "log"
    assert len(figure.layout.annotations) == 3
