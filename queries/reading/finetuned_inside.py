"""What became of components and neurons of tuned runs: counts, where both ends were measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoint_pairs import Pair
from queries.reading.component_effects import effects_among, put_together, read_components
from queries.reading.component_tables import compare_pairs, pair_summary
from queries.reading.neuron_tops import KEPT, REPLACED, TOPS_SQL, NeuronTops, tops_by_checkpoint
from queries.reading.quantities import Choice
from queries.stats.component_categories import CATEGORIES, Thresholds
from queries.stats.ranked_lists import overlaps

Floats = NDArray[np.float64]

TOPS = "neuron.top"
K = 20  # as neuron_change has it


def components_of(
    archive: Archive, there: Sequence[Choice], pairs: Sequence[Pair]
) -> tuple[list[dict[str, Any]], list[Choice], list[str]]:
    """A row per pair and eval set of effects: how many components are of each category; the choices behind, what to say.

    Thresholds are the defaults of component_change. A statement per eval set that has effects of heads.
    """
    rows: list[dict[str, Any]] = []
    used: list[Choice] = []
    effects = effects_among(there)
    for effect in effects:
        choices = put_together(effect, there)
        mine = [p for p in pairs if {p.a.run_id, p.b.run_id} <= set(effect.selected.ids)]
        points = [p for pair in mine for p in (pair.a, pair.b)]
        known, _ = read_components(
            archive, choices, {p.run_id for p in points}, {p.checkpoint_id for p in points}
        )
        compared, _ = compare_pairs(mine, [None] * len(mine), known, Thresholds())
        rows += [
            {
                "run": c.pair.b.run,
                "step_a": c.pair.a.step,
                "step_b": c.pair.b.step,
                "eval_set": effect.quantity.eval_set,
                "what": effect.quantity.measure,
                **_kept(pair_summary(c, None)),
            }
            for c in compared
        ]
        used += choices.every if compared else []
    lines = []
    if effects and not rows:
        lines.append(
            f"Components are not counted: {effects[0].quantity.measure} is not there at both ends of any run; component_change "
            "takes other steps."
        )
    return rows, used, lines


def neurons_of(
    archive: Archive, there: Sequence[Choice], pairs: Sequence[Pair]
) -> tuple[list[dict[str, Any]], list[Choice], list[str]]:
    """A row per pair and eval set with top examples of neurons: how many neurons keep theirs. A statement per eval set."""
    rows: list[dict[str, Any]] = []
    used = [c for c in there if c.quantity.measure == TOPS]
    for tops in used:
        mine = [p for p in pairs if {p.a.run_id, p.b.run_id} <= set(tops.selected.ids)]
        points = [p for pair in mine for p in (pair.a, pair.b)]
        parameters: dict[str, object] = {
            "quantity_id": tops.quantity.quantity_id,
            "run_ids": sorted({p.run_id for p in points}),
            "checkpoint_ids": sorted({p.checkpoint_id for p in points}),
            "k": K,
        }
        known = tops_by_checkpoint(archive.query(TOPS_SQL, parameters))
        for pair in mine:
            a, b = known.get(pair.a.checkpoint_id), known.get(pair.b.checkpoint_id)
            overlap = _overlap(a, b) if a and b else np.empty(0)
            if len(overlap):
                rows.append(
                    {
                        "run": pair.b.run,
                        "step_a": pair.a.step,
                        "step_b": pair.b.step,
                        "eval_set": tops.quantity.eval_set,
                        "what": TOPS,
                        "n_neurons": len(overlap),
                        "neurons_kept": float((overlap >= KEPT).mean()),
                        "neurons_replaced": float((overlap <= REPLACED).mean()),
                        "mean_overlap": float(overlap.mean()),
                    }
                )
    lines = [] if rows else [f"Neurons are not counted: no run has {TOPS} at both ends."]
    return rows, used if rows else [], lines


def _overlap(a: NeuronTops, b: NeuronTops) -> Floats:
    """Share of top examples in common, of neurons that have some at both."""
    _, here, there = np.intersect1d(
        a.layer * 2**32 + a.unit, b.layer * 2**32 + b.unit, assume_unique=True, return_indices=True
    )
    _, overlap, _ = overlaps(a.keys[here], b.keys[there])
    empty = ((a.keys[here] < 0).all(1)) | ((b.keys[there] < 0).all(1))
    return overlap[~empty & np.isfinite(overlap)]


def _kept(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = ("n_components", *CATEGORIES, "participation", "kept_share", "top")
    return {name: summary[name] for name in names}
