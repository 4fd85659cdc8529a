"""The one MetaData, the integer codes shared by tables and records, and how a column reads in Arrow."""

from enum import IntEnum

import pyarrow as pa
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Float,
    Integer,
    MetaData,
    SmallInteger,
    String,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData()


class SubjectKind(IntEnum):
    """What a cell was measured on."""

    RUN = 0
    CHECKPOINT = 1
    PAIR = 2


class CellState(IntEnum):
    """What the ledger knows of one (subject, quantity)."""

    DONE = 1
    FAILED_TRANSIENT = 2
    FAILED_PERMANENT = 3
    ABSENT_UPSTREAM = 4
    NOT_APPLICABLE = 5
    EXCLUDED = 6

    @property
    def settled(self) -> bool:
        """True when the cell needs no more work unless somebody asks for it."""
        return self is not CellState.FAILED_TRANSIENT


def arrow_type(column: Column[object]) -> pa.DataType:
    """The Arrow type that holds a column's values without loss."""
    return _arrow(column.type)


def _arrow(kind: TypeEngine[object]) -> pa.DataType:
    # order matters: SmallInteger and BigInteger are subclasses of Integer, Double of Float
    if isinstance(kind, ARRAY):
        return pa.list_(_arrow(kind.item_type))
    for sql, arrow in (
        (SmallInteger, pa.int16()),
        (BigInteger, pa.int64()),
        (Integer, pa.int32()),
        (Double, pa.float64()),
        (Float, pa.float32()),
        (Boolean, pa.bool_()),
        (DateTime, pa.timestamp("us", tz="UTC")),
        (String, pa.string()),
    ):
        if isinstance(kind, sql):
            return arrow
    raise TypeError(f"no Arrow type for column type {kind!r}")
