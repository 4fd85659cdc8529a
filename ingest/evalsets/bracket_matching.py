"""Brackets within brackets: which one is to be closed."""

from collections.abc import Iterator

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, require, some, whole
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import words_of
from ingest.streams import stream

BRACKETS = {"(": ")", "[": "]", "{": "}"}
# {open} is the bracket that is to be closed with {close}; {other} is one of another kind, {end} closes it
SHAPES = {
    "nested": "{other} {w1} {open} {w2}",
    "nested, far": "{other} {w1} {open} {w2} {w3} {w4}",
    "beside": "{other} {w1} {end} {open} {w2}",
    "around": "{open} {w1} {other} {w2} {end} {w3}",
    "nested around": "{other} {w1} {open} {w2} {other2} {w3} {end2} {w4}",
}
INTRODUCTIONS = ("Every bracket is closed:", "Here is a formula:")
WORDS = words_of("one two three red blue green big small left right up down stone water fire tree house road")


@eval_set(
    "bracket_matching",
    citation="pathscope; after open problem 5.28, tasks like indirect object identification",
)
class BracketMatching(PairedPrompts):
    """Prompts such as `Every bracket is closed: ( red [ two`: correct ], distractor ).

    The answer closes the innermost bracket that is open, the distractor one of another kind: an outer one, or one that is
    closed already. In the partner the two kinds change places; each is the other's counterfactual, and every bracket is
    right as often as wrong. Templates name how brackets are nested. Roles: `open`, the bracket to be closed, and `other`.
    """

    min_kinds: int = Field(
        2, ge=2, le=3, description="refuse where fewer kinds of bracket are one token on both sides"
    )

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """The same brackets with two kinds exchanged."""
        kinds = [one for one in BRACKETS if len(whole(tokenizer, (one, BRACKETS[one]))) == 2]
        require(
            self.kind, tokenizer, "kinds of bracket", kept=len(kinds), of=len(BRACKETS), least=self.min_kinds
        )
        words = whole(tokenizer, WORDS)
        require(self.kind, tokenizer, "words", kept=len(words), of=len(WORDS), least=4)
        templates = [
            (name, f"{introduction} {shape}")
            for introduction in INTRODUCTIONS
            for name, shape in SHAPES.items()
        ]
        k = 0
        while True:
            draw = stream(self.seed, "eval.bracket_matching", k)
            one, other = some(draw, kinds, 2)
            between = {f"w{i}": word for i, word in enumerate(some(draw, words, 4), 1)}
            name, template = templates[k % len(templates)]
            yield _draft(name, template, between, one, other), _draft(name, template, between, other, one)
            k += 1


def _draft(shape: str, template: str, between: dict[str, str], one: str, other: str) -> Draft:
    def brackets(one: str, other: str) -> dict[str, str]:
        return {
            "open": one,
            "other": other,
            "end": BRACKETS[other],
            # a third bracket, of the outer kind: closing it leaves the one to be closed
            "other2": other,
            "end2": BRACKETS[other],
        }

    return Draft(
        template,
        {**between, **brackets(one, other)},
        f" {BRACKETS[one]}",
        f" {BRACKETS[other]}",
        roles={"open": "open", "other": "other"},
        counterfactual=brackets(other, one),
        kind=shape,
    )
