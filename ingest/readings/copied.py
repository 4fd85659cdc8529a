"""B10: which heads, were they to attend to a token, would write that very token: of the model's own reading of it.

The residual stream after the first block at the token → the head's LayerNorm, W_V and W_O → final LayerNorm →
unembedding, as Wang et al. have it. Every head of the model is given that stream, whatever its layer.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.classes import TokenClass
from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.copying import among_top, written
from ingest.mathematics.logit_attribution import FinalNorm
from ingest.models.interventions import CleanRun, Intervening
from ingest.readings.asked import MOST_TOKENS, Row
from ingest.readings.interventions import Interventions
from ingest.streams import stream
from ingest.task import Task

SEED, SOURCES, TOP = 0, 128, 5
Place = tuple[int, int]  # row, position


@dataclass(frozen=True, eq=False)
class Copied:
    """Whether each source's own token is among the most likely ones. lowered: with the sign of the output turned."""

    raised: Bool[Tensor, "source layer head"]
    lowered: Bool[Tensor, "source layer head"]
    clusters: Int[Tensor, " source"]


def source_of(task: Task) -> str:
    """Which tokens are sources: right answers where they stand in prompts, starts of words in text, else all tokens."""
    if isinstance(task, NextTokens):
        if task.frozen.has_answers:
            return "right answers"
        if task.frozen.sequences.classes is not None:
            return "word starts"
    return "tokens"


def sources(task: Task) -> dict[str, Any]:
    """Parameters that say what a score is taken of."""
    return {
        "k": TOP,
        "sources": source_of(task),
        "most_sources": SOURCES,
        "most_tokens": MOST_TOKENS,
        "seed": SEED,
    }


def copied(interventions: Interventions) -> Copied:
    """Of up to `SOURCES` tokens of the rows that causal measures sample, drawn with a fixed seed.

    Raises NotApplicable for a model without heads, or one that reads other tokens than it writes, and where no
    source is there.
    """
    interventions.require_heads()
    model, rows = interventions.model, interventions.rows
    places = _places(interventions.task, rows)
    own = torch.tensor([int(rows[row].tokens[at]) for row, at in places])
    stream_there = _after_first_block(interventions, places)
    shape = (len(places), model.shape.n_layers, model.shape.n_heads)
    raised, lowered = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
    silent = _logits(model, torch.zeros_like(stream_there[:1]))
    if silent.shape[1] != model.shape.d_vocab:
        raise NotApplicable(
            f"the model reads {model.shape.d_vocab} tokens and writes {silent.shape[1]}; copying takes the same tokens"
        )
    own = own.to(silent.device)
    for layer in range(model.shape.n_layers):
        for head, output in enumerate(_outputs(model, layer, stream_there)):
            logits = _logits(model, output)
            raised[:, layer, head] = among_top(logits, own, TOP).cpu()
            # the opposite of an output has the opposite logits, but for what norm and unembedding add to any
            lowered[:, layer, head] = among_top(2 * silent - logits, own, TOP).cpu()
    return Copied(raised, lowered, torch.tensor([rows[row].cluster for row, _ in places]))


def _places(task: NextTokens, rows: Sequence[Row]) -> list[Place]:
    """The sources, by row and position."""
    kind = source_of(task)
    found = [(i, at) for i, row in enumerate(rows) for at in _positions(task, row, kind)]
    if not found:
        raise NotApplicable(
            "no right answer stands in its own prompt, where a head could copy it from"
            if kind == "right answers"
            else f"no sequence of the eval set has what is to be copied: {kind}"
        )
    chosen = stream(SEED, "copying_topk.sources").permutation(len(found))[:SOURCES]
    return [found[i] for i in sorted(chosen.tolist())]


def _positions(task: NextTokens, row: Row, kind: str) -> list[int]:
    if kind == "right answers":
        before = row.tokens[: int(row.positions[0]) + 1]
        return list(map(int, np.flatnonzero(before == row.correct[0])[:1]))
    inside = np.arange(len(row.tokens)) > 0  # the first token is often none of the text's
    if kind == "word starts":
        sequences = task.frozen.sequences
        first = int(sequences.offsets[row.sequence])
        assert sequences.classes is not None
        inside &= sequences.classes[first : first + len(row.tokens)] == TokenClass.WORD_START
    return list(map(int, np.flatnonzero(inside)))


def _after_first_block(
    interventions: Interventions, places: Sequence[Place]
) -> Float[Tensor, "source d_model"]:
    at: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, (row, position) in enumerate(places):
        at[row].append((source, position))
    needed = sorted(at)
    found: dict[int, Tensor] = {}

    def look(run: CleanRun, chosen: list[int]) -> None:
        for stream_of_row, i in zip(run.residual[1], chosen, strict=True):
            for source, position in at[needed[i]]:
                found[source] = stream_of_row[position].clone()  # a view would keep the whole layer

    interventions.each_clean([interventions.rows[row] for row in needed], look)
    return torch.stack([found[source] for source in range(len(places))])


def _outputs(
    model: Intervening, layer: int, residual: Float[Tensor, "source d_model"]
) -> Float[Tensor, "head source d_model"]:
    block, norm = f"blocks.{layer}", model.final_norm
    scale = model.weight(f"{block}.ln1.w")
    if norm is not None and scale is not None:
        # also where the last norm does not, those before heads subtract the mean
        residual = FinalNorm(scale, model.weight(f"{block}.ln1.b"), norm.eps).normed(residual)
    values, outputs = (model.model.weight(f"{block}.attn.{part}") for part in ("W_V", "W_O"))
    return written(residual, values, outputs, model.weight(f"{block}.attn.b_V"))


def _logits(model: Intervening, output: Float[Tensor, "source d_model"]) -> Float[Tensor, "source token"]:
    """Of an output alone, through the final norm."""
    norm: FinalNorm | None = model.final_norm
    return model.model.unembed(output if norm is None else norm.normed(output))
