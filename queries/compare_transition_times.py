"""Does one condition get there earlier than another: exact permutation tests on times known to brackets."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import TIME_FIELDS, finite_or_none, times_over
from queries.events.time_comparisons import (
    ALPHA,
    SEED_FIELDS,
    Seed,
    Test,
    compare_groups,
    octaves,
    real,
    with_correction,
)
from queries.parameters import CrossingRule, CurveOrigin, IntervalLevel, SplitPart, Towards
from queries.reading.curves import Curves, read_curves
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.units import Units, apart_limits, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.intervals import Bracket, crossing
from queries.stats.multiple import Correction
from queries.transition_times import better_direction

GroupBy = Literal["condition", "family", "source", "init", "order", "split"]
_TEXT = ("run", "group", "seeds", "kind")
_PAIRS = pa.schema(
    [
        ("earlier_group", pa.string()),
        ("later_group", pa.string()),
        *((name, pa.int64()) for name in ("n_a", "n_b", "units_a", "units_b", "n_censored")),
        *(
            (n, pa.float64())
            for n in ("ratio_octaves", "low", "high", "ratio", "p", "p_adjusted", "smallest_p")
        ),
        ("mde_octaves", pa.float64()),
        ("test", pa.string()),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class CompareTransitionTimes(Answer):
    """Times at which groups of runs reach a level, against one another.

    table: run, group, seeds, kind, after, reached, octaves (log2 of the middle of the bracket; empty where
    censored).
    groups: per group how many got there, median with interval, spread (as in `transition_times`).
    summary: per pair of groups, the first being the one with the earlier times: n of each (paired: pairs) and units, how many
    of them share no seed and are compared; censored ones of these, ratio_octaves = how many octaves later the second is
    (medians; paired: mean of the pairs) with its interval, ratio = 2 to that power, exact p, p adjusted for all pairs (Holm, or
    q), the smallest p so many runs can give, the smallest detectable difference, verdict.
    """

    label: str
    groups: pa.Table

    def overview(self) -> pa.Table:
        """The pairs with each interval beside its estimate; without a pair, the groups."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        if not rows:
            return self.groups.select(["group", "n_runs", "n_reached", "median", "median_low", "median_high"])
        return pa.Table.from_pylist(
            [
                {
                    "earlier": f"{r['earlier_group']} ({_counted(r, 'a')})",
                    "later": f"{r['later_group']} ({_counted(r, 'b')})",
                    "later by, octaves": number(r["ratio_octaves"], 3),
                    f"{self.ci_level:.0%} interval": interval(r["low"], r["high"], 3),
                    "p": number(r["p"], 2),
                    "adjusted": number(r["p_adjusted"], 2),
                    "smallest p": number(r["smallest_p"], 2),
                    "detectable, octaves": number(r["mde_octaves"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A bracket per run, by group."""
        from queries.figures.events import event_brackets

        return event_brackets(self.table, "group", self.label, x_scale=x_scale)


@query(title="Does one condition get there earlier than another?")
def compare_transition_times(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="any scalar: accuracy, loss, log.accuracy, ...")] = "accuracy",
    part: SplitPart = "auto",
    level: Annotated[float, Field(description="the value that counts as there")] = 0.95,
    group_by: Annotated[GroupBy, Field(description="what groups differ in")] = "condition",
    paired_on: Annotated[
        tuple[Seed, ...],
        Field(
            description="seeds that make two runs of different groups a pair, such as init and order; default: no pairs"
        ),
    ] = (),
    test: Annotated[
        Test, Field(description="exact: permutations of medians (pairs: means); ranks: of ranks throughout")
    ] = "exact",
    correction: Annotated[
        Correction, Field(description="for several pairs of groups: holm (any error) or bh (share of errors)")
    ] = "holm",
    rule: CrossingRule = "first",
    direction: Towards = "auto",
    origin: CurveOrigin = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> CompareTransitionTimes:
    """Ratio of the times at which groups of runs reach a level, in octaves, with an exact permutation test.

    All pairs of groups, corrected for how many there are. Runs that never got there count as later than
    everything (and runs there at the first point as earlier): then only the order of times is used.
    Pairs are compared by flipping signs: 5 pairs can never reach p = 0.05, 6 can.
    """
    curves = read_curves(archive, select_runs(archive, runs), measure, part, which, origin=origin)
    way = better_direction(curves.choice.quantity, direction)
    brackets = {
        run: crossing(times, values, level, direction=way, rule=rule)
        for run, times, values in curves.runs("step")
    }
    groups = _grouped(curves, brackets, group_by)
    units = {group: units_of(curves.selected, members) for group, members in groups.items()}
    rows, dropped = compare_groups(curves.selected, brackets, units, paired_on, test, confidence)
    rows = with_correction(rows, correction)
    label = f"{curves.label} {'≥' if way == 'up' else '≤'} {number(level)}" + (
        " from then on" if rule == "stays" else ""
    )
    only = rows[0] if len(rows) == 1 else {}
    estimate = only.get("ratio_octaves")
    known = isinstance(estimate, float)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [curves.choice], curves.left_out), shared_seeds=())
    return CompareTransitionTimes(
        sentence=_sentence(label, groups, rows, confidence),
        table=_table(curves, brackets, groups),
        summary=pa.Table.from_pylist(rows, schema=_PAIRS),
        groups=_group_table(brackets, units, confidence),
        label=label,
        n_runs=sum(len(members) for members in groups.values()),
        unit="octaves",
        estimate=real(estimate),
        ci_low=real(only.get("low")) if known else math.nan,
        ci_high=real(only.get("high")) if known else math.nan,
        ci_level=confidence,
        ci_method=f"shifts that the {only['test']} test keeps" if known else "",
        null_name="groups that differ in nothing" if only else "",
        p_value=real(only.get("p")),
        q_value=real(only.get("p_adjusted")),
        mde=real(only.get("mde_octaves")),
        verdict=_verdict(rows),
        limits=(
            *provenance.limits,
            *curves.limits,
            *units_limits(units, "n_reached and the other counts"),
            *_apart(curves.selected, units, rows, bool(paired_on)),
            *_seeds_of_groups(group_by),
            *_limits(brackets, groups, rows, dropped, bool(paired_on), correction),
        ),
        provenance=provenance,
        sql=curves.sql,
    )


def _grouped(curves: Curves, brackets: Mapping[int, Bracket], by: GroupBy) -> dict[str, list[int]]:
    """Runs with data by group; seeds that are not known make no group."""
    groups: dict[str, list[int]] = {}
    for run, bracket in brackets.items():
        row = curves.selected.by_id[run]
        if by == "condition":
            name = curves.group_of[run]
        elif by in ("family", "source"):
            name = str(getattr(row, by))
        else:
            seed = getattr(row, SEED_FIELDS[by])
            name = "" if seed is None else f"{by} {seed}"
        if bracket.n_points and name:
            groups.setdefault(name, []).append(run)
    if not groups:
        raise UsageError(f"no run has both a value and a known {by}; group_by='condition' needs no seeds.")
    return groups


def _verdict(rows: Sequence[Mapping[str, object]]) -> Literal["yes", "unresolved"] | None:
    """Yes: the groups differ. Never no: not to find a difference shows none."""
    verdicts = {r["verdict"] for r in rows}
    if len(verdicts) > 1:
        return None
    return "yes" if verdicts == {"yes"} else "unresolved"


def _table(curves: Curves, brackets: Mapping[int, Bracket], groups: Mapping[str, list[int]]) -> pa.Table:
    by_id = curves.selected.by_id
    rows = [
        {
            "run": by_id[run].run,
            "group": group,
            "seeds": by_id[run].seeds,
            "kind": brackets[run].kind,
            "after": finite_or_none(brackets[run].low),
            "reached": finite_or_none(brackets[run].high),
            "octaves": finite_or_none(octaves(brackets[run])),
        }
        for group, members in groups.items()
        for run in members
    ]
    kinds = {
        **dict.fromkeys(_TEXT, pa.string()),
        "after": pa.int64(),
        "reached": pa.int64(),
        "octaves": pa.float64(),
    }
    return pa.table({name: pa.array([r[name] for r in rows]).cast(kind) for name, kind in kinds.items()})


def _counted(row: Mapping[str, object], side: str) -> str:
    """`9`, or `3 of 9` where only so many share no seed."""
    n, of = row[f"units_{side}"], row[f"n_{side}"]
    return f"{n}" if n == of else f"{n} of {of}"


def _apart(
    selected: Selected, units: Mapping[str, Units], rows: Sequence[Mapping[str, Any]], paired: bool
) -> list[str]:
    """Which runs, or how many pairs, are compared where some share seeds."""
    if not paired:
        return apart_limits(selected, units, "comparisons")
    fewer = [r for r in rows if r["units_a"] < r["n_a"]]
    return [
        f"Pairs share seeds too: {r['units_a']} of {r['n_a']} share none, chosen by their seeds alone, and are compared."
        for r in fewer[:1]
    ]


def _seeds_of_groups(by: GroupBy) -> list[str]:
    if by not in SEED_FIELDS:
        return []
    return [
        f"A group is one {by}: its runs repeat that {by} with other seeds, so a difference is one of these {by}s and says "
        "nothing of others."
    ]


def _group_table(brackets: Mapping[int, Bracket], units: Mapping[str, Units], level: float) -> pa.Table:
    rows = [
        {"group": g, **times_over({r: brackets[r] for r in of.runs}, of, level)} for g, of in units.items()
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema([("group", pa.string()), *TIME_FIELDS]))


def _sentence(
    label: str, groups: Mapping[str, list[int]], rows: Sequence[Mapping[str, object]], level: float
) -> str:
    if len(groups) == 1:
        (group,) = groups
        return f"{label}: there is only one group, {group}, so nothing to compare it with."
    if not rows:
        return f"{label}: {len(groups)} groups, but no two of them have runs that share the seeds asked for."
    if len(rows) > 1:
        found = sum(r["verdict"] == "yes" for r in rows)
        return (
            f"{label}: {found} of {len(rows)} pairs of groups differ; the others are not shown to be equal."
        )
    r = rows[0]
    if r["ratio_octaves"] is None:
        by = "later, by how much is unknown because of runs that never got there"
    else:
        band = interval(real(r["low"]), real(r["high"]), 3)
        by = f"{number(r['ratio_octaves'], 3)} octaves later, {level:.0%} interval {band},"
    fewer = (
        f"of {_counted(r, 'a')} and {_counted(r, 'b')} "
        if (r["units_a"], r["units_b"]) != (r["n_a"], r["n_b"])
        else ""
    )
    told = f"{r['test']} test {fewer}".strip()
    return f"{label}: {r['later_group']} is {by} than {r['earlier_group']} ({told}, p = {number(r['p'], 2)})."


def _limits(
    brackets: Mapping[int, Bracket],
    groups: Mapping[str, list[int]],
    rows: Sequence[Mapping[str, object]],
    dropped: int,
    paired: bool,
    correction: Correction,
) -> list[str]:
    lines = []
    kinds = Counter(brackets[run].kind for members in groups.values() for run in members)
    if kinds["never"]:
        lines.append(
            f"{kinds['never']} run(s) never got there by their last point: they count as later than everything, so the "
            "comparisons they are in are ones of ranks, and differences that hang on them have an open end."
        )
    if kinds["before"]:
        lines.append(
            f"{kinds['before']} run(s) were there at their first point: they count as earlier than everything."
        )
    spacing = [b.octaves for run, b in brackets.items() if math.isfinite(b.octaves)]
    if spacing:
        lines.append(
            f"Times are the middles of brackets, the median one {number(float(np.median(spacing)), 2)} octaves wide: a "
            "difference below half of that is not one of the runs."
        )
    if dropped:
        lines.append(f"{dropped} run(s) have no partner with the same seeds and are in no pair.")
    weak = [r for r in rows if real(r["smallest_p"]) >= ALPHA]
    if weak:
        what = "pairs" if paired else "runs"
        lines.append(
            f"So few {what} cannot show any difference: the smallest possible p is {number(weak[0]['smallest_p'], 2)} for "
            f"{weak[0]['units_a']} {'pairs' if paired else 'against ' + str(weak[0]['units_b'])}"
            + (" that share no seed." if weak[0]["units_a"] != weak[0]["n_a"] else ".")
        )
    if len(rows) > 1:
        how = "Holm's adjustment" if correction == "holm" else "Benjamini-Hochberg q values"
        lines.append(f"{len(rows)} pairs of groups are compared: verdicts use {how}.")
    lines.append(
        "A test that finds nothing shows no equality; what these runs would have shown is the detectable difference "
        "(80 % power, for normal log times)."
    )
    return lines
