"""The path-dependence index of repeated runs, from their losses on the same tokens."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations, product
from typing import Annotated, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Picked, Step, find_left_out, pick_checkpoints
from queries.reading.difficulty import NAMES, Difficulty, checkpoints_before, difficulty_of
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order, only_value, shared_words
from queries.reading.token_outputs import Outputs, read_checkpoint_losses
from queries.reading.units import independent, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.path_index import (
    METHOD,
    NEAR_ZERO,
    SEEDS_METHOD,
    PathIndex,
    distance,
    expected_distance,
    path_index,
    strata_of,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_RUNS = 32
FEWEST_RUNS = 3

_REALS = ("index", "low", "high", "offset", "null_sd", "floor", "coarser", "finer", "observed", "expected")
_GROUPS = pa.schema(
    [
        ("group", pa.string()),
        *((name, pa.float64()) for name in _REALS),
        *((name, pa.int64()) for name in ("n_runs", "n_tokens", "n_documents", "n_strata", "floor_steps")),
        ("n_units", pa.int64()),
        ("unit", pa.string()),
    ]
)
_BETWEEN = pa.schema(
    [("group_a", pa.string()), ("group_b", pa.string()), ("index", pa.float64()), ("n_pairs", pa.int64())]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PathDependence(Answer):
    """How far repeated runs differ token by token, against what chance would give.

    table: per group the index (0: the same on every token, 1: as different as exchanged tokens of equal difficulty), its
    interval low, high (low empty near 0), offset (what different mean losses would add), null_sd (of the index around 1
    were tokens exchanged), floor (the same of a run and its own checkpoint before, floor_steps steps earlier in the
    median), coarser and finer (the index with a quarter and four times as many classes of difficulty), observed and
    expected distance in nats², and what it rests on; n_units: how many of the runs share no seed (unit: which seed they share
    most). summary: between groups, such as sizes, the mean distance of their
    runs over the mean expected one.
    """

    def plot(self) -> go.Figure:
        """Index and interval of every group, its floor, and the null at 1."""
        from queries.figures.path_dependence import indices

        return indices(self)


@query(title="How much do repeated runs differ token by token, beyond chance and training jitter?")
def path_dependence(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    difficulty: Difficulty = "auto",
    strata: Annotated[int, Field(ge=1, le=1000, description="classes of equal difficulty")] = 100,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> PathDependence:
    """The path-dependence index of runs of one condition on the tokens of one eval set, from token_loss.

    Squared differences of log-probabilities, means of runs removed, over the same with tokens exchanged within
    classes of equal difficulty. Verdict yes: more than a run differs from its own checkpoint before; no: less than
    that, or next to nothing. It speaks of behaviour; circuits may differ where outputs do not.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, ["token_loss"], which, tables=("fact_token",))
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, choice.selected, choice.quantity, left_out, step)
    ordered = in_order(choice.selected, picked.at)
    groups = _groups(choice.selected, ordered)
    before = checkpoints_before(archive, choice.quantity, left_out, picked)
    read, sql = read_checkpoint_losses(archive, choice, [picked.at, before])
    losses, earlier = (
        {run: read[checkpoint] for run, (checkpoint, _) in at.items()} for at in (picked.at, before)
    )
    keys = reduce(_shared, [losses[run].keys for run in ordered])
    if len(keys) < 2:
        raise UsageError(
            f"these {len(ordered)} runs have {len(keys)} predictions with a finite loss in common; expected many. "
            "`pathscope status` shows what each has."
        )
    source, hardness = difficulty_of(archive, choice.quantity, keys, difficulty)
    documents = _at(losses[ordered[0]], keys)[1]
    values = {run: _at(losses[run], keys)[0] for run in ordered}
    units = units_by_group(choice.selected, ordered)
    found = {
        name: path_index(
            np.stack([values[run] for run in members]),
            strata_of(hardness, strata),
            documents,
            confidence,
            units[name].of(members),
        )
        for name, members in groups.items()
        if len(members) > 1
    }
    rows = []
    for name, index in found.items():
        members = groups[name]
        stacked = np.stack([values[run] for run in members])
        floor, gap = _floor(members, values, earlier, keys, picked, before, index)
        rows.append(
            {
                "group": name,
                "index": index.pattern,
                "floor": floor,
                "floor_steps": gap,
                "coarser": index.observed
                / expected_distance(stacked, strata_of(hardness, max(1, strata // 4))),
                "finer": index.observed / expected_distance(stacked, strata_of(hardness, strata * 4)),
                "n_tokens": index.n_items,
                **{
                    key: getattr(index, key)
                    for key in ("low", "high", "offset", "null_sd", "observed", "expected", "n_runs")
                },
                "n_documents": index.n_documents,
                "n_strata": index.n_strata,
                **units[name].columns(members),
            }
        )
    table = pa.Table.from_pylist(rows, schema=_GROUPS)
    only = rows[0] if len(rows) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return PathDependence(
        sentence=_sentence(rows, picked, confidence),
        table=table,
        summary=_between(groups, values, found),
        n_runs=len(picked.at),
        n_items=only_value(table, "n_tokens"),
        estimate=_real(only, "index"),
        ci_low=_real(only, "low"),
        ci_high=_real(only, "high"),
        ci_level=confidence,
        ci_method=(METHOD if only["unit"] == "run" else SEEDS_METHOD)
        if only and math.isfinite(_real(only, "high"))
        else "",
        null_name=f"tokens of equal {NAMES[source]} exchanged"
        if source != "none"
        else "all tokens exchanged",
        null_mean=1.0,
        null_sd=_real(only, "null_sd"),
        verdict=_verdict(only, len({picked.at[run][1] for run in groups[str(only["group"])]}) == 1)
        if only
        else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *units_limits({name: units[name] for name in found}, ""),
            *_limits(rows, groups, picked, choice.selected, source, difficulty),
        ),
        provenance=provenance,
        sql=sql,
    )


def _groups(selected: Selected, ordered: Sequence[int]) -> dict[str, list[int]]:
    """Runs by what they repeat; raises UsageError where nothing is repeated."""
    if len(ordered) > MOST_RUNS:
        raise UsageError(
            f"{len(ordered)} runs have token_loss there; at most {MOST_RUNS} are compared: choose with --runs."
        )
    groups: dict[str, list[int]] = {}
    for run in ordered:
        groups.setdefault(selected.groups[run], []).append(run)
    if not any(len(members) > 1 for members in groups.values()):
        raise UsageError(
            f"none of these {len(ordered)} run(s) repeats another (first: {selected.by_id[ordered[0]].run}); path dependence "
            "takes at least 2 runs of one condition, and 3 for an interval. More seeds in the study's [seeds] give them."
        )
    return groups


def _shared(a: Ints, b: Ints) -> Ints:
    return a if np.array_equal(a, b) else np.intersect1d(a, b, assume_unique=True)


def _at(outputs: Outputs[Floats], keys: Ints) -> tuple[Floats, Ints]:
    """Values and documents at keys that a run has."""
    if np.array_equal(outputs.keys, keys):
        return outputs.values, outputs.documents
    place = np.searchsorted(outputs.keys, keys)
    return outputs.values[place], outputs.documents[place]


def _floor(
    members: Sequence[int],
    values: Mapping[int, Floats],
    earlier: Mapping[int, Outputs[Floats]],
    keys: Ints,
    picked: Picked,
    before: Mapping[int, tuple[int, int]],
    index: PathIndex,
) -> tuple[float, int | None]:
    """What training a little longer changes, on the scale of the index, and how much longer."""
    found, gaps = [], []
    for run in members:
        if run in earlier and len(_shared(keys, earlier[run].keys)) == len(keys):
            found.append(distance(values[run], _at(earlier[run], keys)[0]))
            gaps.append(picked.at[run][1] - before[run][1])
    if not found or not index.expected > 0:
        return math.nan, None
    return float(np.mean(found)) / index.expected, int(np.median(gaps))


def _between(
    groups: Mapping[str, list[int]], values: Mapping[int, Floats], found: Mapping[str, PathIndex]
) -> pa.Table:
    rows = []
    for one, other in combinations(found, 2):
        pairs = list(product(groups[one], groups[other]))
        expected = (found[one].expected + found[other].expected) / 2
        apart = float(np.mean([distance(values[a], values[b]) for a, b in pairs]))
        rows.append({"group_a": one, "group_b": other, "index": apart / expected, "n_pairs": len(pairs)})
    return pa.Table.from_pylist(rows, schema=_BETWEEN)


def _verdict(row: Mapping[str, object], one_length: bool) -> Verdict:
    """one_length: whether all runs are compared at one step; training longer is no other path."""
    index, low, high, floor = (_real(row, name) for name in ("index", "low", "high", "floor"))
    if not math.isfinite(high) or not math.isfinite(index):
        return "unresolved"
    if high < max(NEAR_ZERO, floor if math.isfinite(floor) else 0.0):
        return "no"
    apart = one_length and math.isfinite(floor) and low > max(floor, NEAR_ZERO)
    return "yes" if apart else "unresolved"


def _sentence(rows: Sequence[Mapping[str, object]], picked: Picked, level: float) -> str:
    told, named = [], [str(row["group"]) for row in rows]
    cut = len(shared_words(named))
    for row, name in zip(rows[:3], named, strict=False):
        low, high = _real(row, "low"), _real(row, "high")
        if math.isfinite(high) and not math.isfinite(low):
            band = f", at most {number(high, 2)} at {level:.0%}"
        else:
            band = (
                f", {level:.0%} interval {interval(low, high, 2)}" if math.isfinite(high) else ", no interval"
            )
        floor = _real(row, "floor")
        jitter = f", a run and its checkpoint before {number(floor, 2)}" if math.isfinite(floor) else ""
        label = f"{name[cut:]}: " if len(rows) > 1 else ""
        told_of = independent(row)
        told.append(
            f"{label}{number(_real(row, 'index'), 2)} ({row['n_runs']} runs{', ' if told_of else ''}{told_of}{band}{jitter})"
        )
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"Path-dependence index at {picked.place} (0: the same on every token, 1: chance): {'; '.join(told)}{more}."


def _limits(
    rows: Sequence[Mapping[str, object]],
    groups: Mapping[str, list[int]],
    picked: Picked,
    selected: Selected,
    source: str,
    wanted: str,
) -> list[str]:
    lines = []
    if source == "none":
        why = "as asked" if wanted == "none" else "the eval set has no surprisal for these tokens"
        lines.append(
            f"Difficulty is not held equal ({why}): part of the agreement is that some tokens are easy for everybody."
        )
    alone = [name for name, members in groups.items() if len(members) == 1]
    if alone:
        lines.append(f"{len(alone)} run(s) repeat no other and are not in the answer (first: {alone[0]}).")
    few = [row for row in rows if isinstance(n := row["n_units"], int) and n < FEWEST_RUNS]
    if few:
        has = independent(few[0]) or f"{few[0]['n_units']} runs"
        lines.append(f"An interval takes {FEWEST_RUNS} runs that share no seed; {few[0]['group']} has {has}.")
    if any(not math.isfinite(_real(row, "floor")) for row in rows):
        lines.append(
            "No earlier checkpoint with the same losses: how much of it is training jitter is not known, so no verdict of yes. "
            "`pathscope ingest STUDY.toml --fill token_loss` at more checkpoints gives it."
        )
    if len(picked.steps) > 1:
        lines.append(
            "Runs end at different steps: part of what differs is the length of training, so there is no verdict of yes. "
            "A step that all have (--step) compares like with like."
        )
    moved = [
        row for row in rows if abs(_real(row, "finer") - _real(row, "coarser")) > 0.1 * _real(row, "index")
    ]
    if moved and source != "none":
        lines.append(
            "The index moves by more than a tenth between a quarter and four times the classes of difficulty: it depends on how "
            "difficulty is cut."
        )
    absent = [r.run for r in selected.runs if r.run_id not in picked.at]
    if absent:
        lines.append(f"{len(absent)} run(s) have no value at that step (first: {absent[0]}).")
    lines.append("This is agreement of outputs: runs that agree may compute in different ways.")
    return lines


def _real(row: Mapping[str, object] | None, name: str) -> float:
    value = None if row is None else row.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
