"""Addition of n-digit numbers, digit by digit: each digit of the answer is learned at a time of its own."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from ingest.task import Examples, task
from ingest.tasks.pooled import PooledTask

PLACES = (
    "units",
    "tens",
    "hundreds",
    "thousands",
    "ten thousands",
    "hundred thousands",
    "millions",
    "ten millions",
    "hundred millions",
)
PLUS, EQUALS = 10, 11
# the pairs of digits with sum below ten, by which a column without a carry is drawn
CARRYLESS = np.array([(a, b) for a in range(10) for b in range(10 - a)])


@task(
    "digit_addition",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability (appendix "
    "on 5-digit addition)",
)
class DigitAddition(PooledTask):
    """Sequences `1 2 3 + 0 4 5 = 0 1 6` whose answer has n + 1 digits, read from `=` on.

    Both numbers have n_digits digits, most significant first, zeros in front. The answer's last digit is
    predicted but never read in, so it is no token of the sequence. All pairs are equally likely; with
    carries = "none", all pairs without a carry anywhere, whose answers begin with 0. The digits are the
    outputs, so uniform logits have loss ln(10).

    The order of the answer and the carries are there to intervene with: is a digit learned late for its
    place in the sequence, for its place in the number, or for its carries?
    """

    n_digits: int = Field(3, ge=1, le=len(PLACES), description="digits of each number")
    order: Literal["most_significant_first", "least_significant_first"] = Field(
        "most_significant_first", description="which way round the answer is written"
    )
    carries: Literal["any", "none"] = Field("any", description="none: only pairs without any carry")

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The digits, `+`, `=`."""
        return (*map(str, range(10)), "+", "=")

    @property
    def n_outputs(self) -> int:
        """The digits."""
        return 10

    @property
    def n_positions(self) -> int:
        """Both numbers, `+`, `=` and all digits of the answer but the last."""
        return 3 * self.n_digits + 2

    @property
    def read_positions(self) -> tuple[int, ...]:
        """From `=` on, one per digit of the answer."""
        return tuple(range(2 * self.n_digits + 1, 3 * self.n_digits + 2))

    @property
    def read_labels(self) -> tuple[str, ...]:
        """Which digit of the answer is read there: carry, ..., hundreds, tens, units, or the other way round."""
        names = (*PLACES[: self.n_digits], "carry")
        return names if self.order == "least_significant_first" else names[::-1]

    @property
    def n_distinct(self) -> int:
        """Pairs of numbers: 100 digit pairs per column, or the 55 without a carry."""
        pairs: int = (100 if self.carries == "any" else len(CARRYLESS)) ** self.n_digits
        return pairs

    @property
    def evaluation_name(self) -> str:
        """Says how many digits, which way round, and whether there are carries."""
        order = self.order.replace("_", " ")
        carries = "" if self.carries == "any" else ", no carries"
        return f"{self.n_pool} pairs of {self.n_digits}-digit numbers, {order}{carries}"

    def carry_pattern(self) -> Bool[np.ndarray, "example column"]:
        """Whether each column of the pairs of `evaluation()` carries into the next; units first.

        The last column's carry is the answer's leading digit.
        """
        return _columns(self.pool_rows)[1]

    def draw(self, random: np.random.RandomState, n: int) -> Int[np.ndarray, "example part"]:
        """The digits of both numbers, each units first, one number after the other."""
        if self.carries == "any":
            return random.randint(0, 10, (n, 2 * self.n_digits))
        columns = CARRYLESS[random.randint(0, len(CARRYLESS), (n, self.n_digits))]
        return np.concatenate([columns[..., 0], columns[..., 1]], axis=1)

    def build(self, rows: Int[np.ndarray, "example part"]) -> Examples:
        """Write the pairs out, with their sums."""
        a, b = (number[:, ::-1] for number in np.split(rows, 2, axis=1))
        digits, carried = _columns(rows)
        answer = np.concatenate([digits, carried[:, -1:].astype(digits.dtype)], axis=1)
        if self.order == "most_significant_first":
            answer = answer[:, ::-1]
        sign = np.ones((len(rows), 1), dtype=rows.dtype)
        tokens = np.concatenate([a, PLUS * sign, b, EQUALS * sign, answer[:, :-1]], axis=1)
        return Examples(tokens=tokens, targets=np.ascontiguousarray(answer))


def _columns(
    rows: Int[np.ndarray, "example part"],
) -> tuple[Int[np.ndarray, "example column"], Bool[np.ndarray, "example column"]]:
    """Digit of the sum and carry out of each column, units first."""
    a, b = np.split(rows, 2, axis=1)
    sums = a + b
    digits, carried = np.empty_like(sums), np.empty(sums.shape, dtype=bool)
    carry = np.zeros(len(rows), dtype=rows.dtype)
    for column in range(sums.shape[1]):
        total = sums[:, column] + carry
        digits[:, column], carry = total % 10, total // 10
        carried[:, column] = carry > 0
    return digits, carried
