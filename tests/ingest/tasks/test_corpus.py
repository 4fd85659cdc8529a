import numpy as np
import pytest

from ingest.evalsets.own_bpe import train_bpe
from ingest.evalsets.refusals import EvalSetRefused, TokenizerRefused
from ingest.evalsets.tokenizing import ByteTokenizer
from ingest.streams import stream
from ingest.tasks.corpus import CorpusSource, Windows, training_tokens
from tests.ingest.tasks.corpora import write_texts

BYTES = ByteTokenizer.make()


def source(folder, **changed):
    settings = {
        "files": (str(folder),),
        "text_field": "text",
        "licence": "CC0",
        "max_characters": None,
        "n_held_out": 3,
    }
    return CorpusSource(**{**settings, **changed})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("corpus") / "tales")


@pytest.fixture(scope="module")
def corpus(folder):
    return source(folder).read()


def test_every_document_is_on_one_side(corpus, folder):
    training, held_out = ({d.text for d in part.documents} for part in (corpus.training, corpus.held_out))
    assert (len(training), len(held_out)) == (9, 3)
    assert not training & held_out
    assert training | held_out == {file.read_text(encoding="utf-8") for file in folder.glob("*.txt")}
    assert corpus.held_out.record.licence == "CC0"


def test_a_new_document_moves_hardly_any_other(corpus, folder, tmp_path):
    more = write_texts(tmp_path / "more", 13)
    before = {d.sha256 for d in corpus.held_out.documents}
    after = {d.sha256 for d in source(more).read().held_out.documents}
    assert len(before & after) >= 2


def test_a_changed_file_is_read_again(tmp_path):
    folder = write_texts(tmp_path / "tales", 5)
    before = source(folder).read()
    assert source(folder).read() is before
    file = folder / "00.txt"
    file.write_text("another tale altogether " * 9)
    assert source(folder).read().hash != before.hash


def test_the_hash_says_which_texts_are_held_out(corpus, folder):
    assert source(folder, n_held_out=4).read().hash != corpus.hash
    assert source(folder, max_characters=3000).read().hash != corpus.hash


def test_a_document_must_be_left_to_train_on(folder):
    with pytest.raises(EvalSetRefused, match="12 different documents; held_out = 12 leaves none"):
        source(folder, n_held_out=12).read()


def test_windows_lie_within_one_training_document(corpus):
    drawn = Windows(corpus, BYTES, 40).draw(stream(0, "test"), 200)
    texts = [d.text.encode() for d in corpus.training.documents]
    assert drawn.shape == (200, 40)
    for window in drawn.astype(np.uint8):
        assert any(window.tobytes() in text for text in texts)


def test_every_window_is_as_likely_as_any_other(tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    (folder / "a.txt").write_text("0123456789")  # 8 windows of 3
    (folder / "b.txt").write_text("abcde")  # 3
    (folder / "c.txt").write_text("zz")  # none
    for held_out in ("x", "y"):  # the one by whose hash it is chosen is left out, whichever that is
        (folder / f"{held_out}.txt").write_text(held_out * 10)
    corpus = source(folder, n_held_out=1).read()
    windows = Windows(corpus, BYTES, 3)
    texts = [d.text for d in corpus.training.documents]
    every = [text[i : i + 3].encode() for text in texts for i in range(len(text) - 2)]
    assert len(windows) == len(every)
    drawn = windows.draw(stream(1, "test"), 22_000).astype(np.uint8)
    found, counts = np.unique([row.tobytes() for row in drawn], return_counts=True)
    assert set(found) == set(every)
    expected = 22_000 / len(every) * np.array([every.count(window) for window in found])
    # a goodness-of-fit test that a fair draw fails once in 10,000 seeds
    assert ((counts - expected) ** 2 / expected).sum() < len(found) + 4 * (2 * len(found)) ** 0.5


def test_windows_longer_than_any_text_are_refused(corpus):
    with pytest.raises(EvalSetRefused, match="a sequence takes 9999"):
        Windows(corpus, BYTES, 9999)


def test_own_tokens_give_back_every_byte_and_are_the_same_each_time(corpus):
    texts = [d.text for d in corpus.training.documents]
    one, other = train_bpe(texts, 300), train_bpe(iter(texts), 300)
    assert one.record == other.record
    assert (one.n_vocab, len(one.vocabulary.ids), one.bos) == (300, 300, 0)
    assert one.vocabulary.special == {0}
    for text in (texts[0], "née \U0001f642 \x00\t<start>"):
        encoded = one.encode(text)
        assert "".join(bytes_of(one, encoded.ids)) == text
        assert encoded.byte_lengths.sum() == len(text.encode())
        assert 0 not in encoded.ids
    assert len(one.encode(texts[0]).ids) < len(texts[0].encode())
    assert train_bpe(texts[1:], 300).record.hash != one.record.hash


def bytes_of(tokenizer, ids):
    yield tokenizer.backend.decode(ids.tolist(), skip_special_tokens=False)


def test_training_tokens_are_the_documents_one_after_the_other(corpus):
    tokens = training_tokens(corpus, BYTES)
    texts = [d.text.encode() for d in corpus.training.documents]
    assert tokens.ids.astype(np.uint8).tobytes() == b"".join(texts)
    assert tokens.lengths.tolist() == [len(text) for text in texts]


@pytest.mark.parametrize(("n", "said"), [(200, "no room for the 256 bytes"), (5000, "ask for")])
def test_as_many_tokens_as_the_texts_give(n, said):
    with pytest.raises(TokenizerRefused, match=said):
        train_bpe(["a few words, a few words"], n)
