"""frequency_predictors: a spectrum that decides is found, inits are the unit, seeds' shares, and what cannot be told."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Part
from archive.store import Archive
from queries.frequency_predictors import frequency_predictors
from tests.queries.simulated import KEYS_HERE, STRENGTHS_HERE, Simulation

N = 11  # modulo 23
KEYS = Part(kind="rule", name="W_L")
MATRICES = {name: Part(kind="matrix", name=name) for name in ("W_E", "W_L")}


def plant(
    s: Simulation, run: str, spectra: dict[str, np.ndarray], chosen: list[int], *, last: int = 100
) -> None:
    """chosen: indices of the key frequencies at the last step; spectra at step 0 by matrix."""
    strengths = {MATRICES[name]: values for name, values in spectra.items()}
    for step in {0, last}:
        if spectra:
            turned = {part: values[::-1] if step else values for part, values in strengths.items()}
            s.vectors(run, STRENGTHS_HERE, step, turned)
        keys = np.isin(np.arange(N), chosen) if step == last else np.ones(N)
        s.vectors(run, KEYS_HERE, step, {KEYS: np.asarray(keys, float)})


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Four inits × three splits; the two frequencies strongest in W_L at step 0 are chosen, W_E says nothing."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("frequencies"))
    rng = np.random.default_rng(0)
    spectra = [{"W_L": rng.random(N), "W_E": rng.random(N)} for _ in range(4)]
    for init, split in product(range(4), range(3)):
        run = s.run(f"i{init}s{split}", init_seed=init, split_seed=split, data_order_seed=0)
        plant(s, run, spectra[init], np.argsort(-spectra[init]["W_L"])[:2].tolist())
    return s.commit()


def test_the_spectrum_that_decides_is_found_with_inits_as_the_unit(archive: Archive) -> None:
    answer = frequency_predictors(archive)
    rows = {r["score"]: r for r in answer.table.to_pylist()}
    found = rows["W_L"]

    assert (found["auc"], found["n_inits"], found["n_runs"], found["n_pairs"]) == (1, 4, 12, 12 * 18)
    # 11 relabellings of each of four inits
    assert found["exact"]
    assert 1 / 11**4 <= found["p"] < 0.001
    assert found["p_adjusted"] == pytest.approx(2 * found["p"])
    assert (found["verdict"], rows["W_E"]["verdict"], answer.verdict) == ("yes", "unresolved", "yes")
    assert answer.n_runs == 12
    assert any("12 runs have only 4 different inits" in line for line in answer.limits)
    # what the answer takes into account is not listed as if it did not
    assert not any("independent repeats" in line for line in answer.limits)
    assert any("Multiplying all inputs" in line for line in answer.limits)
    assert len({r["init"] for r in answer.per_run.to_pylist()}) == 4
    assert len(answer.plot().data) == 3


def test_what_each_seed_decides(archive: Archive) -> None:
    answer = frequency_predictors(archive)
    rows = {r["seed"]: r for r in answer.shares.to_pylist()}

    assert set(rows) == {"init", "split"}
    assert (rows["init"]["variance_share"], rows["init"]["n_same"], rows["init"]["n_other"]) == (1.0, 12, 36)
    assert rows["init"]["agreement"] == 1
    assert rows["init"]["p"] < 0.01
    assert rows["split"]["variance_share"] < 0.3
    assert rows["split"]["p"] > 0.05
    assert "the init decides 100%" in answer.sentence


def test_one_init_or_one_run_is_unresolved(archive: Archive) -> None:
    one = frequency_predictors(archive, runs="i1*")
    alone = frequency_predictors(archive, runs="i1s0")

    for answer in (one, alone):
        assert answer.verdict == "unresolved"
        row = next(r for r in answer.table.to_pylist() if r["score"] == "W_L")
        assert (row["n_inits"], row["auc"], row["low"]) == (1, 1, None)
        # 11 relabellings: the two strongest are elsewhere in the others
        assert row["p"] >= 1 / 11
        assert any("1 different init:" in line for line in answer.limits)
    assert one.shares.num_rows == 0
    assert any("cannot be told apart here" in line for line in one.limits)


def test_runs_that_chose_nothing_or_have_no_end_are_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for k, (name, chosen) in enumerate({"good": [3], "all": list(range(8)), "none": [], "bare": [4]}.items()):
        run = simulation.run(name, init_seed=k)
        plant(simulation, run, {} if name == "bare" else {"W_L": rng.random(N)}, chosen)
    plant(simulation, simulation.run("new", init_seed=9), {"W_L": rng.random(N)}, [1, 2], last=0)
    archive = simulation.commit()
    answer = frequency_predictors(archive)
    why = {r["run"]: r["why"] for r in answer.per_run.to_pylist()}

    assert why == {
        "good": "",
        "all": "more than half of all frequencies are key at the end",
        "none": "no key frequency at the end",
        "bare": "no spectrum at step 0",
        "new": "no checkpoint after step 0",
    }
    assert answer.table["n_runs"].to_pylist() == [1]
    assert any("1 run not used: more than half" in line for line in answer.limits)
    nothing = frequency_predictors(archive, runs=["all", "none"])
    assert (nothing.verdict, math.isnan(nothing.p_value)) == ("unresolved", True)
    assert "nothing can be tested" in nothing.sentence
    with pytest.raises(UsageError, match=r"--fill fourier_norm"):
        frequency_predictors(archive, runs="bare")


def test_spectra_that_are_constant_or_not_numbers_say_nothing(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        spectrum = np.random.default_rng(k).random(N)
        plant(
            simulation, run, {"W_E": np.ones(N), "W_L": np.where(np.arange(N) == k, np.nan, spectrum)}, [2, 5]
        )
    answer = frequency_predictors(simulation.commit())

    assert answer.table["auc"].to_pylist() == [None, None]
    assert answer.table["why"].to_pylist() == [
        "scores are all the same in 3 of 3 runs",
        "scores are missing in 3 of 3 runs",
    ]


def test_it_takes_a_checkpoint_of_the_initial_weights_and_a_known_rule(simulation: Simulation) -> None:
    run = simulation.run("s")
    simulation.vectors(run, STRENGTHS_HERE, 5, {MATRICES["W_L"]: np.arange(1.0, N + 1)})
    simulation.vectors(run, KEYS_HERE, 100, {KEYS: np.eye(N)[3]})
    archive = simulation.commit()

    with pytest.raises(UsageError, match="no run has fourier_norm at step 0"):
        frequency_predictors(archive)
    with pytest.raises(UsageError, match="no usable key frequencies by the rule 'logits'"):
        frequency_predictors(archive, rule="logits")


def test_archives_without_frequencies_are_refused(simulation: Simulation) -> None:
    simulation.run("s")
    with pytest.raises(UnknownName, match="key_frequencies"):
        frequency_predictors(simulation.commit())
