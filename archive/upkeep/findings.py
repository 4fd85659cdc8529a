"""What `verify` can find, worded so that somebody can act on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from archive.store import Archive

Kind = Literal["damage", "schema", "views", "rows", "double", "orphan", "checksum", "unit"]
MAX_EXAMPLES = 5
DAMAGED = "docs/recovery.md, A damaged file"
DISAGREE = "docs/recovery.md, Rows and ledger disagree"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    where: the file, table or column. message: what was found and what was expected, with ids.
    command: what to run or read next. count: how many rows, cells or blocks; examples: the first few.
    """

    kind: Kind
    where: str
    message: str
    command: str
    count: int = 1
    examples: tuple[Mapping[str, object], ...] = ()


def offenders(
    archive: Archive, kind: Kind, where: str, sql: str, message: str, command: str = DISAGREE
) -> Iterator[Finding]:
    """A finding if `sql` gives any row: {n} in the message is their number, and the first few are told."""
    n = archive.value(f"SELECT count(*) FROM ({sql})")
    if n:
        examples = archive.rows(f"SELECT * FROM ({sql}) ORDER BY ALL LIMIT {MAX_EXAMPLES}")
        first = ", ".join(f"{k} {v}" for k, v in examples[0].items() if v is not None)
        text = f"{message.replace('{n}', str(n))}; the first: {first}"
        yield Finding(kind, where, text, command, n, tuple(examples))
