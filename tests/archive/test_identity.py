import hashlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.identity import canonical_json, content_hash, file_sha256

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_the_hash_is_that_of_the_compact_sorted_json() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'
    assert content_hash({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


@given(st.dictionaries(st.text(), PLAIN, min_size=2))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert content_hash(dict(reversed(list(value.items())))) == content_hash(value)


@given(PLAIN)
def test_a_value_that_went_through_json_keeps_its_hash(value: object) -> None:
    assert content_hash(json.loads(json.dumps(value))) == content_hash(value)


def test_whole_floats_are_the_integers_toml_and_json_writers_make_of_them() -> None:
    assert content_hash({"lr": 1.0, "betas": (0.9, 1.0)}) == content_hash({"lr": 1, "betas": [0.9, 1]})
    assert content_hash(-0.0) == content_hash(0)


@pytest.mark.parametrize(("a", "b"), [(1, True), (1, "1"), (1.5, 1.25), (None, 0), ([], {})])
def test_different_things_have_different_hashes(a: object, b: object) -> None:
    assert content_hash(a) != content_hash(b)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_without_one_json_spelling_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_hash({"x": [value]})


def test_a_file_has_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\0" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(b"\0" * 3_000_000).hexdigest()
