"""lottery_predictors: a planted ticket is found, runs of one init are one observation, and what cannot be told is said."""

from pathlib import Path

import numpy as np
import pytest

from archive.errors import UnknownName, UsageError
from archive.records import Quantity
from archive.store import Archive
from queries.lottery_predictors import lottery_predictors
from tests.queries.language import LAST_TARGET_HERE, cell, head_score, head_scores, pairs
from tests.queries.simulated import Simulation, measure

LAYERS, HEADS = 2, 6


def plant(s: Simulation, run: str, rng: np.random.Generator, start: np.ndarray | None = None) -> np.ndarray:
    """The two heads of layer 1 with the largest score at step 0 (layer, head) become induction heads; returns these scores."""
    first = 0.02 + 0.001 * rng.normal(size=(LAYERS, HEADS)) if start is None else start
    head_scores(s, run, 0, {"prefix_matching": first, "copying_eig": rng.normal(size=(LAYERS, HEADS))})
    final = np.full((LAYERS, HEADS), 0.02)
    final[1, np.argsort(-first[1])[:2]] = 0.9
    head_scores(s, run, 100, {"prefix_matching": final})
    return first


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """a0 to a4: an init each. b: two runs of one init."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("lottery"))
    rng = np.random.default_rng(0)
    for k in range(5):
        plant(s, s.run(f"a{k}", init_seed=k), rng)
        pairs(s, f"a{k}", "k", 0, rng.normal(size=(HEADS, HEADS)))
    start = plant(s, s.run("b0", condition="d", init_seed=9), rng)
    plant(s, s.run("b1", condition="e", init_seed=9), rng, start)
    return s.commit()


def test_the_planted_ticket_is_found_and_others_are_not(archive: Archive) -> None:
    answer = lottery_predictors(archive, runs="a?")
    rows = {r["score"]: r for r in answer.table.to_pylist()}
    first = rows["head.prefix_matching"]

    assert set(rows) == {
        "head.prefix_matching",
        "head.copying_eig",
        "k_composition as earlier head",
        "k_composition as later head",
    }
    assert (first["auc"], first["n_inits"], first["n_runs"], first["n_layers"], first["n_pairs"]) == (
        1,
        5,
        5,
        5,
        40,
    )
    # 15 places for two of 6 heads, in five runs; too many to look at each
    assert first["p"] < 0.001
    # three scores can be tested
    assert first["p_adjusted"] == pytest.approx(3 * first["p"])
    assert first["low"] > 0.5
    assert (first["verdict"], answer.verdict) == ("yes", "yes")
    assert rows["head.copying_eig"]["verdict"] == "unresolved"
    # only heads of the last layer get the role, and they are no earlier heads of anything
    early = rows["k_composition as earlier head"]
    assert (early["auc"], early["verdict"], early["n_pairs"]) == (None, "unresolved", 0)
    assert "none have it in 5" in early["why"]
    assert "told at step 0 by 1 of 3 scores: head.prefix_matching, AUC 1 [" in answer.sentence
    assert np.isnan(answer.estimate)
    runs = [r for r in answer.per_run.to_pylist() if r["score"] == "head.prefix_matching"]
    assert [(r["run"], r["init"], r["auc"], r["n_with"], r["n_without"], r["n_open"]) for r in runs] == [
        (f"a{k}", k, 1.0, 2, 10, 0) for k in range(5)
    ]
    assert any(
        "1 score cannot be tested (first: k_composition as earlier head" in line for line in answer.limits
    )


def test_one_score_is_the_headline_with_its_null(archive: Archive) -> None:
    answer = lottery_predictors(archive, runs="a?", scores=("head.prefix*",))

    assert (answer.estimate, answer.ci_high, answer.unit, answer.n_runs) == (1, 1, "AUC", 5)
    assert answer.ci_low > 0.5
    assert answer.null_mean == pytest.approx(0.5, abs=0.01)
    assert answer.p_value == answer.table["p"][0].as_py()
    # Σ over 5 runs of the variance of the AUC of 2 of 6: 7 / (12 · 2 · 4)
    assert answer.null_sd == pytest.approx(np.sqrt(7 / 96 / 5), rel=0.03)
    assert answer.mde == pytest.approx(2.8 * answer.null_sd, rel=0.01)
    assert [q["measure"] for q in answer.provenance.quantities] == ["head.prefix_matching"] * 2
    assert len(answer.plot().data) == 3


def test_pairs_of_heads_count_by_their_best_partner(simulation: Simulation) -> None:
    rng = np.random.default_rng(1)
    for k, run in enumerate(simulation.seeds(3)):
        plant(simulation, run, rng)
        z = rng.normal(size=(HEADS, HEADS))
        final = np.full((LAYERS, HEADS), 0.02)
        final[1, int(z.max(axis=0).argmax())] = 0.9
        final[0, int(z.max(axis=1).argmin())] = 0.9
        head_scores(simulation, run, 200 + k, {"prefix_matching": final})
        z[2, 2] = np.nan if k == 0 else z[2, 2]
        pairs(simulation, run, "k", 0, z)
    answer = lottery_predictors(simulation.commit(), scores=("k_composition*",))
    rows = {r["score"]: r for r in answer.table.to_pylist()}

    assert rows["k_composition as later head"]["auc"] == 1
    assert rows["k_composition as earlier head"]["auc"] == 0
    # 6 places for one head in three runs: both ends of the null
    assert rows["k_composition as later head"]["p"] == pytest.approx(2 / 216)


def test_runs_of_one_init_are_one_observation(archive: Archive) -> None:
    answer = lottery_predictors(archive, runs="b?", scores=("head.prefix_matching",))
    (row,) = answer.table.to_pylist()

    # nobody recorded the init of these conditions: their heads measure the same at step 0
    assert (row["n_inits"], row["n_runs"], row["auc"]) == (1, 2, 1)
    assert row["p"] == pytest.approx(2 / 15)
    assert row["low"] is None
    assert answer.verdict == "unresolved"
    assert any("2 runs have only 1 different init:" in line for line in answer.limits)
    assert any("1 different init: p is about these weights alone" in line for line in answer.limits)
    assert any("2 conditions are taken together" in line for line in answer.limits)
    assert any("could not reach an adjusted p of 0.05" in line for line in answer.limits)


def test_one_run_is_unresolved(archive: Archive) -> None:
    answer = lottery_predictors(archive, runs="a0", scores=("head.prefix_matching",))

    assert (answer.verdict, answer.n_runs, answer.p_value) == ("unresolved", 1, pytest.approx(2 / 15))
    assert np.isnan(answer.ci_low)


@pytest.mark.parametrize(
    ("level", "said"), [(0.95, "none have it in 10 of 10 layers"), (0.001, "none lack it in 10 of 10 layers")]
)
def test_a_role_that_none_or_all_have_is_unresolved(archive: Archive, level: float, said: str) -> None:
    planted = dict(least_score=level, scores=("head.prefix_matching",))
    answer = lottery_predictors(archive, runs="a?", **planted)  # type: ignore[arg-type]

    assert (answer.verdict, answer.table["auc"].to_pylist()) == ("unresolved", [None])
    assert "nothing can be tested" in answer.sentence
    if level > 0.5:
        assert said in answer.table["why"][0].as_py()


def test_constant_scores_and_heads_that_are_open_are_said(simulation: Simulation) -> None:
    final = np.array([[0.9, 0.02, 0.02, 0.31], [0.02, 0.02, 0.02, 0.02]])
    for run in simulation.seeds(3):
        head_scores(
            simulation, run, 0, {"prefix_matching": np.full((2, 4), 0.02), "copying_eig": final + 0.0}
        )
        head_scores(simulation, run, 100, {"prefix_matching": final})
    answer = lottery_predictors(simulation.commit())
    rows = {r["score"]: r for r in answer.table.to_pylist()}

    assert rows["head.prefix_matching"]["why"].startswith("scores are all the same in 3 of 6 layers")
    # L0H3 is within its standard error of the level: it is in no pair
    assert rows["head.copying_eig"]["n_pairs"] == 6
    assert any("up to 1 of a run" in line for line in answer.limits)


def test_without_the_initial_weights_it_is_refused(simulation: Simulation) -> None:
    final = np.array([[0.9, 0.02, 0.02]])
    for k, run in enumerate(simulation.seeds(4)):
        if k:
            head_scores(simulation, run, 10, {"prefix_matching": final})
        head_scores(simulation, run, 0 if k == 3 else 100, {"prefix_matching": final / 2})
    archive = simulation.commit()

    with pytest.raises(
        UsageError, match=r"no run has a score of heads at step 0.*--fill head.prefix_matching"
    ):
        lottery_predictors(archive, runs=["s1", "s2"])
    answer = lottery_predictors(archive, runs=["s1", "s3"])
    assert answer.n_runs == 1
    assert any("1 run without usable scores at step 0 left out (first: s1)" in line for line in answer.limits)


def test_an_archive_of_initial_weights_alone_has_no_end(simulation: Simulation) -> None:
    head_scores(simulation, simulation.run("s"), 0, {"prefix_matching": np.array([[0.9, 0.02, 0.02]])})

    with pytest.raises(UsageError, match="the last checkpoint of every run is step 0"):
        lottery_predictors(simulation.commit())


def test_a_suspect_step_0_is_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(2)
    for run in simulation.seeds(3):
        plant(simulation, run, rng)
    odd = simulation.run("odd", init_seed=7)
    quantity = head_score("prefix_matching")
    simulation._cell(odd, quantity, 0, {"integrity": "duplicate", "integrity_note": "same as step 5"})
    head_scores(simulation, odd, 100, {"prefix_matching": np.array([[0.02] * 6, [0.9] + [0.02] * 5])})
    answer = lottery_predictors(simulation.commit())

    assert answer.n_runs == 3
    assert any("(first: odd), 1 of them because step 0 is suspect" in line for line in answer.limits)


def test_names_that_no_score_has_are_refused_with_the_nearest(archive: Archive) -> None:
    with pytest.raises(UnknownName, match=r"no score of heads at step 0 'k_compositon'.*did you mean"):
        lottery_predictors(archive, scores=("k_compositon",))


def test_variants_are_scores_of_their_own_and_the_newest_version_is_taken(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    newer = measure("head.copying_eig", "fact_head", scope="head", version=2, direction="neither")
    for run in simulation.seeds(3):
        first = plant(simulation, run, rng)
        for quantity, values in (
            (LAST_TARGET_HERE, -first),
            (Quantity(measure=newer, weight_processing="fold_ln_center"), first),
        ):
            cell(simulation, run, quantity, 0)
            simulation.heads(run, 0, values, quantity=quantity)
    answer = lottery_predictors(simulation.commit())
    aucs = {r["score"]: r["auc"] for r in answer.table.to_pylist()}

    assert aucs == {"head.prefix_matching": 1, "head.prefix_matching:last_target": 0, "head.copying_eig": 1}
    assert {q["version"] for q in answer.provenance.quantities if q["measure"] == "head.copying_eig"} == {2}
