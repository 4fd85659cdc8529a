"""Every task with every pair of a smaller and a larger model: tested, corrected, as Arrow tables of any length."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.errors import NotComparable
from queries.reading.benchmarks import Benchmarks
from queries.reading.sizes import Sizes
from queries.reading.tables import floats
from queries.render import number
from queries.stats.equal_truth import null_errors, one_sided
from queries.stats.multiple import Correction, adjusted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDES = ("smaller", "larger")


@dataclass(frozen=True)
class BenchmarkPairs:
    """All comparisons. smaller, larger: places of the rows in the values; of each comparison what came of it."""

    smaller: Ints
    larger: Ints
    difference: Floats
    se: Floats
    null_se: Floats
    p: Floats
    p_adjusted: Floats

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Comparisons with a standard error to judge them by."""
        return np.isfinite(self.p)


def compare_pairs(read: Benchmarks, sizes: Sizes, ratio: float, correction: Correction) -> BenchmarkPairs:
    """All comparisons of every task; raises NotComparable where no two models of one task differ in size."""
    table = read.finite
    tasks = np.array(table["task"].to_pylist())
    size = np.array([sizes.of[run] for run in table["run_id"].to_pylist()])
    members = [np.flatnonzero(tasks == task) for task in read.tasks]
    found = [at[np.stack(np.nonzero(size[at][None, :] >= ratio * size[at][:, None]))] for at in members]
    smaller, larger = np.concatenate(found, axis=1)
    if not len(smaller):
        raise NotComparable(
            f"no two of these {len(set(size.tolist()))} sizes differ by a factor of {number(ratio)} on one task; ask for runs "
            "of several sizes, or with a smaller ratio."
        )
    values, errors = floats(table, "value"), floats(table, "se")
    a, b, se_a, se_b = values[smaller], values[larger], errors[smaller], errors[larger]
    difference = read.sign * (a - b)
    null_se = null_errors(a, b, se_a, se_b, shares=read.quantity.bounds == (0.0, 1.0))
    p = one_sided(difference, null_se)
    return BenchmarkPairs(
        smaller, larger, difference, np.hypot(se_a, se_b), null_se, p, adjusted(p, correction)
    )


def pair_rows(read: Benchmarks, sizes: Sizes, pairs: BenchmarkPairs, alpha: float) -> pa.Table:
    """The comparisons, clearest first; those without a standard error last. smaller_group and larger_group come at the end."""
    order = np.lexsort((-pairs.difference, pairs.p))
    table = read.finite
    size = pa.array([sizes.of[run] for run in table["run_id"].to_pylist()], pa.float64())
    sides = {
        side: pa.array(places[order])
        for side, places in zip(SIDES, (pairs.smaller, pairs.larger), strict=True)
    }
    columns: dict[str, pa.Array | pa.ChunkedArray] = {"task": table["task"].take(sides["smaller"])}
    for side, at in sides.items():
        columns |= {side: table["run"].take(at), f"{side}_size": size.take(at)}
    columns |= {f"{side}_step": table["step"].take(at) for side, at in sides.items()}
    columns |= {f"{side}_value": table["value"].take(at) for side, at in sides.items()}
    tested = pairs.tested[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers = {
            "difference": pairs.difference,
            "se": pairs.se,
            "null_se": pairs.null_se,
            "z": pairs.difference / pairs.null_se,
            "p": pairs.p,
            "p_adjusted": pairs.p_adjusted,
        }
    for name, values in numbers.items():
        known = np.isfinite(values[order]) & (tested | (name not in ("z", "p")))
        columns[name] = pa.array(values[order], pa.float64(), mask=~known)
    columns["found"] = pa.array(pairs.p_adjusted[order] < alpha, pa.bool_(), mask=~tested)
    columns |= {f"{side}_group": table["group"].take(at) for side, at in sides.items()}
    return pa.table(columns)


def pair_summary(rows: pa.Table) -> pa.Table:
    """One row a task and pair of conditions, in the order of the first and clearest comparison of each."""
    keys = ["task", "smaller_group", "larger_group"]
    marked = rows.append_column("ahead", pc.greater(rows["difference"], 0))
    grouped = marked.group_by(keys, use_threads=False).aggregate(
        [
            ("difference", "count"),
            ("ahead", "sum"),
            ("found", "sum"),
            ("difference", "mean"),
            ("difference", "max"),
            ("p_adjusted", "min"),
        ]
    )
    named = {
        **{key: grouped[key] for key in keys},
        "n_pairs": grouped["difference_count"],
        "n_ahead": grouped["ahead_sum"],
        "n_found": pc.fill_null(grouped["found_sum"], 0),
        "mean_difference": grouped["difference_mean"],
        "largest": grouped["difference_max"],
        "p_adjusted": grouped["p_adjusted_min"],
    }
    return pa.table(named)
