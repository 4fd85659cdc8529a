"""Columns of a piece of a table as numbers and words; what is wrong is named with its row."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.importers.files import Damaged
from ingest.importers.pieces import Piece

LARGEST_WHOLE = 2**53
NOT_FINITE = r"^[+-]?(nan|inf|infinity)$"


class Cells:
    """A piece read with the words that stand for a missing value."""

    def __init__(self, piece: Piece, missing: Sequence[str]) -> None:
        """`missing` are compared without spaces around them."""
        self.piece = piece
        self._missing = pa.array(sorted(missing), pa.string())
        self._nan_is_missing = any(word.lower() == "nan" for word in missing)
        self._inf_is_missing = any(word.lower() in ("inf", "infinity") for word in missing)

    def _as_written(self, name: str) -> pa.Array:
        """The column, words without spaces around them."""
        if name not in self.piece.columns:
            raise Damaged(f"no column {name!r}; there are {', '.join(list(self.piece.columns)[:8])}")
        cells = self.piece.columns[name]
        if pa.types.is_dictionary(cells.type):
            cells = cells.dictionary_decode()
        if pa.types.is_large_string(cells.type) or pa.types.is_string_view(cells.type):
            cells = cells.cast(pa.string())
        return pc.utf8_trim_whitespace(cells) if pa.types.is_string(cells.type) else cells

    def _column(self, name: str) -> pa.Array:
        """The column with nulls where a value is missing."""
        cells = self._as_written(name)
        if pa.types.is_string(cells.type):
            cells = pc.if_else(pc.is_in(cells, value_set=self._missing), pa.scalar(None, pa.string()), cells)
        elif pa.types.is_floating(cells.type):
            for said, looks in ((self._nan_is_missing, pc.is_nan), (self._inf_is_missing, pc.is_inf)):
                if said:
                    cells = pc.if_else(looks(cells), pa.scalar(None, cells.type), cells)
        return cells

    def numbers(self, name: str) -> np.ndarray:
        """A column as doubles, NaN where a value is missing; raises Damaged for NaN, infinity and what is no number."""
        cells = self._column(name)
        try:
            found = cells.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            self._refuse_first(name, cells)
        there = pc.is_valid(found).to_numpy(zero_copy_only=False)
        values: np.ndarray = found.to_numpy(zero_copy_only=False).astype(np.float64)
        bad = there & ~np.isfinite(values)
        if bad.any():
            raise self._at(int(np.flatnonzero(bad)[0]), name, "expected a finite number")
        return np.where(there, values, np.nan)

    def not_finite(self, name: str, values: np.ndarray) -> np.ndarray:
        """Which of the missing `values` of a column are written as NaN or as an infinity."""
        cells = self._as_written(name)
        if not np.isnan(values).any():
            return np.zeros(self.piece.n_rows, bool)
        if pa.types.is_floating(cells.type):
            found = pc.invert(pc.is_finite(cells))
        elif pa.types.is_string(cells.type):
            found = pc.match_substring_regex(cells, NOT_FINITE, ignore_case=True)
        else:
            return np.zeros(self.piece.n_rows, bool)
        return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False))

    def whole(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column as whole numbers of at least 0, and where there is one; raises Damaged for any other number."""
        values = self.numbers(name)
        there = ~np.isnan(values)
        bad = there & ((values != np.floor(values)) | (values < 0) | (values > LARGEST_WHOLE))
        if bad.any():
            raise self._at(int(np.flatnonzero(bad)[0]), name, "expected a whole number of at least 0")
        return np.where(there, values, 0).astype(np.int64), there

    def words(self, name: str) -> tuple[np.ndarray, list[str | None]]:
        """A column as numbers of its different words, and the words; None where a value is missing."""
        encoded = pc.dictionary_encode(self._column(name), null_encoding="encode")
        words = [None if word is None else str(word) for word in encoded.dictionary.to_pylist()]
        return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), words

    def combinations(self, names: Sequence[str]) -> tuple[np.ndarray, list[int], list[dict[str, str | None]]]:
        """What several columns say together: which combination each row has, where each comes first, its words."""
        n = self.piece.n_rows
        if not names:
            return np.zeros(n, np.int64), [0], [{}]
        encoded = [self.words(name) for name in names]
        keys = np.stack([numbers for numbers, _ in encoded])
        _, first, of = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        said = [
            {name: words[numbers[row]] for name, (numbers, words) in zip(names, encoded, strict=True)}
            for row in first.tolist()
        ]
        return np.ravel(of), first.tolist(), said

    def _refuse_first(self, name: str, cells: pa.Array) -> None:
        """Raise Damaged for the first cell that is no number."""
        for index, cell in enumerate(cells.to_pylist()):
            if cell is not None:
                try:
                    pa.array([cell]).cast(pa.float64())
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    raise self._at(index, name, "expected a number") from None
        raise Damaged(f"{name} is a column of {cells.type}, expected numbers")

    def _at(self, index: int, name: str, expected: str) -> Damaged:
        found = self.piece.columns[name][index].as_py()
        return Damaged(f"row {self.piece.first_row + index}: {name} is {found!r}, {expected}")

    def row(self, index: int) -> int:
        """The number of a row of the piece, as people count them."""
        return self.piece.first_row + index
