"""Comparisons of all outputs of two models, in the columns of `output_agreement`."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from archive.store import Archive
from queries.reading.quantities import Choice
from queries.results import readable_sql
from queries.stats.distributions import t_quantile
from queries.stats.output_divergence import LN2

_SQL = """\
SELECT k.checkpoint_a, k.checkpoint_b, p.name AS part, f.value, f.se, f.n_items, f.n_clusters
FROM fact_pair f
JOIN checkpoint_pair k ON k.id = f.pair_id
JOIN part p ON p.id = f.part_id
WHERE f.quantity_id IN (SELECT unnest($quantity_ids))
  AND k.checkpoint_a IN (SELECT unnest($checkpoint_ids)) AND k.checkpoint_b IN (SELECT unnest($checkpoint_ids))
ORDER BY ALL"""

# agreement on the most likely token is one number, without a part
TOP1 = ""
# what is told of b is told of a in the other order
_TURNED = {
    "kl_ab": "kl_ba",
    "kl_ba": "kl_ab",
    "kl_ab_trimmed": "kl_ba_trimmed",
    "kl_ba_trimmed": "kl_ab_trimmed",
}
# further from both bounds than rounding of stored log-probabilities: other positions or another dtype
BEYOND = 1e-3

Exact = Mapping[tuple[int, int], Mapping[str, Mapping[str, float]]]


def read_exact(
    archive: Archive, choices: Sequence[Choice], checkpoint_ids: Iterable[int]
) -> tuple[Exact, str]:
    """(checkpoint_a, checkpoint_b) -> js, kl_ab, ... and "" for the most likely token -> value, se, n_items, n_clusters.

    In both orders, whichever is stored. One statement, which is given too.
    """
    parameters: dict[str, object] = {
        "quantity_ids": sorted(c.quantity.quantity_id for c in choices),
        "checkpoint_ids": sorted(set(checkpoint_ids)),
    }
    found: dict[tuple[int, int], dict[str, Mapping[str, float]]] = {}
    turned: dict[tuple[int, int], dict[str, Mapping[str, float]]] = {}
    for row in archive.rows(_SQL, parameters):
        a, b, part = row["checkpoint_a"], row["checkpoint_b"], row["part"]
        numbers = {
            name: math.nan if row[name] is None else row[name]
            for name in ("value", "se", "n_items", "n_clusters")
        }
        found.setdefault((a, b), {})[part] = numbers
        turned.setdefault((b, a), {})[_TURNED.get(part, part)] = numbers
    return turned | found, readable_sql(_SQL, parameters)


def exact_columns(of_pair: Mapping[str, Mapping[str, float]], level: float) -> dict[str, object]:
    """Columns that take the place of bounds and of agreement from lists, with intervals over documents."""
    row: dict[str, object] = {}
    if "js" in of_pair:
        js = of_pair["js"]
        low, high = _interval(js, level, LN2)
        row |= {
            **{name: js["value"] for name in ("js", "js_low", "js_high")},
            "js_ci_low": low,
            "js_ci_high": high,
            "js_se": js["se"],
            **{name: of_pair[name]["value"] for name in _TURNED if name in of_pair},
        }
    if TOP1 in of_pair:
        top = of_pair[TOP1]
        low, high = _interval(top, level, 1.0)
        row |= {"top1": top["value"], "top1_low": low, "top1_high": high, "top1_se": top["se"]}
    if not row:
        return {}
    first = of_pair.get("js", of_pair.get(TOP1, {}))
    counts = {"n_tokens": first.get("n_items"), "n_documents": first.get("n_clusters")}
    known = {name: int(n) for name, n in counts.items() if n is not None and math.isfinite(n)}
    return {**row, **known, "outputs": "all"}


def _interval(estimate: Mapping[str, float], level: float, most: float) -> tuple[float, float]:
    """Student's t over documents, ending at what the number can be; NaN with fewer than two."""
    if not estimate["n_clusters"] >= 2 or math.isnan(estimate["se"]):
        return math.nan, math.nan
    half = t_quantile((1 + level) / 2, int(estimate["n_clusters"]) - 1) * estimate["se"]
    low, high = np.clip([estimate["value"] - half, estimate["value"] + half], 0.0, most)
    return float(low), float(high)
