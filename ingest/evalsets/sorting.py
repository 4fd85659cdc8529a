"""Lists to be sorted: which one comes next."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, require, whole
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import words_of
from ingest.streams import stream

# rising and falling
TEMPLATES = {
    "numbers": (
        (
            "Unsorted: {i1}, {i2}, {i3}, {i4}. From small to large: {s1}, {s2},",
            "The list {i1}, {i2}, {i3}, {i4} in increasing order is {s1}, {s2},",
        ),
        (
            "Unsorted: {i1}, {i2}, {i3}, {i4}. From large to small: {s1}, {s2},",
            "The list {i1}, {i2}, {i3}, {i4} in decreasing order is {s1}, {s2},",
        ),
    ),
    "words": (
        (
            "Unsorted: {i1}, {i2}, {i3}, {i4}. In alphabetical order: {s1}, {s2},",
            "The words {i1}, {i2}, {i3}, {i4} from A to Z are {s1}, {s2},",
        ),
        (
            "Unsorted: {i1}, {i2}, {i3}, {i4}. In reverse alphabetical order: {s1}, {s2},",
            "The words {i1}, {i2}, {i3}, {i4} from Z to A are {s1}, {s2},",
        ),
    ),
}
NUMBERS = tuple(str(n) for n in range(1, 100))
# one for each initial: the first letter decides
WORDS = words_of(
    "apple bread chair door engine fire garden house island jacket kitchen lamp morning night ocean paper question river sun "
    "table uncle village water yard zero"
)
# of six values in order, the two that are asked for stand in the middle; what comes before or after them is sorted already
_VALUES = 6
_ASKED = (2, 3)


@eval_set("sorting", citation="pathscope; after open problem 5.28, tasks like indirect object identification")
class Sorting(PairedPrompts):
    """Prompts such as `Unsorted: 40, 7, 23, 9. From small to large: 7, 9,`: correct 23, distractor 40.

    Two of four are sorted already; the answer is the next one, the distractor the one that is left. The partner sorts the
    other way round with the same two left, so neither large nor small is right more often. In the counterfactual the
    answer is replaced so that the distractor comes first. Numbers below 100, or words with different initials; those that
    the tokenizer takes apart are left out. Roles: `answer` and `other`, where the two stand in the unsorted list; `last`,
    the one sorted last.
    """

    items: Literal["numbers", "words", "both"] = Field("both", description="what is sorted, or half of each")
    min_items: int = Field(
        12, ge=_VALUES, description="refuse where fewer numbers or words are one token, and leave those out"
    )

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """The same two left to sort, upwards and downwards."""
        of = {"numbers": NUMBERS, "words": WORDS}
        asked = [kind for kind in of if self.items in (kind, "both")]
        kept = {kind: whole(tokenizer, of[kind]) for kind in asked}
        most = max(asked, key=lambda kind: len(kept[kind]))
        require(self.kind, tokenizer, most, kept=len(kept[most]), of=len(of[most]), least=self.min_items)
        going = [kind for kind in asked if len(kept[kind]) >= self.min_items]
        k = 0
        while True:
            kind = going[k % len(going)]
            draw = stream(self.seed, "eval.sorting", k)
            chosen = sorted(draw.permutation(len(kept[kind]))[:_VALUES])
            values = [kept[kind][i] for i in chosen]
            order, number = draw.permutation(4).tolist(), draw.randint(2)
            rising, falling = (templates[number] for templates in TEMPLATES[kind])
            yield _draft(kind, rising, values, order), _draft(kind, falling, values[::-1], order)
            k += 1


def _draft(kind: str, template: str, values: Sequence[str], order: list[int]) -> Draft:
    """values: in the order wanted; order: which of the first four stands where in the unsorted list."""
    right, wrong = (values[i] for i in _ASKED)
    words = {f"i{place}": values[which] for place, which in enumerate(order, 1)}
    words |= {"s1": values[0], "s2": values[1]}
    at = {which: f"i{place}" for place, which in enumerate(order, 1)}
    return Draft(
        template,
        words,
        f" {right}",
        f" {wrong}",
        roles={"answer": at[_ASKED[0]], "other": at[_ASKED[1]], "last": "s2"},
        counterfactual={at[_ASKED[0]]: values[4]},
        facts={"items": kind, "answer": right},
    )
