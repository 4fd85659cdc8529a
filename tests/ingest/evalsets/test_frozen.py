import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.committer import commit_inbox
from archive.errors import UnknownName
from archive.shard import ShardBuilder
from archive.store import Archive
from ingest.evalset import Given
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.ioi import IndirectObject
from ingest.evalsets.prompts import Prompts
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.repeated_tokens import RepeatedTokens
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.stdlib import StandardLibrary
from ingest.evalsets.stored import stored_eval_set, stored_text
from ingest.evalsets.text import TextFiles
from ingest.tasks.modular_arithmetic import ModularArithmetic
from ingest.tasks.repeated_tokens import RepeatedTokens as RepeatedTask
from tests.ingest.evalsets.making import BYTES, GIVEN, documents


def commit(layout, *eval_sets):
    for one in eval_sets:
        builder = ShardBuilder(kind="content")
        one.add_to(builder)
        builder.write(layout.inbox)
    report = commit_inbox(layout, patience=5)
    assert report.refused == []
    return Archive(layout.database)


def assert_same(a: FrozenEvalSet, b: FrozenEvalSet) -> None:
    assert (a.encoding, a.tokenizer, a.vocabulary) == (b.encoding, b.tokenizer, b.vocabulary)
    for part in ("sequences", "items"):
        mine, theirs = getattr(a, part), getattr(b, part)
        assert (mine is None) == (theirs is None)
        for name in () if mine is None else mine.__dataclass_fields__:
            np.testing.assert_array_equal(
                getattr(mine, name), getattr(theirs, name), err_msg=f"{part}.{name}"
            )
    np.testing.assert_array_equal(a.copies, b.copies)
    assert (a.documents is None) == (b.documents is None)
    if a.documents is not None:
        assert a.documents.record == b.documents.record
        assert a.documents.documents == b.documents.documents


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "a.txt").write_text("Then, Mary and John went — 42 times.\n" * 9)
    (tmp_path / "b.jsonl").write_text(
        '{"text": "café 😀\\u0000 end of a short one, and of the file"}\n{"text": ""}'
    )
    return tmp_path


def test_every_kind_comes_back_from_the_archive_as_it_was(layout, texts, hub):
    (texts / "p.jsonl").write_text(
        '{"prompt": "Then, Mary and", "correct": " John", "distractor": " Mary", "n": 1}'
    )
    here = Given(hub, folder=texts)
    frozen = [
        TextFiles(files=("*.txt", "b.jsonl"), context=20, windows="all", bos="prepend", licence="MIT").freeze(
            here
        ),
        TextFiles(files=("a.txt",), context=16).freeze(Given(BYTES, folder=texts)),
        RepeatedTokens(n_sequences=4).freeze(here),
        IndirectObject(n_prompts=30).freeze(here),
        Prompts(file="p.jsonl").freeze(here),
    ]
    archive = commit(layout, *frozen)
    for one in frozen:
        assert_same(stored_eval_set(archive, one.encoding.hash), one)
    assert archive.value("SELECT count(*) FROM v_eval_token WHERE position = 0") == sum(
        len(o.sequences) for o in frozen
    )


def test_the_same_eval_set_twice_is_stored_once(layout, hub):
    one, two = (RepeatedTokens(n_sequences=4, name=name).freeze(Given(hub)) for name in ("a", "b"))
    archive = commit(layout, one, two)
    assert archive.value("SELECT count(*) FROM content_sequence") == 4
    assert archive.value("SELECT count(*) FROM content_vocab") == len(hub.vocabulary.ids)


def test_an_eval_set_that_is_not_there_is_named(layout):
    archive = commit(layout, RepeatedTokens(n_sequences=1).freeze(GIVEN))
    with pytest.raises(UnknownName, match="no stored eval set 'abc'"):
        stored_eval_set(archive, "abc")


def test_stored_tokens_carry_what_is_known_of_them(layout, texts):
    frozen = TextFiles(files=("a.txt",), context=16, bos="prepend").freeze(Given(BYTES, folder=texts))
    archive = commit(layout, frozen)
    row = archive.rows("SELECT * FROM content_sequence")[0]
    assert bytes(row["token_ids"][1:]).decode() == "Then, Mary and "
    assert row["byte_lengths"] == [0, *[1] * 15]
    assert row["token_classes"][:7] == [6, 1, 2, 2, 2, 4, 5]
    words = archive.rows(
        "SELECT text, special FROM content_vocab WHERE token_id IN (65, 256) ORDER BY token_id"
    )
    assert words == [{"text": "A", "special": False}, {"text": "<start>", "special": True}]
    document = archive.rows("SELECT name, text, sha256 FROM content_document")[0]
    assert (document["name"], document["sha256"]) == ("a.txt", frozen.documents.documents[0].sha256)


SMALL = {"max_documents": 5, "max_characters": 200_000}


def test_the_standard_library_is_frozen_by_its_first_use(layout):
    settings = StandardLibrary(context=64, **SMALL)
    here = settings.freeze(GIVEN)
    assert here.documents.record.licence == "PSF-2.0"
    assert len(here.documents.documents) == 5
    archive = commit(layout, here)
    stored = stored_text(archive, settings.stored_text)
    again = settings.freeze(Given(BYTES, stored=stored))
    assert_same(again, here)
    assert again.encoding.hash == here.encoding.hash


def test_a_later_python_measures_on_the_texts_of_the_first(monkeypatch):
    stored = documents(
        "an older source", "another one", name="python-stdlib", choice=StandardLibrary(**SMALL).choice
    )
    frozen = StandardLibrary(context=8, **SMALL).freeze(Given(BYTES, stored=stored))
    assert frozen.documents is stored
    with pytest.raises(
        EvalSetRefused, match=r"text set 'python-stdlib' was frozen .* give this eval set another name"
    ):
        StandardLibrary(context=8, max_documents=6).freeze(Given(BYTES, stored=stored))


def test_the_standard_library_is_one_text_on_one_build():
    one, two = (StandardLibrary(**SMALL).documents(GIVEN) for _ in range(2))
    assert one.record == two.record
    names = [d.name for d in one.documents]
    assert all(name.endswith(".py") for name in names)
    assert not any("site-packages" in name or "test/" in name for name in names)
    assert StandardLibrary(**SMALL, seed=1).documents(GIVEN).record.hash != one.record.hash


def test_a_python_without_sources_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(EvalSetRefused, match=r'keeps no sources of its standard library .* kind = "text"'):
        StandardLibrary().freeze(GIVEN)


def test_there_is_no_text_set_under_an_unknown_name(layout):
    assert stored_text(commit(layout), "python-stdlib") is None


LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=20)


@given(lengths=LENGTHS, size=st.integers(1, 6))
def test_batches_hold_every_sequence_once_unpadded(lengths, size):
    rows = [np.arange(n) + 100 * i for i, n in enumerate(lengths)]
    sequences = Sequences.of(rows)
    seen = []
    for batch in sequences.batches(size):
        assert 1 <= len(batch.sequences) <= size
        assert batch.tokens.dtype == np.int32
        for i, tokens in zip(batch.sequences, batch.tokens, strict=True):
            assert np.array_equal(tokens, rows[i])
        seen += batch.sequences.tolist()
    assert sorted(seen) == list(range(len(rows)))
    assert seen == sorted(seen, key=lambda i: (lengths[i], i))


def test_a_model_that_is_too_small_is_named():
    frozen = RepeatedTokens(n_sequences=2).freeze(GIVEN)
    frozen.refuse_unless_it_fits("m", n_vocab=257, n_context=101)
    frozen.refuse_unless_it_fits("m", n_vocab=257, n_context=None)
    with pytest.raises(EvalSetRefused, match="has token id 256, bytes-model has embeddings for 256"):
        frozen.refuse_unless_it_fits("bytes-model", n_vocab=256, n_context=None)
    with pytest.raises(
        EvalSetRefused, match="a sequence of 101 tokens, m takes 100; set context = 100 or less"
    ):
        frozen.refuse_unless_it_fits("m", n_vocab=257, n_context=100)


def test_a_tasks_grid_is_the_same_eval_set_in_this_form():
    task = ModularArithmetic(p=5)
    frozen = FrozenEvalSet.of_task(task)
    assert frozen.encoding == task.eval_set.encoding
    assert np.array_equal(
        frozen.sequences.stack(frozen.sequences.ids, np.arange(25)), task.evaluation().tokens
    )
    assert frozen.items.correct.tolist() == task.evaluation().targets[:, 0].tolist()
    assert frozen.items.position.tolist() == [2] * 25
    assert frozen.copies is None


def test_a_task_with_copies_keeps_them():
    task = RepeatedTask()
    frozen = FrozenEvalSet.of_task(task)
    length = frozen.encoding.context_length
    assert np.array_equal(frozen.copies.reshape(-1, length), task.copies())
    later = frozen.copies.reshape(-1, length) == 2
    assert later.any()


def test_a_frozen_set_travels_to_a_worker(texts, hub):
    frozen = TextFiles(files=("a.txt",), context=16).freeze(Given(hub, folder=texts))
    assert_same(pickle.loads(pickle.dumps(frozen)), frozen)
