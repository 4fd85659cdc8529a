"""What prompt sets share: an answer is one token, read where the prompt ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int32

from ingest.evalset import EvalSetSettings, Given
from ingest.evalsets.classes import TokenClass, classes_of
from ingest.evalsets.frozen import FrozenEvalSet, Items
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.tokenizing import Encoded, TextTokenizer


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt in tokens, the right next token, and the one it is compared with.

    template: which prompts are of one kind. positions: tokens with a role, counted from the prompt's first token.
    counterfactual: the tokens of another prompt, as many, with another right answer. facts: what else is known of it.
    """

    text: str
    encoded: Encoded
    correct: int
    distractor: int
    template: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    counterfactual: Int32[np.ndarray, " token"] | None = None


def answer_id(
    tokenizer: TextTokenizer, prompt: str, ids: Int32[np.ndarray, " token"], answer: str
) -> int | None:
    """The token that an answer is, right after a prompt; None where it takes more than one.

    Raises EvalSetRefused where the prompt and the answer run together: what the model reads at the end of the
    prompt would not be where the answer begins.
    """
    single = tokenizer.single(answer)
    if single is None:
        return None
    together = tokenizer.encode(prompt + answer).ids
    if together.tolist() != [*ids.tolist(), single]:
        raise EvalSetRefused(
            f"{prompt[-30:]!r} and {answer!r} are tokenised differently together by {tokenizer.name}; a space between them "
            "belongs to the answer, not to the prompt"
        )
    return single


def freeze_prompts(
    settings: EvalSetSettings,
    given: Given,
    prompts: Sequence[Prompt],
    *,
    facts: Mapping[str, Any],
    notes: tuple[str, ...] = (),
) -> FrozenEvalSet:
    """An eval set of one sequence for each prompt, each as long as it is; the answer is read at its last token.

    An item's facts hold those of its prompt, under `positions` its tokens with a role, counted in the sequence, and
    under `counterfactual` the tokens of a whole sequence, the start token included.
    """
    tokenizer = given.tokenizer
    start_ids, bos_policy = tokenizer.start(settings.bos)
    head = np.array(start_ids, dtype=np.int32)
    nothing, special = np.zeros_like(head), np.full(len(head), TokenClass.SPECIAL)
    sequences = Sequences.of(
        [np.concatenate([head, p.encoded.ids]) for p in prompts],
        byte_lengths=[np.concatenate([nothing, p.encoded.byte_lengths]) for p in prompts],
        classes=[np.concatenate([special, classes_of(p.text, p.encoded.byte_lengths)]) for p in prompts],
    )
    items = Items(
        sequence=np.arange(len(prompts)),
        position=sequences.lengths - 1,
        correct=np.array([p.correct for p in prompts], dtype=np.int32),
        distractor=np.array([p.distractor for p in prompts], dtype=np.int32),
        template=tuple(p.template for p in prompts),
        facts=tuple(_facts(p, start_ids) for p in prompts),
    )
    return FrozenEvalSet.of(
        sequences,
        name=settings.name or settings.kind,
        settings=settings.as_written(),
        tokenizer=tokenizer,
        bos_policy=bos_policy,
        context=int(sequences.lengths.max()),
        items=items,
        facts=facts,
        notes=notes,
    )


def _facts(prompt: Prompt, start_ids: list[int]) -> dict[str, Any]:
    facts = dict(prompt.facts)
    if prompt.positions:
        facts["positions"] = {role: at + len(start_ids) for role, at in prompt.positions.items()}
    if prompt.counterfactual is not None:
        facts["counterfactual"] = [*start_ids, *prompt.counterfactual.tolist()]
    return facts
