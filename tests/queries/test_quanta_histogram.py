"""quanta_histogram: planted steps of single tokens recovered, smooth archives not, and what cannot be tested said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Quantity
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.quanta_histogram import QuantaHistogram, quanta_histogram
from tests.queries.language import OTHER_TEXT, TOKEN_LOSS, losses, plant_texts
from tests.queries.simulated import Simulation
from tests.queries.stats.test_shared_null import TIMES, noisy, smooth, steps

SEQUENCES, POSITIONS = 40, 9
N = SEQUENCES * POSITIONS
DRAWS = 10_000


def curves(seed: int, share: float, sigma: float = 0.006) -> np.ndarray:
    """(time, token) of falling losses; that share of them, spread over all sequences, falls in a step."""
    rng = np.random.default_rng(seed)
    values, n = smooth(rng, N), round(share * N)
    values[:, :n] = steps(rng, n)[0]
    return noisy(rng, values, sigma)[:, np.random.default_rng(0).permutation(N)] + 3


def put(s: Simulation, run: str, values: np.ndarray, times: np.ndarray = TIMES, **options: object) -> None:
    for step, row in zip(times, values, strict=True):
        losses(s, run, int(step), row.reshape(SEQUENCES, POSITIONS), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(
    empty_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[float, int], QuantaHistogram]:
    def make(share: float, n_runs: int) -> QuantaHistogram:
        s = Simulation(empty_archive, tmp_path_factory.mktemp("quanta"))
        plant_texts(s)
        for k, run in enumerate(s.seeds(n_runs)):
            losses(s, run, 0, np.ones((SEQUENCES, POSITIONS)))  # step 0 has no place on a log axis
            put(s, run, curves(k, share))
        return quanta_histogram(s.commit(), draws=DRAWS)

    return make


@pytest.fixture(scope="module")
def planted(made: Callable[[float, int], QuantaHistogram]) -> QuantaHistogram:
    return made(0.2, 3)


def test_planted_steps_are_recovered(planted: QuantaHistogram) -> None:
    for row in planted.table.to_pylist():
        assert row["excess_fraction"] == pytest.approx(0.2, abs=0.03)
        assert row["low"] < 0.2 < row["high"]
        assert row["major"] + row["minor"] == pytest.approx(0.2, abs=0.03)
        assert row["major"] > 0.9 * (row["major"] + row["minor"])
        assert row["share_of_change"] == pytest.approx(0.2, abs=0.05)
        assert (row["n_tokens"], row["n_checkpoints"], row["why"]) == (N, len(TIMES), "")
        assert row["busiest_share"] < 0.5
    assert planted.verdict == "yes"
    assert planted.estimate == pytest.approx(0.2, abs=0.02)
    assert planted.ci_low < 0.2 < planted.ci_high
    assert planted.ci_method.startswith("wider of Student t over runs and")
    assert planted.n_runs == 3
    assert "have a transition, whose steps make" in planted.sentence


def test_its_tables_count_the_same_tokens(planted: QuantaHistogram) -> None:
    rows = {r["run"]: r for r in planted.table.to_pylist()}
    for run, row in rows.items():
        shares = [r for r in planted.shares.to_pylist() if r["run"] == run]
        assert sum(r["tokens"] for r in shares) == sum(r["null"] for r in shares) == N
        times = [r for r in planted.t50s.to_pylist() if r["run"] == run]
        assert sum(r["major"] for r in times) == round(row["major"] * N)
        assert sum(r["falls"] for r in times) == sum(r["major"] + r["minor"] for r in times)
        listed = [r for r in planted.tokens.to_pylist() if r["run"] == run]
        assert len(listed) == 20
        assert all(r["monogenic"] and r["falls"] and r["class"] == "major_transition" for r in listed)
        assert [r["excess"] for r in listed] == sorted((r["excess"] for r in listed), reverse=True)
    # words are w(4 q + position + 1) in the sequences whose text is there
    known = [r for r in planted.tokens.to_pylist() if r["token"]]
    assert all(r["token"] == f" w{4 * r['sequence'] + r['position'] + 1}" for r in known)
    figure = planted.plot()
    assert isinstance(figure, go.Figure)
    assert len(figure.data) == 3 * 5


def test_a_smooth_archive_has_one_percent_at_most(made: Callable[[float, int], QuantaHistogram]) -> None:
    answer = made(0.0, 3)
    assert answer.estimate < 0.02
    for row in answer.table.to_pylist():
        assert row["excess_fraction"] <= 0.03
        assert row["major"] + row["minor"] < 0.01
    assert answer.verdict in ("no", "unresolved")


def test_one_run_has_an_interval_over_documents_and_no_verdict(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    put(simulation, run, curves(0, 0.2))
    answer = quanta_histogram(simulation.commit(), draws=DRAWS)
    assert answer.verdict == "unresolved"
    assert "Korn and Graubard" in answer.ci_method
    assert answer.ci_low < 0.2 < answer.ci_high
    assert any("says nothing about other runs" in line for line in answer.limits)


def test_steps_at_one_time_are_no_evidence_of_many(simulation: Simulation) -> None:
    fall = 1 - 1 / (1 + np.exp(-(np.log2(TIMES)[:, None] - 8) / 0.2))
    for k, run in enumerate(simulation.seeds(3)):
        values = curves(k, 0.0)
        values[:, ::4] = noisy(np.random.default_rng(k), np.repeat(fall, N // 4, 1), 0.006)
        put(simulation, run, values)
    answer = quanta_histogram(simulation.commit(), draws=DRAWS)
    assert answer.estimate > 0.2
    assert answer.verdict == "unresolved"
    assert all(row["busiest_share"] > 0.9 for row in answer.table.to_pylist())
    assert any("may be one thing the run does" in line for line in answer.limits)


def test_a_sample_is_said_and_is_the_same_for_all_runs(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(2)):
        put(simulation, run, curves(k, 0.3))
    archive = simulation.commit()
    a, b, c = (quanta_histogram(archive, draws=DRAWS, max_tokens=100, seed=seed) for seed in (0, 0, 1))
    assert a.table.equals(b.table)
    assert not a.table.equals(c.table)
    assert a.table["n_tokens"].to_pylist() == [100, 100]
    assert a.n_items == 100
    assert "A sample of 100 of 360 tokens (max_tokens=100, seed=0)" in a.limits[0]
    rows = archive.query(a.sql)
    assert sum(len(r) for r in rows["losses"].to_pylist()) == 2 * len(TIMES) * 100


def test_runs_that_cannot_be_tested_are_named_and_not_counted(simulation: Simulation) -> None:
    short, flat, whole, other = simulation.seeds(4)
    put(simulation, short, curves(0, 0.2)[:10], TIMES[:10])
    put(simulation, flat, np.ones((len(TIMES), N)))
    put(simulation, whole, curves(1, 0.2))
    put(simulation, other, curves(2, 0.2))
    archive = simulation.commit()
    rows = {r["run"]: r for r in quanta_histogram(archive, draws=DRAWS).table.to_pylist()}
    assert rows[short]["why"] == "10 of 16 checkpoints needed after step 0"
    assert rows[flat]["why"] == "the values do not change"
    assert rows[short]["excess_fraction"] is None
    answer = quanta_histogram(archive, draws=DRAWS)
    assert answer.summary is not None
    (summary,) = answer.summary.to_pylist()
    assert summary["n_runs"] == 2
    assert any("2 run(s) cannot be tested" in line and "--fill token_loss" in line for line in answer.limits)
    exclude(archive.layout, whole, "diverged")
    left = quanta_histogram(Archive(archive.layout.database), draws=DRAWS)
    assert whole not in left.table["run"].to_pylist()
    late = quanta_histogram(archive, runs=other, draws=DRAWS, after=int(TIMES[-10]))
    assert "9 of 16 checkpoints needed" in late.table["why"][0].as_py()
    assert "No run can be tested" in late.sentence


def test_tokens_without_a_number_somewhere_are_left_out(simulation: Simulation) -> None:
    runs = simulation.seeds(2)
    for k, run in enumerate(runs):
        values = curves(k, 0.2)
        values[5, :7] = np.nan
        values[:, -9:] = np.nan  # nothing is predicted there
        put(simulation, run, values)
    answer = quanta_histogram(simulation.commit(), draws=DRAWS)
    kept = answer.table["n_tokens"].to_pylist()
    assert all(n in (N - 16, N - 7, N - 9) for n in kept)
    assert max(kept) < N


def test_other_numbers_and_eval_sets_are_refused(simulation: Simulation) -> None:
    a, b = simulation.seeds(2)
    elsewhere = Quantity(measure=TOKEN_LOSS.measure, encoding=OTHER_TEXT)
    put(simulation, a, curves(0, 0.2)[:2], TIMES[:2])
    put(simulation, b, curves(1, 0.2)[:2], TIMES[:2], quantity=elsewhere)
    archive = simulation.commit()
    with pytest.raises(NotComparable, match="eval set"):
        quanta_histogram(archive, draws=DRAWS)
    with pytest.raises(UsageError):
        quanta_histogram(archive, measure="no_such", draws=DRAWS)


def test_crossed_runs_are_as_many_as_their_inits(simulation: Simulation) -> None:
    for k in range(6):
        run = simulation.run(f"r{k}", init_seed=k % 2, data_order_seed=k // 2)
        put(simulation, run, curves(k % 2, 0.06 if k % 2 else 0.0))
    answer = quanta_histogram(simulation.commit(), draws=DRAWS)
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_units"], row["unit"]) == (6, 3, "order")
    assert "over 6 runs (3 independent orders)" in answer.sentence
    assert "independent seeds" in answer.ci_method
    assert any("6 runs, 3 independent orders" in line for line in answer.limits)
