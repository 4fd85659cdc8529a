"""What comparisons of smaller with larger models say and cannot say, in words."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from queries.reading.select import Selected
from queries.reading.sizes import size_words
from queries.render import number
from queries.stats.multiple import Correction


def size_sentence(label: str, rows: pa.Table, alpha: float, correction: Correction) -> str:
    """How many of the comparisons the smaller model wins, by chance and beyond it; rows: the clearest first."""
    ahead = pc.sum(pc.greater(rows["difference"], 0)).as_py()
    start = f"{label}: the smaller model is ahead in {ahead:,} of {rows.num_rows:,} comparisons"
    if rows["p"].null_count == rows.num_rows:
        return f"{start}; none has a standard error to judge it by."
    rule = f"any wrong at most {alpha:.0%}" if correction == "holm" else f"{alpha:.0%} of finds wrong"
    n_found = pc.sum(rows["found"]).as_py() or 0
    if not n_found:
        return f"{start}, in none of them beyond chance ({rule})."
    # p and what is corrected of it go up together, so finds come first
    (r,) = rows.slice(0, 1).to_pylist()
    return (
        f"{start}, in {n_found:,} beyond chance ({rule}); clearest: {r['task']}, {r['smaller']} "
        f"({size_words(r['smaller_size'])}) {number(r['smaller_value'], 3)} against {r['larger']} "
        f"({size_words(r['larger_size'])}) {number(r['larger_value'], 3)}."
    )


def size_limits(rows: pa.Table, selected: Selected, correction: Correction, alpha: float) -> list[str]:
    """What such comparisons cannot tell."""
    untested = rows["p"].null_count
    lines = []
    if untested:
        lines.append(
            f"{untested:,} comparison(s) have no standard error above 0 (not published, or both scores at 0 or 1) and are "
            "neither tested nor counted in the correction."
        )
    lines.append(
        "Both models answered the same items, and without results per item nothing says how much their errors agree: taking "
        "them as independent makes standard errors too large where they do, so true differences may be missed."
    )
    lines.append(
        "The promise rests on the published standard errors: where they are too small by a little, or models answered few "
        "items, more archives of equal models than that yield a find."
    )
    groups = list(selected.groups.values())
    if all(groups.count(g) == 1 for g in groups):
        lines.append(
            "Each condition has one run: a find is about these trained models, and another seed of the same sizes may differ."
        )
    else:
        lines.append(
            "Comparisons are of runs: a size is behind another only if that holds between their seeds (n_ahead of n_pairs), and "
            "pairs that share a run or a seed are not independent evidence."
        )
    if correction == "bh":
        lines.append(
            f"Benjamini-Hochberg bounds the share of wrong finds for independent tests; comparisons that share a model go "
            f"together, and where all are equal any find turns up in about {alpha:.0%} of archives, not always less."
        )
    lines += [
        "Found differences were chosen for being large: measured again they would be smaller. Not found is not equal: see the "
        "smallest detectable difference.",
        "Models may differ in more than their size (data, batch size, tokens seen), and a score below chance, where a wrong "
        "habit of the larger model costs it, counts as beaten too.",
    ]
    return lines


def clearest(row: Mapping[str, Any]) -> dict[str, str]:
    """A comparison in few cells."""
    return {
        "task": row["task"],
        "smaller": f"{row['smaller']} {number(row['smaller_value'], 3)}",
        "larger": f"{row['larger']} {number(row['larger_value'], 3)}",
        "difference": f"{number(row['difference'], 3)} ± {number(row['se'], 2)}",
        "p": number(row["p"], 2),
        "p_adjusted": number(row["p_adjusted"], 2),
    }
