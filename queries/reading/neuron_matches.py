"""Neurons whose top examples match a search: told from chance, over training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from archive.errors import UsageError
from queries.reading.select import Selected
from queries.reading.tables import floats, in_order
from queries.stats.chance_matches import chance_of_matches
from queries.stats.multiple import benjamini_hochberg

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Unit = tuple[int, int, int]  # run_id, layer, unit

_TABLE = pa.schema(
    [
        ("neuron", pa.string()),
        ("run", pa.string()),
        ("step", pa.int64()),
        ("n_matches", pa.int64()),
        ("n_examples", pa.int64()),
        *((name, pa.float64()) for name in ("expected", "q")),
        ("found", pa.bool_()),
        ("since", pa.int64()),
        ("since_after", pa.int64()),
        ("best_rank", pa.int64()),
        *((name, pa.float64()) for name in ("value", "relative", "p")),
        ("layer", pa.int64()),
        ("unit", pa.int64()),
        ("group", pa.string()),
    ]
)
_HISTORY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        *((name, pa.int64()) for name in ("step", "layer", "n_neurons", "n_matching", "n_found")),
        ("share", pa.float64()),
        ("expected", pa.float64()),
    ]
)
_SUMMARY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        *((name, pa.int64()) for name in ("step", "n_neurons", "n_matching", "n_found")),
        ("share", pa.float64()),
        ("expected", pa.float64()),
        ("first", pa.int64()),
        ("largest", pa.string()),
    ]
)


@dataclass(frozen=True)
class Matched:
    """Neurons with a match at every checkpoint of every run, and how many neurons each layer has there.

    p: of each row of units; found: by step, over all neurons of all runs. depth: most examples a neuron has.
    """

    units: pa.Table
    layers: pa.Table
    p: Floats
    found: NDArray[np.bool_]
    depth: int

    @property
    def steps(self) -> dict[int, list[int]]:
        """Steps of each run, ascending."""
        by_run: dict[int, set[int]] = {}
        for run, step in zip(*(self.layers[c].to_pylist() for c in ("run_id", "at_step")), strict=True):
            by_run.setdefault(run, set()).add(step)
        return {run: sorted(steps) for run, steps in by_run.items()}


@dataclass(frozen=True)
class Shown:
    """What is said of one step. least_p: the smallest p a neuron could have there."""

    table: pa.Table
    history: pa.Table
    summary: pa.Table
    n_searched: int
    n_found: int
    least_p: float
    fdr: float


def matches_from(rows: pa.Table, fdr: float) -> Matched:
    """From the rows of one statement: neurons with a match, and in those with number −1 the layers."""
    is_layer = pc.equal(rows["number"], -1)
    units, layers = rows.filter(pc.invert(is_layer)), rows.filter(is_layer)
    shares = units["shares"].combine_chunks()
    lengths = np.diff(shares.offsets.to_numpy()) if units.num_rows else np.empty(0, np.int64)
    width = int(lengths.max(initial=0))
    grid = np.full((units.num_rows, width), np.nan)
    grid[np.arange(width) < lengths[:, None]] = shares.flatten().to_numpy(zero_copy_only=False)
    p = chance_of_matches(grid, units["matches"].to_numpy().astype(np.int64))
    units = units.drop_columns(["shares"]).append_column("expected", pa.array(np.nansum(grid, 1)))
    found = np.zeros(len(p), bool)
    steps, searched = units["at_step"].to_numpy(), layers["at_step"].to_numpy()
    n_units = floats(layers, "n_units")
    for step in np.unique(steps):
        mine = steps == step
        found[mine] = _q(p[mine], int(n_units[searched == step].sum())) < fdr
    examples = floats(layers, "examples")
    depth = int(np.ceil((examples / np.maximum(n_units, 1)).max())) if len(examples) else 0
    return Matched(units, layers, p, found, depth)


def shown_steps(matched: Matched, step: int | Literal["final"]) -> dict[int, int]:
    """run_id -> the step shown; raises UsageError naming the nearest steps where no run has it."""
    known = matched.steps
    if not known:
        raise UsageError(
            "no neuron has an example in a text that the archive holds; `pathscope verify` checks the archive."
        )
    places = {
        run: steps[-1] if step == "final" else int(step)
        for run, steps in known.items()
        if step == "final" or step in steps
    }
    if not places:
        every = sorted({s for steps in known.values() for s in steps}, key=lambda s: abs(s - int(step)))
        raise UsageError(
            f"no run has neurons' examples at step {step}; the nearest steps are {', '.join(map(str, every[:3]))} (or "
            "step='final')."
        )
    return places


def since_table(
    selected: Selected, matched: Matched, places: Mapping[int, int], step: int | Literal["final"], fdr: float
) -> Shown:
    """The neurons at the step shown, since when each is found, and the counts of every checkpoint."""
    units, layers = matched.units, matched.layers
    runs, steps = units["run_id"].to_numpy(), units["at_step"].to_numpy()
    here = np.array([places.get(r) == s for r, s in zip(runs.tolist(), steps.tolist(), strict=True)], bool)
    searched = np.array(
        [
            places.get(r) == s
            for r, s in zip(layers["run_id"].to_pylist(), layers["at_step"].to_pylist(), strict=True)
        ],
        bool,
    )
    n_searched = int(floats(layers, "n_units")[searched].sum())
    q = _q(matched.p[here], n_searched)
    found = q < fdr
    since = _since(matched, here, found)
    table = _table(selected, units.filter(pa.array(here)), matched.p[here], q, found, since)
    history = _history(selected, matched)
    return Shown(
        table=table,
        history=history,
        summary=_summary(selected, table, layers.filter(pa.array(searched)), matched, places),
        n_searched=n_searched,
        n_found=int(found.sum()),
        least_p=_least(layers.filter(pa.array(searched))),
        fdr=fdr,
    )


def _q(p: Floats, n_searched: int) -> Floats:
    """Values q of the neurons with a match, where the others (p = 1) count too."""
    every = np.concatenate([p, np.ones(max(n_searched - len(p), 0))])
    return benjamini_hochberg(every)[: len(p)]


def _least(layers: pa.Table) -> float:
    """The p of a neuron with every example matching, at the mean share of its layer; 1 where nothing can match."""
    examples, expected, n = (floats(layers, c) for c in ("examples", "all_expected", "n_units"))
    with np.errstate(divide="ignore", invalid="ignore"):
        least = (expected / examples) ** (examples / n)
    return float(np.nanmin(least)) if np.isfinite(least).any() else 1.0


def _since(
    matched: Matched,
    here: NDArray[np.bool_],
    found: NDArray[np.bool_],
) -> list[tuple[int | None, int | None]]:
    """Per row shown (last checkpoint before, first from which on it is found); (None, None) for those not found."""
    rows = matched.units
    keys = list(zip(*(rows[c].to_pylist() for c in ("run_id", "in_layer", "number")), strict=True))
    at = rows["at_step"].to_pylist()
    times: dict[Unit, set[int]] = {}
    for row in np.flatnonzero(matched.found).tolist():
        times.setdefault(keys[row], set()).add(at[row])
    steps = matched.steps
    result: list[tuple[int | None, int | None]] = []
    for row, yes in zip(np.flatnonzero(here).tolist(), found.tolist(), strict=True):
        if not yes:
            result.append((None, None))
            continue
        before = [s for s in steps[keys[row][0]] if s < at[row]]
        first = at[row]
        while before and before[-1] in times.get(keys[row], ()):
            first = before.pop()
        result.append((before[-1] if before else None, first))
    return result


def _table(
    selected: Selected,
    units: pa.Table,
    p: Floats,
    q: Floats,
    found: NDArray[np.bool_],
    since: list[tuple[int | None, int | None]],
) -> pa.Table:
    value, peak = floats(units, "highest"), floats(units, "largest")
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(peak > 0, value / peak, np.nan)
    layer, number = (units[c].to_numpy().astype(np.int64) for c in ("in_layer", "number"))
    matches = units["matches"].to_numpy().astype(np.int64)
    columns: dict[str, Any] = {
        "neuron": [f"L{a}N{b}" for a, b in zip(layer.tolist(), number.tolist(), strict=True)],
        "run": units["run_name"],
        "step": units["at_step"],
        "n_matches": matches,
        "n_examples": units["examples"],
        "expected": units["expected"],
        "q": q,
        "found": found,
        "since": pa.array([first for _, first in since], pa.int64()),
        "since_after": pa.array([before for before, _ in since], pa.int64()),
        "best_rank": units["best_rank"],
        "value": value,
        "relative": relative,
        "p": p,
        "layer": layer,
        "unit": number,
        "group": [selected.groups[i] for i in units["run_id"].to_pylist()],
    }
    arrays = [
        c.cast(f.type) if isinstance(c, pa.ChunkedArray) else pa.array(c, f.type, from_pandas=True)
        for f, c in ((f, columns[f.name]) for f in _TABLE)
    ]
    order = np.lexsort((number, layer, -value, -matches, p, ~found))
    return pa.Table.from_arrays(arrays, schema=_TABLE).take(pa.array(order))


def _history(selected: Selected, matched: Matched) -> pa.Table:
    counts: dict[tuple[int, int, int], list[int]] = {}
    keys = zip(*(matched.units[c].to_pylist() for c in ("run_id", "at_step", "in_layer")), strict=True)
    for key, yes in zip(keys, matched.found.tolist(), strict=True):
        both = counts.setdefault(key, [0, 0])
        both[0] += 1
        both[1] += yes
    rows = []
    for r in matched.layers.to_pylist():
        matching, found = counts.get((r["run_id"], r["at_step"], r["in_layer"]), (0, 0))
        rows.append(
            {
                "run": r["run_name"],
                "group": selected.groups[r["run_id"]],
                "step": r["at_step"],
                "layer": r["in_layer"],
                "n_neurons": r["n_units"],
                "n_matching": matching,
                "n_found": found,
                "share": r["matches"] / r["examples"],
                "expected": r["all_expected"] / r["examples"],
            }
        )
    return pa.Table.from_pylist(rows, schema=_HISTORY)


def _summary(
    selected: Selected, table: pa.Table, layers: pa.Table, matched: Matched, places: Mapping[int, int]
) -> pa.Table:
    rows: list[dict[str, Any]] = []
    known, by_run = table.to_pylist(), layers.to_pylist()
    some = _found_at(matched)
    for run in in_order(selected, places):
        step = places[run]
        name = selected.by_id[run].run
        mine = [r for r in known if r["run"] == name]
        here = [r for r in by_run if r["run_id"] == run]
        n = sum(r["examples"] for r in here)
        n_found = sum(r["found"] for r in mine)
        first = None
        for s in reversed([s for s in matched.steps[run] if s <= step]):
            if not (n_found if s == step else (run, s) in some):
                break
            first = s
        rows.append(
            {
                "run": name,
                "group": selected.groups[run],
                "step": step,
                "n_neurons": sum(r["n_units"] for r in here),
                "n_matching": len(mine),
                "n_found": n_found,
                "share": sum(r["matches"] for r in here) / n,
                "expected": sum(r["all_expected"] for r in here) / n,
                "first": first,
                "largest": max(mine, key=lambda r: (r["found"], r["n_matches"], r["value"]))["neuron"]
                if mine
                else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def _found_at(matched: Matched) -> set[tuple[int, int]]:
    """(run_id, step) with a neuron found."""
    rows = matched.units.filter(pa.array(matched.found))
    return set(zip(rows["run_id"].to_pylist(), rows["at_step"].to_pylist(), strict=True))
