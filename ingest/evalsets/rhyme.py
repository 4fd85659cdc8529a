"""Couplets: the second line ends on a rhyme."""

from collections.abc import Iterator

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, couples, require, some, whole
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.streams import stream

# words of one line rhyme; all are things that one can see, want or lose, so that each fits every template
RHYMES = tuple(
    tuple(line.split())
    for line in """
    cat hat bat rat mat
    light night sight kite flight
    rain train chain plane brain
    sea tree key bee knee
    ring king wing string spring
    boat coat goat note vote
    house mouse blouse spouse
    ball wall hall call
    book hook cook brook
    star car bar jar guitar
    stone bone phone throne
    cake lake snake steak
    moon spoon tune balloon
    bed head bread thread
    ground sound hound pound
    door floor store shore war
    land hand sand band
    town crown gown clown
    gold fold hold mold
    dream stream team beam
    fire wire choir liar
    shell bell well hotel
    pen hen men den
    year ear deer tear beer
    """.strip().split("\n")
)
TEMPLATES = (
    "All through the day I thought about the {cue},\nand all night long I dreamt about the",
    "He came to town to see a famous {cue},\nand saw, before he left, a famous",
    "I wrote a song, its subject was the {cue},\nand then a verse, its subject was the",
    "She had to choose, and did not choose the {cue};\nwhat she preferred to have, it was the",
    "The first line of this couplet has the {cue},\nand so the second line must have the",
)


@eval_set("rhyme", citation="pathscope; after open problem 5.28, tasks like indirect object identification")
class Rhyme(PairedPrompts):
    """Couplets without their last word: after a line that ends on `cat`, correct hat, distractor a word of another rhyme.

    The partner's first line ends on the distractor's rhyme, so every word is wrong as often as right and each couplet is
    the other's counterfactual. Words that the tokenizer takes apart are left out. Many words rhyme: `logit_difference`
    and `task_accuracy` say whether the rhyme is heard, `top_accuracy` expects a guess of one of several. Role: `cue`, the
    word to rhyme with.
    """

    min_rhymes: int = Field(6, ge=2, description="refuse where fewer groups have two whole words")

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """The same couplet with two rhymes."""
        kept = {group[0]: whole(tokenizer, group) for group in RHYMES}
        groups = {name: words for name, words in kept.items() if len(words) > 1}
        require(
            self.kind, tokenizer, "rhymes", kept=len(groups), of=len(RHYMES), least=self.min_rhymes,
            why="with two whole words (one token, with the space before)",
        )  # fmt: skip
        for k, two in enumerate(couples(self.seed, "eval.rhyme.rhymes", sorted(groups))):
            draw = stream(self.seed, "eval.rhyme", k)
            (cue, right), (other_cue, wrong) = (some(draw, groups[name], 2) for name in two)
            template = TEMPLATES[draw.randint(len(TEMPLATES))]
            yield (
                _draft(template, cue, right, wrong, other_cue),
                _draft(template, other_cue, wrong, right, cue),
            )


def _draft(template: str, cue: str, right: str, wrong: str, other_cue: str) -> Draft:
    return Draft(
        template,
        {"cue": cue},
        f" {right}",
        f" {wrong}",
        roles={"cue": "cue"},
        counterfactual={"cue": other_cue},
        facts={"cue": cue},
    )
