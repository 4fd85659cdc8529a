"""Losses of several runs as one array and what is known of each token, against looking at the sequences one token at a time."""

import numpy as np
import pytest

from archive.records import Encoding, Quantity
from queries.reading.checkpoints import find_left_out, pick_checkpoints
from queries.reading.quantities import choose_quantity
from queries.reading.select import ALL_RUNS, select_runs
from queries.reading.size_losses import SharedLosses, TokenFacts, read_shared_losses, read_token_facts
from queries.reading.token_categories import CATEGORIES, sort_tokens
from tests.queries.language import TOKEN_LOSS, losses, plant_texts
from tests.queries.simulated import Simulation

N, LENGTH = 6, 12
HERE = Quantity(
    measure=TOKEN_LOSS.measure,
    encoding=Encoding(
        hash="read", name="read", text_set="books", tokenizer="words", facts={"token_classes": {"number": 3}}
    ),
)
IDS = np.random.default_rng(0).integers(0, 5, (N, LENGTH))
ANSWERED = 2


@pytest.fixture
def read(simulation: Simulation) -> tuple[SharedLosses, TokenFacts]:
    """Two runs; one has no finite loss at the end, the other none in sequence 1; a task's answer is read in sequence 2."""
    s = simulation
    plant_texts(s)
    encoding = s.builder.encoding(HERE.encoding)
    s.builder.add(
        "content_sequence", encoding, sequence=np.arange(N), document=np.where(np.arange(N) < 4, np.arange(N) // 2, -1),
        start=0, token_ids=IDS, token_classes=np.where(IDS == 3, 3, 1), unigram_surprisal=IDS / 10,
    )  # fmt: skip
    s.builder.add(
        "content_item", encoding, item=[0], sequence=[ANSWERED], position=[LENGTH - 2], correct_ids=[[39]], template=[""]
    )  # fmt: skip
    for k in range(2):
        values = np.arange(N * LENGTH, dtype=float).reshape(N, LENGTH) + 100 * k
        values[:, -1] = np.nan
        if k:
            values[1] = np.nan
        losses(s, s.run(f"r{k}"), 1, values, quantity=HERE)
    archive = s.commit()
    choice = choose_quantity(
        archive, select_runs(archive, ALL_RUNS), ["token_loss"], {}, tables=("fact_token",)
    )
    at = pick_checkpoints(
        archive, choice.selected, choice.quantity, find_left_out(archive, choice, {}), "final"
    ).at
    found = read_shared_losses(archive, choice, at)
    return found, read_token_facts(archive, choice, found)


def test_only_what_all_runs_have_is_kept_in_the_order_of_the_text(
    read: tuple[SharedLosses, TokenFacts],
) -> None:
    found, _ = read
    wanted = [(s, p) for s in range(N) for p in range(LENGTH - 1) if s != 1]

    assert list(zip(found.sequence.tolist(), found.position.tolist(), strict=True)) == wanted
    assert found.values[0].tolist() == [s * LENGTH + p for s, p in wanted]
    assert (found.of(found.run_ids[::-1])[0] == found.values[0] + 100).all()


def test_each_prediction_is_of_the_next_token_or_of_the_answer(read: tuple[SharedLosses, TokenFacts]) -> None:
    found, facts = read
    for i, (s, p) in enumerate(zip(found.sequence, found.position, strict=True)):
        following, before = IDS[s, p + 1], IDS[s, p]
        answered = (s, p) == (ANSWERED, LENGTH - 2)
        assert facts.token[i] == (39 if answered else following)
        assert facts.kind[i] == (3 if following == 3 else 1)
        assert facts.surprisal[i] == pytest.approx(following / 10)
        assert facts.document[i] == (s // 2 if s < 4 else -1 - s)
        seen = following in IDS[s, : p + 1]
        twice = any(IDS[s, q] == before and IDS[s, q + 1] == following for q in range(p))
        assert facts.repeat[i] == (2 if twice else 1 if seen else 0)
    assert facts.class_names == {3: "number"}
    assert set(facts.repeat) == {0, 1, 2}


def test_tokens_are_sorted_and_their_means_are_those_of_their_categories(
    read: tuple[SharedLosses, TokenFacts],
) -> None:
    found, facts = read
    tokens = sort_tokens(found, facts, CATEGORIES)
    means = tokens.means(found.values)

    assert tokens.n_documents == 4
    assert {by: cut.names for by, cut in tokens.cuts.items()}["repeated"] == (
        "first in the text", "again", "again after the same token"
    )  # fmt: skip
    for by, cut in tokens.cuts.items():
        sums, counts = tokens.by_document(found.values[0].astype(float), by)
        for k in range(len(cut.names)):
            mine = cut.member == k
            assert means[by][:, k] == pytest.approx(found.values[:, mine].mean(1))
            assert (sums[:, k].sum(), counts[:, k].sum()) == (
                pytest.approx(found.values[0, mine].sum()),
                mine.sum(),
            )
    # a document lies in one half
    for document in range(tokens.n_documents):
        assert len(set(tokens.held[tokens.documents == document])) == 1
