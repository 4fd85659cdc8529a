"""Three-letter acronyms, of which the last letter is to be said."""

from collections.abc import Iterator

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, couples, require, some, whole
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import words_of
from ingest.streams import stream

TEMPLATES = (
    "The {first} {second} {third} ({typed}",
    "A report of the {first} {second} {third} ({typed}",
    "Last year the {first} {second} {third} ({typed}",
    "She used to work for the {first} {second} {third} ({typed}",
)
WORDS = words_of(
    """Able Active Annual Autumn Basic Better Blue Bridge Central City Clear Common Daily Deep Digital Double Early East
    Energy Equal Family Field First Forest General Global Golden Green Harbor Health High Home Inner Island Iron Joint Junior
    Justice Key Kind King Labor Lake Large Local Main Market Modern Motor National Network New North Ocean Office Open Outer
    Park Power Prime Public Quality Quick Queen Radio Rapid River Royal School Silver South State Test Town Trade Travel Union
    United Upper Urban Valley Village Vision Voice Water West Winter World Year Yellow Young Youth"""
)


@eval_set(
    "acronyms",
    citation="García-Carrasco, Maté and Trujillo 2024, How does GPT-2 predict acronyms?",
)
class Acronyms(PairedPrompts):
    """Prompts such as `The Golden Valley Market (GV`: correct M, distractor the initial of the word its partner has there.

    Partners differ in the third word only and are each other's counterfactual. The four initials differ. Words that the
    tokenizer takes apart are left out, and so are acronyms whose last letter it joins with the others. Roles: `first`,
    `second`, `third`, the words.
    """

    min_initials: int = Field(8, ge=4, description="refuse where fewer initials have a word left")

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """Two prompts that differ in the third word."""
        by_initial: dict[str, list[str]] = {}
        for word in whole(tokenizer, WORDS):
            by_initial.setdefault(word[0], []).append(word)
        initials = sorted(by_initial)
        require(
            self.kind, tokenizer, "initials", kept=len(initials), of=len({word[0] for word in WORDS}),
            least=self.min_initials, why="with a whole word (one token, with the space before)",
        )  # fmt: skip
        for k, asked in enumerate(couples(self.seed, "eval.acronyms.asked", initials)):
            draw = stream(self.seed, "eval.acronyms", k)
            typed = some(draw, initials, 2, but=asked)
            first, second, one, other = (
                by_initial[initial][draw.randint(len(by_initial[initial]))] for initial in (*typed, *asked)
            )
            words = {"first": first, "second": second, "typed": "".join(typed)}
            template = TEMPLATES[k % len(TEMPLATES)]
            yield _draft(template, words, one, other), _draft(template, words, other, one)


def _draft(template: str, words: dict[str, str], third: str, other: str) -> Draft:
    return Draft(
        template,
        {**words, "third": third},
        third[0],
        other[0],
        roles={role: role for role in ("first", "second", "third")},
        counterfactual={"third": other},
    )
