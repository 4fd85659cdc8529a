import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.records import WHOLE
from ingest.evalsets.classes import TokenClass
from ingest.tasks.corpus import CorpusChanged, CorpusSource
from ingest.tasks.text import Text
from ingest.train.spec import Seeds, TrainSpec
from tests.ingest.tasks.corpora import write_texts

START = 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("text") / "tales")


def task(folder, **changed):
    small = {"files": (str(folder),), "held_out": 3, "context": 33, "max_period": 12, "evaluated": 16}
    return Text(**{**small, **changed})


def period_of(body):
    """The shortest period with which a sequence repeats; its length where it does not."""
    return next(p for p in range(1, len(body) + 1) if (body[p:] == body[:-p]).all() or p == len(body))


def test_sizes(folder):
    text = task(folder)
    assert (text.n_inputs, text.n_outputs, text.n_positions, len(text.vocabulary)) == (257, 257, 33, 257)
    assert (text.vocabulary[65], text.vocabulary[START]) == ("A", "<start>")
    assert text.read_positions == tuple(range(32))
    assert text.n_train is None
    assert (task(folder, tokenizer="bpe", n_vocab=300).n_inputs, Text().n_inputs) == (300, 257)


def test_plain_text_is_windows_of_training_documents(folder):
    text = task(folder)
    batch = text.fresh_batch(0, 7, 64)
    documents = [d.text.encode() for d in text.corpus.training.documents]
    assert (batch.tokens[:, 0] == START).all()
    assert np.array_equal(batch.targets, batch.tokens[:, 1:])
    for row in batch.tokens[:, 1:].astype(np.uint8):
        assert any(row.tobytes() in document for document in documents)


def test_a_step_does_not_look_the_files_up_again(folder, monkeypatch):
    text = task(folder, tokenizer="bpe", n_vocab=300).resolved(folder)
    first = text.fresh_batch(0, 0, 4).tokens
    monkeypatch.setattr(CorpusSource, "read", None)
    assert np.array_equal(text.fresh_batch(0, 0, 4).tokens, first)


@given(share=st.floats(0, 1), seed=st.integers(0, 2**40), step=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_as_many_sequences_repeat_as_asked_each_with_a_period_of_its_own(folder, share, seed, step):
    text = task(folder, repeated=share, min_period=4)
    bodies = text.fresh_batch(seed, step, 400).tokens[:, 1:]
    periods = np.array([period_of(body) for body in bodies])
    repeats = periods <= 12
    assert abs(repeats.mean() - share) < 5 * (0.25 / 400) ** 0.5 + 1e-9
    # a block of random bytes repeats within itself once in 256 draws or more
    assert (periods[repeats] >= 4).mean() > 0.95 if repeats.any() else True
    if repeats.sum() > 200:
        assert set(range(4, 13)) <= set(periods[repeats].tolist())


def test_segments_of_text_are_text_over_and_over(folder):
    text = task(folder, repeated=1.0, segment="text", min_period=5)
    documents = [d.text.encode() for d in text.corpus.training.documents]
    for body in text.fresh_batch(3, 0, 50).tokens[:, 1:].astype(np.uint8):
        segment = body[: period_of(body)]
        assert len(segment) <= 12
        assert any(segment.tobytes() in document for document in documents)


def test_without_start_token_and_with_own_tokens(folder):
    assert task(folder, bos="none").fresh_batch(0, 0, 20).tokens.max() < START
    own = task(folder, tokenizer="bpe", n_vocab=280, repeated=1.0)
    tokens = own.fresh_batch(0, 0, 2000).tokens
    assert (tokens[:, 0] == 0).all()  # its start token, and nowhere else
    assert set(tokens[:, 1:].ravel().tolist()) == set(range(1, 280))
    assert own.text_tokenizer.read(279) in own.text_tokenizer.vocabulary.texts


def test_a_batch_is_a_function_of_seed_and_step(folder):
    text = task(folder, repeated=0.5)
    once, again = (task(folder, repeated=0.5).fresh_batch(4, 9, 8).tokens for _ in range(2))
    assert np.array_equal(once, again)
    for other in (text.fresh_batch(5, 9, 8), text.fresh_batch(4, 10, 8)):
        assert not np.array_equal(once, other.tokens)


def test_measures_of_repeats_see_repeated_tokens_and_all_others_held_out_text(folder):
    text = task(folder)
    plain, repeats = text.evaluated_on("text"), text.evaluated_on("repeats")
    assert text.evaluations == (plain, repeats)
    assert {text.evaluated_on(kind) for kind in ("any", "prompts")} == {plain}
    assert plain is task(folder).evaluated_on("text")  # made once
    assert plain.copies() is None
    assert repeats.copies()[0].tolist() == [0] + [1] * 8 + [2] * 8 + [3] * 8 + [4] * 8
    assert text.eval_set is plain.eval_set
    assert text.splits(3)[WHOLE].tolist() == [True] * 16


def test_held_out_windows_are_spread_over_documents_and_never_trained_on(folder):
    text = task(folder, evaluated=10)
    frozen = text.evaluated_on("text").frozen
    numbers = frozen.sequences.document
    assert sorted(np.bincount(numbers).tolist()) == [3, 3, 4]
    places = list(zip(numbers.tolist(), frozen.sequences.start.tolist(), strict=True))
    assert len(set(places)) == 10
    assert all(start % 32 == 0 for _, start in places)
    trained_on = " ".join(d.text for d in text.corpus.training.documents)
    for (number, start), row in zip(places, text.evaluation().tokens, strict=True):
        body = row[1:].astype(np.uint8).tobytes()
        document = text.corpus.held_out.documents[number].text
        assert document.encode()[start : start + 32] == body
        assert document not in trained_on
    assert text.classes()[:, 0].tolist() == [TokenClass.SPECIAL] * 10
    assert np.isfinite(frozen.sequences.unigram_surprisal).sum() == 10 * 32
    assert len(task(folder, evaluated=9999).evaluation()) < 9999  # all there are


def test_the_hashes_are_filled_in_and_hold_wherever_the_files_lie(folder, tmp_path):
    moved = write_texts(tmp_path / "elsewhere")
    here, there = (task(".").resolved(place) for place in (folder, moved))
    assert here.files != there.files
    assert here.identity() == there.identity()
    assert here.resolved(None) == here
    assert here.resolved(None).frozen == task(folder).resolved(folder).frozen
    changed = Text.model_validate({**here.model_dump(), "tokenizer": "bpe", "n_vocab": 270}).resolved(None)
    assert changed.frozen.tokenizer == changed.text_tokenizer.record.hash != here.frozen.tokenizer
    assert task(write_texts(tmp_path / "more", 13)).identity() != here.identity()


def test_a_condition_is_its_texts_not_their_place(folder, tmp_path):
    moved = write_texts(tmp_path / "elsewhere")

    def spec(place):
        context = {"folder": place}
        params = {"files": ["."], "held_out": 3, "context": 33, "max_period": 12}
        return TrainSpec.model_validate({"task": "text", "batch": 2, "task_params": params}, context=context)

    here, there = spec(folder), spec(moved)
    assert here.hash == there.hash
    seeds = Seeds(init=0, data_order=0, split=0)
    assert here.data_order_hash(seeds) == there.data_order_hash(seeds)
    assert here.tokens_per_step == 66
    assert TrainSpec.model_validate_json(here.model_dump_json()) == here


def test_texts_that_have_changed_are_refused_when_they_are_needed(tmp_path):
    folder = write_texts(tmp_path / "tales")
    text = task(folder).resolved(folder)
    (folder / "00.txt").write_text("not what it was " * 40)
    assert text.resolved(None).n_inputs == 257  # to know its shape, nothing is read
    with pytest.raises(CorpusChanged, match="are not those of this task: found"):
        text.fresh_batch(0, 0, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_vocab": 300}, 'use tokenizer = "bpe"'),
        ({"tokenizer": "bpe"}, "give more, such as 512"),
        ({"repeated": 0.5, "min_period": 9, "max_period": 8}, "swap them"),
        ({"repeated": 0.5, "max_period": 31}, "give context = 34 or more"),
        ({"n_vocab": 256}, "greater than or equal to 257"),
    ],
)
def test_impossible_settings_are_refused(folder, wrong, said):
    with pytest.raises(ValidationError, match=said):
        task(folder, **wrong)
