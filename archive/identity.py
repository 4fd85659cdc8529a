"""Content hashes: the same thing gets the same name on every machine."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def canonical_json(value: object) -> str:
    """One text per value: sorted keys, no spaces, floats in shortest form; refuses NaN and infinities."""
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _plain(value: Any) -> Any:
    # 1.0 and 1 must be one parameter value: TOML and JSON writers differ in how they spell it
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def content_hash(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks.

    Never call this on the live archive file: closing any descriptor of it drops DuckDB's lock.
    """
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
