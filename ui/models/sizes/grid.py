"""Kinds of token, or tasks of prompts, by size: the mean over the runs of each size with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoints import find_left_out, pick_checkpoints
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import RunSelection, select_runs
from queries.reading.size_losses import read_shared_losses, read_token_facts
from queries.reading.token_categories import CATEGORIES, sort_tokens
from queries.reading.units import Units, units_by_group, units_limits, units_of
from queries.stats.over_units import mean_over_units
from queries.task_scores import TaskScores
from ui.models.sizes.difference import At
from ui.models.sizes.page import Size, size_of_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ALL = "all tokens"


@dataclass(frozen=True)
class SizeGrid:
    """Rows by sizes, from small to large; NaN where there is no value, or for ends where one run gives no interval.

    mean: over the runs of a size; low, high: its 95 % interval over them. n_runs: behind each mean. n_items: tokens or prompts of
    each row, 0 where not known. unit: of the values. higher: whether more is better.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    mean: Floats
    low: Floats
    high: Floats
    n_runs: Ints
    n_items: tuple[int, ...]
    unit: str
    higher: bool
    steps: tuple[int, ...]
    limits: tuple[str, ...]
    sql: str

    @property
    def centred(self) -> Floats:
        """Each value less the mean of its row over the sizes that have it; NaN where fewer than two have."""
        n = np.isfinite(self.mean).sum(axis=1, keepdims=True)
        middle = np.where(n > 1, np.nansum(self.mean, axis=1, keepdims=True) / np.maximum(n, 1), np.nan)
        found: Floats = self.mean - middle
        return found

    @property
    def table(self) -> pa.Table:
        """A line per row and size that has a value."""
        at = [(i, j) for i in range(len(self.rows)) for j in range(len(self.columns)) if self.n_runs[i, j]]

        def column(values: Floats) -> list[float | None]:
            return [float(values[i, j]) if np.isfinite(values[i, j]) else None for i, j in at]

        return pa.table(
            {
                "row": pa.array([self.rows[i] for i, _ in at], pa.string()),
                "size": pa.array([self.columns[j] for _, j in at], pa.string()),
                "mean": pa.array(column(self.mean), pa.float64()),
                "low": pa.array(column(self.low), pa.float64()),
                "high": pa.array(column(self.high), pa.float64()),
                "n_runs": pa.array([int(self.n_runs[i, j]) for i, j in at], pa.int64()),
                "n_items": pa.array([self.n_items[i] or None for i, _ in at], pa.int64()),
            }
        )


def category_grid(
    archive: Archive, *, runs: RunSelection, sizes: tuple[Size, ...], step: At, which: Which
) -> SizeGrid:
    """Mean loss of every kind of token in every size; raises what `smaller_beats_larger` does where nothing can be read.

    Tokens are those that all runs have a finite loss for; kinds are those of `smaller_beats_larger`.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    losses = read_shared_losses(archive, choice, picked.at)
    tokens = sort_tokens(losses, read_token_facts(archive, choice, losses), CATEGORIES)
    names = [ALL]
    n_items = [len(losses.sequence)]
    values = [losses.values.mean(1, dtype=np.float64)[:, None]]
    for way, of_runs in tokens.means(losses.values).items():
        cut = tokens.cuts[way]
        names += cut.names
        n_items += np.bincount(cut.member + 1, minlength=len(cut.names) + 1)[1:].tolist()
        values.append(of_runs)
    at = size_of_run(sizes)
    places = [at[choice.selected.by_id[run].run] for run in losses.run_ids]
    units = units_of(choice.selected, losses.run_ids)
    mean, low, high, n_runs = _over_runs(np.concatenate(values, axis=1), places, len(sizes), units)
    return SizeGrid(
        rows=tuple(names),
        columns=tuple(size.label for size in sizes),
        mean=mean,
        low=low,
        high=high,
        n_runs=n_runs,
        n_items=tuple(n_items),
        unit="nats",
        higher=False,
        steps=tuple(picked.steps),
        limits=(
            *choice.notes,
            *left_out.limits,
            *units_limits(units_by_group(choice.selected, losses.run_ids), ""),
        ),
        sql=losses.sql,
    )


def task_grid(
    found: TaskScores, groups: Mapping[str, int], sizes: Sequence[Size], metric: str, unit: str
) -> SizeGrid:
    """A metric of every task of prompts in every size, as the query has it. groups: which size each condition is."""
    rows = [
        r
        for r in (found.summary.to_pylist() if found.summary is not None else [])
        if r["metric"] == metric and r["group"] in groups
    ]
    several = len({r["tokenizer"] for r in rows}) > 1
    names = list(dict.fromkeys(_task(r["task"], r["tokenizer"], several=several) for r in rows))
    shape = (len(names), len(sizes))
    mean, low, high = (np.full(shape, np.nan) for _ in range(3))
    n_runs = np.zeros(shape, np.int64)
    for r in rows:
        at = names.index(_task(r["task"], r["tokenizer"], several=several)), groups[r["group"]]
        n_runs[at] = r["n_runs"]
        # a single run has an interval over templates there, which is not one over runs
        ends = (r["low"], r["high"]) if r["n_runs"] > 1 else (None, None)
        for into, value in zip((mean, low, high), (r["mean"], *ends), strict=True):
            into[at] = np.nan if value is None else value
    prompts: dict[str, int] = {}
    for r in found.table.select(["task", "tokenizer", "n_prompts"]).to_pylist():
        prompts.setdefault(_task(r["task"], r["tokenizer"], several=several), int(r["n_prompts"]))
    return SizeGrid(
        rows=tuple(names),
        columns=tuple(size.label for size in sizes),
        mean=mean,
        low=low,
        high=high,
        n_runs=n_runs,
        n_items=tuple(prompts.get(name, 0) for name in names),
        unit=unit,
        higher=True,
        steps=tuple(sorted(set(found.table["step"].to_pylist()))),
        limits=found.limits,
        sql=found.sql,
    )


def _task(task: str, tokenizer: str, *, several: bool) -> str:
    return f"{task} ({tokenizer})" if several else task


def _over_runs(
    values: Floats, places: Sequence[int], n_sizes: int, units: Units
) -> tuple[Floats, Floats, Floats, Ints]:
    """(mean, low, high, number of runs), each (row, size). values: (run, row), runs as of units. places: the size of each."""
    shape = (values.shape[1], n_sizes)
    found = np.full((3, *shape), np.nan)
    n_runs = np.zeros(shape, np.int64)
    for size in range(n_sizes):
        mine = [k for k, place in enumerate(places) if place == size]
        shared = units.of(units.runs[k] for k in mine)
        for row in range(shape[0]) if mine else ():
            found[:, row, size] = mean_over_units(values[mine, row], shared, bounds=(0.0, None))
            n_runs[row, size] = int(np.isfinite(values[mine, row]).sum())
    return found[0], found[1], found[2], n_runs
