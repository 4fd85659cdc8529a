"""Years: a span ends later than it began, so of two numbers one is possible and one is not."""

from collections.abc import Iterator
from itertools import count

from pydantic import Field

from ingest.evalset import eval_set
from ingest.evalsets.paired import Draft, Pair, PairedPrompts, require
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.evalsets.word_pairs import words_of
from ingest.streams import stream

LATER = (
    "The {event} lasted from the year {year} to the year {century}",
    "The {event} began in the year {year} and ended in the year {century}",
    "Having started in {year}, the {event} was not over before {century}",
    "It was {year} when the {event} began; it went on until {century}",
)
EARLIER = (
    "The {event} ended in the year {year}; it had begun in the year {century}",
    "When the {event} was over in the year {year}, it had gone on since the year {century}",
    "Over at last in {year}, the {event} had started back in {century}",
    "It was {year} when the {event} ended; it had been going on since {century}",
)
EVENTS = words_of(
    """war siege project reign drought festival strike voyage trial expedition famine debate lease lawsuit journey alliance
    occupation rebellion construction partnership"""
)
CENTURIES = tuple(str(c) for c in range(11, 20))
YEARS = tuple(f"{y:02d}" for y in range(2, 99))


@eval_set(
    "greater_than",
    citation="Hanna, Liu and Variengien 2023, How does GPT-2 compute greater-than?",
)
class GreaterThan(PairedPrompts):
    """Prompts such as `The war lasted from the year 1732 to the year 17`: correct 41, distractor 23.

    The original sums the probabilities of all two-digit numbers above the first year's and takes off those up to it. Here
    two numbers are compared that lie equally far from it, on either side: the one above is right, the one below wrong.
    As large numbers would then always be right, the partner of every prompt asks when the span began (`ended in the year
    1732; it had begun in the year 17`), where the same two numbers change places. Only years that the tokenizer splits
    after the century take part. The counterfactual begins (ends) so early (late) that both numbers are possible.
    Role: `start`, the last two digits of the year that is given.
    """

    min_years: int = Field(
        60, ge=3, description="refuse where fewer years are split after the century, of all centuries"
    )

    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """One prompt that asks for a later year, one that asks for an earlier one."""
        numbers = _numbers(tokenizer)
        n = len(CENTURIES) * len(YEARS)
        require(
            self.kind, tokenizer, "years", kept=sum(map(len, numbers.values())), of=n, least=self.min_years,
            why="in two tokens, century and number",
        )  # fmt: skip
        # a year, and how far from it are two numbers of its century
        spans = {
            century: [(start, apart) for start in found if (apart := _apart(start, found))]
            for century, found in numbers.items()
        }
        centuries = [century for century, found in spans.items() if found]
        if not centuries:
            raise EvalSetRefused(f"{tokenizer.name}: no year has a number on either side; lower min_years.")
        for k in count():
            draw = stream(self.seed, "eval.greater_than", k)
            century = centuries[draw.randint(len(centuries))]
            start, apart = spans[century][draw.randint(len(spans[century]))]
            distance = apart[draw.randint(len(apart))]
            event, found = EVENTS[draw.randint(len(EVENTS))], numbers[century]
            later, earlier = LATER[k % len(LATER)], EARLIER[k % len(EARLIER)]
            yield (
                _draft(later, event, century, start, start + distance, start - distance, found),
                _draft(earlier, event, century, start, start - distance, start + distance, found),
            )


def _apart(start: int, numbers: list[int]) -> list[int]:
    """Distances at which there is a number on either side."""
    return [d for d in range(1, 50) if {start - d, start + d} <= set(numbers)]


def _numbers(tokenizer: TextTokenizer) -> dict[str, list[int]]:
    """For each century the two-digit numbers that are a token of their own after it."""
    firsts = {century: tokenizer.single(f" {century}") for century in CENTURIES}
    seconds = {year: tokenizer.single(year) for year in YEARS}
    return {
        century: [
            int(year)
            for year, second in seconds.items()
            if None not in (first, second)
            and tokenizer.encode(f" {century}{year}").ids.tolist() == [first, second]
        ]
        for century, first in firsts.items()
    }


def _draft(
    template: str, event: str, century: str, start: int, right: int, wrong: int, numbers: list[int]
) -> Draft:
    edge = numbers[0] if right > wrong else numbers[-1]
    reaches = edge < wrong if right > wrong else edge > wrong
    return Draft(
        template,
        {"event": event, "year": f"{century}{start:02d}", "century": century},
        f"{right:02d}",
        f"{wrong:02d}",
        roles={"start": "year"},
        counterfactual={"year": f"{century}{edge:02d}"} if reaches else None,
        facts={"start": start, "right": right, "wrong": wrong},
    )
