"""How many neurons have to do with something at each checkpoint: runs of a condition together, with an interval."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from queries.reading.select import Selected
from queries.reading.units import units_of
from queries.stats.over_units import mean_over_units

COURSE = pa.schema(
    [
        ("group", pa.string()),
        ("step", pa.int64()),
        ("n_runs", pa.int64()),
        ("n_units", pa.int64()),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("mean", "low", "high")),
    ]
)


def course_table(
    rows: Sequence[dict[str, Any]], column: str, selected: Selected, level: float = 0.95
) -> pa.Table:
    """Per group and step the mean over its runs of a count, summed over layers, with Student's interval over runs.

    n_units of the runs share no seed (unit), and the interval is over these. low and high are empty with fewer than two.
    Steps at which not every run of the group was measured are left out, because a mean over other runs would jump.
    """
    sums: dict[str, dict[int, dict[int, int]]] = {}
    runs: dict[str, set[int]] = {}
    ids = {run.run: run.run_id for run in selected.runs}
    for r in rows:
        by_run = sums.setdefault(r["group"], {}).setdefault(r["step"], {})
        run = ids[r["run"]]
        by_run[run] = by_run.get(run, 0) + r[column]
        runs.setdefault(r["group"], set()).add(run)
    units = {group: units_of(selected, sorted(members)) for group, members in runs.items()}
    found = []
    for group, by_step in sums.items():
        for step in sorted(by_step):
            values = [float(v) for v in by_step[step].values()]
            if len(values) < len(runs[group]):
                continue
            shared = units[group].of(by_step[step])
            mean, low, high = mean_over_units(values, shared, level, (0.0, math.inf))
            found.append(
                {
                    "group": group,
                    "step": step,
                    "n_runs": len(values),
                    **units[group].columns(),
                    "mean": mean,
                    "low": low if math.isfinite(low) else None,
                    "high": high if math.isfinite(high) else None,
                }
            )
    return pa.Table.from_pylist(found, schema=COURSE)
