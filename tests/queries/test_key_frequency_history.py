import math

import numpy as np
import pytest

from archive.errors import UsageError
from archive.records import Part
from queries.key_frequency_history import key_frequency_history
from queries.stats.few_runs import share_interval
from tests.queries.simulated import KEYS_HERE, STRENGTHS_HERE, Simulation

STEPS = [0, 10, 100, 1000]
N = 56
W_L, W_E = Part(kind="rule", name="W_L"), Part(kind="rule", name="W_E")
OF_W_L = Part(kind="matrix", name="W_L")


def flags(*frequencies: int) -> np.ndarray:
    values = np.zeros(N)
    values[[k - 1 for k in frequencies]] = 1
    return values


def plant(
    simulation: Simulation, run: str, keys: list[tuple[int, ...]], strengths: np.ndarray | None = None
) -> None:
    """keys: frequencies at each of STEPS; strengths: (step, frequency)."""
    for i, step in enumerate(STEPS):
        simulation.vectors(run, KEYS_HERE, step, {W_L: flags(*keys[i]), W_E: flags(1)})
        if strengths is not None:
            simulation.vectors(run, STRENGTHS_HERE, step, {OF_W_L: strengths[i]})


def test_first_last_final_and_switches_are_counted(simulation: Simulation) -> None:
    strengths = np.tile(np.arange(N, 0, -1.0), (4, 1))
    strengths[3, 4] = 99.0
    plant(simulation, simulation.run("a"), [(7, 9), (5, 9), (5, 7), (5, 9)], strengths)
    answer = key_frequency_history(simulation.commit())
    rows = {r["frequency"]: r for r in answer.table.to_pylist()}

    assert set(rows) == {5, 7, 9}
    assert (rows[5]["first_step"], rows[5]["last_step"], rows[5]["final"], rows[5]["n_switches"]) == (
        10,
        1000,
        True,
        0,
    )
    assert (rows[7]["first_step"], rows[7]["last_step"], rows[7]["final"], rows[7]["n_switches"]) == (
        0,
        100,
        False,
        3,
    )
    assert (rows[9]["n_checkpoints"], rows[9]["n_switches"]) == (3, 2)
    assert [rows[k]["since_step"] for k in (5, 7, 9)] == [10, None, 1000]
    assert rows[5]["final_strength"] == 99
    assert [rows[k]["early_rank"] for k in (5, 7, 9)] == [5, 7, 9]
    assert (answer.n_runs, answer.verdict) == (1, "unresolved")
    assert any("ended with other key frequencies" in line for line in answer.limits)


def test_how_often_each_frequency_is_used_has_an_exact_interval(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(5)):
        plant(simulation, run, [(20 + k, 3)] * 4)
    answer = key_frequency_history(simulation.commit())
    assert answer.summary is not None
    first = answer.summary.to_pylist()[0]

    assert (first["frequency"], first["n_runs"], first["share"]) == (3, 5, 1.0)
    assert (first["low"], first["high"]) == share_interval(5, 5)
    assert answer.summary.num_rows == 6
    assert answer.p_uniform < 0.01
    assert "the commonest, 3, is in 5" in answer.sentence


def test_final_frequencies_that_were_strongest_at_init_are_found(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    for run in simulation.seeds(6):
        start = rng.random(N)
        strengths = np.stack([start, *rng.random((3, N))])
        chosen = tuple(int(k) + 1 for k in np.argsort(-start)[[0, 1, 2, 20]])
        plant(simulation, run, [(), chosen[:1], chosen, chosen], strengths)
    answer = key_frequency_history(simulation.commit())

    # three of the four final ones were among the four strongest
    assert answer.estimate == pytest.approx(0.75)
    assert answer.null_mean == pytest.approx(4 / 56)
    assert answer.p_value < 0.001
    assert answer.ci_low <= 0.75 <= answer.ci_high
    later = key_frequency_history(simulation.commit(), early_step=50)
    assert later.early_step == 50
    assert later.estimate < 0.5


def test_a_seed_that_decides_the_choice_is_named(simulation: Simulation) -> None:
    for init in range(4):
        for split in range(4):
            run = simulation.run(f"i{init}s{split}", condition="c", init_seed=init, split_seed=split)
            plant(simulation, run, [(1 + init, 11 + init)] * 4)
    answer = key_frequency_history(simulation.commit())
    rows = {r["same"]: r for r in answer.shared.to_pylist()}

    assert set(rows) == {"init", "split"}
    assert (rows["init"]["n_pairs"], rows["init"]["share"]) == (24, 1.0)
    assert rows["init"]["p"] < 0.001
    assert rows["split"]["p"] > 0.5
    assert "pairs with one init share 100% of their frequencies" in answer.sentence
    # what the permutation tells is not listed as untold
    assert not any("may be the initial weights' or the split's" in line for line in answer.limits)
    assert any("share seeds (4 init and 4 split)" in line for line in answer.limits)


def test_since_when_final_frequencies_lead_is_told_from_since_when_the_rule_names_them(
    simulation: Simulation,
) -> None:
    everything = tuple(range(1, N + 1))
    strengths = np.tile(np.ones(N), (4, 1))
    strengths[2:, 4] = strengths[3, 8] = 5.0
    plant(simulation, simulation.run("a"), [everything, everything, (5, 9), (5, 9)], strengths)
    rows = {r["frequency"]: r for r in key_frequency_history(simulation.commit()).table.to_pylist()}

    assert [rows[k]["since_step"] for k in (5, 9)] == [0, 0]
    assert [rows[k]["top_since"] for k in (5, 9, 1)] == [100, 1000, None]


def test_runs_that_never_settled_are_counted_aloud(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, [tuple(range(1, N))] * 4)
    answer = key_frequency_history(simulation.commit())

    assert any(
        "3 run(s) end with more than half of all frequencies (first: s0)" in line for line in answer.limits
    )


def test_strengths_are_compared_without_their_sign(simulation: Simulation) -> None:
    logits, rule = Part(kind="matrix", name="logits"), Part(kind="rule", name="logits")
    for run in simulation.seeds(2):
        strengths = np.full(N, 0.1)
        strengths[10] = -5.0
        simulation.vectors(run, KEYS_HERE, 0, {rule: flags(11)})
        simulation.vectors(run, STRENGTHS_HERE, 0, {logits: strengths})
    answer = key_frequency_history(simulation.commit(), rule="logits")

    assert answer.estimate == 1
    assert answer.table["early_rank"].to_pylist() == [1, 1]


def test_uniform_choices_are_called_alike_as_rarely_as_promised_and_chance_is_covered(
    simulation: Simulation,
) -> None:
    rng = np.random.default_rng(3)
    for trial in range(12):
        for k in range(5):
            run = simulation.run(f"t{trial}s{k}", condition=f"t{trial}", init_seed=k)
            chosen = tuple(int(f) + 1 for f in rng.choice(N, size=4, replace=False))
            strengths = rng.random((1, N))
            simulation.vectors(run, KEYS_HERE, 0, {W_L: flags(*chosen)})
            simulation.vectors(run, STRENGTHS_HERE, 0, {OF_W_L: strengths[0]})
    archive = simulation.commit()
    answers = [key_frequency_history(archive, runs=f"t{trial}s*") for trial in range(12)]
    most = 12 * 0.05 + 3 * math.sqrt(12 * 0.05 * 0.95)

    assert sum(a.p_uniform <= 0.05 for a in answers) <= most
    # the rate of p_value is checked over many more sets in stats/test_permuted_choice.py
    assert sum(a.ci_low <= 4 / 56 <= a.ci_high for a in answers) >= 12 * 0.95 - 3 * math.sqrt(
        12 * 0.05 * 0.95
    )


def test_without_strengths_the_command_that_fills_them_is_named(simulation: Simulation) -> None:
    for run in simulation.seeds(3):
        plant(simulation, run, [(3, 4)] * 4)
    answer = key_frequency_history(simulation.commit())

    assert math.isnan(answer.estimate)
    assert answer.table["early_rank"].to_pylist() == [None] * 6
    assert any("--fill fourier_norm" in line for line in answer.limits)
    assert answer.verdict is None


def test_rules_are_asked_for_by_name(simulation: Simulation) -> None:
    plant(simulation, simulation.run("a"), [(3,)] * 4)
    archive = simulation.commit()

    assert key_frequency_history(archive, rule="W_E").table["frequency"].to_pylist() == [1]
    with pytest.raises(UsageError, match="no usable key frequencies by the rule 'neurons'"):
        key_frequency_history(archive, rule="neurons")


def test_the_figure_has_a_line_a_run_thick_where_final(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        plant(simulation, run, [(3,), (3, 8), (8,), (8,)])
    archive = simulation.commit()
    figure = key_frequency_history(archive).plot()

    assert [(t.name, t.line.width) for t in figure.data] == [("s0", 3), ("s0", 1), ("s1", 3), ("s1", 1)]
    assert (list(figure.data[0].y), list(figure.data[0].x)[:2]) == ([8, 8, None], [10, 1000])
    assert list(figure.data[1].y)[::3] == [3, 8]


def test_a_final_line_is_thick_since_it_stays_among_the_strongest(simulation: Simulation) -> None:
    strengths = np.tile(np.ones(N), (4, 1))
    strengths[2:, 7] = 5.0
    plant(simulation, simulation.run("a"), [(3, 8), (3, 8), (8,), (8,)], strengths)
    thick = key_frequency_history(simulation.commit()).plot().data[0]

    assert (thick.line.width, list(thick.x)[:2], list(thick.y)[:2]) == (3, [100, 1000], [8, 8])
