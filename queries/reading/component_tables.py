"""Components of pairs of checkpoints side by side: the rows of `component_change`, and what is said of each pair."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.checkpoint_pairs import Pair, Point
from queries.reading.component_effects import Components, similarities
from queries.results import Verdict
from queries.stats.clusters import cluster_spearman
from queries.stats.component_categories import (
    CATEGORIES,
    ComponentChanges,
    Thresholds,
    component_changes,
    kept_share,
)
from queries.stats.concentration import noise_participation, participation_ratio

Floats = NDArray[np.float64]

N_TOP = 5

# what a narrow terminal shows comes first
COMPONENTS = (
    ("component", pa.string()),
    ("category", pa.string()),
    *((name, pa.float64()) for name in ("effect_before", "effect_after", "change", "q", "similarity")),
    *((name, pa.float64()) for name in ("share_before", "share_after", "se")),
    ("kind", pa.string()),
    *((name, pa.float64()) for name in ("se_before", "se_after", "p", "q_small", "n")),
    ("n_items", pa.int64()),
    ("counted", pa.bool_()),
)


@dataclass(frozen=True)
class Compared:
    """Components that both checkpoints of a pair have. a, b: their places at the first and at the second.

    counted: which take part in sums. n_alone: components that one of the two lacks.
    """

    pair: Pair
    first: Components
    second: Components
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    changes: ComponentChanges
    similarity: Floats
    counted: NDArray[np.bool_]
    same: float
    n_alone: int

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [self.first.names[k] for k in self.a]

    @property
    def verdict(self) -> Verdict:
        """Whether any effect has changed: no only where each is shown to have stayed as it was."""
        if self.changes.changed.any():
            return "yes"
        return "no" if self.changes.stayed.all() else "unresolved"


def yardstick_pair(pair: Pair, points: Mapping[int, Mapping[int, Point]]) -> Pair | None:
    """Two adjacent late checkpoints of the run of A: the last two up to A, or up to B where both are of one run.

    Never the pair itself; None where the run has no two others.
    """
    last = pair.b.step if pair.a.run_id == pair.b.run_id else pair.a.step
    there = points.get(pair.a.run_id, {})
    steps = sorted(step for step in there if step <= last)
    found = [Pair(there[x], there[y]) for x, y in pairwise(steps)]
    return next((near for near in reversed(found) if near != pair), None)


def compare_pairs(
    pairs: Sequence[Pair],
    near: Sequence[Pair | None],
    known: Mapping[int, Components],
    thresholds: Thresholds,
) -> tuple[list[Compared], dict[Pair, Compared]]:
    """Pairs whose components are known, and by pair its yardstick. Signatures are standardised over all of them."""

    def read(pair: Pair | None) -> tuple[Components, Components] | None:
        if pair is None or not {pair.a.checkpoint_id, pair.b.checkpoint_id} <= set(known):
            return None
        return known[pair.a.checkpoint_id], known[pair.b.checkpoint_id]

    asked = [(pair, models) for pair in pairs if (models := read(pair))]
    unique = {pair: models for pair in near if pair and (models := read(pair))}
    alike = similarities([models for _, models in asked] + list(unique.values()))
    compared = [
        _compare(pair, models, similar, thresholds)
        for (pair, models), similar in zip(asked, alike, strict=False)
    ]
    yardsticks = {
        pair: _compare(pair, models, similar, thresholds)
        for (pair, models), similar in zip(unique.items(), alike[len(asked) :], strict=True)
    }
    beside = {
        pair: yardsticks[other]
        for pair, other in zip(pairs, near, strict=True)
        if other is not None and other in yardsticks
    }
    return [c for c in compared if len(c.a)], {pair: c for pair, c in beside.items() if len(c.a)}


def _compare(
    pair: Pair, models: tuple[Components, Components], similarity: Floats, thresholds: Thresholds
) -> Compared:
    first, second = models
    here = np.array([k for k, name in enumerate(first.names) if name in second.place], np.int64)
    there = np.array([second.place[first.names[k]] for k in here], np.int64)
    changes = component_changes(
        first.effects[here],
        second.effects[there],
        (first.errors[here], second.errors[there]),
        np.fmin(first.n[here], second.n[there]),
        similarity[here],
        thresholds,
    )
    # a layer's attention is the sum of its heads
    counted = np.array([first.kinds[k] != "attention" for k in here], bool)
    n_alone = len(first.names) + len(second.names) - 2 * len(here)
    return Compared(
        pair, first, second, here, there, changes, similarity[here], counted, thresholds.same, n_alone
    )


def component_rows(c: Compared) -> list[dict[str, Any]]:
    """A row per component, the largest change first."""
    rows = [
        {
            **c.pair.columns,
            "component": c.first.names[i],
            "kind": c.first.kinds[i],
            "category": CATEGORIES[c.changes.category[k]],
            "effect_before": float(c.first.effects[i]),
            "effect_after": float(c.second.effects[j]),
            "change": float(c.changes.change[k]),
            "se": float(c.changes.se[k]),
            "p": float(c.changes.p[k]),
            "q": float(c.changes.q[k]),
            "q_small": float(c.changes.q_small[k]),
            "similarity": float(c.similarity[k]),
            "share_before": _share(c.first.effects[i], c.first.total),
            "share_after": _share(c.second.effects[j], c.second.total),
            "se_before": float(c.first.errors[i]),
            "se_after": float(c.second.errors[j]),
            "n": float(np.fmin(c.first.n[i], c.second.n[j])),
            "n_items": c.second.n_items,
            "counted": bool(c.counted[k]),
        }
        for k, (i, j) in enumerate(zip(c.a.tolist(), c.b.tolist(), strict=True))
    ]
    return sorted(rows, key=lambda row: -abs(row["change"]))


def pair_summary(c: Compared, near: Compared | None) -> dict[str, Any]:
    """What is said of one pair, with its yardstick."""
    mine = _described(c)
    beside = _described(near) if near else {}
    categories = c.changes.category[c.counted]
    order = np.argsort(-np.abs(np.where(c.counted, c.changes.change, 0.0)), kind="stable")
    top = [c.names[k] for k in order[:N_TOP] if c.counted[k] and c.changes.change[k]]
    return {
        **c.pair.columns,
        "n_components": int(c.counted.sum()),
        **{name: int((categories == k).sum()) for k, name in enumerate(CATEGORIES)},
        "top": " ".join(top),
        **mine,
        "noise_participation": noise_participation(c.changes.se[c.counted]),
        "kept_share": kept_share(c.changes, c.similarity, c.same),
        "bar": c.changes.bar,
        "total_before": c.first.total,
        "total_after": c.second.total,
        "near_step_a": near.pair.a.step if near else None,
        "near_step_b": near.pair.b.step if near else None,
        "near_changed": int(near.changes.changed[near.counted].sum()) if near else None,
        **{f"near_{name}": value for name, value in beside.items()},
        "verdict": c.verdict,
    }


def _described(c: Compared) -> dict[str, float]:
    change = c.changes.change[c.counted]
    before, after = (
        np.abs(part[place[c.counted]]) for part, place in ((c.first.effects, c.a), (c.second.effects, c.b))
    )
    known = c.similarity[np.isfinite(c.similarity)]
    se = c.changes.se[c.counted]
    # how noise is spread over components is no news
    beyond = not np.isfinite(se).all() or float((change**2).sum()) > float((se**2).sum())
    told = beyond or bool(c.changes.changed[c.counted].any())
    return {
        "participation": participation_ratio(change) if told else math.nan,
        "rms_change": math.sqrt(float((change**2).mean())),
        "spearman": cluster_spearman(before, after, np.arange(len(before)))[0],
        "median_similarity": float(np.median(known)) if len(known) else math.nan,
        "least_similarity": float(known.min()) if len(known) else math.nan,
    }


def _share(effect: float, total: float) -> float:
    """NaN without a total, or where it is 0."""
    return float(effect / total) if math.isfinite(total) and total else math.nan
