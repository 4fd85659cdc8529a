"""capability_inclusion: prompts and tokens by hand, planted abilities, equal models, which runs are small, refusals."""

import math

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from queries.capability_inclusion import capability_inclusion
from tests.queries.language import IOI, losses, outputs, plant_prompts, plant_texts, prompts
from tests.queries.simulated import Simulation

TEMPLATES = [f"t{k // 20}" for k in range(160)]


def two_sizes(s: Simulation, n: int) -> tuple[list[str], list[str]]:
    small = s.seeds(n, "small-", condition="small", n_params=1000)
    return small, s.seeds(n, "large-", condition="large", n_params=8000)


def plant(
    s: Simulation, rng: np.random.Generator, n: int, *, ability: float = 0.0, growth: float = 0.0
) -> None:
    """Logit differences of 160 prompts of 8 templates; the small have an ability with t0, the large grow in all else."""
    plant_prompts(s, IOI, TEMPLATES)
    skill, own = rng.normal(size=160), np.arange(160) < 20
    small, large = two_sizes(s, n)
    for run in small:
        prompts(s, run, 5, {"logit_diff": skill + ability * own + rng.normal(size=160)})
    for run in large:
        prompts(s, run, 5, {"logit_diff": skill + growth * ~own + rng.normal(size=160)})


def test_counts_by_hand(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, ["a", "a", "a", "b", "b", "b"])
    small, large = two_sizes(simulation, 2)
    for run, values in zip(
        (*small, *large),
        (
            [1.0, 1.0, 1.0, 1.0, -1.0, 0.5],
            [2.0, 2.0, 2.0, 2.0, -1.0, -0.5],
            [1.0, 1.0, -1.0, 0.05, 1.0, 1.0],
            [1.0, 1.0, -2.0, -0.5, 1.0, 1.0],
        ),
        strict=True,
    ):
        prompts(simulation, run, 5, {"logit_diff": np.array(values)})
    archive = simulation.commit()
    answer = capability_inclusion(archive)
    (row,) = answer.table.to_pylist()

    # the small can do 0 to 3, the large 0, 1, 4 and 5; 2 and 3 are the small ones' alone
    assert (row["doable_small"], row["doable_large"], row["n_small_only"]) == (4, 4, 2)
    assert (row["included"], row["reverse"]) == (0.5, 0.5)
    assert answer.estimate == 0.5
    assert row["small_only"] == pytest.approx(2 / 6)
    assert (row["small"], row["large"]) == ("1k", "8k")
    assert (answer.n_runs, answer.n_items, row["n_clusters"]) == (4, 6, 2)
    assert [(r["item"], r["kind"], r["rank"]) for r in answer.items.to_pylist()] == [(2, "a", 1), (3, "b", 2)]
    assert answer.items["gap"].to_pylist() == [2.0, pytest.approx(0.95)]
    assert row["smallest_p"] == pytest.approx(1 / 6)
    assert row["pairwise_least"] <= row["pairwise"] <= row["pairwise_most"]
    assert answer.verdict == "unresolved"
    assert any("So few runs can give no verdict of no" in line for line in answer.limits)
    assert any("Fewer than 10 templates" in line for line in answer.limits)
    assert capability_inclusion(archive, margin=1.0).table["n_small_only"].to_pylist() == [1]


def test_an_ability_that_only_the_small_have_is_found(simulation: Simulation) -> None:
    plant(simulation, np.random.default_rng(0), 4, ability=6.0)
    answer = capability_inclusion(simulation.commit())
    (row,) = answer.table.to_pylist()
    (kind,) = answer.kinds.to_pylist()

    assert answer.verdict == "no"
    assert row["p"] == pytest.approx(1 / 70)
    assert max(row["p_first"], row["p_second"]) <= 0.05
    assert row["small_only"] > 5 * row["small_only_chance"]
    assert row["included"] < row["by_chance"]
    assert (kind["kind"], kind["replicated"], kind["shown"]) == ("t0", True, False)
    assert kind["held_out"] == pytest.approx(6, abs=1)
    assert kind["q_runs"] == pytest.approx(8 / 70)
    assert answer.items["kind"].to_pylist()[:10] == ["t0"] * 10
    # the difference in runs that had no part in the choice is smaller, and is there
    assert row["delta_found"] > row["delta_held_out"] > 4
    assert answer.overview()["kind"].to_pylist() == ["t0"]  # type: ignore[index]
    assert len(answer.plot().data) == 3


def test_an_ability_of_the_small_is_found_beside_large_models_that_do_more(simulation: Simulation) -> None:
    plant(simulation, np.random.default_rng(1), 5, ability=4.0, growth=1.5)
    answer = capability_inclusion(simulation.commit())
    (row,) = answer.table.to_pylist()
    (kind,) = answer.kinds.to_pylist()

    assert answer.verdict == "no"
    assert row["reverse"] < row["included"]
    assert (kind["kind"], kind["replicated"], kind["shown"]) == ("t0", True, True)
    assert kind["p_runs"] == pytest.approx(1 / 252)
    assert kind["n_small_only"] >= 5


def test_equal_models_are_not_told_apart_and_their_finds_do_not_last(simulation: Simulation) -> None:
    plant(simulation, np.random.default_rng(2), 4)
    answer = capability_inclusion(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert answer.verdict == "unresolved"
    assert row["p"] > 0.05
    assert row["included"] == pytest.approx(row["by_chance"], abs=0.1)
    assert row["delta_found"] > 1.5
    assert abs(row["delta_held_out"]) < row["delta_found"] / 2
    assert any("had no part in it" in line for line in answer.limits)


def test_large_models_that_can_do_all_are_told_so(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, [f"t{k}" for k in range(160)])
    rng = np.random.default_rng(3)
    skill = 3 * rng.normal(size=160)
    small, large = two_sizes(simulation, 3)
    for run in small:
        prompts(simulation, run, 5, {"accuracy": (skill > -0.5) * 1.0})
    for run in large:
        prompts(simulation, run, 5, {"accuracy": (skill > -2) * 1.0})
    answer = capability_inclusion(simulation.commit())
    (row,) = answer.table.to_pylist()

    assert answer.verdict == "yes"
    assert (answer.measure, answer.estimate, row["n_small_only"]) == ("task_accuracy", 1.0, 0)
    assert row["low"] == pytest.approx(0.025 ** (1 / row["doable_small"]))
    assert row["reverse"] < 0.8
    assert any("p is then too large" in line for line in answer.limits)


def test_tokens_by_loss_and_by_the_most_likely_token(simulation: Simulation) -> None:
    plant_texts(simulation)
    right = (4 * np.arange(8)[:, None] + np.arange(1, 10)) % 40
    for run, n_right in zip((*two_sizes(simulation, 1)[0], "large-0"), (6, 4), strict=True):
        done = np.arange(9)[None, :] < n_right
        done = np.broadcast_to(done, (8, 9))
        p = np.full((8, 9, 40), 0.005)
        np.put_along_axis(p, np.where(done, right, (right + 1) % 40)[..., None], 0.8, 2)
        outputs(simulation, run, 5, p)
        losses(simulation, run, 5, np.where(done, 0.2, 3.0))
    archive = simulation.commit()
    for measure in ("token_loss", "token_top"):
        answer = capability_inclusion(archive, measure=measure)
        (row,) = answer.table.to_pylist()
        assert (row["doable_small"], row["doable_large"], row["n_small_only"]) == (48, 32, 16)
        assert row["included"] == pytest.approx(32 / 48)
        assert row["n_clusters"] == 4
        first = answer.items.to_pylist()[0]
        assert (first["sequence"], first["position"], first["kind"]) == (0, 4, " w5")
        assert first["item"] is None
        assert first["gap"] == pytest.approx(2.8 if measure == "token_loss" else 1.0)
        assert row["delta_held_out"] is None
        assert "over documents" in answer.sentence
    # with a probability that none reaches nothing is doable
    strict = capability_inclusion(archive, measure="token_loss", probability=0.9)
    assert "nothing is doable" in strict.sentence
    assert strict.verdict == "unresolved"
    # the most likely token goes before the loss where nothing is said
    assert capability_inclusion(archive).measure == "token_top"
    assert capability_inclusion(archive, top=3).items.num_rows == 3


def test_which_runs_are_small_is_told_or_follows_from_sizes(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, ["a"] * 20)
    rng = np.random.default_rng(4)
    for run, n in (("x", None), ("y", None), ("m-1", 1000), ("m-2", 1100), ("m-3", 4000)):
        simulation.run(run, condition=f"c{run}", n_params=n)
        prompts(simulation, run, 5, {"logit_diff": rng.normal(size=20)})
    archive = simulation.commit()
    every = capability_inclusion(archive, runs="m-*")
    assert [(r["small"], r["large"]) for r in every.table.to_pylist()] == [("1k", "4k"), ("1.1k", "4k")]
    assert every.verdict is None
    assert math.isnan(every.estimate)
    assert every.n_runs == 3
    assert any("2 pairs of sizes" in line for line in every.limits)
    told = capability_inclusion(archive, small=("x", "m-1"), large=("y",))
    assert told.n_runs == 3
    assert told.table.select(["small", "large"]).to_pylist() == [{"small": "x, m-1", "large": "y"}]
    assert told.table["n_small"].to_pylist() == [2]
    assert "over prompts" in told.sentence
    assert capability_inclusion(archive, runs=["x", "y"], sizes=("x=1e6", "y=2e6")).n_runs == 2
    with pytest.raises(NotComparable, match=r"sizes are compared, and the size of 2 runs \(x, y\)"):
        capability_inclusion(archive)
    with pytest.raises(NotComparable, match="no two sizes of these 2 runs differ by a factor"):
        capability_inclusion(archive, runs=["m-1", "m-2"])
    with pytest.raises(UsageError, match="told together"):
        capability_inclusion(archive, small=("x",))
    with pytest.raises(UsageError, match="both small and large"):
        capability_inclusion(archive, small=("x",), large=("x", "y"))


def test_sizes_without_values_there_are_refused(simulation: Simulation) -> None:
    plant_prompts(simulation, IOI, ["a"] * 6)
    small, large = two_sizes(simulation, 1)
    prompts(simulation, small[0], 5, {"logit_diff": np.ones(6)})
    prompts(simulation, large[0], 9, {"logit_diff": np.ones(3)})
    archive = simulation.commit()
    with pytest.raises(NotComparable, match="1 small and 0 large run"):
        capability_inclusion(archive, small=tuple(small), large=tuple(large), step=5)
    # items that only one has are left out, and different steps are named
    answer = capability_inclusion(archive)
    assert answer.n_items == 3
    assert any("different steps" in line for line in answer.limits)
