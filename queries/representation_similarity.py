"""How alike what the layers of two runs say is, whatever the basis: unbiased CKA of every layer with every layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step
from queries.reading.compared_pairs import (
    Compared,
    ComparedPairs,
    chosen_comparison,
    in_one_order,
    pick_compared,
)
from queries.reading.head_pairs import relative_depth
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, only_value
from queries.reading.units import units_by_group, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.run_pairs import mean_over_pairs, method_over
from queries.wording.circuits import or_nan
from queries.wording.representations import similarity_limits, similarity_sentence

MEASURE, TABLES = "cka", ("fact_pair",)
# what a layer leaves to the next one; MLP neurons are the other choice
RESIDUAL = "hook_resid_post"

Row = dict[str, Any]
_SQL = """\
SELECT layer_a, layer_b, value AS cka, run_a, run_b, step_a, step_b, n_items, n_clusters AS n_documents, pair_id
FROM v_pair
WHERE quantity_id = $quantity_id AND pair_id IN (SELECT unnest($pair_ids))
ORDER BY run_a, step_a, run_b, step_b, layer_a, layer_b"""

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b", "group_a", "group_b", "start")),
        *((name, _WHOLE) for name in ("step_a", "step_b", "n_layers_a", "n_layers_b")),
        *((name, _REAL) for name in ("same_depth", "other_depth", "first_same_depth", "best_offset")),
        ("n_unknown", _WHOLE),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("group_a", "group_b", "start")),
        *((name, _WHOLE) for name in ("n_runs", "n_pairs")),
        *((name, _REAL) for name in ("same_depth", "low", "high", "other_depth", "first_same_depth")),
        *((name, _REAL) for name in ("above_first", "above_first_low", "above_first_high")),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RepresentationSimilarity(Answer):
    """Unbiased linear CKA of every layer of run_a with every layer of run_b: 1 equal up to rotation and scale, 0 unrelated.

    table: per pair of runs and of layers the cka, over n_items positions of n_documents documents.
    pairs: per pair of runs same_depth (mean over layers at equal relative depth), other_depth (mean over the others), best_offset
    (mean over layers of a of how much deeper, from 0 to 1, the most similar layer of b is), first_same_depth (same_depth
    at the first checkpoints compared), n_unknown (layer pairs without a number, as a layer does not vary).
    start: "one run" for two checkpoints of a run, "shared" for one init or lineage, else "not shared".
    summary: per two conditions and start the means over pairs, with the interval of same_depth over runs, and how much it is
    above that at the first checkpoints. site: what of a layer is compared.
    """

    pairs: pa.Table
    site: str

    def overview(self) -> pa.Table | None:
        """The summary with intervals in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group_a"]
                    if r["group_a"] == r["group_b"]
                    else f"{r['group_a']} × {r['group_b']}",
                    "start": r["start"],
                    "runs": r["n_runs"],
                    "pairs": r["n_pairs"],
                    "same depth": f"{number(r['same_depth'], 3)} {interval(or_nan(r['low']), or_nan(r['high']), 3)}".rstrip(),
                    "other depth": number(r["other_depth"], 3),
                    "same depth at first": number(r["first_same_depth"], 3),
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Layers × layers: the mean over pairs of runs of the most common shape."""
        from queries.figures.neurons import layers_by_layers

        return layers_by_layers(self)


@query(title="Do the layers of two runs say the same?")
def representation_similarity(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> RepresentationSimilarity:
    """Unbiased CKA between layers of pairs of runs, at equal and at other depths, beside that at their first checkpoints.

    Reads the comparison cka, which a study with [compare] makes: of the residual stream, or of MLP neurons with
    site=mlp.hook_post. It does not depend on how neurons are numbered or rotated, so runs of any init may be compared. Pairs
    share runs, so the interval leaves out runs, not pairs.
    """
    selected = select_runs(archive, runs)
    choice = _choose(archive, selected, which)
    picked = in_one_order(
        pick_compared(archive, choice, step, which), in_order(selected, choice.selected.ids)
    )
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "pair_ids": [p.pair_id for p in picked.at],
    }
    table = archive.query(_SQL, parameters)
    by_pair = _grids(table)
    if picked.first:
        earlier = {**parameters, "pair_ids": [p.pair_id for p in picked.first.values()]}
        by_pair |= _grids(archive.query(_SQL, earlier))
    rows = [_pair(choice.selected, p, picked, by_pair) for p in picked.at]
    if not any(row["same_depth"] is not None for row in rows):
        raise UsageError(
            f"no two of these runs have a layer at equal relative depth with a finite {MEASURE} (first: {rows[0]['run_a']} and "
            f"{rows[0]['run_b']}); --runs chooses others, and `pathscope sql` on v_pair shows every pair of layers."
        )
    shared = units_of(choice.selected, picked.run_ids).by_run()
    summary = _summary(picked.at, rows, confidence, shared)
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], picked.left_out), shared_seeds=())
    has_interval = only is not None and only["low"] is not None
    return RepresentationSimilarity(
        sentence=similarity_sentence(summary, len(picked.run_ids), picked.place, confidence),
        table=table.drop_columns(["pair_id"]),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=pa.Table.from_pylist(rows, schema=_PAIRS),
        site=choice.quantity.site,
        n_runs=len(picked.run_ids),
        n_items=only_value(table, "n_items"),
        unit="CKA" if only else "",
        estimate=or_nan(only["same_depth"]) if only else math.nan,
        ci_low=or_nan(only["low"]) if only else math.nan,
        ci_high=or_nan(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=method_over(shared) if has_interval else "",
        null_name="layers at unequal depth" if only and only["other_depth"] is not None else "",
        null_mean=or_nan(only["other_depth"]) if only else math.nan,
        verdict="unresolved" if only and not has_interval else None,
        limits=(
            *provenance.limits,
            *units_limits(units_by_group(choice.selected, picked.run_ids), "p and numbers of pairs"),
            *choice.notes,
            *picked.left_out.limits,
            *picked.notes,
            *similarity_limits(summary, rows, table, choice.quantity.site),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _choose(archive: Archive, selected: Selected, which: Which) -> Choice:
    """CKA of the residual stream, unless another site is asked for or is all there is."""
    wants = [
        Want((MEASURE,), TABLES, fits=partial(_is_at, RESIDUAL)),
        Want((MEASURE,), TABLES),
    ]
    residual, every = choose_quantities(archive, selected, wants, which)
    return chosen_comparison(residual if isinstance(residual, Choice) else every, MEASURE, which, selected)


def _is_at(site: str, quantity: Quantity) -> bool:
    return quantity.site == site


def _grids(table: pa.Table) -> dict[int, np.ndarray]:
    """pair_id -> (layer of a, layer of b)."""
    columns = {name: table[name].to_numpy() for name in ("pair_id", "layer_a", "layer_b", "cka")}
    found = {}
    for pair in np.unique(columns["pair_id"]).tolist():
        mine = columns["pair_id"] == pair
        a, b = columns["layer_a"][mine], columns["layer_b"][mine]
        grid = np.full((a.max() + 1, b.max() + 1), np.nan)
        grid[a, b] = columns["cka"][mine]
        found[pair] = grid
    return found


def _pair(selected: Selected, pair: Compared, picked: ComparedPairs, grids: Mapping[int, np.ndarray]) -> Row:
    grid = grids[pair.pair_id]
    before = picked.first.get(pair.ends)
    same = _same_depth(grid)
    known = np.isfinite(grid).any(axis=1)
    best = np.argmax(np.where(np.isfinite(grid), grid, -np.inf), axis=1)
    depth = [np.arange(n) / max(1, n - 1) for n in grid.shape]
    return {
        "run_a": selected.by_id[pair.run_id_a].run,
        "run_b": selected.by_id[pair.run_id_b].run,
        "group_a": selected.groups[pair.run_id_a],
        "group_b": selected.groups[pair.run_id_b],
        "start": "one run" if pair.run_id_a == pair.run_id_b else "shared" if pair.shared else "not shared",
        "step_a": pair.step_a,
        "step_b": pair.step_b,
        "n_layers_a": grid.shape[0],
        "n_layers_b": grid.shape[1],
        "same_depth": _mean(grid[same]),
        "other_depth": _mean(grid[~same]),
        "first_same_depth": _mean(grids[before.pair_id][same]) if before else None,
        "best_offset": _mean((depth[1][best] - depth[0])[known]) if min(grid.shape) > 1 else None,
        "n_unknown": int(np.isnan(grid).sum()),
    }


def _same_depth(grid: np.ndarray) -> np.ndarray:
    """Which pairs of layers lie at equal relative depth."""
    of_a, of_b = ([relative_depth(k, n) for k in range(n)] for n in grid.shape)
    return np.array([[one == other for other in of_b] for one in of_a])


def _mean(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _summary(
    pairs: Sequence[Compared], rows: Sequence[Row], level: float, shared: Sequence[Mapping[int, int]]
) -> list[Row]:
    """Means over the pairs of each two conditions and kind of start."""
    by_group: dict[tuple[str, str, str], list[int]] = {}
    for k, row in enumerate(rows):
        one, other = sorted((row["group_a"], row["group_b"]))
        by_group.setdefault((one, other, row["start"]), []).append(k)
    found = []
    for (one, other, start), mine in sorted(by_group.items()):
        ends = [pairs[k].ends for k in mine]

        def over_runs(values: Sequence[float | None]) -> tuple[float, float, float]:
            known = np.array([or_nan(value) for value in values])
            nothing = np.full(len(known), math.nan)
            return mean_over_pairs(ends, known, nothing, level, (-1.0, 1.0), shared)  # noqa: B023

        def mean(name: str) -> float | None:
            return finite_or_none(over_runs([rows[k][name] for k in mine])[0])  # noqa: B023

        same, low, high = over_runs([rows[k]["same_depth"] for k in mine])
        later = over_runs([_difference(rows[k]) for k in mine])
        names = ("above_first", "above_first_low", "above_first_high")
        found.append(
            {
                "group_a": one,
                "group_b": other,
                "start": start,
                "n_runs": len({run for pair in ends for run in pair}),
                "n_pairs": len(mine),
                "same_depth": finite_or_none(same),
                "low": finite_or_none(low),
                "high": finite_or_none(high),
                "other_depth": mean("other_depth"),
                "first_same_depth": mean("first_same_depth"),
                **{name: finite_or_none(value) for name, value in zip(names, later, strict=True)},
            }
        )
    return found


def _difference(row: Row) -> float | None:
    if row["same_depth"] is None or row["first_same_depth"] is None:
        return None
    return float(row["same_depth"] - row["first_same_depth"])
