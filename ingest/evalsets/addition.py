"""Small sums, in digits and in words."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, couples, require, whole
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import words_of
from ingest.streams import stream

TEMPLATES = (
    "The sum of {a} and {b} is",
    "If you add {a} and {b}, you get",
    "We know that {a} plus {b} equals",
)
SIGNS = "It is true that {a} + {b} ="
WORDS = words_of(
    """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty"""
)
Notation = Literal["digits", "words", "both"]


@eval_set(
    "addition", citation="pathscope; after open problem 5.28, tasks like indirect object identification"
)
class Addition(PairedPrompts):
    """Prompts such as `The sum of 4 and 3 is`: correct 7, distractor a sum that another second number would give.

    The partner has that number, so its right answer is this one's distractor and each is the other's counterfactual; every
    sum is asked for about equally often. No answer stands in the prompt. Numbers from 1 to `largest` that the tokenizer
    takes apart are left out. Roles: `a`, `b`, the numbers added.
    """

    notation: Notation = Field("both", description="numbers in digits, in words, or half of each")
    largest: int = Field(20, ge=8, le=20, description="largest sum")
    min_numbers: int = Field(
        8,
        ge=5,
        description="refuse where fewer numbers of a notation are one token, and the notation with them",
    )

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """Two sums that share the first number."""
        written = {
            "digits": [str(n) for n in range(1, self.largest + 1)],
            "words": list(WORDS[: self.largest]),
        }
        asked = [n for n in written if self.notation in (n, "both")]
        left = {n: _values(written[n], whole(tokenizer, written[n])) for n in asked}
        most = max(asked, key=lambda n: len(left[n]))
        require(
            self.kind, tokenizer, f"numbers in {most}", kept=len(left[most]), of=self.largest, least=self.min_numbers
        )  # fmt: skip
        going = [n for n in asked if len(left[n]) >= self.min_numbers and any(_sums(left[n]))]
        if not going:
            raise EvalSetRefused(
                f"{tokenizer.name} keeps {left[most]} whole, of which no two sums share a number; raise largest."
            )
        sums = {n: couples(self.seed, f"eval.addition.{n}", list(map(str, _sums(left[n])))) for n in going}
        k = 0
        while True:
            notation = going[k % len(going)]
            one, other = map(int, next(sums[notation]))
            draw = stream(self.seed, "eval.addition", k)
            k += 1
            if not (first := _first_numbers(left[notation], one, other)):
                continue
            a = first[draw.randint(len(first))]
            templates = (*TEMPLATES, SIGNS) if notation == "digits" else TEMPLATES
            template = templates[draw.randint(len(templates))]
            written_as = written[notation]
            yield (
                _draft(notation, template, written_as, a, one, other),
                _draft(notation, template, written_as, a, other, one),
            )


def _first_numbers(known: list[int], one: int, other: int) -> list[int]:
    """Numbers that both sums can begin with, so that neither answer stands in either prompt."""
    return [
        a for a in known if {one - a, other - a} <= set(known) and not {one, other} & {a, one - a, other - a}
    ]


def _sums(known: list[int]) -> list[int]:
    """Sums that can be asked for beside another one."""
    return [
        one for one in known if any(other != one and _first_numbers(known, one, other) for other in known)
    ]


def _values(written: list[str], kept: list[str]) -> list[int]:
    return [written.index(number) + 1 for number in kept]


def _draft(notation: str, template: str, written: list[str], a: int, right: int, wrong: int) -> Draft:
    def name(number: int) -> str:
        return written[number - 1]

    return Draft(
        template,
        {"a": name(a), "b": name(right - a)},
        f" {name(right)}",
        f" {name(wrong)}",
        roles={"a": "a", "b": "b"},
        counterfactual={"b": name(wrong - a)},
        kind=notation,
        facts={"notation": notation, "a": a, "b": right - a},
    )
