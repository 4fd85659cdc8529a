"""How many neurons have to do with something at each checkpoint: runs of a condition together, with an interval."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from queries.stats.means import mean_interval

COURSE = pa.schema(
    [
        ("group", pa.string()),
        ("step", pa.int64()),
        ("n_runs", pa.int64()),
        *((name, pa.float64()) for name in ("mean", "low", "high")),
    ]
)


def course_table(rows: Sequence[dict[str, Any]], column: str, level: float = 0.95) -> pa.Table:
    """Per group and step the mean over its runs of a count, summed over layers, with Student's interval over runs.

    low and high are empty with fewer than two runs. Steps at which not every run of the group was measured are left out,
    because a mean over other runs would jump.
    """
    sums: dict[str, dict[int, dict[str, int]]] = {}
    runs: dict[str, set[str]] = {}
    for r in rows:
        by_run = sums.setdefault(r["group"], {}).setdefault(r["step"], {})
        by_run[r["run"]] = by_run.get(r["run"], 0) + r[column]
        runs.setdefault(r["group"], set()).add(r["run"])
    found = []
    for group, by_step in sums.items():
        for step in sorted(by_step):
            values = [float(v) for v in by_step[step].values()]
            if len(values) < len(runs[group]):
                continue
            mean, low, high = mean_interval(values, level, (0.0, math.inf))
            found.append(
                {
                    "group": group,
                    "step": step,
                    "n_runs": len(values),
                    "mean": mean,
                    "low": low if math.isfinite(low) else None,
                    "high": high if math.isfinite(high) else None,
                }
            )
    return pa.Table.from_pylist(found, schema=COURSE)
