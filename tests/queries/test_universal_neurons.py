"""universal_neurons: planted shares and traits, partners that are no other seeds, few of them, and published tables."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from archive.errors import UsageError
from archive.records import Encoding, Part, Quantity
from archive.store import Archive
from queries.reading.matched_neurons import NeuronVector
from queries.reading.units import Units
from queries.reading.universal_tables import STATISTICS as STATISTICS_OF
from queries.reading.universal_tables import Averaged, trait_rows
from queries.universal_neurons import universal_neurons
from tests.queries.comparing import LONG_TEXT, MATCHING_ON_TEXT, matched
from tests.queries.language import MLP, cell
from tests.queries.simulated import PUBLISHED, Simulation, measure

SHAPE = (2, 20)
STATISTICS = Quantity(
    measure=measure("neuron.statistics", "fact_neuron", scope="neuron", unit="1", direction="neither"),
    encoding=LONG_TEXT,
    site=MLP,
)


def excess(run: int, partner: int) -> np.ndarray:
    """Four neurons of layer 0 are 0.7 on average, of run 2 five; the next is so with one partner only; the last is silent."""
    found = np.full(SHAPE, 0.1)
    found[0, : 5 if run == 2 else 4] = 0.7 + 0.05 * (partner - run)
    found[1, 0] = 0.9 if partner == (run + 1) % 3 else 0.05
    found[1, -1] = np.nan
    return found


def statistics(s: Simulation, run: str, step: int, *, quantity: Quantity = STATISTICS) -> None:
    """Skew rises with the neuron's number, kurtosis is higher for the first three, firing rates are all the same."""
    owner, q = cell(s, run, quantity, step)
    n = np.arange(SHAPE[1], dtype=float)
    for name, values in {"skew": n, "kurtosis": 3 + 9.0 * (n < 3), "firing_rate": 0 * n + 0.2}.items():
        part = s.builder.part(Part(kind="statistic", name=name))
        for layer in range(SHAPE[0]):
            s.builder.add("fact_neuron", owner, q, part=part, layer=layer, values=[values])


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    s = Simulation(empty_archive, tmp_path_factory.mktemp("universal"))
    runs = [s.run(f"s{k}", init_seed=k, init_hash=f"hash {k}") for k in range(3)]
    for a, b in permutations(range(3), 2):
        matched(s, runs[a], runs[b], 0, np.full(SHAPE, 0.02))
        matched(s, runs[a], runs[b], 100, excess(a, b))
    for run in runs:
        statistics(s, run, 100)
        statistics(s, run, 0)
    twins = [s.run(f"t{k}", init_hash="hash 0") for k in range(2)]
    for a, b in (*permutations(twins, 2), ("t0", "s1"), ("s0", "t0")):
        matched(s, a, b, 100, np.full(SHAPE, 0.9))
    return s.commit()


def test_planted_neurons_are_found_and_what_they_have_in_common(archive: Archive) -> None:
    answer = universal_neurons(archive, runs="s?", top=6)
    summary = {r["run"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    rows, traits = answer.table.to_pylist(), {r["statistic"]: r for r in answer.traits.to_pylist()}

    assert [summary[f"s{k}"]["share"] for k in range(3)] == [4 / 40, 4 / 40, 5 / 40]
    assert (summary["s0"]["n_partners"], summary["s0"]["n_silent"]) == (2, 1)
    assert answer.estimate == pytest.approx(13 / 120)
    assert answer.ci_low < answer.estimate < answer.ci_high
    assert (answer.null_mean, answer.verdict, answer.n_runs) == (0.0, None, 3)
    # 0.7 with 0.05 and 0.1 more from partners 1 and 2; the neuron with one partner only has (0.9 + 0.05) / 2 at most
    best = [r for r in rows if r["run"] == "s0"]
    assert [r["neuron"] for r in best] == ["L0N0", "L0N1", "L0N2", "L0N3", "L1N0", "L0N4"]
    assert best[0]["excess"] == pytest.approx(0.775)
    assert best[0]["least_excess"] == pytest.approx(0.75)
    assert [r["universal"] for r in best] == [True] * 4 + [False] * 2
    assert best[4]["excess"] == pytest.approx(0.475)
    layers = {(r["run"], r["layer"]): r["share"] for r in answer.layers.to_pylist()}
    assert (layers["s2", 0], layers["s2", 1]) == (5 / 20, 0.0)
    # numbers 0 to 3 among 0 to 19 twice, but for one silent: all 35 others, of which layer 1 has as low ones
    low = [(x > y) + 0.5 * (x == y) for x in range(4) for y in [*range(4, 20), *range(19)]]
    high = [(x > y) + 0.5 * (x == y) for x in range(5) for y in [*range(5, 20), *range(19)]]
    assert traits["skew"]["auc"] == pytest.approx((2 * np.mean(low) + np.mean(high)) / 3)
    assert traits["kurtosis"]["auc"] > 0.7
    assert (traits["firing_rate"]["auc"], traits["firing_rate"]["low"]) == (0.5, 0.5)
    assert "they have less skew than the others" in answer.sentence
    assert "at the first checkpoints compared it is 0%" in answer.sentence
    assert len(answer.plot().data) == 3


def test_traits_of_neurons_that_are_universal_at_random_are_told_seldom() -> None:
    rng = np.random.default_rng(0)
    layers = np.zeros(60, np.int64)
    told = 0
    for _ in range(100):
        runs, known = [], {}
        for run in range(4):
            high = np.where(rng.random(60) < 0.2, 0.9, 0.1)
            runs.append(Averaged(run, 100, 3, layers, high))
            known[run] = {name: NeuronVector(layers, rng.normal(size=60)) for name in STATISTICS_OF}
        rows = trait_rows(runs, known, 0.5, 0.95, Units((0, 1, 2, 3), {}))
        told += any(r["low"] > 0.5 or r["high"] < 0.5 for r in rows)
    assert told <= 12


def test_the_threshold_decides_and_nothing_above_it_is_said(archive: Archive) -> None:
    assert universal_neurons(archive, runs="s?", threshold=0.47).estimate == pytest.approx(16 / 120)
    none = universal_neurons(archive, runs="s?", threshold=0.95)
    assert (none.estimate, none.ci_low, none.ci_high) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 3)))
    assert np.isnan(none.mde)
    assert not none.traits.num_rows
    assert any("No neuron is above the threshold" in line for line in none.limits)


def test_partners_that_share_a_start_are_no_other_seeds(archive: Archive) -> None:
    mixed = universal_neurons(archive, runs=["s0", "s1", "t0"])
    partners = {r["run"]: r["n_partners"] for r in mixed.summary.to_pylist()}  # type: ignore[union-attr]
    assert partners == {"s0": 1, "s1": 1, "t0": 1}
    assert any("1 ordered pair that share a start are left out" in line for line in mixed.limits)
    assert any("Every run has one partner" in line for line in mixed.limits)
    twins = universal_neurons(archive, runs="t?")
    assert (twins.estimate, twins.verdict) == (1.0, "unresolved")
    assert any("All pairs share a start" in line for line in twins.limits)


def test_a_start_that_is_shared_shows_at_step_0(simulation: Simulation) -> None:
    runs = simulation.seeds(3)
    for a, b in permutations(runs, 2):
        alike = {a, b} == {"s0", "s1"}
        matched(simulation, a, b, 0, np.full(SHAPE, 0.5), own_number=1.0 if alike else 0.0)
        matched(simulation, a, b, 100, np.full(SHAPE, 0.9 if alike else 0.3))
    answer = universal_neurons(simulation.commit())
    assert answer.estimate == 0
    assert any("2 ordered pairs that share a start" in line and "at step 0" in line for line in answer.limits)


def test_one_order_leaves_runs_with_fewer_partners_and_two_runs_no_interval(simulation: Simulation) -> None:
    simulation.seeds(3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        matched(simulation, f"s{a}", f"s{b}", 100, excess(a, b))
    answer = universal_neurons(simulation.commit())

    assert answer.summary["run"].to_pylist() == ["s0", "s1"]  # type: ignore[index]
    assert answer.verdict == "unresolved"
    assert any("Runs have 1 to 2 partners" in line for line in answer.limits)
    assert any("3 pair(s) are compared in one order only" in line for line in answer.limits)
    assert any("What universal neurons have in common is not known" in line for line in answer.limits)


def test_statistics_of_other_neurons_are_not_used(simulation: Simulation) -> None:
    runs = simulation.seeds(3)
    for a, b in permutations(runs, 2):
        matched(simulation, a, b, 100, excess(0, 1)[:1])
    for run in runs:
        statistics(simulation, run, 100)
        statistics(
            simulation, run, 100, quantity=STATISTICS.model_copy(update={"encoding": Encoding(hash="z")})
        )
    archive = simulation.commit()
    # two eval sets: which is not said
    assert any("differs in eval set" in line for line in universal_neurons(archive).limits)
    # statistics of two layers, matches of one
    one = universal_neurons(archive, eval_set="long text")
    assert not one.traits.num_rows
    assert any("of these checkpoints are not there" in line for line in one.limits)


def test_a_published_table_says_what_it_lists_and_no_more(simulation: Simulation) -> None:
    simulation.run("gpt", n_layers=2, d_mlp=20, source=PUBLISHED.name)
    simulation.builder.source(PUBLISHED)
    values = np.full(20, np.nan)
    values[:3] = (0.81, 0.6, 0.5001)
    for name, part, numbers in (
        ("excess_correlation", "excess", values),
        ("correlation", "mean", values + 0.1),
        ("baseline_correlation", "mean", values * 0 + 0.1),
        ("preactivation", "kurtosis", values * 10),
    ):
        params = {"subset": "universal"}
        if name == "excess_correlation":
            params["formula"] = "mean_corr - mean_baseline"
        quantity = Quantity(
            measure=measure(f"universal_neurons.{name}", "fact_neuron", scope="unit", direction="neither"),
            encoding=Encoding.named_only("pile", source=PUBLISHED.name),
            params=params,
            source=PUBLISHED,
        )
        owner, q = simulation._cell("gpt", quantity, 100, None)
        of_part = simulation.builder.part(Part(kind="statistic", name=part))
        simulation.builder.add("fact_neuron", owner, q, part=of_part, layer=1, values=[numbers])
    archive = simulation.commit()
    answer = universal_neurons(archive, top=2)

    assert answer.published
    assert answer.estimate == pytest.approx(3 / 40)
    assert np.isnan(answer.ci_low)
    assert answer.verdict == "unresolved"
    assert [(r["neuron"], r["excess"]) for r in answer.table.to_pylist()] == [
        ("L1N0", pytest.approx(0.81)),
        ("L1N1", pytest.approx(0.6)),
    ]
    assert "3 of 40 neurons (7.5%)" in answer.sentence
    assert [(r["statistic"], r["auc"]) for r in answer.traits.to_pylist()] == [("kurtosis", None)]
    assert any("no rotation" in line for line in answer.limits)
    assert any("as the end of the list suggests" in line for line in answer.limits)
    assert "at least 3 of 40" in universal_neurons(archive, threshold=0.4).sentence
    assert "2 of 40" in universal_neurons(archive, threshold=0.55).sentence
    assert answer.plot().data
    with pytest.raises(UsageError, match="nearest steps are 100"):
        universal_neurons(archive, step=5)


def test_few_tokens_are_told(simulation: Simulation) -> None:
    for a, b in permutations(simulation.seeds(3), 2):
        matched(simulation, a, b, 100, excess(0, 1), quantity=MATCHING_ON_TEXT)
    answer = universal_neurons(simulation.commit())
    assert any("Correlations are over 64 tokens" in line for line in answer.limits)
    assert any("seldom fire coincide by chance" in line for line in answer.limits)
