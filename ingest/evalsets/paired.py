"""Prompt sets drawn in pairs: what is right for one prompt is what the other one's answer is compared with.

So every word is the wrong answer as often as the right one, and a model that only prefers common words is at chance.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from ingest.evalset import EvalSetSettings, Given
from ingest.evalsets.asking import Prompt, answer_id, freeze_prompts
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.template import Filled, fill, named
from ingest.evalsets.tokenizing import TextTokenizer
from ingest.streams import stream

# pairs drawn at most for each pair wanted: where most are unfit or come again, there are not many more to find
_TRIES = 20


@dataclass(frozen=True)
class Draft:
    """A prompt in words, which a tokenizer may or may not take.

    template: text with fields in braces. words: what stands in them. correct, distractor: the answers, with the
    space before them if there is one. roles: tokens with a role, by the field whose last token they are.
    counterfactual: other words for the same template, with which another answer is right. kind: put before the
    template's name where one text serves several kinds. facts: what else is kept of it.
    """

    template: str
    words: Mapping[str, str]
    correct: str
    distractor: str
    roles: Mapping[str, str] = field(default_factory=dict)
    counterfactual: Mapping[str, str] | None = None
    kind: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


Pair = tuple[Draft, Draft]


class PairedPrompts(EvalSetSettings):
    """Settings that every prompt set drawn from word lists has."""

    n_prompts: int = Field(400, ge=2, description="an even number: they come in pairs")
    min_prompts: int = Field(
        100, ge=2, description="refuse where the tokenizer leaves fewer; n_prompts where that is lower"
    )
    seed: int = Field(0, ge=0, description="of the words drawn")

    @model_validator(mode="after")
    def _in_pairs(self) -> "PairedPrompts":
        if self.n_prompts % 2:
            raise ValueError(
                f"n_prompts = {self.n_prompts} is odd, prompts come in pairs; the nearest are {self.n_prompts - 1} and "
                f"{self.n_prompts + 1}"
            )
        return self

    @abstractmethod
    def pairs(self, tokenizer: TextTokenizer) -> Iterator[Pair]:
        """Pairs without end, a function of the seed and the words this tokenizer keeps whole.

        Raises EvalSetRefused where it keeps too few.
        """

    def of_tokenizer(self, tokenizer: TextTokenizer) -> Mapping[str, Any]:
        """What else is kept of the set as a whole; nothing by default."""
        return {}

    def freeze(self, given: Given) -> FrozenEvalSet:
        """Draw pairs until there are enough; those of which a prompt is unfit or was there before are left out."""
        tokenizer = given.tokenizer
        prompts: list[Prompt] = []
        known: set[str] = set()
        n_unfit = n_again = n_tried = 0
        drawn = self.pairs(tokenizer)
        while len(prompts) < self.n_prompts and n_tried < _TRIES * self.n_prompts // 2:
            pair = [(draft, fill(draft.template, draft.words)) for draft in next(drawn)]
            n_tried += 1
            if any(filled.text in known for _, filled in pair):
                n_again += 1
                continue
            made = [_prompt(draft, filled, tokenizer) for draft, filled in pair]
            fit = [one for one in made if one is not None]
            if len(fit) < len(pair):
                n_unfit += 1
                continue
            prompts += fit
            known |= {one.text for one in fit}
        if len(prompts) < min(self.min_prompts, self.n_prompts):
            raise EvalSetRefused(
                f"{self.kind} gives {len(prompts)} of {self.n_prompts} prompts with {tokenizer.name}: of {n_tried} pairs drawn "
                f"{n_unfit} have an answer that is more than one token after its prompt, {n_again} came before; min_prompts = "
                f"{self.min_prompts}. A lower one takes what there is."
            )
        facts = {"n_templates": len({one.template for one in prompts}), **self.of_tokenizer(tokenizer)}
        left = (f"{len(prompts)} of {self.n_prompts} prompts: there are no more that differ",)
        return freeze_prompts(
            self, given, prompts, facts=facts, notes=left if len(prompts) < self.n_prompts else ()
        )


def whole(tokenizer: TextTokenizer, words: Sequence[str], *, space: str = " ") -> list[str]:
    """The words that are one token with the space before, each token once, in the order given."""
    by_id: dict[int, str] = {}
    for word in words:
        if (found := tokenizer.single(space + word)) is not None:
            by_id.setdefault(found, word)
    return list(by_id.values())


def require(
    kind: str, tokenizer: TextTokenizer, what: str, *, kept: int, of: int, least: int, why: str = ""
) -> None:
    """Raise EvalSetRefused, with the numbers, where a tokenizer leaves too few of something."""
    if kept < least:
        raise EvalSetRefused(
            f"{tokenizer.name} leaves {kept} of {of} {what} {why or 'whole (one token, with the space before)'}, {kind} takes "
            f'at least {least}; a smaller vocabulary needs prompts of its own: kind = "prompts".'
        )


def couples(seed: int, purpose: str, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Two different words again and again; each comes once before any comes twice (one is left out of an odd number)."""
    turn = 0
    while True:
        order = stream(seed, purpose, turn).permutation(len(words))
        for i in range(0, len(order) - 1, 2):
            yield words[order[i]], words[order[i + 1]]
        turn += 1


def some(draw: np.random.RandomState, words: Sequence[str], n: int, *, but: Sequence[str] = ()) -> list[str]:
    """Draw n different words, none of those in `but`."""
    left = [word for word in words if word not in but]
    return [left[i] for i in draw.permutation(len(left))[:n]]


def _prompt(draft: Draft, filled: Filled, tokenizer: TextTokenizer) -> Prompt | None:
    """The prompt in tokens; None where an answer is not one token there."""
    encoded = tokenizer.encode(filled.text)
    try:
        correct = answer_id(tokenizer, filled.text, encoded.ids, draft.correct)
        distractor = answer_id(tokenizer, filled.text, encoded.ids, draft.distractor)
    except EvalSetRefused:  # the prompt's end and the answer make another token
        return None
    if correct is None or distractor is None:
        return None
    counterfactual = None
    if draft.counterfactual is not None:
        other = tokenizer.encode(fill(draft.template, {**draft.words, **draft.counterfactual}).text).ids
        counterfactual = other if len(other) == len(encoded.ids) else None
    ends = np.cumsum(encoded.byte_lengths)
    return Prompt(
        filled.text,
        encoded,
        correct,
        distractor,
        template=named(draft.template, draft.kind),
        facts=draft.facts,
        # the token that holds the last byte of the field
        positions={
            role: int(np.searchsorted(ends, filled.last_byte[name], side="right"))
            for role, name in draft.roles.items()
        },
        counterfactual=counterfactual,
    )
