"""circuit_heads: planted roles found with their scores, false ones at the promised rate, refusals with a way on."""

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Quantity
from archive.store import Archive
from queries.circuit_heads import circuit_heads
from queries.reading.roles import CIRCUITS, SCORES, roles_asked
from tests.queries.language import (
    IOI_OTHERWISE,
    PREFIX_HERE,
    RHYMES,
    cell,
    head_score,
    head_scores,
    logit_total,
)
from tests.queries.simulated import Simulation

SHAPE = (3, 4)
# role -> its head, and what it scores there
PLANTED: dict[str, tuple[tuple[int, int], dict[str, float]]] = {
    "name_mover": ((2, 1), {"dla": 2.0, "end_to_io": 0.6, "ablation": -0.3, "copying_eig": 0.9}),
    "negative_name_mover": ((2, 3), {"dla": -0.8, "end_to_io": 0.5}),
    "s_inhibition": ((1, 2), {"ablation": -0.9, "end_to_s2": 0.55}),
    "duplicate_token": ((0, 0), {"s2_to_s1": 0.7, "duplicate_token": 0.8}),
    "previous_token": ((0, 3), {"previous_token": 0.9}),
    "induction": ((1, 0), {"s2_to_s1_next": 0.6, "prefix_matching": 0.85}),
}


def plant(
    s: Simulation,
    run: str,
    step: int = 100,
    *,
    only: tuple[str, ...] = tuple(PLANTED),
    se: float | None = 0.02,
    n_items: int | None = 100,
) -> None:
    """Background at chance, with the heads of `PLANTED`."""
    background = {
        name: 0.05 if SCORES[name].on == "prompts" else 0.02 if SCORES[name].on == "repeats" else 0.0
        for name in SCORES
    }
    background |= {"dla": 0.0, "ablation": 0.0}
    values = {name: np.full(SHAPE, level) for name, level in background.items() if name != "copying_logit"}
    for role in only:
        (layer, head), scores = PLANTED[role]
        for name, value in scores.items():
            values[name][layer, head] = value
    head_scores(s, run, step, values, se=se, n_items=n_items)
    logit_total(s, run, step, 4.0)


@pytest.fixture(scope="module")
def archive(empty_archive: object, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Four runs with the whole circuit at step 100, and without its name mover at step 10; a fifth without that role."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("circuit"))  # type: ignore[arg-type]
    for run in s.seeds(4):
        plant(s, run, 10, only=tuple(set(PLANTED) - {"name_mover"}))
        plant(s, run)
    s.run("s4", init_seed=4)
    plant(s, "s4", only=tuple(set(PLANTED) - {"name_mover"}))
    return s.commit()


def test_every_planted_role_is_found_at_its_head_and_nowhere_else(archive: Archive) -> None:
    answer = circuit_heads(archive, runs="s0")
    found = {(r["role"], r["head"]) for r in answer.table.to_pylist() if r["verdict"] == "yes"}

    assert found == {(role, f"L{layer}H{head}") for role, ((layer, head), _) in PLANTED.items()}
    assert answer.table.num_rows == 6 * 12
    assert answer.per_run["heads"].to_pylist() == ["L2H1", "L2H3", "L1H2", "L0H0", "L0H3", "L1H0"]
    assert answer.per_run["depth"].to_pylist() == [1, 1, 0.5, 0, 0, 0.5]
    assert set(answer.table["verdict"].to_pylist()) == {"yes", "no"}
    assert "name_mover L2H1" in answer.sentence


def test_a_head_shows_its_scores_its_share_and_what_decides_nothing(archive: Archive) -> None:
    row = circuit_heads(archive, runs="s0", role="name_mover").table.to_pylist()[0]

    assert (row["head"], row["dla"], row["share"]) == ("L2H1", 2.0, 0.5)
    assert row["score"] == pytest.approx(0.6 / 0.2)
    assert (row["end_to_io"], row["ablation"], row["copying_eig"]) == pytest.approx((0.6, -0.3, 0.9))
    assert (row["dla_se"], row["copying_logit"], row["duplicate_token"]) == (0.02, None, None)


def test_over_runs_the_share_with_the_role_has_an_exact_interval(archive: Archive) -> None:
    answer = circuit_heads(archive, role="name_mover")
    (row,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert (row["n_runs"], row["n_with"], row["n_without"]) == (5, 4, 1)
    assert (answer.estimate, row["heads"]) == (0.8, 0.8)
    assert (answer.ci_low, answer.ci_high) == pytest.approx((0.284, 0.995), abs=1e-3)
    assert answer.verdict is None
    assert circuit_heads(archive, role="induction").verdict == "yes"
    assert any("head number" in line for line in answer.limits)
    assert any("self-repair" in line for line in answer.limits)
    assert any("backup heads" in line for line in answer.limits)


def test_an_earlier_checkpoint_has_no_name_mover(archive: Archive) -> None:
    answer = circuit_heads(archive, role="name_mover", step=10, runs=["s0", "s1"])

    assert set(answer.table["step"].to_pylist()) == {10}
    assert answer.verdict == "no"
    with pytest.raises(UsageError, match="at step 50; the nearest steps are 10"):
        circuit_heads(archive, role="name_mover", step=50)


def test_levels_move_the_bounds_and_chance_is_the_least_of_them(archive: Archive) -> None:
    strict = circuit_heads(archive, role="name_mover", runs="s0", least_logits=3.0)
    lax = circuit_heads(archive, role="previous_token", runs="s0", least_score=0.001)

    assert strict.verdict == "no"
    # the background scores 0.02 where chance is 0.02: at its bound, so neither shown to have the role nor to lack it
    assert lax.per_run["n_unresolved"].to_pylist() == [11]
    assert lax.per_run["n_heads"].to_pylist() == [1]


def test_roles_of_repeated_tokens_need_no_prompts(simulation: Simulation) -> None:
    simulation.run("a")
    values = {name: np.full(SHAPE, 0.02) for name in ("previous_token", "duplicate_token", "prefix_matching")}
    values["prefix_matching"][1, 0] = 0.9
    head_scores(simulation, "a", 5, values)
    answer = circuit_heads(simulation.commit(), task="induction")

    assert answer.per_run["heads"].to_pylist() == ["", "", "L1H0"]
    with pytest.raises(UnknownName, match="no role of induction 'name_mover'"):
        roles_asked("induction", "name_mover")


def test_false_roles_come_at_the_promised_rate_and_no_more(simulation: Simulation) -> None:
    rng = np.random.default_rng(0)
    n_runs, items = 240, 20
    for run in simulation.seeds(n_runs):
        # all heads exactly at the bound of one score and far beyond that of the other: the hardest null
        draws = rng.normal(0.1, 0.5, (*SHAPE, items))
        se = draws.std(axis=-1, ddof=1) / np.sqrt(items)
        values = {"dla": draws.mean(axis=-1), "end_to_io": np.full(SHAPE, 0.9)}
        head_scores(simulation, run, 1, values, se={"dla": se, "end_to_io": 0 * se + 0.01}, n_items=items)
    answer = circuit_heads(simulation.commit(), role="name_mover")
    wrong = np.mean([n > 0 for n in answer.per_run["n_heads"].to_pylist()])

    # Holm over 12 independent heads: 1 − (1 − 0.05/12)^12
    assert wrong == pytest.approx(0.049, abs=3 * np.sqrt(0.05 * 0.95 / n_runs))
    assert wrong > 0


def test_without_standard_errors_nothing_is_shown(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a", se=None)
    answer = circuit_heads(simulation.commit(), role="name_mover")

    assert answer.verdict == "unresolved"
    assert answer.table["score"].to_pylist()[0] == pytest.approx(3)
    assert any("has no standard errors" in line for line in answer.limits)


def test_roles_that_lack_a_score_are_named_and_one_asked_for_is_refused(simulation: Simulation) -> None:
    simulation.run("a")
    head_scores(simulation, "a", 1, {"dla": np.zeros(SHAPE), "end_to_io": np.full(SHAPE, 0.05)})
    archive = simulation.commit()
    answer = circuit_heads(archive)

    assert set(answer.table["role"].to_pylist()) == {"name_mover", "negative_name_mover"}
    assert any("s_inhibition (no head.ablation_effect:mean)" in line for line in answer.limits)
    assert any("No logit_attribution is there" in line for line in answer.limits)
    with pytest.raises(UsageError, match=r"--fill head\.ablation_effect:mean"):
        circuit_heads(archive, role="s_inhibition")


def test_variants_of_an_ablation_are_never_taken_for_one_another(simulation: Simulation) -> None:
    simulation.run("a")
    plant(simulation, "a")
    ablation = head_score("ablation")
    frozen = Quantity(
        measure=ablation.measure, encoding=ablation.encoding, params={**ablation.params, "patterns": "frozen"}
    )
    simulation.heads("a", 100, np.full(SHAPE, -9.0), quantity=frozen, se=0.02, n_items=100)
    answer = circuit_heads(simulation.commit(), role="s_inhibition")

    assert answer.per_run["heads"].to_pylist() == ["L1H2"]
    assert answer.table.to_pylist()[0]["ablation"] == pytest.approx(-0.9)


def test_clusters_of_prompts_are_what_a_standard_error_rests_on(simulation: Simulation) -> None:
    # 2.5 standard errors beyond the bound: enough with 100 prompts of their own, not with those of 3 templates
    for run, clusters in zip(simulation.seeds(2), (100, 3), strict=True):
        cell(simulation, run, PREFIX_HERE, 1)
        simulation.heads(
            run,
            1,
            np.array([[0.55]]),
            quantity=PREFIX_HERE,
            se=0.1,
            n_items=100,
            n_clusters=clusters,
            chance=0.02,
        )
    answer = circuit_heads(simulation.commit(), task="induction")

    assert answer.per_run["verdict"].to_pylist() == ["yes", "unresolved"]
    assert answer.n_items == 100


def test_prompts_are_found_by_name_and_two_tokenizations_are_never_mixed(simulation: Simulation) -> None:
    values = {"dla": np.zeros(SHAPE), "end_to_io": np.full(SHAPE, 0.05)}
    for run in simulation.seeds(2):
        head_scores(simulation, run, 1, values)
        head_scores(simulation, run, 1, values, prompts=IOI_OTHERWISE)
    archive = simulation.commit()

    with pytest.raises(NotComparable, match="prompts='ioi: words'"):
        circuit_heads(archive, role="name_mover")
    assert circuit_heads(archive, role="name_mover", prompts="ioi: words").n_runs == 2
    assert circuit_heads(archive, role="name_mover", prompts="ioi otherwise").n_runs == 2
    with pytest.raises(
        UnknownName, match="no eval set of prompts with scores of heads 'io'; did you mean 'ioi'"
    ):
        circuit_heads(archive, prompts="io")


def test_an_eval_set_of_another_name_is_asked_for(simulation: Simulation) -> None:
    simulation.run("a")
    values = {"dla": np.zeros(SHAPE), "end_to_io": np.full(SHAPE, 0.05)}
    head_scores(simulation, "a", 1, values, prompts=RHYMES)
    archive = simulation.commit()

    with pytest.raises(UnknownName, match="'ioi'"):
        circuit_heads(archive)
    assert circuit_heads(archive, prompts="rhymes").n_runs == 1


def test_a_role_that_needs_no_prompts_is_judged_whatever_prompts_there_are(simulation: Simulation) -> None:
    simulation.run("a")
    head_scores(simulation, "a", 1, {"ablation": np.zeros(SHAPE)}, prompts=RHYMES)
    head_scores(
        simulation, "a", 1, {name: np.full(SHAPE, 0.9) for name in ("previous_token", "duplicate_token")}
    )
    answer = circuit_heads(simulation.commit(), role="previous_token")

    assert answer.verdict == "yes"
    assert answer.table["ablation"].null_count == answer.table.num_rows


def test_a_run_without_a_score_is_left_out_of_its_roles_only(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        head_scores(simulation, run, 1, {"previous_token": np.full(SHAPE, 0.02)})
        # where repeated tokens are is where they are needed to be
        head_scores(simulation, run, 1, {"prefix_matching": np.full(SHAPE, 0.02)})
    head_scores(simulation, "s0", 1, {"duplicate_token": np.full(SHAPE, 0.9)})
    answer = circuit_heads(simulation.commit(), task="induction")
    runs = {(r["role"], r["run"]): r["verdict"] for r in answer.per_run.to_pylist()}

    assert runs == {
        ("previous_token", "s0"): "no",
        ("previous_token", "s1"): "no",
        ("duplicate_token", "s0"): "yes",
        ("induction", "s0"): "no",
        ("induction", "s1"): "no",
    }


def test_every_role_is_made_of_known_scores_and_drawn(archive: Archive) -> None:
    for circuit in CIRCUITS.values():
        for role in circuit.values():
            assert set(role.scores) | set(role.beside) <= set(SCORES)
            assert not set(role.scores) & set(role.beside)
    figure = circuit_heads(archive).plot()
    assert [trace.name for trace in figure.data] == list(CIRCUITS["ioi"])
    # a filled mark for each head with the role
    assert sum(not str(s).endswith("-open") for s in figure.data[0].marker.symbol) == 4
