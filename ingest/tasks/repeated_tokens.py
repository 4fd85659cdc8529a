"""Repeated random tokens: the task that induction heads solve (Elhage et al. 2021, Olsson et al. 2022)."""

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field, model_validator

from archive.records import WHOLE, Part
from ingest.streams import stream
from ingest.task import Examples, Task, task

N_EVALUATED = 256


@task(
    "repeated_tokens",
    citation="Elhage et al. 2021, A mathematical framework for transformer circuits; Olsson et al. 2022, "
    "In-context learning and induction heads",
)
class RepeatedTokens(Task):
    """A start token, then a block of random tokens over and over; every position predicts the next token.

    Each sequence has a period of its own, drawn uniformly from min_period to max_period. Its block is drawn
    without replacement, so that a token stands once in it and says without doubt what comes next; only a
    block longer than the vocabulary is drawn with replacement. The last copy is cut short at the end of the
    sequence. With one period for all (min_period = max_period) a model can cheat: it looks back by position
    and needs no induction head.

    The start token is token n_tokens and never an answer, so uniform logits have loss ln(n_tokens).
    """

    n_tokens: int = Field(32, ge=2, description="different random tokens; the start token comes on top")
    length: int = Field(32, ge=3, description="random tokens in a sequence, after the start token")
    min_period: int = Field(8, ge=1, description="shortest block")
    max_period: int = Field(16, description="longest block; a fixed period lets a model cheat by position")

    @model_validator(mode="after")
    def _possible(self) -> "RepeatedTokens":
        if self.max_period < self.min_period:
            raise ValueError(
                f"max_period = {self.max_period} is below min_period = {self.min_period}; swap them"
            )
        if self.length < self.max_period + 2:
            # the first token of the second copy comes as a surprise, the one after it is the first to predict
            raise ValueError(
                f"length = {self.length} leaves nothing to predict after a block of max_period = "
                f"{self.max_period}; give length = {self.max_period + 2} or more, or a shorter max_period"
            )
        return self

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The random tokens by number, then `start`."""
        return (*map(str, range(self.n_tokens)), "start")

    @property
    def n_outputs(self) -> int:
        """The random tokens."""
        return self.n_tokens

    @property
    def n_positions(self) -> int:
        """The start token and `length` more."""
        return self.length + 1

    @property
    def read_positions(self) -> tuple[int, ...]:
        """All but the last."""
        return tuple(range(self.length))

    @property
    def n_train(self) -> None:
        """Endless."""
        return None

    @property
    def evaluation_name(self) -> str:
        """Says the period and how long the sequences are."""
        if self.min_period == self.max_period:
            period = f"every {self.min_period}"
        else:
            period = f"every {self.min_period} to {self.max_period}"
        return f"{N_EVALUATED} sequences of {self.length} tokens repeating {period}"

    @cached_property
    def _evaluated(self) -> tuple[Examples, Int[np.ndarray, " example"]]:
        return self._draw(stream(0, "repeated_tokens.evaluation"), N_EVALUATED)

    def evaluation(self) -> Examples:
        """256 sequences from a stream of their own, the same for every run."""
        return self._evaluated[0]

    def copies(self) -> Int[np.ndarray, "example position"]:
        """0 for the start token, then 1 for the first block, 2 for the second, ..."""
        periods = self._evaluated[1]
        numbers = 1 + np.arange(self.length) // periods[:, None]
        return np.concatenate([np.zeros_like(periods)[:, None], numbers], axis=1)

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """None: there is always more data."""
        return {WHOLE: np.ones(N_EVALUATED, dtype=bool)}

    def fresh_batch(self, data_order_seed: int, step: int, n: int) -> Examples:
        """Draw n new sequences."""
        return self._draw(stream(data_order_seed, "repeated_tokens", step), n)[0]

    def _draw(self, random: np.random.RandomState, n: int) -> tuple[Examples, Int[np.ndarray, " example"]]:
        """Sequences and their periods."""
        periods = random.randint(self.min_period, self.max_period + 1, n)
        # the tokens in an order by random keys: its beginning is a draw without replacement
        blocks = random.random_sample((n, self.n_tokens)).argsort(axis=1, kind="stable")
        if self.max_period > self.n_tokens:
            longer = random.randint(0, self.n_tokens, (n, self.max_period))
            spare = self.max_period - self.n_tokens
            blocks = np.where(periods[:, None] > self.n_tokens, longer, np.pad(blocks, ((0, 0), (0, spare))))
        repeated = np.take_along_axis(blocks, np.arange(self.length) % periods[:, None], axis=1)
        tokens = np.concatenate([np.full((n, 1), self.n_tokens), repeated], axis=1)
        return Examples(tokens=tokens, targets=tokens[:, 1:]), periods
