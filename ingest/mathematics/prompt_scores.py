"""B20: how well a model does a task, prompt by prompt."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.mathematics.token_top import log_normalisers


@dataclass(frozen=True)
class PromptScores:
    """One number per prompt each, float64.

    logit_difference: logit of the right answer minus that of the wrong one, also their difference in log-
    probability. preferred: 1 where it is above 0, 1/2 where it is 0. top: 1 where no other token is more likely
    than the right one, ties shared. target_prob: probability of the right answer.
    """

    logit_difference: Float[Tensor, " prompt"]
    preferred: Float[Tensor, " prompt"]
    top: Float[Tensor, " prompt"]
    target_prob: Float[Tensor, " prompt"]


def prompt_scores(
    logits: Float[Tensor, "prompt token"], correct: Int[Tensor, " prompt"], distractor: Int[Tensor, " prompt"]
) -> PromptScores:
    """Scores from the logits at the position of the answer.

    correct, distractor: the token ids of the right and the wrong answer of every prompt. `preferred` is the
    accuracy of the indirect-object task (Wang et al. 2022: 99.3% for GPT-2 small) with chance 1/2; `top` that of
    a benchmark. Raises ValueError where the two answers are the same token.
    """
    same = correct == distractor
    if same.any():
        prompt = int(same.nonzero()[0])
        raise ValueError(
            f"prompt {prompt}: right and wrong answer are both token {int(correct[prompt])}; expected two tokens"
        )
    right = logits.gather(1, correct.long()[:, None])
    wrong = logits.gather(1, distractor.long()[:, None])
    difference = (right.double() - wrong.double())[:, 0]
    n_highest = (logits == logits.amax(1, keepdim=True)).sum(1).double()
    is_highest = right[:, 0] == logits.amax(1)
    return PromptScores(
        logit_difference=difference,
        preferred=(difference.sign() + 1) / 2,
        top=torch.where(is_highest, 1 / n_highest, 0.0),
        target_prob=(right[:, 0].double() - log_normalisers(logits).double()).exp(),
    )
