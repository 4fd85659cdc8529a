"""What the invented language models have in common: heads that do the same, neurons that match, and where heads look."""

from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from archive.records import WHOLE, Checkpoint, Part
from archive.shard import ShardBuilder
from tests.ui.components.records import (
    CHANCE,
    MATCHING,
    N_HEADS,
    N_LAYERS,
    N_UNITS,
    PATTERN,
    SIGNATURE,
)

if TYPE_CHECKING:
    from tests.ui.components.archive import Model

Floats = NDArray[np.float64]

POSITIONS, ITEMS, BASELINE = 16, 2, 0.2
SILENT = N_UNITS - 1  # a neuron that does not vary


def partner_of(head: int, a: int, b: int) -> int:
    """The head of the run with seed b that does what `head` of the run with seed a does."""
    return (head - a + b) % N_HEADS


def match_of(unit: int, a: int, b: int) -> int:
    """The neuron of the run with seed b that is most like `unit` of the run with seed a; in the same layer."""
    return (unit + b - a) % N_UNITS


def excess_of(unit: int, b: int, learned: bool) -> float:
    """Excess correlation of a neuron with its match in the run with seed b: next to nothing before training."""
    return 0.6 - 0.05 * unit + 0.01 * b if learned else 0.02


def attention(model: "Model", layer: int, head: int) -> Floats:
    """(query, key): the induction head looks at the token before and at the first one, all others evenly."""
    even = np.tril(np.ones((POSITIONS, POSITIONS)))
    even /= even.sum(1, keepdims=True)
    if (layer, head) != (1, model.induction):
        return even
    found = 0.8 * np.eye(POSITIONS, k=-1)
    found[:, 0] += 1 - found.sum(1)
    return np.asarray(found)


def add_heads(shard: ShardBuilder, point: int, model: "Model", step: int) -> None:
    """Patterns of two texts, and signatures that runs have in common from step 1 on."""
    layers, heads = np.divmod(np.arange(N_LAYERS * N_HEADS), N_HEADS)
    pattern = shard.quantity(PATTERN)
    values = np.stack([attention(model, a, b).ravel() for a, b in zip(layers, heads, strict=True)])
    size = {"n_query": POSITIONS, "n_key": POSITIONS}
    for item in range(ITEMS):
        shard.add(
            "fact_attention", point, pattern, item=item, layer=layers, head=heads, values=values, **size
        )
    shard.cell(point, pattern)
    signature = shard.quantity(SIGNATURE)
    rng = np.random.default_rng([model.seed, step])
    found = rng.normal(size=(len(heads), 24))
    if step:
        # which of the things that heads of a layer do it is
        roles = layers * N_HEADS + (heads - model.seed) % N_HEADS
        found = np.random.default_rng(8).normal(size=found.shape)[roles] + 0.2 * found
    shard.add(
        "fact_vector", point, signature, part=shard.part(WHOLE), layer=layers, unit=heads, values=list(found)
    )
    shard.cell(point, signature)


def add_comparisons(shard: ShardBuilder, models: Sequence["Model"], steps: Sequence[int]) -> None:
    """Neurons of every ordered pair of runs at some steps."""
    for (a, b), step in ((pair, step) for pair in permutations(models, 2) for step in steps):
        owner = shard.pair(Checkpoint(run=a.name, step=step), Checkpoint(run=b.name, step=step))
        quantity = shard.quantity(MATCHING)
        units = np.arange(N_UNITS)
        silent = units == SILENT
        excess = np.array([excess_of(int(u), b.seed, step > 0) for u in units])
        for layer in range(N_LAYERS):
            values = {
                "highest": np.where(silent, np.nan, excess + BASELINE),
                "lowest": np.full(N_UNITS, -CHANCE),
                "layer": np.where(silent, -1, layer),
                "unit": np.where(silent, -1, [match_of(int(u), a.seed, b.seed) for u in units]),
                "baseline": np.where(silent, np.nan, BASELINE),
                "excess": np.where(silent, np.nan, excess),
            }
            for name, vector in values.items():
                shard.add(
                    "fact_pair_vector",
                    owner,
                    quantity,
                    part=shard.part(Part(kind="match", name=name)),
                    layer_a=layer,
                    layer_b=-1,
                    values=[vector.astype(float)],
                )
        shard.cell(owner, quantity)
