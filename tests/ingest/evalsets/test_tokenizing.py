import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from ingest.evalsets.hub_tokenizer import PROBE, load_tokenizer
from ingest.evalsets.refusals import EvalSetRefused, TokenizerRefused
from ingest.evalsets.tokenizing import ByteTokenizer, TaskTokenizer, Vocabulary, lengths_from_ends
from ingest.tasks.modular_arithmetic import ModularArithmetic
from tests.ingest.evalsets.making import BYTES, START, byte_level, nfc, save

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(text=TEXT)
def test_bytes_come_back(text):
    encoded = BYTES.encode(text)
    assert bytes(encoded.ids.tolist()).decode() == text
    assert encoded.byte_lengths.sum() == len(text.encode())


@given(text=TEXT)
def test_a_byte_level_tokenizer_gives_the_text_back_and_counts_its_bytes(hub, text):
    encoded = hub.encode(text)
    assert hub.backend.decode(encoded.ids.tolist(), skip_special_tokens=False) == text
    assert encoded.byte_lengths.sum() == len(text.encode())
    assert (encoded.byte_lengths > 0).all()


@given(text=st.text(st.sampled_from("abé\u0308n\u0303 e\u0301ﬁ😀"), max_size=12))
def test_a_normaliser_that_changes_the_text_still_leaves_every_byte_counted(nfc_tokenizer, text):
    encoded = nfc_tokenizer.encode(text)
    assert encoded.byte_lengths.sum() == (len(text.encode()) if len(encoded.ids) else 0)


@pytest.fixture(scope="module")
def nfc_tokenizer(tmp_path_factory):
    backend = byte_level(["ab", "na\u00efve"], n_vocab=300, normalizer=nfc())
    return load_tokenizer(save(backend, tmp_path_factory.mktemp("nfc") / "nfc"), name="someone/nfc")


def test_what_the_pieces_of_one_character_count(hub):
    encoded = hub.encode("😀")
    assert (len(encoded.ids), encoded.byte_lengths.tolist()) == (4, [1, 1, 1, 1])


def test_lengths_from_where_tokens_end():
    # "é 中x": bytes 2, 1, 3, 1; the space belongs to the token after it, the end to the last one
    assert lengths_from_ends("é 中x", [1, 3]).tolist() == [2, 5]
    assert lengths_from_ends("é 中x", [1, 3, 3, 4]).tolist() == [2, 4, 0, 1]
    assert lengths_from_ends("", []).tolist() == []


def test_a_special_token_spelled_out_is_text(hub):
    end = dict(zip(hub.vocabulary.texts, hub.vocabulary.ids, strict=True))[START]
    assert hub.bos == end
    assert end in hub.vocabulary.special
    assert end not in hub.encode(f"a{START}b").ids


def test_ids_read_as_people_read_them(hub):
    assert hub.read(hub.single(" Mary")) == " Mary"
    first_of_four = int(hub.encode("😀").ids[0])
    assert hub.read(first_of_four) == "\\xf0"
    assert BYTES.read(10) == "\n"
    assert BYTES.read(256) == "<start>"


def test_the_built_in_tokenizer_keeps_its_hash():
    # stored numbers are found by it
    assert BYTES.record.hash == "b15dbd0ace45e0e7d6814fa997e9fe81e5624e57322ba45fe040157e9d7e0988"


def test_one_tokenizer_has_one_hash_however_its_file_is_written(hub, hub_folder, tmp_path):
    written = json.loads((hub_folder / "tokenizer.json").read_text())
    written["model"]["merges"] = [" ".join(merge) for merge in written["model"]["merges"]]  # as before 2024
    written["padding"] = None
    written["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    del written["model"]["ignore_merges"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(written, indent=1))
    again = load_tokenizer(tmp_path, name="someone/else")
    assert again.record.hash == hub.record.hash
    assert again.bos is None
    assert np.array_equal(
        again.encode("a text of more than four tokens").ids, hub.encode("a text of more than four tokens").ids
    )


def test_what_changes_the_ids_changes_the_hash(hub, hub_folder, tmp_path):
    def changed(name, change):
        written = json.loads((hub_folder / "tokenizer.json").read_text())
        change(written)
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").write_text(json.dumps(written))
        return load_tokenizer(tmp_path / name, name=name).record.hash

    def swap(written):
        vocabulary = written["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]

    hashes = {
        hub.record.hash,
        changed("swapped", swap),
        changed("spaced", lambda w: w["pre_tokenizer"].update(add_prefix_space=True)),
        changed("lower", lambda w: w.update(normalizer={"type": "Lowercase"})),
        changed("plain", lambda w: w["added_tokens"][0].update(special=False)),
    }
    assert len(hashes) == 5


def test_a_folder_without_tokenizer_files_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt_neox"}')
    with pytest.raises(
        TokenizerRefused,
        match=r"EleutherAI/pythia-14m-seed3: no tokenizer in .*: found config\.json, expected one of tokenizer\.json",
    ):
        load_tokenizer(tmp_path, name="EleutherAI/pythia-14m-seed3")
    with pytest.raises(TokenizerRefused, match="found nothing"):
        load_tokenizer(tmp_path / "nowhere", name="a/b")


def test_a_tokenizer_that_encodes_everything_to_nothing_is_refused(tmp_path):
    folder = save(Tokenizer(models.BPE()), tmp_path / "empty")
    assert (
        Tokenizer.from_file(str(folder / "tokenizer.json")).encode(PROBE).ids == []
    )  # the library says nothing
    with pytest.raises(
        TokenizerRefused, match=r"a/b: the tokenizer in .* encodes 'Hi there,' to nothing and knows 0"
    ):
        load_tokenizer(folder, name="a/b")


def test_a_damaged_tokenizer_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(TokenizerRefused, match=r"a/b: the tokenizer in .* cannot be read"):
        load_tokenizer(tmp_path, name="a/b")


def test_a_start_token_outside_the_vocabulary_is_refused(hub_folder, tmp_path):
    folder = shutil.copytree(hub_folder, tmp_path / "copy")
    (folder / "tokenizer_config.json").write_text('{"bos_token": {"content": "<s>"}}')
    with pytest.raises(TokenizerRefused, match="a/b: its start token '<s>' is not in its own vocabulary"):
        load_tokenizer(folder, name="a/b")


def test_an_older_form_of_the_files_is_the_same_tokenizer(hub, hub_folder, tmp_path):
    # vocab.json and merges.txt, as GPT-2 and OPT ship them
    model = json.loads((hub_folder / "tokenizer.json").read_text())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [" ".join(pair) for pair in model["merges"]]
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "bos_token": START})
    )
    older = load_tokenizer(tmp_path, name="someone/older")
    assert older.record.hash == hub.record.hash
    assert older.encode("Then, Mary went").ids.tolist() == hub.encode("Then, Mary went").ids.tolist()


@pytest.mark.parametrize("n_vocab", [0, 1, 50])
def test_embeddings_may_be_padded(hub, n_vocab):
    hub.refuse_unless_it_fits("m", hub.n_vocab + n_vocab)


def test_another_models_tokenizer_is_refused_with_both_numbers(hub):
    n = hub.n_vocab
    with pytest.raises(
        TokenizerRefused, match=rf"someone/small gives ids up to {n - 1}, gpt2 has embeddings for 100"
    ):
        hub.refuse_unless_it_fits("gpt2", 100)
    with pytest.raises(
        TokenizerRefused, match=rf"someone/small has {n} tokens, gpt2 has embeddings for 50257: too many"
    ):
        hub.refuse_unless_it_fits("gpt2", 50257)


def test_padding_of_published_models_is_accepted_and_no_more():
    # tokenizer and embedding sizes of GPT-2, Pythia 70M and 12B, OPT and Megatron's GPT-2
    for tokens, embeddings in (
        (50257, 50257),
        (50277, 50304),
        (50277, 50688),
        (50265, 50272),
        (50257, 51200),
    ):
        sized(tokens).refuse_unless_it_fits("m", embeddings)
    with pytest.raises(TokenizerRefused):
        sized(32000).refuse_unless_it_fits("m", 50304)
    with pytest.raises(TokenizerRefused):
        sized(20).refuse_unless_it_fits("m", 128)


def sized(n):
    record = BYTES.record.model_copy(update={"n_vocab": n})
    return ByteTokenizer(record, Vocabulary((0,), ("a",), frozenset()), None)


def test_a_model_of_bytes_needs_no_place_for_the_start_token():
    BYTES.refuse_unless_it_fits("bytes", 256)
    BYTES.refuse_unless_it_fits("bytes", 257)
    with pytest.raises(TokenizerRefused, match="gives ids up to 255"):
        BYTES.refuse_unless_it_fits("bytes", 255)


def test_a_start_token_is_the_settings_decision_and_must_exist():
    assert BYTES.start("none") == ([], "none")
    assert BYTES.start("prepend") == ([256], "prepend <start>")
    with pytest.raises(
        EvalSetRefused, match=r'the tokenizer modular_arithmetic: .* has none; set bos = "none"'
    ):
        TaskTokenizer.of(ModularArithmetic(p=5)).start("prepend")


def test_a_tasks_words():
    tokenizer = TaskTokenizer.of(ModularArithmetic(p=5), start="=")
    encoded = tokenizer.encode("4 3  =")
    assert encoded.ids.tolist() == [4, 3, 5]
    assert encoded.byte_lengths.tolist() == [1, 2, 3]
    assert tokenizer.bos == 5
    assert tokenizer.record == ModularArithmetic(p=5).eval_set.tokenizer
    with pytest.raises(EvalSetRefused, match="no token '9'; it has 0, 1, 2"):
        tokenizer.encode("4 9 =")
    with pytest.raises(TokenizerRefused, match="has no 'start'"):
        TaskTokenizer.of(ModularArithmetic(p=5), start="start")


def test_a_tokenizer_of_words_counts_bytes_by_where_they_end(tmp_path):
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "the": 1, "caf\u00e9": 2, ".": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words = load_tokenizer(save(backend, tmp_path / "words", bos_token=None), name="a/words")
    encoded = words.encode("the  café zoo. ")
    assert encoded.ids.tolist() == [1, 2, 0, 3]
    assert encoded.byte_lengths.tolist() == [3, 7, 4, 2]
