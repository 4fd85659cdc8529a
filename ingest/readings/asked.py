"""What causal measures look at: which sequences of an eval set, and what is read of each of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.frozen import FrozenEvalSet, Items
from ingest.evalsets.next_tokens import NextTokens
from ingest.measuring.judging import judged
from ingest.models.interventions import Intervening
from ingest.streams import stream
from ingest.task import Task

Metric = Literal["logit_difference", "later_copies_loss", "loss"]

# an intervention takes a pass for every head, so a sample has to do
MOST_TOKENS = 8192
SEED = 0
# logits made at once, 16 MB of them; of one row in any case
ROOM = 2**22


def metric_of(task: Task) -> Metric:
    """What tells how well a model does on an eval set.

    The difference of the logits of the right and the wrong answer where there are both; the loss on later copies of a
    repeated block where there are any; else the mean loss.
    """
    if isinstance(task, NextTokens):
        if task.frozen.has_answers:
            return "logit_difference"
        return "loss" if task.frozen.copies is None else "later_copies_loss"
    return "loss" if task.copies() is None else "later_copies_loss"


def sampled(task: Task) -> dict[str, Any]:
    """Parameters of a causal measure that say what it is taken of."""
    return {"metric": metric_of(task), "most_tokens": MOST_TOKENS, "seed": SEED}


@dataclass(frozen=True, eq=False)
class Row:
    """One sequence and what is read of it.

    number: of the item, or of the sequence where there are no items with two answers. positions: where logits are
    read; correct: the right tokens there; distractor: the wrong one, where a difference is read (of one position).
    cluster: rows of one kind of prompt or one document are not independent.
    """

    number: int
    sequence: int
    tokens: Int[np.ndarray, " position"]
    positions: Int[np.ndarray, " read"]
    correct: Int[np.ndarray, " read"]
    cluster: int
    distractor: int = -1
    counterfactual: Int[np.ndarray, " position"] | None = None


def asked_of(task: NextTokens, *, pairs: bool = False) -> list[Row]:
    """The sampled rows of an eval set; pairs: only prompts that have a counterfactual.

    Up to `MOST_TOKENS` tokens, drawn with a fixed seed where there are more; in their own order. Raises NotApplicable
    where nothing of the kind is there.
    """
    frozen = task.frozen
    rows = _of_items(frozen) if frozen.has_answers else _of_sequences(frozen)
    if pairs:
        rows = [row for row in rows if row.counterfactual is not None]
        if not rows:
            raise NotApplicable("the eval set has no counterfactual prompts")
    if not rows:
        raise NotApplicable("no sequence of the eval set has what is read")
    mean_length = sum(len(row.tokens) for row in rows) / len(rows)
    n = max(1, int(MOST_TOKENS / mean_length))
    chosen = stream(SEED, "interventions.rows").permutation(len(rows))[:n]
    found = [rows[i] for i in sorted(chosen.tolist())]
    if not frozen.has_answers:
        return found
    clusters = cast(Items, frozen.items).clusters([row.number for row in found])
    return [replace(row, cluster=int(cluster)) for row, cluster in zip(found, clusters, strict=True)]


def _of_items(frozen: FrozenEvalSet) -> list[Row]:
    items = cast(Items, frozen.items)
    assert items.distractor is not None
    rows = []
    for item in range(len(items)):
        tokens = frozen.sequences[int(items.sequence[item])]
        other = items.counterfactual(item)
        if other is not None and len(other) != len(tokens):
            raise ValueError(
                f"item {item}: its counterfactual has {len(other)} tokens, the prompt {len(tokens)}; expected as many"
            )
        rows.append(
            Row(
                number=item,
                sequence=int(items.sequence[item]),
                tokens=tokens.astype(np.int64),
                positions=np.array([items.position[item]]),
                correct=np.array([items.correct[item]], dtype=np.int64),
                distractor=int(items.distractor[item]),
                cluster=item,
                counterfactual=None if other is None else np.array(other, dtype=np.int64),
            )
        )
    return rows


def _of_sequences(frozen: FrozenEvalSet) -> list[Row]:
    reads: dict[int, list[tuple[int, int]]] = defaultdict(list)
    if frozen.items is not None:
        for sequence, position, correct in zip(
            frozen.items.sequence.tolist(),
            frozen.items.position.tolist(),
            frozen.items.correct.tolist(),
            strict=True,
        ):
            reads[sequence].append((position, correct))
    documents = frozen.document_numbers
    rows = []
    for number in range(len(frozen.sequences)):
        tokens = frozen.sequences[number].astype(np.int64)
        at = reads[number] if frozen.items is not None else list(enumerate(tokens[1:].tolist()))
        if frozen.copies is not None:
            first = frozen.sequences.offsets[number]
            copies = frozen.copies[first : first + len(tokens)]
            at = [(p, token) for p, token in at if p + 1 < len(tokens) and copies[p + 1] == copies[p] > 1]
        if at:
            positions, correct = np.array(at).T
            rows.append(Row(number, number, tokens, positions, correct, int(documents[number])))
    return rows


def grouped(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows of one length, short ones first, so that nothing is padded."""
    found: Mapping[int, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        found[len(row.tokens)].append(index)
    return [found[length] for length in sorted(found)]


def tokens_of(
    rows: Sequence[Row], device: torch.device, *, other: bool = False
) -> Int[Tensor, "row position"]:
    """Tokens of rows of one length; other: of their counterfactuals."""
    found = [row.counterfactual if other else row.tokens for row in rows]
    return torch.from_numpy(np.stack(cast(list[np.ndarray], found))).to(device)


def metric(
    model: Intervening, final: Float[Tensor, "row position width"], rows: Sequence[Row]
) -> Float[Tensor, " row"]:
    """The metric of every row, float64: a difference of logits, or a mean loss in nats over what is read."""
    if rows[0].distractor >= 0:
        at = torch.tensor([int(row.positions[0]) for row in rows], device=final.device)
        read = final[torch.arange(len(rows), device=final.device), at]
        correct, distractor = answers_of(rows, final.device)
        products = (read * model.answer_direction(correct, distractor)).sum(-1)
        return (products + model.answer_bias(correct, distractor).to(products)).double()
    return _mean_losses(model, final, rows)


def answers_of(rows: Sequence[Row], device: torch.device) -> tuple[Int[Tensor, " row"], Int[Tensor, " row"]]:
    """Right and wrong answers."""
    return (
        torch.tensor([int(row.correct[0]) for row in rows], device=device),
        torch.tensor([row.distractor for row in rows], device=device),
    )


def _mean_losses(
    model: Intervening, final: Float[Tensor, "row position width"], rows: Sequence[Row]
) -> Float[Tensor, " row"]:
    device, counts = final.device, [len(row.positions) for row in rows]
    found = torch.zeros(len(rows), dtype=torch.float64)
    for some in _together(counts, model.shape.d_vocab):
        chosen, n = rows[some], torch.tensor(counts[some])
        of = torch.arange(len(chosen)).repeat_interleave(n)
        at, targets = (
            torch.from_numpy(np.concatenate(column)).to(device)
            for column in ([row.positions for row in chosen], [row.correct for row in chosen])
        )
        losses = judged(model.model.unembed(final[some][of.to(device), at]), targets).losses
        found[some] = torch.zeros(len(chosen), dtype=torch.float64).index_add_(0, of, losses) / n
    return found.to(device)


def _together(counts: Sequence[int], n_outputs: int) -> Iterator[slice]:
    """Rows whose logits are made together: those of all would take a gigabyte, one by one takes time."""
    start = 0
    while start < len(counts):
        stop, n = start + 1, counts[start]
        while stop < len(counts) and (n + counts[stop]) * n_outputs <= ROOM:
            n += counts[stop]
            stop += 1
        yield slice(start, stop)
        start = stop
