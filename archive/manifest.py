"""A shard's table of contents: what it says of itself, read back and checked.

`manifest.json` names runs, checkpoints and quantities in full; rows of the shard's files point to it by small
integers. `shard.py` writes shards, this module reads what they say.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from archive.errors import ShardRefused
from archive.identity import file_sha256
from archive.schema import FactTable, all_fact_tables
from archive.schema.base import SubjectKind

FORMAT = 1
FACT_TABLES: dict[str, FactTable] = {t.name: t for t in all_fact_tables()}

CELL_SCHEMA = pa.schema(
    [
        pa.field("owner", pa.int32(), nullable=False),
        pa.field("quantity", pa.int32(), nullable=False),
        pa.field("state", pa.int16(), nullable=False),
        pa.field("n_rows", pa.int32(), nullable=False),
        pa.field("file", pa.int32(), nullable=False),  # index into `files`, -1 for none
    ]
)

OwnerKind = Literal["run", "checkpoint", "pair", "text_set", "encoding", "tokenizer"]
SUBJECT_OF_OWNER: dict[str, SubjectKind] = {
    "run": SubjectKind.RUN,
    "checkpoint": SubjectKind.CHECKPOINT,
    "pair": SubjectKind.PAIR,
}


@dataclass(frozen=True)
class Owner:
    """What rows of a shard belong to, by natural key."""

    kind: OwnerKind
    key: tuple[Any, ...]


@dataclass(frozen=True)
class Manifest:
    """A shard's table of contents, as read back from its JSON."""

    path: Path
    name: str
    kind: str
    created_at: str
    replace: bool
    study: str
    owners: tuple[Owner, ...]
    records: dict[str, list[dict[str, Any]]]
    segments: tuple[tuple[int, int, int, int], ...]
    failures: tuple[dict[str, Any], ...]
    tables: dict[str, dict[str, Any]]
    provenance: dict[str, Any]
    sha256: str
    n_bytes: int

    @property
    def n_rows(self) -> int:
        """Fact and content rows in the shard."""
        return sum(int(t["rows"]) for name, t in self.tables.items() if name != "cells")

    @property
    def n_cells(self) -> int:
        """Ledger rows in the shard."""
        return int(self.tables.get("cells", {"rows": 0})["rows"])


def read_manifest(path: Path, *, check_bytes: bool = True) -> Manifest:
    """Read a shard's manifest and, unless told otherwise, check every file against its hash.

    Raises ShardRefused naming the file, the value found and the value expected.
    """
    raw, sha256, n_bytes = _read_json(path)
    if raw.get("format") != FORMAT:
        raise ShardRefused(f"{path.name}: shard format {raw.get('format')!r}, this version reads {FORMAT}")
    try:
        if raw["name"] != path.name:
            raise ShardRefused(f"{path.name}: the manifest is that of {raw['name']}; a unit keeps its name")
        for table, info in raw["tables"].items():
            if table != "cells" and table not in FACT_TABLES:
                raise ShardRefused(f"{path.name}: table {table!r} is unknown to this version")
            if info["file"] != f"{table}.parquet":
                raise ShardRefused(f"{path.name}: {table} is in {info['file']!r}, not in {table}.parquet")
            file = path / info["file"]
            if not file.is_file():
                raise ShardRefused(f"{path.name}/{info['file']} is missing")
            size = file.stat().st_size
            if size != info["bytes"]:
                raise ShardRefused(
                    f"{path.name}/{info['file']} has {size} bytes, its manifest says {info['bytes']}"
                )
            if check_bytes and (found := file_sha256(file)) != info["sha256"]:
                raise ShardRefused(
                    f"{path.name}/{info['file']} has sha256 {found[:12]}…, its manifest says {info['sha256'][:12]}…"
                )
        return Manifest(
            path=path,
            name=raw["name"],
            kind=raw["kind"],
            created_at=raw["created_at"],
            replace=raw["replace"],
            study=raw["study"],
            owners=tuple(Owner(o[0], tuple(o[1:])) for o in raw["owners"]),
            records=raw["records"],
            segments=tuple((s[0], s[1], s[2], s[3]) for s in raw["segments"]),
            failures=tuple(raw["failures"]),
            tables=raw["tables"],
            provenance=raw["provenance"],
            sha256=sha256,
            n_bytes=sum(int(t["bytes"]) for t in raw["tables"].values()) + n_bytes,
        )
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise ShardRefused(f"{path.name}/manifest.json lacks {error}; the unit is not one of ours") from None
    except OSError as error:
        raise ShardRefused(f"{path.name} cannot be read: {error}") from None


def _read_json(path: Path) -> tuple[dict[str, Any], str, int]:
    """A shard's manifest, checked against its checksum, with the checksum and its size in bytes."""
    try:
        content = (path / "manifest.json").read_bytes()
        said = (path / "manifest.sha256").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise ShardRefused(f"{path.name}: no {name}; the unit is not whole") from None
    except OSError as error:
        raise ShardRefused(f"{path.name} cannot be read: {error}") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if said.split() != [sha256, "manifest.json"]:
        raise ShardRefused(
            f"{path.name}/manifest.json has sha256 {sha256[:12]}…, manifest.sha256 says {said[:12]!r}…"
        )
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise ShardRefused(f"{path.name}/manifest.json is not readable JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ShardRefused(
            f"{path.name}/manifest.json holds a {type(raw).__name__}; the unit is not one of ours"
        )
    return raw, sha256, len(content)
