"""trajectory_consistency: planted directions and walks recovered, runs compared only where that is legal."""

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Part, Quantity
from archive.upkeep.marks import exclude
from queries.trajectory_consistency import trajectory_consistency
from tests.queries.simulated import PRODUCTS, PRODUCTS_HERE, SKETCHES_HERE, Simulation

STEPS = [0, *sorted({round(2 ** (k / 4)) for k in range(4, 45)})]
LENGTHS = np.geomspace(1, 4, len(STEPS) - 1)
SKETCH = Part(kind="gram", name="sketch")
LOGITS = Quantity(
    measure=PRODUCTS.model_copy(update={"name": "logit_products"}), params={"projection": "count sketch"}
)


def walk(rng: np.random.Generator, way: np.ndarray | float = 0.0, dimensions: int = 400) -> np.ndarray:
    """Steps of given lengths in random directions, plus a drift along `way`."""
    ways = rng.normal(size=(len(LENGTHS), dimensions)) / math.sqrt(dimensions) + way
    ways *= (LENGTHS / np.linalg.norm(ways, axis=1))[:, None]
    return 5 + np.vstack([np.zeros(dimensions), ways.cumsum(axis=0)])


def sketched(s: Simulation, run: str, points: np.ndarray, quantity: Quantity = SKETCHES_HERE) -> None:
    for step, point in zip(STEPS, points, strict=True):
        s.vectors(run, quantity, step, {SKETCH: point})


def test_runs_that_drift_one_way_are_directed_and_consistent(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    way = rng.normal(size=400) / 20
    for run in simulation.seeds(4, init_hash="one"):
        points = walk(rng, way)
        simulation.trajectory(run, STEPS, points)
        sketched(simulation, run, points)
    answer = trajectory_consistency(simulation.commit(), n_walks=99)
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert [r["phase"] for r in rows] == ["all", "early", "middle", "late"]
    assert {r["verdict"] for r in rows} == {"directed"}
    assert {r["same_way"] for r in rows} == {"yes"}
    assert rows[0]["walk"] < rows[0]["low"] < rows[0]["exponent"] < rows[0]["high"] < rows[0]["straight"]
    assert rows[0]["cosine"] > 0.8
    assert (rows[0]["n_pairs"], rows[0]["p_signs"]) == (6, 1 / 8)
    assert (answer.verdict, answer.n_runs) == ("yes", 4)
    assert answer.estimate == rows[0]["exponent"]
    assert answer.table.num_rows == 16
    assert answer.pairs["why"].to_pylist()[0] == "both runs began from the same weights"
    assert any("p = 0.12 or more in every phase" in line for line in answer.limits)


def test_walks_are_walks_and_share_no_way(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for run in simulation.seeds(6, init_hash="one"):
        points = walk(rng)
        simulation.trajectory(run, STEPS, points)
        sketched(simulation, run, points)
    answer = trajectory_consistency(simulation.commit(), n_walks=99, dimensions=400)
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (rows[0]["verdict"], answer.verdict) == ("walk", "no")
    assert abs(rows[0]["directedness"]) < 0.05
    assert {r["same_way"] for r in rows} == {"unresolved"}
    assert all(abs(c) < 0.4 for c in answer.pairs["cosine"].to_pylist())
    assert not answer.pairs.filter([p == "all" for p in answer.pairs["phase"].to_pylist()]).num_rows > 15


def test_a_run_that_comes_back_is_below_walks(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    for run in simulation.seeds(3):
        points = np.zeros((len(STEPS), 400))
        for k in range(1, len(STEPS)):
            points[k] = 0.3 * points[k - 1] + rng.normal(size=400)
        simulation.trajectory(run, STEPS, points)
    answer = trajectory_consistency(simulation.commit(), n_walks=49)

    assert answer.summary["verdict"].to_pylist()[0] == "returning"  # type: ignore[union-attr]
    assert answer.verdict == "no"
    assert answer.summary["same_way"].to_pylist()[0] == "not comparable"  # type: ignore[union-attr]
    assert any("weight_products:sketch" in line for line in answer.limits)


def test_weights_of_other_inits_are_never_compared_and_outputs_are(simulation: Simulation) -> None:
    rng = np.random.default_rng(3)
    way = rng.normal(size=400) / 20
    for k in range(6):
        run = simulation.run(f"s{k}", data_order_seed=k, init_hash=f"init {k // 2}")
        points = walk(rng, way)
        sketched(simulation, run, points)
        sketched(simulation, run, points, LOGITS)
    archive = simulation.commit()
    weights = trajectory_consistency(archive, n_walks=19)
    logits = trajectory_consistency(archive, of="logits", n_walks=19)

    assert {(r["run_a"], r["run_b"]) for r in weights.pairs.to_pylist()} == {
        ("s0", "s1"),
        ("s2", "s3"),
        ("s4", "s5"),
    }
    assert any(
        "12 pair(s) of runs are not compared" in line and "of='logits'" in line for line in weights.limits
    )
    assert len({(r["run_a"], r["run_b"]) for r in logits.pairs.to_pylist()}) == 15
    assert logits.summary["same_way"].to_pylist()[0] == "yes"  # type: ignore[union-attr]
    (whole,) = [r for r in logits.summary.to_pylist() if r["phase"] == "all"]  # type: ignore[union-attr]
    # two runs of an init are one, and a pair of them says nothing of other inits
    assert (whole["n_runs"], whole["n_units"], whole["unit"]) == (6, 3, "init")
    assert (whole["n_pairs"], whole["n_pairs_dropped"]) == (12, 3)
    assert any("end near one function" in line for line in logits.limits)
    assert any("random projections: distances" in line for line in logits.limits)


def test_a_way_that_each_init_has_for_itself_is_none_that_all_runs_share(simulation: Simulation) -> None:
    rng = np.random.default_rng(11)
    ways = rng.normal(size=(3, 400)) / 20
    for k in range(9):
        run = simulation.run(f"r{k}", init_seed=k % 3, data_order_seed=k // 3)
        sketched(simulation, run, walk(rng, ways[k % 3]), LOGITS)
    answer = trajectory_consistency(simulation.commit(), of="logits", n_walks=19)
    (whole,) = [r for r in answer.summary.to_pylist() if r["phase"] == "all"]  # type: ignore[union-attr]
    within = [
        r["cosine"] for r in answer.pairs.to_pylist() if int(r["run_a"][1]) % 3 == int(r["run_b"][1]) % 3
    ]

    assert np.mean(within) > 0.5
    assert (whole["n_pairs"], whole["n_pairs_dropped"], whole["same_way"]) == (18, 18, "unresolved")
    assert answer.verdict == "unresolved"
    assert "9 runs (3 independent inits)" in answer.sentence
    assert any(
        "share seeds (3 init and 3 order): 9 runs, 3 independent inits" in line for line in answer.limits
    )
    assert not any("as independent" in line for line in answer.limits)


def test_runs_of_other_conditions_and_excluded_ones_are_kept_apart(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    for condition in "ab":
        for run in simulation.seeds(3, prefix=condition, condition=condition, init_hash="one"):
            sketched(simulation, run, walk(rng, 0.05))
    archive = simulation.commit()
    exclude(archive.layout, "b2", "planted defect")
    answer = trajectory_consistency(archive, n_walks=19)

    assert {r["run_a"][0] + r["run_b"][0] for r in answer.pairs.to_pylist()} == {"aa", "bb"}
    assert answer.n_runs == 5
    assert answer.verdict is None
    assert [r["n_runs"] for r in answer.summary.to_pylist()][::4] == [3, 2]  # type: ignore[union-attr]
    assert "In 1 of 2 groups" in answer.sentence


def test_one_run_and_few_checkpoints_settle_nothing(simulation: Simulation) -> None:
    rng = np.random.default_rng(5)
    simulation.trajectory(simulation.run("a"), STEPS, walk(rng, 0.1))
    simulation.trajectory(simulation.run("b", condition="short"), STEPS[:5], walk(rng, 0.1)[:5])
    archive = simulation.commit()
    one = trajectory_consistency(archive, runs="a", n_walks=19)
    short = trajectory_consistency(archive, runs="b", n_walks=19)

    assert (one.verdict, short.verdict) == ("unresolved", "unresolved")
    assert math.isnan(one.ci_low)
    assert math.isnan(short.estimate)
    assert "No run has enough checkpoints" in short.sentence
    assert any("Fewer than 3 independent runs" in line for line in one.limits)


def test_what_does_not_move_or_overflows_is_left_out_or_refused(simulation: Simulation) -> None:
    rng = np.random.default_rng(6)
    still, moving = simulation.run("still"), simulation.run("moving")
    simulation.trajectory(still, STEPS, np.ones((len(STEPS), 4)))
    points = walk(rng, 0.1)
    points[10] = points[9]
    points[-1] = np.inf
    with np.errstate(invalid="ignore"):
        simulation.trajectory(moving, STEPS, points)
    archive = simulation.commit()
    answer = trajectory_consistency(archive, n_walks=19)

    assert set(answer.table["run"].to_pylist()) == {"moving"}
    assert answer.table["n_checkpoints"].to_pylist()[0] == len(STEPS) - 2
    assert any("1 checkpoint(s) lack inner products" in line for line in answer.limits)
    with pytest.raises(UsageError, match="no run moves"):
        trajectory_consistency(archive, runs="still")
    with pytest.raises(UnknownName, match="logit_products"):
        trajectory_consistency(archive, of="logits")


def test_suspect_checkpoints_are_no_part_of_it(simulation: Simulation) -> None:
    points = walk(np.random.default_rng(7), 0.1)
    run = simulation.run("a")
    for k, step in enumerate(STEPS):
        owner = simulation.builder.checkpoint(_checkpoint(run, step, "defect" if k == 20 else "ok"))
        q = simulation.builder.quantity(SKETCHES_HERE)
        simulation.builder.cell(owner, q)
        part = simulation.builder.part(SKETCH)
        values = [points[k] * (100 if k == 20 else 1)]
        simulation.builder.add("fact_vector", owner, q, part=part, layer=-1, unit=-1, values=values)
    answer = trajectory_consistency(simulation.commit(), n_walks=19)

    assert answer.table["n_checkpoints"].to_pylist()[0] == len(STEPS) - 1
    assert any("suspect (defect)" in line for line in answer.limits)


def _checkpoint(run: str, step: int, integrity: str):
    from archive.records import Checkpoint

    return Checkpoint(run=run, step=step, integrity=integrity)


def test_the_figure_has_both_halves(simulation: Simulation) -> None:
    rng = np.random.default_rng(8)
    for run in simulation.seeds(2, init_hash="one"):
        sketched(simulation, run, walk(rng, 0.1))
    figure = trajectory_consistency(simulation.commit(), n_walks=19).plot()

    assert isinstance(figure, go.Figure)
    assert [len(t.y) for t in figure.data] == [8, 4]


def test_products_of_both_kinds_are_named_as_sources(simulation: Simulation) -> None:
    rng = np.random.default_rng(9)
    for run in simulation.seeds(2, init_hash="one"):
        points = walk(rng)
        simulation.trajectory(run, STEPS, points)
        sketched(simulation, run, points)
    answer = trajectory_consistency(simulation.commit(), n_walks=19)
    sources = [q["params"] for q in answer.provenance.quantities]

    assert PRODUCTS_HERE.params in sources
    assert SKETCHES_HERE.params in sources
