"""per_token_delta: planted differences by kind of token, which checkpoints are taken, texts, refusals."""

import math
from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Encoding, Quantity
from archive.store import Archive
from queries.per_token_delta import per_token_delta, sequence_text
from queries.reading.select import ALL_RUNS
from tests.queries.language import OTHER_TEXT, TOKEN_LOSS, losses, plant_texts
from tests.queries.simulated import Simulation, kept_open

LENGTH, N = 40, 60
KINDS = Encoding(
    hash="kinds",
    name="kinds",
    text_set="books",
    tokenizer="words",
    n_sequences=N,
    n_tokens=N * LENGTH,
    facts={"token_classes": {"word_start": 1, "number": 3, "punctuation": 4}},
)
HERE = Quantity(measure=TOKEN_LOSS.measure, encoding=KINDS)
OLDER = Quantity(measure=TOKEN_LOSS.measure.model_copy(update={"version": 2}), encoding=KINDS)
CLASSES = np.random.default_rng(0).choice([1, 3, 4], size=(N, LENGTH), p=[0.7, 0.2, 0.1])


def plant_kinds(s: Simulation) -> None:
    """Two sequences a document; the ids are those of `plant_texts`, and rarer the higher."""
    plant_texts(s)
    ids = np.random.default_rng(1).integers(0, 40, size=(N, LENGTH))
    s.builder.add(
        "content_sequence",
        s.builder.encoding(KINDS),
        sequence=np.arange(N),
        document=np.arange(N) // 2,
        start=0,
        token_ids=ids,
        token_classes=CLASSES,
        unigram_surprisal=ids / 10.0,
    )


def planted(simulation: Simulation) -> Archive:
    """B is 0.1 worse everywhere and 0.6 worse on numbers; documents have a part of their own."""
    s = simulation
    plant_kinds(s)
    rng = np.random.default_rng(2)
    base = 3 + rng.random((N, LENGTH))
    base[:, -1] = np.nan  # nothing is predicted there
    own = 0.1 * np.repeat(rng.normal(size=N // 2), 2)[:, None]
    after = base + 0.1 + own + 0.05 * rng.normal(size=base.shape)
    after[:, :-1] += 0.5 * (CLASSES[:, 1:] == 3)
    s.run("a", init_seed=0)
    losses(s, "a", 0, base, quantity=HERE)
    losses(s, "a", 10, base, quantity=HERE)
    losses(s, "a", 100, after, quantity=HERE)
    return s.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_a_planted_kind_differs_from_the_others_and_everything_from_nothing(archive: Archive) -> None:
    answer = per_token_delta(archive)
    rows = {r["slice"]: r for r in answer.table.to_pylist()}

    assert list(rows) == ["all", "word start", "number", "punctuation"]
    assert (rows["all"]["n_tokens"], rows["all"]["n_documents"]) == (N * (LENGTH - 1), N // 2)
    assert rows["number"]["beyond"] == pytest.approx(0.5, abs=0.03)
    assert [name for name, r in rows.items() if (r["beyond_q"] or 1) < 1e-6 and r["beyond"] > 0] == ["number"]
    assert all(r["q_value"] < 0.05 for name, r in rows.items() if name != "all")
    assert rows["word start"]["ci_low"] < 0.1 < rows["word start"]["ci_high"]
    assert answer.ci_low < answer.estimate == rows["all"]["mean_delta"] < answer.ci_high
    assert rows["all"]["loss_b"] - rows["all"]["loss_a"] == pytest.approx(answer.estimate)
    assert answer.ci_method == "Student t over documents"
    assert answer.n_items == N * (LENGTH - 1)
    assert "a from step 0 to 100: the loss changes by 0.19" in answer.sentence
    assert any("nothing of other seeds" in line for line in answer.limits)


def test_slices_by_rarity_and_place_and_the_parts_of_the_whole(archive: Archive) -> None:
    answer = per_token_delta(archive, slices=("rarity", "position"))
    rows = answer.table.to_pylist()
    (whole,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    by = {kind: [r for r in rows if r["slice_by"] == kind] for kind in ("rarity", "position")}

    assert [len(v) for v in by.values()] == [4, 6]
    for part in by.values():
        assert sum(r["n_tokens"] for r in part) == whole["n_tokens"]
        total = sum(r["n_tokens"] * r["mean_delta"] for r in part)
        assert total / whole["n_tokens"] == pytest.approx(whole["mean_delta"])
    assert [r["slice"] for r in by["position"]][:3] == [
        "after 1 token",
        "after 2–3 tokens",
        "after 4–7 tokens",
    ]
    assert whole["n_slices"] == 10
    assert sum(answer.histogram["count"].to_pylist()) == whole["n_tokens"]
    assert sum(answer.sequences["n_tokens"].to_pylist()) == whole["n_tokens"]
    assert whole["share_top1pct"] < 0.1


def test_the_largest_come_with_their_words(archive: Archive) -> None:
    rows = per_token_delta(archive, top=3, window=2).largest.to_pylist()
    worse = [r for r in rows if r["direction"] == "worse"]

    assert [r["rank"] for r in worse] == [1, 2, 3]
    assert [r["delta"] for r in worse] == sorted((r["delta"] for r in worse), reverse=True)
    assert all(r["delta"] < 0 for r in rows if r["direction"] == "better")
    for r in worse:
        assert CLASSES[r["sequence"], r["position"] + 1] == 3
        assert r["token"] == f" w{r['token_id']}"
        assert r["before"].count("w") <= 3
        assert r["delta"] == pytest.approx(r["loss_b"] - r["loss_a"])


def test_a_text_has_each_token_beside_the_losses_of_its_own_prediction(archive: Archive) -> None:
    answer = per_token_delta(archive, sequence=5)
    rows = answer.text.to_pylist()
    (whole,) = [r for r in answer.sequences.to_pylist() if r["sequence"] == 5]

    assert len(rows) == LENGTH
    assert (rows[0]["loss_a"], rows[0]["token"] is None) == (None, False)
    assert rows[0]["document"] == "book 2"
    assert np.mean([r["delta"] for r in rows[1:]]) == pytest.approx(whole["mean_delta"])
    assert max((r["delta"] for r in rows[1:]), key=abs) == pytest.approx(whole["largest_delta"])
    assert not per_token_delta(archive, sequence=10_000).text.num_rows
    alone = sequence_text(archive, runs=ALL_RUNS, ends=("a", 0, "a", 100), sequence=5, which={})
    assert alone.equals(answer.text)


def test_steps_and_runs_are_taken_as_asked(simulation: Simulation) -> None:
    plant_texts(simulation)
    simulation.seeds(2)
    for run, shift in (("s0", 0.0), ("s1", 1.0)):
        for step in (1, 4):
            losses(simulation, run, step, np.full((8, 10), 5.0 + shift - step))
    archive = simulation.commit()

    def change(**asked: object) -> float:
        return per_token_delta(archive, **asked).estimate  # type: ignore[arg-type]

    assert change() == -3.0
    assert change(runs="s1", step_a="final", step_b="first") == 3.0
    assert change(run_a="s0", run_b="s1") == 1.0  # the last of each
    assert change(run_a="s0", run_b="s1", step_a=1) == -2.0
    assert change(run_b="s1") == -3.0
    both = per_token_delta(archive)
    assert (both.n_runs, both.summary.num_rows) == (2, 2)  # type: ignore[union-attr]
    assert both.ci_method == "Student t over runs"
    with pytest.raises(UsageError, match="at step 3; the nearest steps are 4, 1"):
        change(step_b=3)
    with pytest.raises(UsageError, match="the same checkpoint"):
        change(runs="s0", step_a="final")


def test_an_answer_that_is_not_in_the_text_comes_after_it(simulation: Simulation) -> None:
    s = simulation
    plant_texts(s)
    encoding = s.builder.encoding(TOKEN_LOSS.encoding)
    s.builder.add("content_item", encoding, item=0, sequence=0, position=9, correct_ids=[[33]])
    values = np.full((8, 10), np.nan)
    values[:, 9] = 2.0
    s.run("a")
    losses(s, "a", 0, values)
    losses(s, "a", 1, values - 1)
    answer = per_token_delta(s.commit(), sequence=0)
    last = answer.text.to_pylist()[-1]

    assert answer.n_items == 8
    assert (last["place"], last["token"], last["delta"]) == (10, " w33", -1.0)
    assert math.isclose(answer.estimate, -1.0)
    assert {r["sequence"]: r["token"] for r in answer.largest.to_pylist()}[0] == " w33"


def test_other_eval_sets_and_versions_are_refused(simulation: Simulation) -> None:
    values = np.ones((8, 10))
    simulation.seeds(3)
    losses(simulation, "s0", 0, values)
    losses(simulation, "s1", 0, values, quantity=Quantity(measure=TOKEN_LOSS.measure, encoding=OTHER_TEXT))
    newer = TOKEN_LOSS.measure.model_copy(update={"version": 2})
    losses(simulation, "s2", 0, values, quantity=Quantity(measure=newer, encoding=TOKEN_LOSS.encoding))
    archive = simulation.commit()

    with pytest.raises(NotComparable, match="eval_set='text: words'"):
        per_token_delta(archive, run_a="s0", run_b="s1")
    with pytest.raises(NotComparable, match="no version of token_loss is complete"):
        per_token_delta(archive, run_a="s0", run_b="s2")


def test_without_texts_and_with_suspect_checkpoints(simulation: Simulation) -> None:
    simulation.run("a")
    for step in (0, 5):
        losses(simulation, "a", step, np.full((3, 4), 4.0 - step / 3))
    broken = {"integrity": "defect", "integrity_note": "copied twice"}
    owner, q = simulation._cell("a", TOKEN_LOSS, 9, broken)
    simulation.builder.add("fact_token", owner, q, sequence=np.arange(3), values=np.ones((3, 4)))
    archive = simulation.commit()
    answer = per_token_delta(archive, sequence=1)

    assert answer.summary.to_pylist()[0]["step_b"] == 5  # type: ignore[union-attr]
    assert any("1 checkpoint(s) left out as suspect" in line for line in answer.limits)
    assert any("places without text" in line for line in answer.limits)
    assert answer.text["token"].null_count == answer.text.num_rows
    assert answer.summary.to_pylist()[0]["n_documents"] == 3  # type: ignore[union-attr]
    used = per_token_delta(archive, with_suspect=True)
    assert "a at step 9 is a suspect checkpoint (defect: copied twice)." in used.limits
