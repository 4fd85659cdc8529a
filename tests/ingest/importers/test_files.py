"""What is no data gets its own words, and every file is found once in a fixed order."""

import hashlib
import os
from pathlib import Path

import pytest

from ingest.importers import files
from ingest.importers.files import Damaged, ImportFile, not_text, plain_files, strict_json

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (LFS, "a Git LFS pointer to a file of 12345 bytes"),
        (b"/annex/objects/MD5E-s12--abc\n", "a git-annex pointer"),
        (b"\x1f\x8b\x08\x00rest", "gzip-compressed"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-be"), "binary: a zero byte at offset 0"),
        (b'{"a": 1}\0', "binary: a zero byte at offset 8"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
    ],
)
def test_what_is_no_data_is_called_by_its_name(data: bytes, words: str) -> None:
    assert not_text(data).startswith(words)


@pytest.mark.parametrize("data", [b'{"a": 1}', "\ufeffstep,value\n".encode(), "å".encode()])
def test_text_is_text(data: bytes) -> None:
    assert not_text(data) == ""


def test_a_byte_order_mark_is_dropped_and_another_encoding_is_named(tmp_path: Path) -> None:
    marked = tmp_path / "marked.json"
    marked.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    latin = tmp_path / "latin.json"
    latin.write_bytes("{'å'}".encode("latin-1"))

    assert ImportFile.load(marked, "marked.json").text == '{"a": 1}'
    with pytest.raises(Damaged, match="not UTF-8: byte 0xe5 at offset 2"):
        _ = ImportFile.load(latin, "latin.json").text


def test_a_file_too_large_to_hold_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("[1, 2, 3]")
    held = ImportFile.load(path, "x.json")
    monkeypatch.setattr(files, "KEEP_BYTES", 4)
    streamed = ImportFile.load(path, "x.json")

    assert (held.data, streamed.data) == (b"[1, 2, 3]", None)
    assert streamed.text == held.text == "[1, 2, 3]"
    assert streamed.head == held.head
    assert streamed.sha256 == held.sha256 == hashlib.sha256(b"[1, 2, 3]").hexdigest()
    assert streamed.n_bytes == held.n_bytes == 9


def test_a_broken_link_and_a_pipe_are_named_not_waited_for(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "gone.json")
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)

    with pytest.raises(Damaged, match="points nowhere"):
        ImportFile.load(link, "link.json")
    with pytest.raises(Damaged, match="not a plain file"):
        ImportFile.load(pipe, "pipe.json")


def test_files_come_in_path_order_without_hidden_ones_and_without_loops(tmp_path: Path) -> None:
    for name in ("b/2.json", "b/1.json", "a.json", ".git/config.json", "b/.hidden.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)

    found = [p.relative_to(tmp_path).as_posix() for p in plain_files(tmp_path)]

    assert found == ["a.json", "b/1.json", "b/2.json"]
    assert list(plain_files(tmp_path / "a.json")) == [tmp_path / "a.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1', "cut off at line 1"),
        ('{"a": "unfinished', "cut off at line 1"),
        ('{"a": 1} tail', "not JSON at line 1 column 10"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": -Infinity}', "-Infinity is not JSON"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is given twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_python_would_let_pass_is_refused(text: str, words: str) -> None:
    with pytest.raises(Damaged, match=words):
        strict_json(text)


def test_json_comes_back_exactly() -> None:
    assert strict_json('{"x": 0.18455268775470599, "n": [1, null, true]}') == {
        "x": 0.18455268775470599,
        "n": [1, None, True],
    }
