import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.evalset import Given
from ingest.evalsets.reading import read_documents
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.text import TextFiles
from tests.ingest.evalsets.making import BYTES


def read(folder, *patterns, field="text"):
    return [(d.name, d.text) for d in read_documents(patterns, field, folder)]


def test_a_text_file_is_one_document_as_it_is(tmp_path):
    (tmp_path / "a.txt").write_bytes("one\r\ntwo\u2028three\n".encode())
    assert read(tmp_path, "a.txt") == [("a.txt", "one\r\ntwo\u2028three\n")]


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    assert read(tmp_path, "a.txt") == [("a.txt", "one")]


def test_every_line_of_jsonl_is_a_document(tmp_path):
    lines = [{"text": "one\u2028still one"}, {"text": ""}, {"text": "two", "id": 7}]
    text = "\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    assert read(tmp_path, "a.jsonl") == [
        ("a.jsonl:1", "one\u2028still one"),
        ("a.jsonl:3", ""),
        ("a.jsonl:5", "two"),
    ]


def test_every_row_of_parquet_is_a_document(tmp_path):
    pq.write_table(pa.table({"body": ["one", None, "two"], "n": [1, 2, 3]}), tmp_path / "a.parquet")
    assert read(tmp_path, "a.parquet", field="body") == [
        ("a.parquet:0", "one"),
        ("a.parquet:1", ""),
        ("a.parquet:2", "two"),
    ]


def test_folders_and_globs_give_the_files_that_can_be_read(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / ".cache").mkdir()
    for name in ("in/b.txt", "in/deep/a.txt", "in/notes.md", "in/.cache/c.txt", "d.txt"):
        (tmp_path / name).write_text(name)
    assert read(tmp_path, "in") == [("in/b.txt", "in/b.txt"), ("in/deep/a.txt", "in/deep/a.txt")]
    assert [name for name, _ in read(tmp_path, "in/*.txt", "in/b.txt", "d.*")] == ["d.txt", "in/b.txt"]
    assert [name for name, _ in read(tmp_path, str(tmp_path / "**" / "*.txt"))][-1] == "in/deep/a.txt"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\xe4\xfc", r"a\.txt is not UTF-8: byte 3 is 0xe4 .*iconv -f WINDOWS-1252"),
        ("abc".encode("utf-16"), r"a\.txt is not UTF-8: byte 0 is 0xff .*iconv -f UTF-16"),
        (b"abc\xc3", r"a\.txt is not UTF-8: byte 3 is 0xc3 \(unexpected end of data\)"),
    ],
)
def test_another_encoding_is_refused_with_the_first_wrong_byte(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(EvalSetRefused, match=message):
        read(tmp_path, "a.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', r"a\.jsonl:2: not JSON: .* at column 13"),
        ('["a"]', r"""a\.jsonl:2: a line holds an object .* this one is '\["a"\]'"""),
        ('{"txt": "a", "id": 1}', r"a\.jsonl:2: 'text' must be a text, it is not among txt, id"),
        ('{"text": 7}', r"a\.jsonl:2: 'text' must be a text, it is 7"),
        ('{"text": null}', r"a\.jsonl:2: 'text' must be a text, it is null"),
        ("{}", r"a\.jsonl:2: 'text' must be a text, it is not among its keys"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n' + line)
    with pytest.raises(EvalSetRefused, match=message):
        read(tmp_path, "a.jsonl")


def test_a_wrong_column_is_named_with_those_that_are_there(tmp_path):
    pq.write_table(pa.table({"body": ["one"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(EvalSetRefused, match=r"a\.parquet: no column 'text'; text_field may be body, n"):
        read(tmp_path, "a.parquet")
    with pytest.raises(EvalSetRefused, match=r"a\.parquet: column 'n' holds int64, not text"):
        read(tmp_path, "a.parquet", field="n")


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(EvalSetRefused, match=r"a\.parquet cannot be read as Parquet"):
        read(tmp_path, "a.parquet")


def test_files_that_are_not_there_or_of_another_kind_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("a,b")
    with pytest.raises(EvalSetRefused, match=r"no file or folder .*missing\.txt"):
        read(tmp_path, "missing.txt")
    with pytest.raises(EvalSetRefused, match=r"a\.csv: eval sets are read from \.txt, \.jsonl, \.parquet"):
        read(tmp_path, "a.csv")
    with pytest.raises(EvalSetRefused, match=r"1 files, none of them \.txt, \.jsonl, \.parquet"):
        read(tmp_path, ".")
    with pytest.raises(EvalSetRefused, match=r"\*\.txt: 0 files"):
        read(tmp_path, "*.txt")


def test_the_eval_set_of_files_is_the_same_wherever_the_texts_lie(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "1.txt").write_text("first text")
    (tmp_path / "a" / "2.txt").write_text("second text")
    (tmp_path / "b" / "all.jsonl").write_text('{"text": "second text"}\n{"text": "first text"}')
    frozen = [
        TextFiles(files=(".",), context=8).freeze(Given(BYTES, folder=tmp_path / folder))
        for folder in ("a", "b")
    ]
    assert frozen[0].encoding == frozen[1].encoding
    assert frozen[0].documents.record.hash == frozen[1].documents.record.hash
    assert [d.name for d in frozen[1].documents.documents] in (
        ["all.jsonl:1", "all.jsonl:2"],
        ["all.jsonl:2", "all.jsonl:1"],
    )
