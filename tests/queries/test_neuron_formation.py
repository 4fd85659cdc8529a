"""neuron_formation: planted sudden rises found and held against controls; what has none, or hides them, is said so."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Part, Quantity
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.neuron_formation import NeuronFormation, half_risen, neuron_formation
from tests.queries.language import FINAL_EXAMPLES, OTHER_TEXT, cell, final_examples
from tests.queries.simulated import LOSS_HERE, Simulation, rising
from tests.queries.stats.test_shared_null import TIMES, noisy, smooth, steps

UNITS = 40
PLACES = ("top", "held_out", "other_neuron", "random", "direction")
DRAWS = 10_000


def rises(seed: int, sudden: int, sigma: float = 0.006) -> np.ndarray:
    """(time, unit) from 0 to 1, the first `sudden` of them in a step."""
    rng = np.random.default_rng(seed)
    values = smooth(rng, UNITS)
    values[:, :sudden] = steps(rng, sudden)[0]
    return 1 - noisy(rng, values, sigma)


def curves(seed: int, **sudden: int) -> dict[str, np.ndarray]:
    return {name: rises(10 * seed + k, sudden.get(name, 0)) for k, name in enumerate(PLACES)}


def put(
    s: Simulation, run: str, of_place: Mapping[str, np.ndarray], times: np.ndarray = TIMES, layer: int = 0
) -> None:
    for k, step in enumerate(times):
        final_examples(s, run, int(step), {name: v[k] for name, v in of_place.items()}, layer=layer)


@pytest.fixture(scope="module")
def planted(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> NeuronFormation:
    s = Simulation(empty_archive, tmp_path_factory.mktemp("formation"))
    for k, run in enumerate(s.seeds(4)):
        put(s, run, curves(k, top=15 + k % 3, held_out=8, direction=2))
    return neuron_formation(s.commit(), draws=DRAWS)


def test_planted_rises_are_found_and_held_against_controls(planted: NeuronFormation) -> None:
    assert planted.summary is not None
    by_place = {r["places"]: r for r in planted.summary.to_pylist()}
    for place, share in (("top", 0.4), ("held_out", 0.2), ("direction", 0.05), ("random", 0.0)):
        assert by_place[place]["formed"] == pytest.approx(share, abs=0.05)
    assert by_place["top"]["over_controls"] == pytest.approx(0.34, abs=0.06)
    assert by_place["held_out"]["over_controls"] is None
    assert (planted.verdict, planted.estimate) == ("yes", by_place["top"]["over_controls"])
    assert planted.ci_low < planted.estimate < planted.ci_high
    assert (planted.n_runs, planted.n_items) == (4, UNITS)
    sharp = []
    for row in planted.table.to_pylist():
        if row["unit"] < 15:
            sharp.append(row["class"] in ("major_transition", "minor_transition") and row["rises"])
        assert row["change"] == pytest.approx(1, abs=0.25)
        assert TIMES[0] < row["t50"] < TIMES[-1]
        assert row["neuron"] == f"L0N{row['unit']}"
    assert np.mean(sharp) > 0.9
    assert "rise suddenly on their final examples" in planted.sentence
    figure = planted.plot()
    assert isinstance(figure, go.Figure)
    assert len(figure.data) == 5 + 4


def test_the_same_archive_says_less_of_held_out_places(planted: NeuronFormation) -> None:
    archive = Archive(Path(planted.provenance.archive))
    answer = neuron_formation(archive, texts="held_out", draws=DRAWS)
    assert answer.estimate == pytest.approx(0.2, abs=0.05)
    assert answer.verdict == "yes"
    classes = {(r["run"], r["unit"]): r["class"] for r in answer.table.to_pylist()}
    assert all(r["held_out_class"] == classes[r["run"], r["unit"]] for r in planted.table.to_pylist())
    assert any("share the token with" in line for line in answer.limits)


def test_neurons_that_do_as_controls_do_are_not_said_to_form_suddenly(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(4)):
        put(simulation, run, curves(k, top=12, held_out=12, other_neuron=12, direction=12))
    answer = neuron_formation(simulation.commit(), draws=DRAWS)
    assert answer.estimate == pytest.approx(0, abs=0.06)
    assert answer.verdict in ("no", "unresolved")


def test_smooth_neurons_are_a_no(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        values = {name: 1 - noisy(np.random.default_rng(9 * k + j), smooth(np.random.default_rng(j), UNITS), 0.005)
                  for j, name in enumerate(PLACES)}  # fmt: skip
        put(simulation, run, values)
    answer = neuron_formation(simulation.commit(), draws=DRAWS, matters=0.3)
    assert answer.verdict == "no"
    assert answer.estimate == pytest.approx(0, abs=0.03)


def test_noise_leaves_it_open(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        put(simulation, run, {name: rises(5 * k + j, 0, sigma=0.4) for j, name in enumerate(PLACES)})
    answer = neuron_formation(simulation.commit(), draws=DRAWS)
    assert answer.verdict == "unresolved"
    assert np.isnan(answer.estimate)
    assert "too many to compare with controls" in answer.sentence
    assert any("100% of a run's neurons noise" in line for line in answer.limits)


def test_the_checkpoint_that_chose_and_step_0_are_not_in_the_curves(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    chosen = Quantity(**{**FINAL_EXAMPLES.model_dump(), "params": {"k": 3, "reference_step": int(TIMES[-1])}})
    values = curves(0)
    values["top"][-1] = 50.0
    for step, k in ((0, 0), *((int(t), k) for k, t in enumerate(TIMES))):
        owner, q = cell(simulation, run, chosen, step)
        for name, of in values.items():
            part = simulation.builder.part(Part(kind="statistic", name=name))
            simulation.builder.add("fact_neuron", owner, q, part=part, layer=0, values=[of[k]])
    answer = neuron_formation(simulation.commit(), draws=DRAWS)
    assert max(r["change"] for r in answer.table.to_pylist()) < 2
    assert answer.verdict == "unresolved"  # one run
    assert any("One run says nothing about others" in line for line in answer.limits)


def test_bad_input_is_refused_or_said(simulation: Simulation) -> None:
    short, flat, whole, lacking = simulation.seeds(4)
    put(simulation, short, {n: v[:9] for n, v in curves(0).items()}, TIMES[:9])
    put(simulation, flat, {name: np.ones((len(TIMES), UNITS)) for name in PLACES})
    put(simulation, whole, curves(1, top=16))
    broken = curves(2, top=16)
    broken["top"][4, 3] = np.nan
    broken["held_out"][:] = np.nan
    put(simulation, lacking, broken)
    archive = simulation.commit()
    answer = neuron_formation(archive, draws=DRAWS)
    shares = {(r["run"], r["places"]): r for r in answer.shares.to_pylist()}
    assert shares[short, "top"]["formed"] is None
    assert shares[flat, "top"]["unresolved"] == 1.0
    assert shares[lacking, "top"]["n_curves"] == UNITS - 1
    assert shares[lacking, "held_out"]["n_curves"] == 0
    assert shares[lacking, "held_out"]["formed"] is None
    assert any("9 of 16 checkpoints needed" in line for line in answer.limits)
    assert answer.n_runs == 4
    with pytest.raises(UnknownName, match="layer"):
        neuron_formation(archive, layer=7)
    exclude(archive.layout, whole, "diverged")
    assert (
        whole not in neuron_formation(Archive(archive.layout.database), draws=DRAWS).shares["run"].to_pylist()
    )


def test_layers_are_told_apart_and_other_eval_sets_refused(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    put(simulation, run, {n: v[:3] for n, v in curves(0).items()}, TIMES[:3])
    put(simulation, run, {n: v[:3, :7] for n, v in curves(1).items()}, TIMES[:3], layer=2)
    archive = simulation.commit()
    both = neuron_formation(archive)
    assert [r["neuron"] for r in both.table.to_pylist()][UNITS - 1 : UNITS + 2] == ["L0N39", "L2N0", "L2N1"]
    assert neuron_formation(archive, layer=2).table.num_rows == 7
    assert "No run can be tested: 3 of 16 checkpoints" in both.sentence
    other = simulation.run("elsewhere")
    owner, q = cell(simulation, other, Quantity(**{**FINAL_EXAMPLES.model_dump(), "encoding": OTHER_TEXT}), 1)
    part = simulation.builder.part(Part(kind="statistic", name="top"))
    simulation.builder.add("fact_neuron", owner, q, part=part, layer=0, values=[[1.0]])
    with pytest.raises(NotComparable, match="eval set"):
        neuron_formation(simulation.commit())


def test_an_archive_without_the_measure_says_what_to_do(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, [1, 2], [2.0, 1.0])
    with pytest.raises(UsageError, match=r"neuron\.final_examples"):
        neuron_formation(simulation.commit())


def test_half_of_a_rise() -> None:
    times = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert half_risen(times, np.array([0.0, 0.0, 0.0, 1.0, 1.0])) == pytest.approx(np.sqrt(32))
    assert half_risen(times, -times) is None
    assert 300 < (half_risen(TIMES, rising(TIMES.astype(int).tolist(), 500, width=0.3)) or 0) < 800


def test_neurons_of_one_init_are_those_of_one_run(simulation: Simulation) -> None:
    for k in range(4):
        # the same neurons twice, as runs of one init may have them
        run = simulation.run(f"r{k}", init_seed=k // 2, data_order_seed=k)
        put(simulation, run, curves(k // 2, top=12))
    answer = neuron_formation(simulation.commit(), draws=DRAWS)
    row = next(r for r in answer.summary.to_pylist() if r["places"] == "top")  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_units"], row["unit"]) == (4, 2, "init")
    assert row["over_high"] - row["over_low"] > 0.2
    assert "4 runs (2 independent inits)" in answer.sentence
    assert answer.verdict == "unresolved"


def test_equal_shares_are_no_precision_and_yes_is_more_than_matters(planted: NeuronFormation) -> None:
    archive = Archive(Path(planted.provenance.archive))
    few = neuron_formation(archive, draws=DRAWS, matters=0.3)

    assert planted.ci_low > 0
    assert planted.ci_low < 0.3 < few.ci_high
    assert few.verdict == "unresolved"
