"""smaller_beats_larger on tokens: planted leads found by category and kind, luck not, texts around, refusals."""

import math
from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UsageError
from archive.records import Encoding, Quantity
from archive.store import Archive
from queries.smaller_beats_larger import smaller_beats_larger
from tests.calibration.token_sizes import rates
from tests.queries.language import OTHER_TEXT, TOKEN_LOSS, cell, losses, plant_texts
from tests.queries.simulated import ACC, Simulation, benchmark_quantity

N, LENGTH = 60, 40
DOCUMENTS = np.arange(N) // 2
TEXTS = Encoding(
    hash="sizes",
    name="sizes",
    text_set="books",
    tokenizer="words",
    n_sequences=N,
    n_tokens=N * LENGTH,
    facts={"token_classes": {"word_start": 1, "number": 3}},
)
HERE = Quantity(measure=TOKEN_LOSS.measure, encoding=TEXTS)
BARE = Quantity(measure=TOKEN_LOSS.measure, encoding=Encoding(hash="bare", name="bare", n_tokens=N * LENGTH))
IDS = np.random.default_rng(1).integers(0, 40, size=(N, LENGTH))
NUMBERS = IDS < 8


def level(rng: np.random.Generator) -> np.ndarray:
    """Losses of one run: difficulty by token, some noise; nothing is predicted at the end."""
    values = 2 + IDS / 40 + 0.3 * rng.normal(size=IDS.shape)
    values[:, -1] = np.nan
    return values


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Three runs each: small, 0.4 better on tokens 0 to 7 (numbers) and 0.1 worse elsewhere; large; alike: as the large."""
    s = Simulation(empty_archive, tmp_path_factory.mktemp("tokens"))
    rng = np.random.default_rng(0)
    plant_texts(s)
    s.builder.add(
        "content_sequence",
        s.builder.encoding(TEXTS),
        sequence=np.arange(N),
        document=DOCUMENTS,
        start=0,
        token_ids=IDS,
        token_classes=np.where(NUMBERS, 3, 1),
        unigram_surprisal=IDS / 10.0,
    )
    ahead = np.where(np.roll(NUMBERS, -1, axis=1), -0.4, 0.1)
    for k in range(3):
        small = s.run(f"small{k}", condition="small", init_seed=k, n_params=1_000_000)
        losses(s, small, 100, level(rng) + ahead, quantity=HERE)
        losses(s, small, 10, level(rng), quantity=HERE)
        for name, n_params in (("large", 4_000_000), ("alike", 4_100_000)):
            run = s.run(f"{name}{k}", condition=name, init_seed=k, n_params=n_params)
            losses(s, run, 100, level(rng), quantity=HERE)
            losses(s, run, 10, level(rng), quantity=HERE)
    return s.commit()


SIZES = ["small?", "large?"]


def test_the_planted_category_and_tokens_are_found_and_no_others(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, runs=SIZES)
    rows = {r["slice"]: r for r in answer.table.to_pylist()}

    assert (answer.on, answer.verdict, answer.n_runs, answer.n_items) == (
        "tokens",
        "yes",
        6,
        N * (LENGTH - 1),
    )
    assert {name for name, r in rows.items() if r["found"]} == {
        "number", "commonest quarter by frequency", "chosen by other runs"
    }  # fmt: skip
    assert rows["number"]["delta"] == pytest.approx(0.4, abs=0.05)
    assert rows["number"]["ci_low"] < 0.4 < rows["number"]["ci_high"]
    assert rows["word start"]["delta"] == pytest.approx(-0.1, abs=0.03)
    assert rows["all"]["n_tokens"] == N * (LENGTH - 1)
    assert rows["all"]["delta"] == pytest.approx(rows["all"]["loss_large"] - rows["all"]["loss_small"])
    # 3 runs of 6: each of 20 namings would have as many
    assert rows["number"]["small_only"] > 0.3 > 3 * rows["word start"]["small_only"]
    assert answer.null_mean == pytest.approx(1 / 20)
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert summary["excess"] == pytest.approx(summary["small_only"] - 1 / 20)
    assert summary["excess_low"] < summary["excess"] < summary["excess_high"]
    assert (summary["n_slices"], summary["n_found"], summary["smallest_p"]) == (15, 3, 1 / 20)
    assert "better at 2 of 15 categories (q < 0.05): number" in answer.sentence
    assert any(
        "p of a token is at least 0.05 (2/252 two-sided for 5 against 5)" in line for line in answer.limits
    )


def test_kinds_of_token_hold_in_the_other_half_and_found_differences_shrink(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, runs=SIZES, top=40)
    assert answer.kinds is not None
    rows = answer.kinds.to_pylist()
    (summary,) = answer.summary.to_pylist()  # type: ignore[union-attr]

    assert set(range(8)) <= {r["token_id"] for r in rows if r["replicated"]}
    assert {r["token"] for r in rows if r["replicated"]} >= {f" w{i}" for i in range(8)}
    assert [r["found"] for r in rows] == sorted((r["found"] for r in rows), reverse=True)
    assert rows[0]["found"] > rows[0]["shrunk"] > 0
    # a lead that is there in full, of some kinds of token, hardly shrinks
    assert summary["kinds_found"] == pytest.approx(0.4, abs=0.05)
    assert summary["kinds_held_out"] == pytest.approx(0.4, abs=0.05)
    assert summary["runs_found"] > summary["runs_held_out"] > summary["runs_low"] > 0
    assert summary["n_replicated"] <= summary["n_chosen"] < summary["n_kinds"]
    # in more kinds of token the large are better, which counts as another naming of the runs
    assert summary["p_replicated"] == 2 / 20
    assert 0.5 < summary["slope"] <= 1.1


def test_places_are_shown_with_their_text(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, runs=SIZES, window=2, top=5)
    assert answer.places is not None
    rows = answer.places.to_pylist()
    first = rows[0]

    assert len(rows) == 5
    assert [r["separation"] for r in rows] == sorted((r["separation"] for r in rows), reverse=True)
    s, p = first["sequence"], first["position"]
    assert first["token_id"] == IDS[s, p + 1]
    assert first["token"] == f" w{IDS[s, p + 1]}"
    assert first["before"].endswith(f" w{IDS[s, p]}")
    assert "number" in first["categories"]
    assert first["delta"] == pytest.approx(first["loss_large"] - first["loss_small"])
    assert 0 < first["separation"] < first["delta"]
    assert first["document"] == f"book {DOCUMENTS[s]}" or first["document"] == f"document {DOCUMENTS[s]}"


def test_told_sizes_that_are_alike_are_not_told_apart(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, small=("alike?",), large=("large?",), step=100)

    assert (answer.on, answer.verdict) == ("tokens", "unresolved")
    assert not any(answer.table["found"].to_pylist())
    assert answer.q_value > 0.05
    early = smaller_beats_larger(archive, small=("small?",), large=("large?",), step=10)
    assert early.verdict == "unresolved"
    with pytest.raises(UsageError, match="at step 50; the nearest steps are"):
        smaller_beats_larger(archive, on="tokens", step=50)


def test_the_reverse_is_no_where_the_large_are_better_everywhere(simulation: Simulation) -> None:
    rng = np.random.default_rng(3)
    for k in range(4):
        for name, worse in (("small", 0.6), ("large", 0.0)):
            run = simulation.run(f"{name}{k}", condition=name, n_params=10**6 * (1 + 3 * (name == "large")))
            losses(simulation, run, 1, level(rng) + worse, quantity=BARE)
    answer = smaller_beats_larger(simulation.commit())

    assert answer.verdict == "no"
    assert answer.table["ci_high"][0].as_py() < 0
    assert any("cannot sort these tokens by class, rarity, repeated" in line for line in answer.limits)
    assert any("no texts of this eval set" in line for line in answer.limits)
    assert any("a share below chance does not show" in line for line in answer.limits)
    assert answer.kinds is not None
    assert answer.kinds.num_rows == 0
    assert answer.plot().data


def test_few_runs_give_no_verdict_and_say_so(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, small=("small0", "small1"), large=("large?",))
    lone = smaller_beats_larger(archive, small=("small0",), large=("large0",))

    assert answer.verdict == lone.verdict == "unresolved"
    assert lone.null_mean == pytest.approx(0.5)
    assert {r["slice"] for r in answer.table.to_pylist() if r["found"]} >= {"number"}
    assert any("Fewer than 3 runs of a size" in line for line in answer.limits)
    assert lone.table["delta"].to_pylist()[-1] is None


def test_tokens_that_not_all_runs_have_are_left_out(simulation: Simulation) -> None:
    rng = np.random.default_rng(4)
    for k in range(3):
        for name in ("small", "large"):
            values = level(rng)
            values[k, :] = np.nan
            short = slice(0, N - 3 * (k == 2))
            run = simulation.run(f"{name}{k}", condition=name, n_params=10**6 * (1 + 3 * (name == "large")))
            owner, q = cell(simulation, run, BARE, 1)
            simulation.builder.add("fact_token", owner, q, sequence=np.arange(N)[short], values=values[short])
    nothing = simulation.run("empty", condition="small", n_params=10**6)
    losses(simulation, nothing, 1, np.full((N, LENGTH), np.nan), quantity=BARE)
    archive = simulation.commit()
    answer = smaller_beats_larger(archive, runs=SIZES)

    assert answer.n_items == (N - 3 - 3) * (LENGTH - 1)
    with pytest.raises(UsageError, match="no finite token_loss of one token in common"):
        smaller_beats_larger(archive)


def test_other_tokens_and_unknown_sizes_are_refused(simulation: Simulation) -> None:
    rng = np.random.default_rng(5)
    other = Quantity(measure=TOKEN_LOSS.measure, encoding=OTHER_TEXT)
    for run, quantity in (("a-1m", HERE), ("b-4m", other)):
        losses(simulation, simulation.run(run), 1, level(rng), quantity=quantity)
    for k in range(5):
        losses(simulation, simulation.run(f"x{k}"), 1, level(rng), quantity=HERE)
    archive = simulation.commit()

    with pytest.raises(NotComparable, match="differs in eval set"):
        smaller_beats_larger(archive, runs=["a-1m", "b-4m"])
    with pytest.raises(NotComparable, match=r"the size of 5 runs \(x0, x1, x2 and 2 more\)"):
        smaller_beats_larger(archive, runs=["a-1m", "x?"])
    with pytest.raises(UsageError, match="told together"):
        smaller_beats_larger(archive, small=("a-1m",))


def test_more_runs_than_can_be_named_are_refused(simulation: Simulation) -> None:
    for k in range(63):
        run = simulation.run(f"r{k}", condition=f"c{k % 2}", n_params=10 ** (6 + k % 2))
        losses(simulation, run, 1, np.ones((1, 2)) * k, quantity=BARE)
    with pytest.raises(UsageError, match=r"63 runs of two sizes; expected at most 62.*--small"):
        smaller_beats_larger(simulation.commit())


def test_each_form_takes_its_own_parameters(archive: Archive, simulation: Simulation) -> None:
    with pytest.raises(UsageError, match=r"metric='ppl' is of on='benchmarks', but this asks on='tokens'"):
        smaller_beats_larger(archive, on="tokens", metric="ppl")
    with pytest.raises(UsageError, match=r"fdr=0.1 is of on='tokens', but this asks on='benchmarks'"):
        smaller_beats_larger(archive, on="benchmarks", fdr=0.1)
    for run, size in (("a", 10**6), ("b", 10**7)):
        simulation.run(run, condition=run, n_params=size)
        simulation.benchmark(run, benchmark_quantity(ACC, "task", 0), 1, 0.5, se=0.01)
        losses(simulation, run, 1, level(np.random.default_rng(size)), quantity=BARE)
    both = simulation.commit()
    assert smaller_beats_larger(both).on == "benchmarks"
    assert smaller_beats_larger(both, on="tokens").on == "tokens"
    assert smaller_beats_larger(both, margin=0.1).on == "tokens"
    assert smaller_beats_larger(both, small=("a",), large=("b",)).on == "tokens"


def test_a_lead_that_is_not_there_is_seldom_found_and_one_that_is_mostly() -> None:
    assert rates(3, 3, "alike", 100)[0] <= 0.12
    assert rates(3, 3, "runs differ in classes", 100)[0] <= 0.12
    assert rates(5, 5, "small better by 0.3 in one class", 20)[0] >= 0.8


def test_it_is_drawn_and_printed_in_short(archive: Archive) -> None:
    answer = smaller_beats_larger(archive, runs=SIZES)
    figure = answer.plot()
    overview = answer.overview()

    assert figure.layout.xaxis2.title.text == "found in one half [nats]"
    categories, kinds = figure.data[0], figure.data[1]
    assert len(categories.x) == answer.table.num_rows
    assert len(kinds.x) == answer.kinds.num_rows  # type: ignore[union-attr]
    assert overview is not None
    assert overview["found"].to_pylist()[:3] == ["yes"] * 3
    assert math.isfinite(answer.estimate)
