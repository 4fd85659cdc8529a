"""The user's files as documents: .txt (a document a file), .jsonl (a line), .parquet (a row)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ingest.evalsets.documents import Document
from ingest.evalsets.refusals import EvalSetRefused


def read_documents(patterns: Sequence[str], field: str, folder: Path) -> list[Document]:
    """All documents of files, folders (with their subfolders) and globs.

    patterns: relative to `folder`. field: the key or column that holds the text in .jsonl and .parquet.
    Raises EvalSetRefused naming file and place for what cannot be read.
    """
    return [
        document
        for file in files_of(patterns, folder)
        for document in _READERS[file.suffix](file, _name(file, folder), field)
    ]


def files_of(patterns: Sequence[str], folder: Path) -> list[Path]:
    """The files that patterns stand for, sorted; raises EvalSetRefused for one that stands for none."""
    return sorted({file for pattern in patterns for file in _files(pattern, folder)})


def read_text(file: Path) -> str:
    """A file as UTF-8, strictly, without a byte order mark and with the line ends it has."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise EvalSetRefused(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return raw.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise EvalSetRefused(
            f"{file} is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x} ({error.reason}); "
            f"`iconv -f {_likely(raw)} -t UTF-8` makes a copy that is."
        ) from None


def json_lines(file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """(line number from 1, object) of every line that is not blank."""
    # not splitlines(): a text may hold U+2028, which ends a line there but not in JSONL
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise EvalSetRefused(f"{file}:{number}: not JSON: {error.msg} at column {error.colno}.") from None
        if not isinstance(value, dict):
            raise EvalSetRefused(
                f"{file}:{number}: a line holds an object {{...}}, this one is {line.strip()[:40]!r}."
            )
        yield number, value


def text_of(file: Path, number: int, line: Mapping[str, Any], field: str) -> str:
    """The text under a key of a line; raises EvalSetRefused naming the line and the keys it has."""
    value = line.get(field)
    if not isinstance(value, str):
        found = (
            f"is {json.dumps(value)[:40]}"
            if field in line
            else f"is not among {', '.join(line) or 'its keys'}"
        )
        raise EvalSetRefused(f"{file}:{number}: {field!r} must be a text, it {found}.")
    return value


def _likely(raw: bytes) -> str:
    return "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"


def _txt(file: Path, name: str, field: str) -> Iterator[Document]:
    yield Document(name, read_text(file))


def _jsonl(file: Path, name: str, field: str) -> Iterator[Document]:
    for number, line in json_lines(file):
        yield Document(f"{name}:{number}", text_of(file, number, line, field))


def _parquet(file: Path, name: str, field: str) -> Iterator[Document]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            columns = table.schema_arrow.names
            if field not in columns:
                raise EvalSetRefused(f"{file}: no column {field!r}; text_field may be {', '.join(columns)}.")
            found = table.schema_arrow.field(field).type
            if not any(is_text(found) for is_text in (pa.types.is_string, pa.types.is_large_string)):
                raise EvalSetRefused(f"{file}: column {field!r} holds {found}, not text.")
            texts = table.read(columns=[field]).column(field).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise EvalSetRefused(f"{file} cannot be read as Parquet: {error}") from None
    except UnicodeDecodeError as error:
        raise EvalSetRefused(f"{file}: column {field!r} is not UTF-8: {error}") from None
    for row, text in enumerate(texts):
        yield Document(f"{name}:{row}", text or "")  # no text in a row is an empty document


_READERS: Mapping[str, Callable[[Path, str, str], Iterator[Document]]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
_KNOWN = ", ".join(_READERS)


def _files(pattern: str, folder: Path) -> list[Path]:
    path = folder / Path(pattern).expanduser()
    if path.is_file():
        if path.suffix not in _READERS:
            raise EvalSetRefused(f"{path}: eval sets are read from {_KNOWN} files.")
        return [path]
    if path.is_dir():
        found = [f for f in path.rglob("*") if f.is_file() and not _hidden(f.relative_to(path))]
    elif any(sign in pattern for sign in "*?["):
        fixed = Path(path.anchor)
        found = [f for f in fixed.glob(str(path.relative_to(fixed))) if f.is_file()]
    else:
        raise EvalSetRefused(f"no file or folder {path}.")
    readable = [f for f in found if f.suffix in _READERS]
    if not readable:
        raise EvalSetRefused(f"{path}: {len(found)} files, none of them {_KNOWN}.")
    return readable


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _name(file: Path, folder: Path) -> str:
    """Relative to the study where that is possible: an archive is handed on, home folders are not."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else Path(file.name)).as_posix()
