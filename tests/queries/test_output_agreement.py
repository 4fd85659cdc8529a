"""output_agreement: closed forms, planted distances, pairs of runs, what only losses say, refusals."""

import math

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Quantity
from queries.output_agreement import output_agreement
from tests.queries.comparing import outputs_compared
from tests.queries.language import OTHER_TEXT, TEXT, TOKEN_LOSS, TOKEN_TOP, losses, outputs, plant_texts
from tests.queries.simulated import Simulation

N, LENGTH, WORDS = 8, 10, 12
LOSS_ELSEWHERE = Quantity(measure=TOKEN_LOSS.measure, encoding=OTHER_TEXT)
TOP_ELSEWHERE = Quantity(measure=TOKEN_TOP.measure, encoding=OTHER_TEXT, params={"k": 3})


def model(rng: np.random.Generator, base: np.ndarray, noise: float) -> np.ndarray:
    logits = base + noise * rng.normal(size=base.shape)
    exponentials = np.exp(logits - logits.max(2, keepdims=True))
    found: np.ndarray = exponentials / exponentials.sum(2, keepdims=True)
    return found


def test_equal_and_disjoint_models_have_their_closed_forms(simulation: Simulation) -> None:
    plant_texts(simulation)
    p = np.zeros((N, LENGTH, WORDS))
    first = np.arange(N * LENGTH).reshape(N, LENGTH) % 4
    np.put_along_axis(p, first[..., None], 0.75, 2)
    np.put_along_axis(p, first[..., None] + 1, 0.25, 2)
    loss = np.random.default_rng(0).random((N, LENGTH))
    for run, seen, values in (("a", p, loss), ("b", p, loss), ("c", np.roll(p, 6, axis=2), 9 - loss)):
        simulation.run(run)
        outputs(simulation, run, 5, seen)
        losses(simulation, run, 5, values)
    archive = simulation.commit()
    same = output_agreement(archive, runs=["a", "b"])
    other = output_agreement(archive, runs=["a", "c"])
    (s,), (o,) = same.table.to_pylist(), other.table.to_pylist()

    assert (s["js_low"], s["js_high"]) == (pytest.approx(0, abs=1e-7), pytest.approx(0, abs=1e-7))
    assert (s["top1"], s["spearman"], s["loss_difference"]) == (1.0, 1.0, 0.0)
    assert s["kl_ab"] == pytest.approx(0, abs=1e-6)
    assert s["top1_chance"] == pytest.approx(0.25)
    assert (s["n_tokens"], s["n_documents"]) == (80, 4)
    assert o["js_low"] == pytest.approx(math.log(2), abs=1e-6)
    assert o["js_high"] == pytest.approx(math.log(2), abs=1e-6)
    assert (o["top1"], o["spearman"]) == (0.0, pytest.approx(-1.0))
    assert other.estimate == pytest.approx(math.log(2), abs=1e-6)
    assert same.verdict is None
    assert same.null_mean > 0.1
    assert "the most likely token is the same at 100%" in same.sentence
    assert any("says nothing of other seeds" in line for line in same.limits)


def test_bounds_hold_the_divergence_of_the_full_distributions(simulation: Simulation) -> None:
    plant_texts(simulation)
    rng = np.random.default_rng(1)
    base = 2 * rng.normal(size=(N, LENGTH, WORDS))
    models = [model(rng, base, 0.5) for _ in range(4)]
    for run, probabilities in zip(simulation.seeds(4), models, strict=True):
        outputs(simulation, run, 5, probabilities, k=6)
        losses(simulation, run, 5, -np.log(probabilities[..., 0]))
    answer = output_agreement(simulation.commit())
    rows = {(r["run_a"], r["run_b"]): r for r in answer.table.to_pylist()}
    p, q = models[0], models[1]
    js = ((p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))).sum(2) / 2).mean()
    pair = rows["s0", "s1"]

    assert len(rows) == 6
    assert pair["js_low"] <= js <= pair["js_high"]
    assert pair["js_ci_low"] < pair["js_low"]
    assert pair["js_high"] < pair["js_ci_high"]
    assert pair["kl_ab"] <= (p * np.log(p / q)).sum(2).mean()
    assert pair["kl_ab_trimmed"] <= pair["kl_ab"]
    assert pair["top1"] > 2 * pair["top1_chance"]
    summary = {r["statistic"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    assert summary["js"]["mean"] == pytest.approx(np.mean([r["js"] for r in rows.values()]))
    assert (summary["js"]["n_runs"], summary["js"]["n_pairs"]) == (4, 6)
    assert summary["js"]["low"] < answer.estimate < summary["js"]["high"]
    assert answer.ci_method.startswith("jackknife over runs")
    assert any("not 6 independent observations" in line for line in answer.limits)


def test_models_that_share_nothing_agree_no_more_than_at_shuffled_places(simulation: Simulation) -> None:
    plant_texts(simulation)
    rng = np.random.default_rng(2)
    for run in simulation.seeds(2):
        p = model(rng, np.zeros((N, LENGTH, WORDS)), 2.0)
        outputs(simulation, run, 5, p, k=WORDS)
        losses(simulation, run, 5, rng.random((N, LENGTH)))
    (row,) = output_agreement(simulation.commit()).table.to_pylist()

    assert row["js"] == pytest.approx(row["js_null"], rel=0.15)
    assert row["top1_low"] <= row["top1_chance"] <= row["top1_high"]
    assert row["spearman_low"] <= 0 <= row["spearman_high"]


def test_where_too_little_is_stored_there_are_bounds_and_no_number_between_them(
    simulation: Simulation,
) -> None:
    plant_texts(simulation)
    rng = np.random.default_rng(7)
    for run in simulation.seeds(3):  # nearly uniform: most of the mass is not listed
        outputs(simulation, run, 5, model(rng, np.zeros((N, LENGTH, WORDS)), 0.01), k=1)
    archive = simulation.commit()
    one, three = output_agreement(archive, runs=["s0", "s1"]), output_agreement(archive)
    (row,) = one.table.to_pylist()
    js = {r["statistic"]: r for r in three.summary.to_pylist()}["js"]  # type: ignore[union-attr]

    assert row["js_low"] < 0.01
    assert row["js_high"] > 0.6
    assert (row["js"], row["js_null"], js["mean"]) == (None, None, None)
    assert js["least"] < 0.01 < 0.6 < js["most"]
    for answer in (one, three):
        assert math.isnan(answer.estimate)
        assert math.isnan(answer.null_mean)
        assert answer.verdict == "unresolved"
        assert "divergence between " in answer.sentence
        assert "between" in answer.sentence.split("nats")[0]
    assert "between" in three.overview()["mean"].to_pylist()[0]  # type: ignore[index]
    assert one.plot().data[0].z[0][1] == row["top1"]


def test_losses_alone_still_give_a_rank_correlation(simulation: Simulation) -> None:
    plant_texts(simulation)
    values = np.random.default_rng(3).random((N, LENGTH))
    values[:, -1] = np.nan
    for k, run in enumerate(simulation.seeds(2)):
        losses(simulation, run, 5, values * (k + 1))
    archive = simulation.commit()
    answer = output_agreement(archive)
    (row,) = answer.table.to_pylist()

    assert answer.estimate == 1.0
    assert row["n_tokens"] == 72
    assert row["js"] is None
    assert answer.unit == ""
    assert any("without divergences" in line for line in answer.limits)
    assert answer.plot().data
    with pytest.raises(UsageError, match="agreement takes 2 to 16"):
        output_agreement(archive, runs="s0")


def test_places_that_only_one_run_has_are_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    p = model(rng, np.zeros((N, LENGTH, WORDS)), 2.0)
    owner = simulation.builder.encoding(TEXT)
    simulation.builder.add(
        "content_sequence", owner, sequence=np.arange(3), document=-1, start=0, token_ids=[[1] * LENGTH] * 3
    )
    for run, n in zip(simulation.seeds(2), (8, 5), strict=True):
        outputs(simulation, run, 5, p[:n])
    (row,) = output_agreement(simulation.commit()).table.to_pylist()

    assert (row["n_tokens"], row["top1"]) == (50, 1.0)
    # without texts every sequence counts as a document of its own, also where its document is stored as none (-1)
    assert row["n_documents"] == 5
    assert row["spearman"] is None


def test_other_tokenizers_and_eval_sets_are_refused(simulation: Simulation) -> None:
    values = np.random.default_rng(5).random((N, LENGTH))
    p = model(np.random.default_rng(5), np.zeros((N, LENGTH, WORDS)), 2.0)
    for run, top, loss in (("a", TOKEN_TOP, TOKEN_LOSS), ("b", TOP_ELSEWHERE, LOSS_ELSEWHERE)):
        simulation.run(run)
        outputs(simulation, run, 5, p, quantity=top)
        losses(simulation, run, 5, values, quantity=loss)

    with pytest.raises(
        NotComparable,
        match=r"differs in eval set;.*\n.*eval_set='text: words'.*\n.*eval_set='text: other words'",
    ):
        output_agreement(simulation.commit())


def test_one_of_two_eval_sets_of_one_name_is_chosen_as_the_refusal_says(simulation: Simulation) -> None:
    values = np.random.default_rng(8).random((N, LENGTH))
    for run in simulation.seeds(2):
        for loss in (TOKEN_LOSS, LOSS_ELSEWHERE):
            losses(simulation, run, 5, values, quantity=loss)
    archive = simulation.commit()
    with pytest.raises(NotComparable, match="eval_set='text: other words'"):
        output_agreement(archive)
    assert output_agreement(archive, eval_set="text: other words").estimate == 1.0


def test_losses_are_taken_on_the_eval_set_of_the_lists(simulation: Simulation) -> None:
    values = np.random.default_rng(6).random((N, LENGTH))
    p = model(np.random.default_rng(6), np.zeros((N, LENGTH, WORDS)), 2.0)
    for run in simulation.seeds(2):
        outputs(simulation, run, 5, p)
        losses(simulation, run, 5, values)
        losses(simulation, run, 5, values[::-1] if run == "s0" else values, quantity=LOSS_ELSEWHERE)
    (row,) = output_agreement(simulation.commit()).table.to_pylist()

    assert row["spearman"] == 1.0


def test_what_was_compared_exactly_takes_the_place_of_bounds(simulation: Simulation) -> None:
    plant_texts(simulation)
    rng = np.random.default_rng(9)
    base = 2 * rng.normal(size=(N, LENGTH, WORDS))
    for run in simulation.seeds(3):
        outputs(simulation, run, 5, model(rng, base, 0.5), k=3)
    # in the other order, and of two of the three pairs
    outputs_compared(simulation, "s1", "s0", 5, js=0.02, kl=(0.3, 0.4), top1=0.9)
    outputs_compared(simulation, "s0", "s2", 5, js=0.021, kl=(0.3, 0.4))
    answer = output_agreement(simulation.commit())
    rows = {(r["run_a"], r["run_b"]): r for r in answer.table.to_pylist()}
    first, second, third = rows["s0", "s1"], rows["s0", "s2"], rows["s1", "s2"]

    assert [r["outputs"] for r in (first, second, third)] == ["all", "all", "most likely"]
    assert (first["js"], first["js_low"], first["js_high"], first["top1"]) == (0.02, 0.02, 0.02, 0.9)
    assert (first["kl_ab"], first["kl_ba"], first["kl_ab_trimmed"]) == (0.4, 0.3, 0.2)
    assert (second["kl_ab"], second["kl_ba"]) == (0.3, 0.4)
    # Student's t with 7 degrees of freedom: 8 documents
    assert first["js_ci_high"] - 0.02 == pytest.approx(2.3646 * 0.01, rel=1e-4)
    assert first["js_ci_low"] == 0
    assert first["n_documents"] == 8
    assert first["js_list_low"] < first["js_list_high"]
    assert third["js_list_low"] is None
    assert third["js_low"] < third["js_high"]
    assert any("Of 2 of 3 pairs divergences are exact" in line for line in answer.limits)
    assert any("Of 1 of 3 pairs only the most likely tokens are known" in line for line in answer.limits)
    # planted without regard to the lists, which the answer notices
    assert any("lie outside the bounds from lists (first: s0 and s1)" in line for line in answer.limits)
    assert "of all outputs" not in answer.sentence


def test_comparisons_alone_answer_and_losses_elsewhere_are_named(simulation: Simulation) -> None:
    values = np.random.default_rng(10).random((N, LENGTH))
    for run in simulation.seeds(3):
        losses(simulation, run, 5, values, quantity=LOSS_ELSEWHERE)
    for k, (a, b) in enumerate((("s0", "s1"), ("s0", "s2"), ("s1", "s2"))):
        outputs_compared(simulation, a, b, 1, js=0.5)
        outputs_compared(simulation, a, b, 5, js=0.1 + 0.01 * k, top1=0.6)
        outputs_compared(simulation, b, a, 5, js=0.1 + 0.01 * k, top1=0.6)
    archive = simulation.commit()
    answer = output_agreement(archive)
    js = {r["statistic"]: r for r in answer.summary.to_pylist()}["js"]  # type: ignore[union-attr]

    assert answer.table.num_rows == 3
    assert answer.estimate == pytest.approx(0.11)
    assert (js["least"], js["most"]) == (answer.estimate, answer.estimate)
    assert math.isnan(js["null"])
    assert (
        "3 pairs of 3 runs at step 5: mean Jensen-Shannon divergence of all outputs 0.11 nats"
        in answer.sentence
    )
    assert "same at 60% of tokens" in answer.sentence
    assert answer.ci_low < 0.11 < answer.ci_high
    assert any(
        "token_loss is there on another eval set (eval_set='text: other words')" in line
        for line in answer.limits
    )
    assert any("nothing to shuffle" in line for line in answer.limits)
    assert output_agreement(archive, step=1).estimate == pytest.approx(0.5)
    assert output_agreement(archive, eval_set="text: other words").estimate == 1.0
    pair = output_agreement(archive, runs=["s0", "s1"])
    assert (pair.estimate, pair.verdict) == (pytest.approx(0.1), None)
    with pytest.raises(UsageError, match="nearest steps are 1, 5"):
        output_agreement(archive, step=2)


def test_losses_of_the_same_checkpoints_stand_beside_comparisons(simulation: Simulation) -> None:
    values = np.random.default_rng(11).random((N, LENGTH))
    for k, run in enumerate(simulation.seeds(2)):
        losses(simulation, run, 5, values * (k + 1))
    outputs_compared(simulation, "s0", "s1", 5, js=0.1)
    (row,) = output_agreement(simulation.commit()).table.to_pylist()
    assert (row["spearman"], row["js"], row["n_tokens"]) == (1.0, 0.1, 72)


def test_what_is_read_can_be_asked_for(simulation: Simulation) -> None:
    """Lists at the last step only must not keep losses and comparisons of other steps away."""
    plant_texts(simulation)
    rng = np.random.default_rng(12)
    base, values = rng.normal(size=(N, LENGTH, WORDS)), rng.random((N, LENGTH))
    for k, run in enumerate(simulation.seeds(2)):
        outputs(simulation, run, 5, model(rng, base, 0.5))
        losses(simulation, run, 1, values if k else -values)
        losses(simulation, run, 5, values)
    outputs_compared(simulation, "s0", "s1", 1, js=0.3)
    archive = simulation.commit()

    with pytest.raises(UsageError, match="no run has token_top at step 1"):
        output_agreement(archive, step=1)
    early = output_agreement(archive, step=1, by="losses")
    assert (early.estimate, early.table.to_pylist()[0]["js"]) == (pytest.approx(-1), None)
    assert output_agreement(archive, by="losses").estimate == 1.0
    (row,) = output_agreement(archive, step=1, by="comparisons").table.to_pylist()
    assert (row["js"], row["outputs"], row["spearman"]) == (0.3, "all", pytest.approx(-1))
    assert output_agreement(archive).table.to_pylist()[0]["outputs"] == "most likely"


def test_what_is_not_there_cannot_be_asked_for(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        losses(simulation, run, 5, np.ones((N, LENGTH)))
    archive = simulation.commit()
    with pytest.raises(UsageError, match=r"holds no output_divergence.*\[compare\]"):
        output_agreement(archive, by="comparisons")
