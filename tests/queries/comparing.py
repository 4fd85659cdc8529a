"""Comparisons of two models to plant: neurons and their matches, outputs, layers."""

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from archive.records import WHOLE, Checkpoint, Encoding, Part, Quantity, Site
from archive.schema.base import CellState
from tests.queries.language import BOOKS, MLP, OTHER_TEXT, OTHER_WORDS, TEXT, WORDS
from tests.queries.simulated import Simulation, measure

RESIDUAL = Site(name="hook_resid_post", hook_point="hook_resid_post")
# so many tokens that chance alone gives next to nothing
LONG_TEXT = Encoding(
    hash="long text", name="long text", tokenizer="words", n_sequences=1000, n_tokens=1_000_000
)
_MATCHING = measure(
    "neuron_matching", "fact_pair_vector", scope="matched unit", unit="1", direction="neither"
)
MATCHING = Quantity(measure=_MATCHING, encoding=LONG_TEXT, site=MLP)
MATCHING_ELSEWHERE = Quantity(measure=_MATCHING, encoding=OTHER_TEXT, site=MLP)
MATCHING_ON_TEXT = Quantity(measure=_MATCHING, encoding=TEXT, site=MLP)
DIVERGENCE = Quantity(
    measure=measure("output_divergence", "fact_pair", scope="pair", direction="neither"),
    encoding=TEXT,
    params={"kept": 0.99},
)
SAME_TOP = Quantity(
    measure=measure("top1_agreement", "fact_pair", scope="pair", unit="share", direction="neither"),
    encoding=TEXT,
)
_CKA = measure("cka", "fact_pair", scope="layer pair", unit="1", direction="neither")
CKA = Quantity(measure=_CKA, encoding=TEXT, site=RESIDUAL)
CKA_OF_NEURONS = Quantity(measure=_CKA, encoding=TEXT, site=MLP)


def pair_cell(
    s: Simulation,
    quantity: Quantity,
    a: str,
    b: str,
    steps: tuple[int, int],
    *,
    state: CellState = CellState.DONE,
    checkpoint: Mapping[str, Any] | None = None,
) -> tuple[int, int]:
    """A cell of the ordered pair; checkpoint: more about that of a."""
    builder = s.builder
    for declare, record in (
        (builder.tokenizer, WORDS),
        (builder.tokenizer, OTHER_WORDS),
        (builder.text_set, BOOKS),
    ):
        declare(record)  # type: ignore[operator]  # each takes its own kind of record
    of_a = Checkpoint(run=a, step=steps[0], **(checkpoint or {}))
    owner, q = builder.pair(of_a, Checkpoint(run=b, step=steps[1])), builder.quantity(quantity)
    if state == CellState.DONE:
        builder.cell(owner, q)
    else:
        builder.failed_cell(owner, q, state, error_class="Missing", message="no such revision")
    return owner, q


def matched(
    s: Simulation,
    a: str,
    b: str,
    step: int | tuple[int, int],
    excess: np.ndarray,
    *,
    baseline: float = 0.1,
    own_number: float | np.ndarray = 0.0,
    quantity: Quantity = MATCHING,
    **cell: Any,
) -> None:
    """excess: (layer, neuron); own_number: which neurons match their own layer and number, or the share that does, first ones."""
    steps = (step, step) if isinstance(step, int) else step
    owner, q = pair_cell(s, quantity, a, b, steps, **cell)
    n_layers, n = excess.shape
    own = np.arange(n) < own_number * n if isinstance(own_number, float) else own_number
    # the next neuron of the next layer, where it is not the own one
    units = np.where(own, np.arange(n), (np.arange(n) + 1) % n)
    for layer in range(n_layers):
        layers = np.where(own, layer, (layer + 1) % n_layers)
        silent = np.isnan(excess[layer])
        values = {
            "highest": excess[layer] + baseline,
            "lowest": -np.ones(n) * 0.1,
            "layer": np.where(silent, -1, layers),
            "unit": np.where(silent, -1, units),
            "baseline": np.where(silent, np.nan, baseline),
            "excess": excess[layer],
        }
        for name, vector in values.items():
            part = s.builder.part(Part(kind="match", name=name))
            s.builder.add(
                "fact_pair_vector",
                owner,
                q,
                part=part,
                layer_a=layer,
                layer_b=-1,
                values=[vector.astype(float)],
            )


def matched_to_all(
    s: Simulation, runs: Sequence[str], step: int, excess: Mapping[tuple[str, str], np.ndarray], **more: Any
) -> None:
    """Every ordered pair of the runs."""
    for a, b in permutations(runs, 2):
        matched(s, a, b, step, excess[a, b], **more)


def outputs_compared(
    s: Simulation,
    a: str,
    b: str,
    step: int,
    *,
    js: float,
    kl: tuple[float, float] = (0.3, 0.4),
    top1: float | None = None,
    se: float = 0.01,
) -> None:
    """Divergences of all outputs, and agreement on the most likely token."""
    found = {
        "js": js, "kl_ab": kl[0], "kl_ba": kl[1], "kl_ab_trimmed": kl[0] / 2, "kl_ba_trimmed": kl[1] / 2
    }  # fmt: skip
    owner, q = pair_cell(s, DIVERGENCE, a, b, (step, step))
    beside: dict[str, Any] = {"n_items": 72, "n_clusters": 8, **_nowhere()}
    for name, value in found.items():
        known = {"se": se if not name.endswith("trimmed") else None}
        part = s.builder.part(Part(kind="divergence", name=name))
        s.builder.add("fact_pair", owner, q, part=part, value=value, **known, **beside)
    if top1 is not None:
        owner, q = pair_cell(s, SAME_TOP, a, b, (step, step))
        s.builder.add("fact_pair", owner, q, part=s.builder.part(WHOLE), value=top1, se=0.02, **beside)


def layers_compared(
    s: Simulation,
    a: str,
    b: str,
    step: int | tuple[int, int],
    grid: np.ndarray,
    *,
    quantity: Quantity = CKA,
    **cell: Any,
) -> None:
    """grid: CKA of (layer of a, layer of b)."""
    steps = (step, step) if isinstance(step, int) else step
    owner, q = pair_cell(s, quantity, a, b, steps, **cell)
    layer_a, layer_b = np.indices(grid.shape)
    s.builder.add(
        "fact_pair",
        owner,
        q,
        part=s.builder.part(WHOLE),
        layer_a=layer_a.reshape(-1),
        layer_b=layer_b.reshape(-1),
        unit_a=-1,
        unit_b=-1,
        value=grid.reshape(-1),
        chance=0.0,
        n_items=72,
        n_clusters=8,
    )


def compare_all(s: Simulation, runs: Sequence[str], steps: Sequence[int]) -> None:
    """Every comparison of all pairs of runs, neurons in both orders: one of two neurons becomes universal."""
    for place, step in enumerate(steps):
        for i, (a, b) in enumerate(permutations(runs, 2)):
            matched(s, a, b, step, np.array([[0.1 + 0.7 * (place > 0) + 0.001 * (i % 3), 0.05]]))
            if a < b:
                outputs_compared(s, a, b, step, js=0.1 + 0.01 * (i % 3), top1=0.6)
                layers_compared(s, a, b, step, np.array([[0.8, 0.3], [0.3, 0.7 + 0.01 * (i % 3)]]))


def _nowhere() -> dict[str, int]:
    return dict.fromkeys(("layer_a", "layer_b", "unit_a", "unit_b"), -1)
