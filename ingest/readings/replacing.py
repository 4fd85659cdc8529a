"""What is put in the place of what a head or a layer says."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.models.interventions import ByHead, Change, Place
from ingest.readings.asked import SEED, Row, grouped
from ingest.streams import stream


def replaced(layer: int, head: int, instead: ByHead) -> Change:
    """One head says something else."""

    def make(said: ByHead) -> ByHead:
        changed = said.clone()
        changed[:, :, head] = instead[:, :, head]
        return changed

    return Change(layer, "heads", make)


def said(layer: int, place: Place, instead: Tensor) -> Change:
    """A place says something else altogether."""
    return Change(layer, place, lambda _: instead)


def nudged(layer: int, nudge: ByHead) -> Change:
    """All heads of a layer say a little more."""
    return Change(layer, "heads", lambda said: said + nudge)


def at_the_answer(
    rows: Sequence[Row], there: Float[Tensor, "row position d_model"]
) -> Callable[[Tensor], Tensor]:
    """Puts another stream in the place of this one, only where each row's answer is read."""
    at = (torch.arange(len(rows)), torch.tensor([int(row.positions[0]) for row in rows]))

    def make(stream_here: Tensor) -> Tensor:
        changed = stream_here.clone()
        changed[at] = there[at]
        return changed

    return make


def partners(rows: Sequence[Row]) -> list[Row | None]:
    """For each row another one at least as long, drawn with a fixed seed: as long if there is one. None: there is none."""
    groups = grouped(rows)
    found: list[Row | None] = [None] * len(rows)
    for number, group in enumerate(groups):
        longer = [i for later in groups[number + 1 :] for i in later]
        for i in group:
            others = [j for j in group if rows[j].sequence != rows[i].sequence] or longer
            if others:
                draw = stream(SEED, "interventions.resample", rows[i].number)
                found[i] = rows[others[int(draw.randint(len(others)))]]
    return found


def cut(rows: Sequence[Row], tokens: Int[Tensor, "row position"]) -> Int[Tensor, "row position"]:
    """The beginnings of these rows, as long as `tokens`: what comes later changes nothing before it."""
    found = [torch.from_numpy(row.tokens[: tokens.shape[1]]) for row in rows]
    return torch.stack(found).to(tokens.device)
