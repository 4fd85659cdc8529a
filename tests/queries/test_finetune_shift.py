"""finetune_shift: planted forgetting and transfer, shapes of damage, where runs began, refusals."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Checkpoint, Encoding, Quantity
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.finetune_shift import FinetuneShift, finetune_shift
from queries.stats.concentration import gini
from tests.queries.language import (
    OTHER_TEXT,
    TOKEN_LOSS,
    head_scores,
    losses,
    neuron_top,
    plant_texts,
)
from tests.queries.simulated import Simulation, kept_open

NEW = Encoding(hash="new text", name="new", text_set="books", tokenizer="words", n_sequences=8, n_tokens=80)
ON_NEW = Quantity(measure=TOKEN_LOSS.measure, encoding=NEW)
ELSEWHERE = Quantity(measure=TOKEN_LOSS.measure, encoding=OTHER_TEXT)
BASE = 2 + np.random.default_rng(0).random((8, 10))
JITTER = 0.1 * np.random.default_rng(1).normal(size=(8, 10))
TINY = 1e-4 * np.random.default_rng(2).normal(size=(8, 10))


def base_run(s: Simulation, name: str = "base", **fields: Any) -> None:
    plant_texts(s)
    s.run(name, init_seed=0, condition="base", **fields)
    for step, values in ((90, BASE + JITTER), (100, BASE)):
        losses(s, name, step, values)
        losses(s, name, step, values + 1.0, quantity=ON_NEW)


def tuned_run(
    s: Simulation,
    name: str,
    old: np.ndarray,
    new: np.ndarray,
    *,
    steps: tuple[int, ...] = (4, 8),
    **fields: Any,
) -> None:
    """Losses grow towards old and new; the first step is half way."""
    s.run(name, parent_run="base", condition="tuned", **fields)
    for step in steps:
        share = step / max(steps)
        losses(s, name, step, BASE + share * old)
        losses(s, name, step, BASE + 1.0 + share * new, quantity=ON_NEW)


def rows(answer: FinetuneShift) -> dict[str, dict[str, Any]]:
    """The summary by eval set."""
    return {r["eval_set"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]


def planted(simulation: Simulation) -> Archive:
    """Two tuned runs, 0.3 and 0.34 nats worse on every token of the old text, 0.5 better on the new."""
    base_run(simulation)
    for k in range(2):
        tuned_run(simulation, f"tuned-{k}", 0.3 + 0.002 * k + TINY, -0.5 + 0.002 * k + TINY)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_what_is_planted_is_forgotten_and_gained(archive: Archive) -> None:
    answer = finetune_shift(archive, original=("text",))
    found = rows(answer)
    assert found["text"]["mean_delta"] == pytest.approx(0.301, abs=1e-3)
    assert (found["text"]["forgets"], found["text"]["transfers"]) == ("yes", "no")
    assert found["new"]["mean_delta"] == pytest.approx(-0.499, abs=1e-3)
    assert (found["new"]["forgets"], found["new"]["transfers"]) == ("no", "yes")
    assert (answer.verdict, answer.n_runs) == ("yes", 3)
    assert found["text"]["n_runs"] == 2
    assert found["text"]["ci_low"] < 0.301 < found["text"]["ci_high"]
    assert "on new the loss falls by 0.499 nats" in answer.sentence
    assert "gained; on text the loss rises" in answer.sentence
    assert any("go on from one base" in line for line in answer.limits)
    assert finetune_shift(archive).verdict is None  # nobody said which text is the old one
    assert finetune_shift(archive, original=("new",)).verdict == "no"


def test_a_constant_shift_is_not_concentrated_and_its_yardstick_is_noise(archive: Archive) -> None:
    for row in finetune_shift(archive, runs="tuned-0").table.to_pylist():
        assert row["gini"] == pytest.approx(0.0, abs=1e-3)
        assert row["share_top1pct"] == pytest.approx(0.01, abs=1e-4)
        assert row["near_gini"] == pytest.approx(gini(JITTER.ravel()), abs=1e-4)
        assert row["near_mean_delta"] == pytest.approx(float(-JITTER.mean()), abs=1e-5)
        assert (row["near_step_a"], row["near_step_b"]) == (90, 100)
        assert (row["worse"], row["better"]) in ((1.0, 0.0), (0.0, 1.0))


def test_heavy_tails_with_the_same_mean_are(simulation: Simulation) -> None:
    base_run(simulation)
    heavy = np.zeros((8, 10))
    heavy[:, 3] = 3.0
    tuned_run(simulation, "tuned", heavy, heavy * 0)
    found = {r["eval_set"]: r for r in finetune_shift(simulation.commit()).table.to_pylist()}
    assert found["text"]["mean_delta"] == pytest.approx(0.3)
    assert found["text"]["gini"] == pytest.approx(0.9, abs=1e-3)
    assert found["text"]["share_top1pct"] == pytest.approx(0.1, abs=1e-3)
    assert found["new"]["gini"] is None  # nothing changed there


def test_a_change_within_the_margin_is_none(simulation: Simulation) -> None:
    base_run(simulation)
    for k in range(3):
        tuned_run(simulation, f"t{k}", 0.001 * k + TINY, JITTER * 3)
    found = rows(finetune_shift(simulation.commit()))
    assert (found["text"]["forgets"], found["text"]["transfers"]) == ("no", "no")
    assert (found["new"]["forgets"], found["new"]["transfers"]) == ("unresolved", "unresolved")


def test_runs_that_disagree_leave_it_open(simulation: Simulation) -> None:
    """Every document says yes in each run, and the runs say different things: documents do not stand for runs."""
    base_run(simulation)
    for k, shift in enumerate((0.5, -0.4)):
        tuned_run(simulation, f"t{k}", shift + TINY, shift + TINY)
    archive = simulation.commit()
    assert {r["forgets"] for r in rows(finetune_shift(archive)).values()} == {"unresolved"}
    assert rows(finetune_shift(archive, runs="t0"))["text"]["forgets"] == "yes"
    one = finetune_shift(archive, runs="t0", eval_sets=("text",))
    assert one.ci_method == "Student t over documents"
    assert any("says nothing of tuning again" in line for line in one.limits)
    assert one.estimate == pytest.approx(0.5, abs=1e-3)


def test_the_curve_rises_with_training(archive: Archive) -> None:
    answer = finetune_shift(archive, runs="tuned-0", eval_sets=("text",))
    curve = [(r["at"], pytest.approx(r["mean_delta"], abs=1e-3)) for r in answer.curve.to_pylist()]
    assert curve == [(4, 0.15), (8, 0.3)]
    early = finetune_shift(archive, runs="tuned-0", eval_sets=("text",), step=4)
    assert early.estimate == pytest.approx(0.15, abs=1e-3)
    assert early.curve.num_rows == 1
    assert len(answer.plot().data) == 2


def test_a_run_is_compared_with_the_checkpoint_whose_weights_it_began_with(simulation: Simulation) -> None:
    s = simulation
    base_run(s)
    s.run("early", parent_run="base")
    owner, q = s._cell("early", TOKEN_LOSS, 1, {"weights_hash": "w90"})
    s.builder.add("fact_token", owner, q, sequence=np.arange(8), values=BASE + JITTER)
    losses(s, "early", 5, BASE + JITTER + 0.4)
    s.run("shallow", parent_run="base")
    for step in (0, 5):
        losses(s, "shallow", step, BASE + step / 10)
    s.run("unknown", parent_run="base")
    losses(s, "unknown", 5, BASE + 0.2)
    s.run("hashed", parent_run="base", init_hash="w90")
    losses(s, "hashed", 5, BASE + JITTER + 0.1)
    archive = s.commit()
    # hashes are of checkpoints that are there already
    archive = _with_hash(archive, s, 90, "w90")
    told = {r["run_b"]: r for r in finetune_shift(archive, eval_sets=("text",)).table.to_pylist()}
    assert {run: (r["run_a"], r["step_a"], round(r["mean_delta"], 3)) for run, r in told.items()} == {
        "early": ("base", 90, 0.4),
        "shallow": ("shallow", 0, 0.5),
        "unknown": ("base", 100, 0.2),
        "hashed": ("base", 90, 0.1),
    }
    assert told["early"]["near_step_a"] is None  # there is no checkpoint before the 90th
    limits = finetune_shift(archive, runs="unknown", eval_sets=("text",)).limits
    assert any("where it really began was not recorded" in line for line in limits)
    asked = finetune_shift(archive, runs="unknown", eval_sets=("text",), base_step=90).table.to_pylist()[0]
    assert asked["step_a"] == 90
    with pytest.raises(UsageError, match=r"base has none at step 95 \(nearest: 90, 100\)"):
        finetune_shift(archive, runs="unknown", base_step=95)


def _with_hash(archive: Archive, s: Simulation, step: int, hash_: str) -> Archive:
    """The same with the hash of the base's weights, which a later measurement brings."""
    s.builder.run(s.runs["base"])
    s.builder.checkpoint(Checkpoint(run="base", step=step, weights_hash=hash_))
    return s.commit()


def test_components_and_neurons_are_counted_where_they_are_measured(simulation: Simulation) -> None:
    s = simulation
    base_run(s)
    tuned_run(s, "tuned", TINY + 0.3, TINY)
    before = np.array([[0.5, 0.4], [0.0, 0.6]])
    head_scores(s, "base", 100, {"dla": before}, se=0.01)
    head_scores(s, "tuned", 8, {"dla": np.array([[1.0, 0.4], [0.7, 0.05]])}, se=0.01)
    for unit, (first, second) in enumerate((((0, 0, 1.0), (0, 0, 1.0)), ((1, 0, 1.0), (2, 0, 1.0)))):
        neuron_top(s, "base", 100, [first], unit=unit)
        neuron_top(s, "tuned", 8, [second], unit=unit)
    archive = s.commit()
    components, tops = finetune_shift(archive, neurons=True).inside.to_pylist()
    assert [components[name] for name in ("changed", "new", "lost", "unchanged")] == [1, 1, 1, 1]
    assert (tops["n_neurons"], tops["neurons_kept"], tops["neurons_replaced"]) == (2, 0.5, 0.5)
    assert "of 4 components (effects on ioi) 1 is new" in finetune_shift(archive).sentence
    assert not finetune_shift(archive, components=False).inside.num_rows
    earlier = finetune_shift(archive, step=4, neurons=True)
    assert not earlier.inside.num_rows
    assert any("Components are not counted" in line for line in earlier.limits)
    assert any("Neurons are not counted" in line for line in earlier.limits)


def test_without_a_lineage_it_is_refused(simulation: Simulation) -> None:
    base_run(simulation)
    simulation.run("orphan", parent_run="run nobody has")
    losses(simulation, "orphan", 8, BASE)
    archive = simulation.commit()
    with pytest.raises(
        UsageError, match=r"none of the 1 runs asked for goes on from another one \(parent_run\)"
    ):
        finetune_shift(archive, runs="base")
    with pytest.raises(UsageError, match="orphan goes on from 'run nobody has', which is no run"):
        finetune_shift(archive)
    with pytest.raises(UnknownName, match="no run 'bass'; did you mean"):
        finetune_shift(archive, base="bass")


def test_the_base_need_not_be_asked_for_and_may_be_chosen(simulation: Simulation) -> None:
    base_run(simulation)
    tuned_run(simulation, "tuned", TINY + 0.3, TINY)
    simulation.run("further", parent_run="tuned", condition="further")
    losses(simulation, "further", 8, BASE + 0.8)
    archive = simulation.commit()
    alone = finetune_shift(archive, runs="tuned")
    assert (alone.n_runs, alone.provenance.runs) == (2, ("base", "tuned"))
    assert {r["base"] for r in finetune_shift(archive).table.to_pylist()} == {"base", "tuned"}
    second = finetune_shift(archive, base="tuned").table.to_pylist()
    assert [(r["run_a"], r["step_a"], r["run_b"]) for r in second] == [("tuned", 8, "further")]
    assert second[0]["mean_delta"] == pytest.approx(0.5, abs=1e-3)


def test_an_excluded_base_is_used_only_when_asked_for(simulation: Simulation) -> None:
    base_run(simulation)
    tuned_run(simulation, "tuned", TINY + 0.3, TINY)
    archive = simulation.commit()
    exclude(archive.layout, "base", "diverged")
    with pytest.raises(
        UsageError, match=r"tuned goes on from base, which is excluded \(diverged\).*excluded:too"
    ):
        finetune_shift(archive, runs="tuned")
    assert finetune_shift(archive, runs=["*", "excluded:too"]).n_runs == 2


def test_eval_sets_must_be_the_same_tokens(simulation: Simulation) -> None:
    s = simulation
    plant_texts(s)
    s.run("base")
    losses(s, "base", 100, BASE)
    s.run("tuned", parent_run="base")
    losses(s, "tuned", 8, BASE, quantity=ELSEWHERE)
    archive = s.commit()
    with pytest.raises(NotComparable, match="no eval set has token_loss of both tuned and base"):
        finetune_shift(archive)
    losses(s, "tuned", 8, BASE + 0.1)
    both = s.commit()
    answer = finetune_shift(both)
    assert answer.estimate == pytest.approx(0.1, abs=1e-6)
    assert any("Not used, because no tuned run and its base both have it" in line for line in answer.limits)
    with pytest.raises(UnknownName, match="no eval set with token_loss of these runs 'novels'"):
        finetune_shift(both, eval_sets=("novels",))


def test_nothing_to_compare_is_said(simulation: Simulation) -> None:
    s = simulation
    base_run(s)
    s.run("only-start", parent_run="base")
    losses(s, "only-start", 0, BASE)
    s.run("bare", parent_run="base")
    archive = s.commit()
    with pytest.raises(UsageError, match="only-start has no checkpoint after step 0"):
        finetune_shift(archive, runs="only-start")
    with pytest.raises(NotComparable, match="no eval set has token_loss of both bare and base"):
        finetune_shift(archive, runs="bare")


def test_losses_that_are_not_finite_are_not_counted(simulation: Simulation) -> None:
    s = simulation
    base_run(s)
    s.run("tuned", parent_run="base")
    hole = np.full((8, 10), 0.3)
    hole[0, 0] = math.nan
    losses(s, "tuned", 4, BASE + hole)
    losses(s, "tuned", 8, BASE + 0.3)
    losses(s, "tuned", 9, BASE * math.nan)
    archive = s.commit()
    answer = finetune_shift(archive, step=8)
    assert [(r["at"], round(r["mean_delta"], 3)) for r in answer.curve.to_pylist()] == [(8, 0.3)]
    assert any("1 checkpoint of curves left out" in line for line in answer.limits)
    with pytest.raises(UsageError, match="no token of text has a finite loss at both"):
        finetune_shift(archive, eval_sets=("text",))


def test_suspect_checkpoints_are_no_start(simulation: Simulation) -> None:
    s = simulation
    base_run(s)
    owner, q = s._cell("base", TOKEN_LOSS, 110, {"integrity": "defect", "integrity_note": "zeros"})
    s.builder.add("fact_token", owner, q, sequence=np.arange(8), values=BASE * 0)
    tuned_run(s, "tuned", TINY + 0.3, TINY)
    archive = s.commit()
    answer = finetune_shift(archive, eval_sets=("text",))
    assert answer.table.to_pylist()[0]["step_a"] == 100
    assert any("left out as suspect (defect)" in line for line in answer.limits)
    assert (
        finetune_shift(archive, eval_sets=("text",), with_suspect=True).table.to_pylist()[0]["step_a"] == 110
    )
