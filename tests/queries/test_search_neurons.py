"""search_neurons: planted neurons are found and dated, chance is not, texts are data, and what is missing is said."""

from pathlib import Path

import numpy as np
import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.records import Encoding, Quantity, TextSet, Tokenizer
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.reading.text_matches import spell
from queries.search_neurons import SearchNeurons, search_neurons
from queries.stats.multiple import benjamini_hochberg
from tests.queries.language import NEURON_TOP, OTHER_TEXT, cell, neuron_top, plant_texts
from tests.queries.simulated import LOSS_HERE, Simulation

LETTERS = Tokenizer(hash="letters", name="letters", n_vocab=8)
PAGES = TextSet(hash="pages", name="pages", n_documents=40)
WRITTEN = Encoding(
    hash="written", name="written", text_set="pages", tokenizer="letters", n_sequences=80, n_tokens=1600
)
TOP = Quantity(**{**NEURON_TOP.model_dump(), "encoding": WRITTEN, "params": {"k": 10}})
VOCABULARY = ("<s>", "a", "b", " a", "%_", "'\"", "<b>", "Ab")
N_SEQUENCES, LENGTH, K = 80, 20, 10
TARGET = 4  # "%_"


def written(seed: int = 0) -> np.ndarray:
    """(sequence, position): two sequences a document; the start token first; the target twice as often in even documents."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, len(VOCABULARY), (N_SEQUENCES, LENGTH))
    rare = (ids == TARGET) & ((np.arange(N_SEQUENCES) // 2) % 2 == 1)[:, None] & (rng.random(ids.shape) < 0.5)
    ids[rare] = 1
    ids[:, 0] = 0
    return ids


def plant_written(s: Simulation, ids: np.ndarray) -> None:
    b = s.builder
    words = b.tokenizer(LETTERS)
    n = np.arange(len(VOCABULARY))
    b.add("content_vocab", words, token_id=n, text=list(VOCABULARY), special=(n == 0).tolist())
    texts = b.text_set(PAGES)
    b.add(
        "content_document", texts, document=np.arange(40), name=[f"page {k}" for k in range(40)], sha256="-"
    )
    encoding = b.encoding(WRITTEN)
    rows = np.arange(N_SEQUENCES)
    b.add("content_sequence", encoding, sequence=rows, document=rows // 2, start=0, token_ids=ids)


def plant_tops(
    s: Simulation,
    run: str,
    step: int,
    rng: np.random.Generator,
    ids: np.ndarray,
    on: dict[int, int],
    n_units: int = 30,
    **checkpoint: str,
) -> None:
    """Random places, one a document; unit -> how many of its examples are moved to the target."""
    owner, q = s._cell(run, TOP, step, checkpoint)
    sequences = np.stack([2 * rng.permutation(40)[:K] + rng.integers(0, 2, K) for _ in range(n_units)])
    positions = rng.integers(0, LENGTH, (n_units, K))
    for unit, n in on.items():
        holding = [(r, x) for r, x in enumerate(sequences[unit]) if (ids[x] == TARGET).any()][:n]
        for rank, sequence in holding:
            positions[unit, rank] = np.flatnonzero(ids[sequence] == TARGET)[0]
    s.builder.add(
        "fact_neuron_top",
        owner,
        q,
        layer=0,
        unit=np.arange(n_units),
        sequences=sequences,
        positions=positions,
        values=np.tile(np.linspace(5, 1, K), (n_units, 1)),
    )


@pytest.fixture(scope="module")
def planted(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Unit 3 of each run fires on the target from step 100 on, and once at step 1, which is lost again."""
    simulation = Simulation(empty_archive, tmp_path_factory.mktemp("search"))
    ids = written()
    plant_written(simulation, ids)
    for k, run in enumerate(simulation.seeds(2)):
        rng = np.random.default_rng(k)
        for step, n in ((1, 8), (10, 0), (100, 8), (1000, 8)):
            plant_tops(simulation, run, step, rng, ids, {3: n} if n else {})
    return simulation.commit()


def found(answer: SearchNeurons) -> list[tuple[str, str]]:
    return [(r["run"], r["neuron"]) for r in answer.table.to_pylist() if r["found"]]


def test_planted_neurons_are_found_and_dated(planted: Archive) -> None:
    answer = search_neurons(planted, text="%_")
    runs = answer.summary["run"].to_pylist()  # type: ignore[index]
    assert sorted(found(answer)) == [(run, "L0N3") for run in runs]
    first = answer.table.to_pylist()[0]
    assert (first["since_after"], first["since"], first["n_examples"]) == (10, 100, K)
    assert first["n_matches"] >= 7
    assert first["relative"] == 1.0
    assert [r["first"] for r in answer.summary.to_pylist()] == [100, 100]  # type: ignore[union-attr]
    counts = {(r["run"], r["step"]): r["n_found"] for r in answer.history.to_pylist()}
    assert [counts[runs[0], s] for s in (1, 10, 100, 1000)] == [1, 0, 1, 1]
    assert answer.n_searched == 60
    assert answer.n_runs == 2
    assert search_neurons(planted, text="%_", step=10).summary["first"].to_pylist() == [None, None]  # type: ignore[index]


def test_matches_and_what_chance_expects_are_those_counted_one_by_one(planted: Archive) -> None:
    """The slow twin: plain Python over the tokens and the stored examples."""
    ids = written()
    share = [(ids[2 * d : 2 * d + 2] == TARGET).mean() for d in range(40)]
    answer = search_neurons(planted, text="%_")
    assert answer.share == pytest.approx((ids == TARGET).mean())
    rows = planted.rows("SELECT run, layer, neuron, sequence, position FROM v_neuron_top WHERE step = 1000")
    slow: dict[tuple[str, int], tuple[int, float]] = {}
    for r in rows:
        n, expected = slow.get((r["run"], r["neuron"]), (0, 0.0))
        hit = ids[r["sequence"], r["position"]] == TARGET
        slow[r["run"], r["neuron"]] = (n + int(hit), expected + share[r["sequence"] // 2])
    quick = {(r["run"], r["unit"]): (r["n_matches"], r["expected"]) for r in answer.table.to_pylist()}
    assert set(quick) == {key for key, (n, _) in slow.items() if n}
    for key, (n, expected) in quick.items():
        assert (n, pytest.approx(expected)) == slow[key]


@pytest.mark.parametrize("text", ["a", "b", "%_", "'\"", "<b>", "b%", "a a", "<", "_'", "%_%_"])
def test_a_text_is_found_across_tokens_as_python_finds_it(planted: Archive, text: str) -> None:
    """The slow twin of the text search: str.find on each sequence, letter by letter. Signs of SQL and HTML are letters."""
    ids = written()
    words = np.array([w.lower() for w in VOCABULARY])
    words[0] = ""
    n_places, n_with = 0, set()
    for sequence, row in enumerate(ids):
        whole, owner = "", []
        for position, token in enumerate(row):
            whole += words[token]
            owner += [position] * len(words[token])
        at, places = whole.find(text), set()
        while at >= 0:
            places |= set(owner[at : at + len(text)])
            at = whole.find(text, at + len(text))
        n_places += len(places)
        n_with |= {sequence // 2} if places else set()
    answer = search_neurons(planted, text=text, by="text")
    assert answer.share == pytest.approx(n_places / ids.size)
    hits = answer.hits.to_pylist()
    assert len(hits) == len(n_with)
    assert all(
        text in (h["text"] + h["after"]).lower() or text in (h["before"] + h["text"] + h["after"]).lower()
        for h in hits
    )


def test_case_and_white_space_count_where_they_are_asked_for(planted: Archive) -> None:
    ids = written()

    def share(*tokens: str) -> object:
        return pytest.approx(np.isin(ids, [VOCABULARY.index(t) for t in tokens]).mean())

    assert search_neurons(planted, text="a").share == share("a", " a")
    assert search_neurons(planted, text=" a").share == share(" a")
    assert search_neurons(planted, text="AB").share == share("Ab")
    assert search_neurons(planted, text="AB", same_case=True).share == 0.0
    assert search_neurons(planted, text="<s>", by="text").share == 0.0


def test_within_takes_later_tokens_too_and_stays_in_the_sequence(planted: Archive) -> None:
    ids = written()
    near = np.zeros(ids.shape, bool)
    for shift in range(3):
        near[:, shift:] |= (ids == TARGET)[:, : LENGTH - shift]
    assert search_neurons(planted, text="%_", within=2).share == pytest.approx(near.mean())


def test_chance_is_found_no_more_often_than_promised(simulation: Simulation) -> None:
    """100 runs of neurons that have nothing to do with the token, each searched by itself: at most 12 at 5 %."""
    ids = written()
    plant_written(simulation, ids)
    for k, run in enumerate(simulation.seeds(100)):
        plant_tops(simulation, run, 1, np.random.default_rng(1000 + k), ids, {}, n_units=40)
    archive = simulation.commit()
    answer = search_neurons(archive, text="%_")
    assert not found(answer)[1:]
    # the same numbers, each run a family of its own
    rows = answer.table.to_pylist()
    rejected = 0
    for run in answer.summary["run"].to_pylist():  # type: ignore[index]
        p = np.array([r["p"] for r in rows if r["run"] == run])
        rejected += bool((benjamini_hochberg(np.concatenate([p, np.ones(40 - len(p))])) < 0.05).any())
    assert rejected <= 12
    # and the test is not empty: one p in five is below 0.2 or a little fewer, because counts jump
    below = sum(r["p"] < 0.2 for r in rows) / 4000
    assert 0.08 < below <= 0.22


def test_nowhere_is_answered_with_what_is_near(planted: Archive) -> None:
    answer = search_neurons(planted, text="abb")
    assert answer.table.num_rows == answer.hits.num_rows == 0
    assert "is no token of the eval set" in answer.sentence
    assert "Ab" in answer.nearest
    assert answer.spelling == ("a", "b", "b")
    assert any("'a' + 'b' + 'b'" in line for line in answer.limits)
    assert search_neurons(planted, text="zzz", by="text").spelling == ()
    assert spell("abab", ["a", "b", "ab"]) == ("ab", "ab")


def test_an_empty_search_opens_on_the_token_found_most(simulation: Simulation) -> None:
    plant_texts(simulation)
    run = simulation.run("a", init_seed=0)
    neuron_top(simulation, run, 1, [(0, 5, 2.0), (1, 1, 1.0)])  # both w5
    neuron_top(simulation, run, 1, [(2, 0, 1.0)], unit=1)
    answer = search_neurons(simulation.commit())
    assert answer.text == " w5"
    assert [r["n_matches"] for r in answer.table.to_pylist()] == [2]


def test_bad_questions_are_refused(planted: Archive) -> None:
    with pytest.raises(UsageError, match=r"10,000 characters; at most 200"):
        search_neurons(planted, text="x" * 10_000)
    with pytest.raises(UsageError, match="half of a character"):
        search_neurons(planted, text="\ud800")
    with pytest.raises(UsageError, match="asks for no text"):
        search_neurons(planted, by="text")
    with pytest.raises(UsageError, match="nearest steps are 10, 1, 100"):
        search_neurons(planted, text="a", step=7)
    with pytest.raises(UnknownName):
        search_neurons(planted, text="a", runs="nobody")
    for text in ("a' OR 1=1 --", "$text", "\\", "[a-z]*", "\x00", "\n", "a%"):
        search_neurons(planted, text=text, by="text")


def test_mixed_eval_sets_are_refused_and_gaps_and_excluded_runs_said(simulation: Simulation) -> None:
    ids = written()
    plant_written(simulation, ids)
    a, b, c = simulation.seeds(3)
    rng = np.random.default_rng(5)
    plant_tops(simulation, a, 1, rng, ids, {3: 8})
    plant_tops(simulation, a, 10, rng, ids, {3: 8}, integrity="defect", integrity_note="copied")
    plant_tops(simulation, b, 1, rng, ids, {})
    plant_tops(simulation, c, 10, rng, ids, {})
    archive = simulation.commit()
    exclude(archive.layout, c, "diverged")
    answer = search_neurons(Archive(archive.layout.database), text="%_")
    assert answer.summary.select(["run", "step"]).to_pylist() == [  # type: ignore[union-attr]
        {"run": a, "step": 1},
        {"run": b, "step": 1},
    ]
    assert any("suspect (defect)" in line for line in answer.limits)
    late = search_neurons(Archive(archive.layout.database), text="%_", step=10, with_suspect=True)
    assert late.summary["run"].to_pylist() == [a]  # type: ignore[index]
    assert any("1 run(s) have no examples at that step" in line for line in late.limits)
    other = simulation.run("elsewhere")
    owner, q = cell(simulation, other, Quantity(**{**NEURON_TOP.model_dump(), "encoding": OTHER_TEXT}), 1)
    simulation.builder.add(
        "fact_neuron_top", owner, q, layer=0, unit=0, sequences=[[0]], positions=[[0]], values=[[1.0]]
    )
    archive = simulation.commit()
    with pytest.raises(NotComparable, match="eval set"):
        search_neurons(archive, text="a")
    with pytest.raises(UsageError, match="no tokens of this eval set"):
        search_neurons(archive, text="a", runs="elsewhere")


def test_neurons_without_examples_and_an_archive_without_any(simulation: Simulation) -> None:
    ids = written()
    plant_written(simulation, ids)
    (run,) = simulation.seeds(1)
    owner, q = cell(simulation, run, TOP, 1)
    simulation.builder.add(
        "fact_neuron_top",
        owner,
        q,
        layer=0,
        unit=[0, 1],
        sequences=[[-1, -1], [0, -1]],
        positions=[[-1, -1], [0, -1]],
        values=[[np.nan, np.nan], [1.0, np.nan]],
    )
    answer = search_neurons(simulation.commit(), text="a")
    assert answer.n_searched == 1
    assert answer.table.num_rows == 0


def test_without_the_measure_the_command_is_named(simulation: Simulation) -> None:
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, [1, 2], [2.0, 1.0])
    with pytest.raises(UsageError, match=r"neuron\.top"):
        search_neurons(simulation.commit())
