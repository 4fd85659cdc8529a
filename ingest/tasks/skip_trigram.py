"""Skip trigrams, `source ... key → answer`: what one layer of attention learns (Elhage et al. 2021)."""

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from ingest.streams import stream
from ingest.task import Examples, task
from ingest.tasks.pooled import PooledTask


@task(
    "skip_trigram",
    citation="Elhage et al. 2021, A mathematical framework for transformer circuits",
)
class SkipTrigram(PooledTask):
    """Random filler tokens with one source token among them and a key at the end, where the answer is read.

    The answer is a filler token looked up in a table of (source, key), itself random and frozen: `table_seed`
    is a setting of the task, not a seed of the run. Where the source stands and what the filler is do not
    matter. Sources, keys, places and fillers are all drawn uniformly. Only fillers are outputs, so uniform
    logits have loss ln(n_fillers).
    """

    length: int = Field(16, ge=2, description="tokens in a sequence, the key included")
    n_fillers: int = Field(32, ge=2, description="different filler tokens, and so of answers")
    n_sources: int = Field(8, ge=1, description="different source tokens")
    n_keys: int = Field(8, ge=1, description="different key tokens")
    table_seed: int = Field(0, ge=0, description="which random table of answers")

    @model_validator(mode="after")
    def _depends_on_both(self) -> "SkipTrigram":
        if self.n_sources * self.n_keys < 2:
            raise ValueError(
                "one source and one key have one answer, which needs no input; give two of either"
            )
        return self

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Fillers by number, then sources `s0`, `s1`, ..., then keys `k0`, `k1`, ..."""
        sources = (f"s{number}" for number in range(self.n_sources))
        return (*map(str, range(self.n_fillers)), *sources, *(f"k{number}" for number in range(self.n_keys)))

    @property
    def n_outputs(self) -> int:
        """The fillers."""
        return self.n_fillers

    @property
    def n_positions(self) -> int:
        """`length`."""
        return self.length

    @property
    def read_positions(self) -> tuple[int, ...]:
        """Only the key."""
        return (self.length - 1,)

    @property
    def read_labels(self) -> tuple[str, ...]:
        """What is read there is the answer."""
        return ("answer",)

    @property
    def n_distinct(self) -> int:
        """Source, key, place of the source, and the fillers around it."""
        fillings: int = self.n_fillers ** (self.length - 2)
        return self.n_sources * self.n_keys * (self.length - 1) * fillings

    @property
    def evaluation_name(self) -> str:
        """Says the size of the table and which one it is."""
        table = f"table {self.table_seed} of {self.n_sources} sources and {self.n_keys} keys"
        return f"{self.n_pool} sequences of {self.length}, {table}"

    @property
    def answers(self) -> Int[np.ndarray, "source key"]:
        """The table."""
        shape = (self.n_sources, self.n_keys)
        return stream(self.table_seed, "skip_trigram.table").randint(0, self.n_fillers, shape)

    def draw(self, random: np.random.RandomState, n: int) -> Int[np.ndarray, "example part"]:
        """The tokens."""
        rows = random.randint(0, self.n_fillers, (n, self.length))
        places = random.randint(0, self.length - 1, n)
        rows[np.arange(n), places] = self.n_fillers + random.randint(0, self.n_sources, n)
        rows[:, -1] = self.n_fillers + self.n_sources + random.randint(0, self.n_keys, n)
        return rows

    def build(self, rows: Int[np.ndarray, "example part"]) -> Examples:
        """The tokens as they are, with their answers."""
        # a source has a higher number than any filler, so it is the largest before the key
        sources = rows[:, :-1].max(axis=1) - self.n_fillers
        keys = rows[:, -1] - self.n_fillers - self.n_sources
        return Examples(tokens=rows, targets=self.answers[sources, keys][:, None])
