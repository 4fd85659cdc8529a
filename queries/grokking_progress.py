"""The progress measures of grokking side by side, and the phase that every run is in at every step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import NotComparable
from archive.store import Archive
from queries.events.event_times import TIME_FIELDS, finite_or_none, times_over
from queries.parameters import IntervalLevel
from queries.reading.quantities import Choice, Quantity, Want, Which
from queries.reading.scalars import Scalar, Scalars, read_scalars
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.intervals import Bracket
from queries.stats.phases import (
    PHASES,
    RULE_VERSION,
    circuit_formation_end,
    cleanup_end,
    memorization_end,
    phase_at,
)
from queries.wording.progress import MEASURES, limits_of_phases, sentence_of_phases

Floats = NDArray[np.float64]
Frequencies = Literal["auto", "final", "current"]
Variant = Literal["sum_directions", "block_2x2", "block_3x3"]

BY_FREQUENCY = ("restricted_loss", "excluded_loss", "fve")
COLUMNS = (
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "restricted_loss",
    "excluded_loss",
    "gini",
    "fve",
    "squared_weights",
)

_ROWS = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        *((name, pa.float64()) for name in COLUMNS),
        ("phase", pa.string()),
    ]
)
_ENDS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "group", "phase", "kind")),
        ("after", pa.int64()),
        ("reached", pa.int64()),
    ]
)
_SUMMARY = pa.schema([("group", pa.string()), ("phase", pa.string()), *TIME_FIELDS])


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class GrokkingProgress(Answer):
    """Progress measures and phases.

    table: run, group, step, loss and accuracy of both splits, restricted loss (test), excluded loss (train),
    gini of the strengths of W_E's frequencies, fve of the logits, sum of squared weights, phase
    (memorization, circuit_formation, cleanup, done; empty where a measure that decides it is missing).
    ends: per run and phase the bracket (after, reached] of its end; kind "unresolved" where a measure is missing.
    summary: per group and phase how many runs ended it, and the median with its interval over the n_units of these runs that
    share no seed.
    rule_version: of the rules that draw the borders. frequencies: whose key frequencies restricted, excluded
    and fve use: those of the final checkpoint or of each checkpoint itself.
    """

    ends: pa.Table
    rule_version: int
    frequencies: str

    def overview(self) -> pa.Table:
        """The ends of phases with each interval beside its median."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "end of": r["phase"],
                    "reached": f"{r['n_reached']} of {r['n_runs']}{among(r)}"
                    if r["n_runs"]
                    else "unresolved",
                    "median step": number(r["median"], 3),
                    f"{self.ci_level:.0%} interval": interval(r["median_low"], r["median_high"], 3)
                    if r["n_runs"]
                    else "",
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """Losses per run, and the ends of phases."""
        from queries.figures.progress import progress

        return progress(self, x_scale=x_scale)


@query(title="Which phase of grokking is each run in, and when does each phase end?")
def grokking_progress(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    variant: Annotated[
        Variant, Field(description="directions that restricted and excluded loss keep or take out")
    ] = "sum_directions",
    frequencies: Annotated[
        Frequencies,
        Field(
            description="key frequencies of the final checkpoint or of each one (current); auto: final where there"
        ),
    ] = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> GrokkingProgress:
    """Loss, accuracy, restricted and excluded loss, gini, explained variance and weights over training, with phases.

    Rule version 1: memorization ends when train accuracy exceeds 0.99, circuit formation when restricted loss
    has made 90 % of its fall on a log scale (at least a factor of 10), cleanup when test accuracy exceeds
    0.99 and the fall of the sum of squared weights per octave is back under 10 % of its peak. What lacks a
    measure is unresolved, and the answer names the command that fills it.
    """
    selected = select_runs(archive, runs)
    scalars = read_scalars(archive, selected, _asked(variant, frequencies), which)
    used = _frequencies(scalars, frequencies)
    names = {c: f"{c}:{used}" if c in BY_FREQUENCY else c for c in COLUMNS}
    for name in names.values():
        if isinstance(refusal := scalars.missing.get(name), NotComparable):
            raise refusal
    measured = [r for r in selected.ids if any(scalars.curve(n, r) is not None for n in names.values())]
    members = in_order(selected, measured)
    ends = {run: _ends(scalars, names, run) for run in members}
    missing = _missing(scalars, names, selected, members)
    units = units_by_group(selected, ends)
    summary = _summary(units, ends, confidence)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, _used(scalars, names), scalars.left_out), shared_seeds=())
    return GrokkingProgress(
        sentence=sentence_of_phases(summary, len(members), missing),
        table=_table(selected, scalars, names, ends),
        ends=_end_table(selected, ends),
        summary=summary,
        rule_version=RULE_VERSION,
        frequencies=used,
        n_runs=len(members),
        unit="steps",
        ci_level=confidence,
        verdict="unresolved" if any(n == 0 for n in summary["n_runs"].to_pylist()) else None,
        limits=(
            *provenance.limits,
            *scalars.limits,
            *units_limits(units, "n_reached and the other counts"),
            *limits_of_phases(scalars, names, used, missing, ends, frequencies),
        ),
        provenance=provenance,
        sql=scalars.sql,
    )


def _asked(variant: Variant, frequencies: Frequencies) -> dict[str, Scalar]:
    tables = ("fact_scalar", "fact_log")
    asked = {
        f"{split}_{kind}": Scalar(Want((kind, f"log.{kind}"), tables), split)
        for kind in ("loss", "accuracy")
        for split in ("train", "test")
    }
    for whose in ("final", "current") if frequencies == "auto" else (frequencies,):
        for name, part in zip(BY_FREQUENCY, ("test", "train", "logits"), strict=True):
            fits = _uses(variant if name != "fve" else None, whose)
            asked[f"{name}:{whose}"] = Scalar(Want((name,), ("fact_scalar",), fits=fits), part)
    asked["gini"] = Scalar(Want(("fourier_gini",), ("fact_scalar",)), "W_E")
    asked["squared_weights"] = Scalar(Want(("sum_of_squared_weights",), ("fact_scalar",)), "")
    return asked


def _uses(variant: str | None, whose: str) -> Callable[[Quantity], bool]:
    """Whether a quantity is of these directions (fve: not the adjusted variant) and of these frequencies."""

    def fits(quantity: Quantity) -> bool:
        p = quantity.params
        same = p.get("variant") == variant if variant else not p.get("adjusted", False)
        return same and p.get("frequencies") == whose

    return fits


def _used(scalars: Scalars, names: Mapping[str, str]) -> list[Choice]:
    """Every quantity of the answer once, though two columns may be parts of one."""
    choices = [scalars.choices[n] for n in names.values() if n in scalars.choices]
    return list({c.quantity.quantity_id: c for c in choices}.values())


def _frequencies(scalars: Scalars, asked: Frequencies) -> str:
    """Those of the final checkpoint where every run with any restricted loss has them."""
    if asked != "auto":
        return asked
    final, current = (set(scalars.curves.get(f"restricted_loss:{w}", ())) for w in ("final", "current"))
    return "final" if final and current <= final else "current"


def _ends(scalars: Scalars, names: Mapping[str, str], run: int) -> list[Bracket | None]:
    """End of every phase; None where a measure is missing."""
    curve = {c: scalars.curve(names[c], run) for c in COLUMNS}
    train, restricted = curve["train_accuracy"], curve["restricted_loss"]
    test, squares = curve["test_accuracy"], curve["squared_weights"]
    ends = [
        memorization_end(*train) if train else None,
        circuit_formation_end(*restricted) if restricted else None,
        None,
    ]
    if test and squares:
        steps, first, second = np.intersect1d(test[0], squares[0], return_indices=True)
        ends[2] = cleanup_end(steps, test[1][first], squares[1][second])
    return [end if end and end.n_points else None for end in ends]


def _missing(
    scalars: Scalars, names: Mapping[str, str], selected: Selected, members: list[int]
) -> dict[str, list[str]]:
    """Runs that lack a column, by the measure that fills it."""
    found: dict[str, list[str]] = {}
    for column, name in names.items():
        lacking = [selected.by_id[r].run for r in members if scalars.curve(name, r) is None]
        if lacking:
            measure = MEASURES.get(column) or name.removesuffix(":current")
            found.setdefault(measure, lacking)
    return found


def _table(
    selected: Selected, scalars: Scalars, names: Mapping[str, str], ends: Mapping[int, list[Bracket | None]]
) -> pa.Table:
    runs: list[str] = []
    groups: list[str] = []
    axis: list[Floats] = []
    columns: dict[str, list[Floats]] = {c: [] for c in COLUMNS}
    phases: list[str | None] = []
    for run, brackets in ends.items():
        curves = {c: scalars.curve(names[c], run) for c in COLUMNS}
        at_checkpoints = [
            c for c in COLUMNS if curves[c] and scalars.choices[names[c]].quantity.origin == "checkpoint"
        ]
        axes = [found[0] for c in at_checkpoints or COLUMNS if (found := curves[c])]
        steps = np.unique(np.concatenate(axes))
        axis.append(steps)
        runs += [selected.by_id[run].run] * len(steps)
        groups += [selected.groups[run]] * len(steps)
        phases += phase_at(steps, brackets)
        for c in COLUMNS:
            columns[c].append(_on(steps, curves[c]))
    if not ends:
        return _ROWS.empty_table()
    measured = {c: pa.array(np.concatenate(v), pa.float64(), from_pandas=True) for c, v in columns.items()}
    named = {"run": runs, "group": groups, "step": np.concatenate(axis).astype(np.int64)}
    return pa.table({**named, **measured, "phase": phases}, schema=_ROWS)


def _on(steps: Floats, curve: tuple[Floats, Floats] | None) -> Floats:
    """Values at `steps`, NaN where there is none."""
    if curve is not None and np.array_equal(steps, curve[0]):
        return curve[1]
    values = np.full(len(steps), np.nan)
    if curve is not None:
        _, first, second = np.intersect1d(steps, curve[0], return_indices=True)
        values[first] = curve[1][second]
    return values


def _end_table(selected: Selected, ends: Mapping[int, list[Bracket | None]]) -> pa.Table:
    rows = [
        {
            "run": selected.by_id[run].run,
            "group": selected.groups[run],
            "phase": phase,
            "kind": end.kind if end else "unresolved",
            "after": int(end.low) if end and math.isfinite(end.low) else None,
            "reached": int(end.high) if end and finite_or_none(end.high) is not None else None,
        }
        for run, brackets in ends.items()
        for phase, end in zip(PHASES, brackets, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=_ENDS)


def _summary(units: Mapping[str, Units], ends: Mapping[int, list[Bracket | None]], level: float) -> pa.Table:
    rows = []
    for group, of in units.items():
        for k, phase in enumerate(PHASES):
            known = {run: end for run in of.runs if (end := ends[run][k]) is not None}
            rows.append({"group": group, "phase": phase, **times_over(known, of, level)})
    return pa.Table.from_pylist(rows, schema=_SUMMARY)
