"""What answers about representations of two models say and cannot say."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from queries.reading.tables import floats, shared_words
from queries.render import interval, number
from queries.wording.circuits import or_nan, plural

Rows = Sequence[Mapping[str, Any]]


def similarity_sentence(summary: Rows, n_runs: int, place: str, level: float) -> str:
    """The answer in one sentence."""
    names = [r[end] for r in summary for end in ("group_a", "group_b")]
    cut = len(shared_words(names))
    told = []
    for r in summary[:3]:
        band = interval(or_nan(r["low"]), or_nan(r["high"]), 2)
        where = ""
        if len(summary) > 1:
            both = r["group_a"][cut:], r["group_b"][cut:]
            where = f"{both[0] if both[0] == both[1] else ' × '.join(both)} (start {r['start']}) "
        parts = {
            "same_depth": f"{number(r['same_depth'], 2)} at equal depth{f' ({level:.0%} interval {band})' if band else ''}",
            "other_depth": f"{number(r['other_depth'], 2)} at other depths",
            "first_same_depth": f"{number(r['first_same_depth'], 2)} at the first checkpoints",
        }
        told.append(where + ", ".join(words for name, words in parts.items() if r[name] is not None))
    more = f" and {len(summary) - 3} more" if len(summary) > 3 else ""
    return f"CKA between layers of {plural(n_runs, 'run')} at {place}: {'; '.join(told)}{more}."


def similarity_limits(summary: Rows, pairs: Rows, table: pa.Table, site: str) -> list[str]:
    """What such a similarity cannot tell."""
    lines = []
    if len(summary) > 1:
        lines.append(
            "Conditions and kinds of start are never averaged; fewer runs (--runs) give one estimate."
        )
    few = [r for r in summary if r["n_runs"] < 3]
    if few:
        lines.append(
            f"{plural(few[0]['n_runs'], 'run')}: nothing is said of other seeds; an interval needs 3 runs."
        )
    elif len(pairs) > 1:
        lines.append(
            f"{len(pairs)} pairs are not {len(pairs)} independent observations: intervals leave out runs, not pairs."
        )
    if any(r["first_same_depth"] is None and r["same_depth"] is not None for r in summary):
        lines.append(
            "No earlier checkpoints of these runs are compared: untrained models that see the same tokens are alike too, and how "
            "much is not known (load.checkpoints with 0 among them)."
        )
    unknown = sum(r["n_unknown"] for r in pairs)
    if unknown:
        lines.append(f"{unknown} pair(s) of layers have no number: a layer does not vary.")
    if len({r["step_a"] for r in pairs} | {r["step_b"] for r in pairs}) > 1:
        lines.append(
            "Checkpoints of different steps are compared: part of what differs is the length of training."
        )
    documents = floats(table, "n_documents")
    known = documents[np.isfinite(documents)]
    if len(known) and known.min() < 100:
        lines.append(
            f"{int(known.min())} documents: positions of one are not independent, which lifts what unrelated layers have above 0."
        )
    lines.append(
        "A few directions with large activations can decide CKA: high values do not say that the rest is alike, and outputs may "
        f"differ where it is high ({site})."
    )
    return lines
