"""What a measure says about one checkpoint, on its way into a shard."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archive.records import Part, Quantity, Tokenizer
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.applicable import NotApplicable
from ingest.evalsets.next_tokens import NextTokens
from ingest.measuring.memory import lacks_memory
from ingest.task import Task


@dataclass(frozen=True)
class MeasuredValue:
    """What one measure says about one checkpoint: rows for a shard, or why there are none.

    columns: as ShardBuilder.add takes them, without `part`; parts: one per row where the table has parts. message: why
    there are none, or why some of the numbers are missing.
    """

    quantity: Quantity
    tokenizer: Tokenizer
    columns: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    state: CellState = CellState.DONE
    error_class: str = ""
    message: str = ""
    trace: str = ""

    @property
    def table(self) -> str:
        """The fact table that holds the rows."""
        return self.quantity.measure.table

    @property
    def n_rows(self) -> int:
        """Number of rows; 0 where there is no value."""
        return max((np.shape(column)[0] for column in self.columns.values() if np.ndim(column)), default=0)

    @classmethod
    def trouble(cls, quantity: Quantity, tokenizer: Tokenizer, error: Exception) -> "MeasuredValue":
        """Why there is no value: it has no meaning here (NotApplicable), or computing it failed."""
        applies = not isinstance(error, NotApplicable)
        return cls(
            quantity,
            tokenizer,
            state=_state_after(error) if applies else CellState.NOT_APPLICABLE,
            error_class=type(error).__name__,
            message=str(error),
            trace="".join(traceback.format_exception(error)) if applies else "",
        )

    def add_to(self, builder: ShardBuilder, owner: int, *, file: int = -1) -> None:
        """Enter rows and ledger cell of this value for the checkpoint with that owner index.

        file: index of the imported file that holds the weights, so that the cell goes when the file changes.
        """
        builder.tokenizer(self.tokenizer)
        quantity = builder.quantity(self.quantity)
        if self.state is not CellState.DONE:
            builder.failed_cell(
                owner,
                quantity,
                self.state,
                error_class=self.error_class,
                message=self.message,
                trace=self.trace,
                file=file,
            )
            return
        columns = dict(self.columns)
        if self.parts:
            columns["part"] = np.array([builder.part(part) for part in self.parts], dtype=np.int32)
        builder.add(self.table, owner, quantity, **columns)
        builder.cell(owner, quantity, file=file)


def _state_after(error: Exception) -> CellState:
    """Doing the same again fails the same way, unless it was memory."""
    return CellState.FAILED_TRANSIENT if lacks_memory(error) else CellState.FAILED_PERMANENT


def add_eval_set(builder: ShardBuilder, task: Task) -> None:
    """Put the tokens, right answers and vocabulary of a task's eval set into a shard, to be stored once."""
    if isinstance(task, NextTokens):
        task.frozen.add_to(builder)
        return
    frozen = task.eval_set
    builder.add("content_vocab", builder.tokenizer(frozen.tokenizer), **frozen.words)
    encoding = builder.encoding(frozen.encoding)
    builder.add("content_sequence", encoding, **frozen.sequences)
    builder.add("content_item", encoding, **frozen.items)
