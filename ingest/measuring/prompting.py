"""What a language model answers to prompts: the logits where the answer is read, reduced at once.

What looks at the attention of prompts sees it in the same pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.evalsets.frozen import FrozenEvalSet, Items
from ingest.evalsets.refusals import EvalSetRefused
from ingest.mathematics.prompt_scores import PromptScores, prompt_scores
from ingest.measuring.attended_job import AttendedJob
from ingest.measuring.memory import in_batches
from ingest.models.hooked import AttentionSink, HookedModel
from ingest.readings.attended import AttendedPrompts, places_of


@torch.no_grad()
def answer_prompts(
    model: HookedModel,
    frozen: FrozenEvalSet,
    *,
    batch: int,
    attending: Sequence[AttendedJob] = (),
    say: Callable[[str], None],
) -> PromptScores:
    """Scores of all items, in their order; one forward pass over each sequence, whose attention is shown to `attending`.

    Sequences of one length go through together, so nothing is padded. Raises EvalSetRefused for an eval set
    without items or without wrong answers.
    """
    items = frozen.items
    if items is None or items.distractor is None:
        raise EvalSetRefused(
            f"eval set {frozen.encoding.name!r} has no items with a right and a wrong answer."
        )
    of_sequence: dict[int, list[int]] = {}
    for item, sequence in enumerate(items.sequence.tolist()):
        of_sequence.setdefault(sequence, []).append(item)
    found = PromptScores(*(torch.zeros(len(items), dtype=torch.float64) for _ in fields(PromptScores)))
    correct, distractor = torch.from_numpy(items.correct), torch.from_numpy(items.distractor)

    for group in frozen.batches(len(frozen.sequences)):
        asked = [
            (row, item) for row, s in enumerate(group.sequences.tolist()) for item in of_sequence.get(s, ())
        ]
        tokens = torch.from_numpy(group.tokens.astype(np.int64))

        def work(
            rows: slice, asked: list[tuple[int, int]] = asked, tokens: Int[Tensor, "..."] = tokens
        ) -> None:
            here = [(row - rows.start, item) for row, item in asked if rows.start <= row < rows.stop]
            show = _shown(frozen, items, tokens[rows], here, attending) if attending and here else None
            final = model.trunk(tokens[rows].to(model.device), attention=show)
            for row, item in here:
                at = int(items.position[item])
                logits = model.unembed(final[row, at : at + 1]).cpu()
                one = slice(item, item + 1)
                scores = prompt_scores(logits, correct[one], distractor[one])
                for field in fields(PromptScores):
                    getattr(found, field.name)[one] = getattr(scores, field.name)

        in_batches(len(tokens), batch, work, again=lambda: None, say=say)
    return found


def _shown(
    frozen: FrozenEvalSet,
    items: Items,
    tokens: Int[Tensor, "sequence position"],
    asked: Sequence[tuple[int, int]],
    attending: Sequence[AttendedJob],
) -> AttentionSink:
    """Shows each layer's attention to these jobs; asked: (row, item), as a sequence may ask for several things."""
    rows = torch.tensor([row for row, _ in asked])
    places = places_of(frozen, items, [item for _, item in asked], tokens[rows])

    def show(layer: int, pattern: Float[Tensor, "sequence head query key"]) -> None:
        prompts = AttendedPrompts(places, pattern[rows.to(pattern.device)])
        for job in attending:
            job.see(layer, prompts)

    return show
