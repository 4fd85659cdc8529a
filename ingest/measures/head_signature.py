"""B15: what a head does, in a row of numbers that does not depend on the basis of its d_head dimensions."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.attention_masks import followers, mask_score, patterns_of_copies
from ingest.mathematics.head_signature import signature_labels
from ingest.measure import measure
from ingest.measures.attention_entropy import normalised_entropy
from ingest.measures.class_profile import class_profile
from ingest.measures.distance_profile import distance_profile
from ingest.measures.duplicate_token import duplicate_token
from ingest.measures.first_token import first_token
from ingest.measures.previous_token import previous_token
from ingest.models.loaded import Activations
from ingest.task import Task


def labels_of(task: Task) -> dict[str, Any]:
    """What each number is, which depends on what the eval set has."""
    if isinstance(task, NextTokens):  # prompts of different lengths have kinds, but no table of them
        repeats, classes = task.frozen.copies, task.frozen.sequences.classes
    else:
        repeats, classes = task.copies(), task.classes()
    return {"labels": list(signature_labels(repeats=repeats is not None, classes=classes is not None))}


@measure(
    "head.signature",
    scope="head vector",
    unit="1",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="pathscope; scores as in Olsson et al. 2022, profiles as in head.distance_profile and head.class_profile",
    traced=True,
    of_task=labels_of,
)
def head_signature(batch: Activations) -> Float[Tensor, "example layer head number"]:
    """All that one pass tells of where a head looks, side by side, to match heads of different models by.

    `params` name the numbers in order: attention to the previous and to the first token, normalised entropy, attention
    by distance; on repeated blocks also prefix matching and attention to duplicates, on text also attention by kind of
    token. Each is a share of attention or of the largest entropy, so from 0 to 1; standardise them with constants pooled
    over all runs compared before taking distances. Signatures on text and on repeats are two quantities to be put side by
    side; what patterns do not show is measured apart, per head, under `head.output_share`, `head.copying_eig` and
    `head.logit_attribution`. Long sequences have more far keys: only signatures on one eval set compare.
    """
    scores = [previous_token(batch), first_token(batch), normalised_entropy(batch)]
    parts = [torch.stack([score.double() for score in scores], -1), distance_profile(batch)]
    if batch.copies is not None:
        prefix_matching = mask_score(*patterns_of_copies(batch, followers))
        parts.append(torch.stack([prefix_matching, duplicate_token(batch)], -1))
    if batch.classes is not None:
        parts.append(class_profile(batch))
    return torch.cat(parts, -1)
