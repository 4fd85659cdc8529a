"""Pairs of words under one pattern, several times: the last one is to be completed."""

from collections.abc import Iterator, Mapping

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, couples, require, some
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import fitting, pairs_of
from ingest.streams import stream

RELATIONS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "opposite": pairs_of(
        """hot cold, big small, fast slow, high low, old new, hard soft, wet dry, rich poor, early late, open closed, full empty,
        strong weak, light dark, good bad, happy sad, near far, up down, left right, true false, first last, inside outside,
        before after, war peace, day night, black white, long short, deep shallow, loud quiet, thick thin, sweet bitter"""
    ),
    "plural": pairs_of(
        """man men, woman women, child children, foot feet, tooth teeth, mouse mice, knife knives, wolf wolves, leaf leaves,
        wife wives, life lives, dog dogs, house houses, city cities, party parties, box boxes, bus buses, game games, story
        stories, baby babies, country countries, church churches, hero heroes, tree trees, book books, key keys"""
    ),
    "past": pairs_of(
        """go went, see saw, take took, make made, come came, give gave, find found, tell told, leave left, feel felt, bring
        brought, begin began, keep kept, hold held, write wrote, stand stood, hear heard, mean meant, meet met, run ran, pay
        paid, sit sat, speak spoke, lead led, grow grew, lose lost, fall fell, send sent, build built, draw drew, break broke,
        spend spent, rise rose, drive drove, buy bought, wear wore, choose chose, eat ate, fly flew, win won"""
    ),
    "place": pairs_of(
        """France Paris, Germany Berlin, Italy Rome, Spain Madrid, England London, Russia Moscow, Japan Tokyo, China Beijing,
        Greece Athens, Egypt Cairo, Austria Vienna, Ireland Dublin, Poland Warsaw, Portugal Lisbon, Norway Oslo, Sweden
        Stockholm, Turkey Ankara, Cuba Havana, Canada Ottawa, India Delhi, Israel Jerusalem, Hungary Budapest, Ukraine Kiev"""
    ),
}
# how one example reads, what stands between two, and how the last begins
LAYOUTS = (
    ("from {cue} to {answer}", ", ", "from {cue} to"),
    ("Q: {cue} A: {answer}", "\n", "Q: {cue} A:"),
    ("The word {cue} goes with {answer}.", " ", "The word {cue} goes with"),
)


@eval_set(
    "few_shot",
    citation="Brown et al. 2020, Language models are few-shot learners; word pairs: pathscope",
)
class FewShot(PairedPrompts):
    """Prompts such as `from hot to cold, from big to small, from fast to`: correct slow, distractor another word's partner.

    Four relations (opposites, plurals, past tenses, capitals) in three layouts; neither answer is among the examples. The
    partner asks for the distractor's word after the same examples, and each is the other's counterfactual. Pairs of which
    the tokenizer takes a word apart are left out. Role: `cue`, the word whose partner is asked for.
    """

    shots: int = Field(3, ge=1, le=8, description="examples before the question")
    min_pairs: int = Field(
        8, ge=4, description="leave out a relation with fewer whole pairs; refuse where none is left"
    )

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """Two questions after the same examples."""
        kept = {name: fitting(tokenizer, words) for name, words in RELATIONS.items()}
        least = max(self.min_pairs, self.shots + 2)
        most = max(kept, key=lambda name: len(kept[name]))
        require(
            self.kind, tokenizer, f"pairs of {most}", kept=len(kept[most]), of=len(RELATIONS[most]), least=least,
            why="with two whole words (one token each, with the space before)",
        )  # fmt: skip
        going = {name: dict(found) for name, found in kept.items() if len(found) >= least}
        asked = {
            name: couples(self.seed, f"eval.few_shot.{name}", list(found)) for name, found in going.items()
        }
        turn = 0
        while True:
            for name, answers in going.items():
                one, other = next(asked[name])
                draw = stream(self.seed, f"eval.few_shot.{name}.examples", turn)
                shown = some(draw, list(answers), self.shots, but=(one, other))
                template = _template(*LAYOUTS[draw.randint(len(LAYOUTS))], self.shots)
                words = {f"cue{i}": cue for i, cue in enumerate(shown, 1)}
                words |= {f"answer{i}": answers[cue] for i, cue in enumerate(shown, 1)}
                yield (
                    _draft(name, template, words, one, other, answers),
                    _draft(name, template, words, other, one, answers),
                )
            turn += 1


def _template(example: str, between: str, last: str, shots: int) -> str:
    shown = [example.format(cue=f"{{cue{i}}}", answer=f"{{answer{i}}}") for i in range(1, shots + 1)]
    return between.join([*shown, last])


def _draft(
    relation: str, template: str, words: dict[str, str], cue: str, other: str, answers: dict[str, str]
) -> Draft:
    return Draft(
        template,
        {**words, "cue": cue},
        f" {answers[cue]}",
        f" {answers[other]}",
        roles={"cue": "cue"},
        counterfactual={"cue": other},
        kind=relation,
        facts={"relation": relation, "cue": cue},
    )
