"""What runs choose in common when they share a seed, one row a kind of seed."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from queries.reading.select import Selected
from queries.render import interval, number
from queries.stats.shared_choice import sharing

SEEDS = {"init": "init_seed", "order": "data_order_seed", "split": "split_seed"}

SHARED = pa.schema(
    [
        ("same", pa.string()),
        ("n_pairs", pa.int64()),
        ("share", pa.float64()),
        ("null_share", pa.float64()),
        ("null_low", pa.float64()),
        ("null_high", pa.float64()),
        ("p", pa.float64()),
    ]
)


def shared_choices(selected: Selected, chosen: Mapping[int, Sequence[int]], level: float) -> pa.Table:
    """A row per kind of seed that some but not all runs share, where runs that differ in nothing else show its part."""
    runs = [selected.by_id[run] for run in chosen]
    rows = []
    for name, field in SEEDS.items():
        labels = [getattr(row, field) for row in runs]
        if None in labels:
            continue
        others = [
            (
                selected.groups[row.run_id],
                *(getattr(row, other) for other in SEEDS.values() if other != field),
            )
            for row in runs
        ]
        found = sharing(list(chosen.values()), labels, others, level=level)
        if found is not None:
            rows.append(
                {
                    "same": name,
                    "n_pairs": found.n_pairs,
                    "share": found.share,
                    "null_share": found.null_mean,
                    "null_low": found.null_low,
                    "null_high": found.null_high,
                    "p": found.p,
                }
            )
    return pa.Table.from_pylist(rows, schema=SHARED)


def sharing_in_words(shared: pa.Table) -> str:
    """What pairs of runs with the same seed have in common, against permuted seeds; empty without such pairs."""
    return "; ".join(
        f"pairs with one {r['same']} share {r['share']:.0%} of their frequencies (seeds permuted: {r['null_share']:.0%} "
        f"{interval(r['null_low'], r['null_high'], 2)}, p = {number(r['p'], 2)})"
        for r in shared.to_pylist()
    )
