from hashlib import sha256

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from archive.identity import content_hash
from ingest.evalset import Given
from ingest.evalsets.classes import TokenClass, classes_of
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.text import TextFiles
from ingest.evalsets.tokenizing import Encoded
from ingest.evalsets.windows import cut
from tests.ingest.evalsets.making import BYTES, documents

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip),
    min_size=1,
    max_size=4,
    unique=True,
)


def text_set(tmp_path, *texts, bos="none", **settings):
    for i, text in enumerate(texts):
        (tmp_path / f"{i}.txt").write_text(text)
    return TextFiles(files=("*.txt",), bos=bos, **settings).freeze(Given(BYTES, folder=tmp_path))


@given(texts=TEXTS, context=st.integers(2, 20), bos=st.sampled_from([[], [256]]))
def test_all_windows_together_are_the_documents_but_for_their_ends(texts, context, bos):
    found = documents(*texts)
    room = context - len(bos)
    wholes = [len(d.text.encode()) // room for d in found.documents]
    assume(sum(wholes))
    sequences, n_short = cut(found, BYTES, bos, context=context, windows="all")
    assert n_short == sum(len(d.text.encode()) % room > 0 for d in found.documents)
    assert (sequences.lengths == context).all()
    for number, (document, n) in enumerate(zip(found.documents, wholes, strict=True)):
        mine = np.flatnonzero(sequences.document == number)
        windows = [bytes(sequences[i][len(bos) :].tolist()) for i in mine]
        assert b"".join(windows) == document.text.encode()[: n * room]
        assert sequences.start[mine].tolist() == [k * room for k in range(n)]
    assert sequences.byte_lengths.sum() == sum(wholes) * room
    assert all((sequences[i][: len(bos)] == bos).all() for i in range(len(sequences)))


@given(texts=TEXTS, context=st.integers(2, 20))
def test_the_first_window_of_every_document_that_is_long_enough(texts, context):
    found = documents(*texts)
    long_enough = [d for d in found.documents if len(d.text.encode()) >= context]
    if not long_enough:
        with pytest.raises(EvalSetRefused, match=r"no document gives .* the longest of"):
            cut(found, BYTES, [], context=context, windows="first")
        return
    sequences, n_short = cut(found, BYTES, [], context=context, windows="first")
    assert n_short == len(texts) - len(long_enough)
    assert [bytes(sequences[i].tolist()) for i in range(len(sequences))] == [
        d.text.encode()[:context] for d in long_enough
    ]
    assert [found.documents[i] for i in sequences.document] == long_enough
    assert (sequences.start == 0).all()


def test_a_text_set_with_a_start_token(tmp_path):
    frozen = text_set(tmp_path, "abcdefgh", "ijklmnopq", "xy", bos="prepend", context=5)
    assert frozen.encoding.bos_policy == "prepend <start>"
    assert frozen.encoding.context_length == 5
    assert sorted(bytes(s[1:].tolist()) for s in map(frozen.sequences.__getitem__, range(2))) == [
        b"abcd",
        b"ijkl",
    ]
    assert frozen.notes == ("1 window of fewer than 5 tokens left out",)
    first = frozen.sequences.offsets[:-1]
    assert (frozen.sequences.ids[first] == 256).all()
    assert (frozen.sequences.classes[first] == TokenClass.SPECIAL).all()
    assert (frozen.sequences.byte_lengths[first] == 0).all()
    assert np.isnan(frozen.sequences.unigram_surprisal[first]).all()
    assert not np.isnan(np.delete(frozen.sequences.bigram_surprisal, first)).any()


def test_all_whole_windows_of_a_document(tmp_path):
    whole = text_set(tmp_path, "abcdefghij", context=4, windows="all")
    assert [bytes(whole.sequences[i].tolist()) for i in range(2)] == [b"abcd", b"efgh"]
    assert whole.sequences.start.tolist() == [0, 4]
    assert not whole.is_ragged
    assert whole.notes == ("1 window of fewer than 4 tokens left out",)


def test_texts_that_are_all_too_short_are_refused_with_the_repair(tmp_path):
    with pytest.raises(
        EvalSetRefused,
        match=r"'text': no document gives 512 tokens with bytes, the longest of 2 gives 3; set",
    ):
        text_set(tmp_path, "abc", "de")


def test_every_setting_that_changes_the_tokens_changes_the_hash(tmp_path):
    texts = ("abcdefghij", "klmnopqrst")
    kinds = [
        {"context": 4},
        {"context": 5},
        {"context": 4, "bos": "prepend"},
        {"context": 4, "windows": "all"},
        {"context": 4, "max_documents": 1},
    ]
    frozen = [text_set(tmp_path, *texts, **kind) for kind in kinds]
    assert len({f.encoding.hash for f in frozen}) == len(kinds)
    assert text_set(tmp_path, *texts, context=4, name="other").encoding.hash == frozen[0].encoding.hash
    assert text_set(tmp_path, "abcdefghij", "klmnopqrs!", context=4).encoding.hash != frozen[0].encoding.hash


def test_a_frozen_text_set_keeps_its_hash(tmp_path):
    # stored numbers are found by it; a change makes every measured value a new quantity
    frozen = text_set(tmp_path, "abcdefghij", "klmnopqrst", context=4, bos="prepend")
    assert frozen.documents.record.hash == content_hash(
        {"documents": sorted(sha256(t).hexdigest() for t in (b"abcdefghij", b"klmnopqrst"))}
    )
    assert frozen.encoding.hash == "b9bb6b30832464806e5c82ff3b4c58bb96a067a2e4a7cbf3e2ccb9f2d9a798b9"


def test_impossible_settings_are_refused():
    with pytest.raises(ValidationError, match="context"):
        TextFiles(files=("a",), context=1)
    with pytest.raises(ValidationError, match="files"):
        TextFiles(files=())


def test_a_token_longer_than_the_archive_can_say_is_refused():
    class Unknown(type(BYTES)):
        def encode(self, text):
            return Encoded(np.zeros(2, dtype=np.int32), np.array([len(text) - 1, 1]))

    unknown = Unknown(BYTES.record, BYTES.vocabulary, None)
    with pytest.raises(
        EvalSetRefused, match=r"0\.txt: one token stands for 40000 bytes, the archive holds 32767"
    ):
        cut(documents("x" * 40_001), unknown, [], context=2, windows="first")


def classes(text, *lengths):
    return [TokenClass(c).name for c in classes_of(text, np.array(lengths, dtype=int))]


def test_the_class_of_every_kind_of_token():
    #       "The"  " caf"  "é"  "s"  " 42"  "nd"  ","  "\n\n"  " x"
    text = "The cafés 42nd,\n\n x"
    assert classes(text, 3, 4, 2, 1, 3, 2, 1, 2, 2) == [
        "WORD_START",
        "WORD_START",
        "WORD_CONTINUATION",
        "WORD_CONTINUATION",
        "NUMBER",
        "WORD_CONTINUATION",
        "PUNCTUATION",
        "WHITESPACE",
        "WORD_START",
    ]


def test_the_bytes_of_one_letter():
    assert classes("é中", 1, 1, 1, 2) == ["WORD_START", *["WORD_CONTINUATION"] * 3]
    assert classes("😀", 1, 3) == ["PUNCTUATION", "PUNCTUATION"]
    assert classes("a\x00b\u0301", 1, 1, 1, 2) == ["WORD_START", "OTHER", "WORD_START", "WORD_CONTINUATION"]


def test_a_token_without_bytes_has_no_class_of_its_own():
    assert classes("ab", 1, 0, 1, 0) == ["WORD_START", "OTHER", "WORD_CONTINUATION", "OTHER"]
    assert classes("") == classes("text that a tokenizer makes nothing of") == []


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_one_byte_tokens_agree_with_looking_at_every_character(text):
    expected = []
    for i, character in enumerate(text):
        before = text[i - 1] if i else " "
        n = len(character.encode())
        if character.isspace():
            kinds = ["WHITESPACE"] * n
        elif character.isalpha():
            follows = before.isalpha() or (not before.isspace() and before.isnumeric())
            kinds = ["WORD_CONTINUATION" if follows else "WORD_START", *["WORD_CONTINUATION"] * (n - 1)]
        else:
            kinds = [None] * n
        expected += kinds
    found = classes(text, *[1] * len(text.encode()))
    combining = any(c for c in text if not (c.isalpha() or c.isspace() or c.isascii()))
    if not combining:  # accents of their own are part of a word; str has no name for that
        assert [f for f, e in zip(found, expected, strict=True) if e] == [e for e in expected if e]
    assert all((f == "WHITESPACE") == (e == "WHITESPACE") for f, e in zip(found, expected, strict=True))
