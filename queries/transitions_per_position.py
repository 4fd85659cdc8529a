"""When each read position learns: time, width and order of its transition, per run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import TIME_FIELDS, finite_or_none, times_over
from queries.events.orders import NULL, ORDER_SCHEMA, Order, find_order, order_limits
from queries.parameters import CrossingRule, IntervalLevel, Towards
from queries.reading.checkpoints import find_left_out
from queries.reading.curves import choose_part, no_such_part
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, select_runs
from queries.reading.tables import floats, stretches, with_groups
from queries.reading.units import Units, among, apart_limits, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.intervals import Bracket, Direction, Rule, crossing, n_crossings
from queries.stats.width import width_octaves
from queries.transition_times import better_direction

_SQL = """\
SELECT run_id, run, step, position, value
FROM v_position
WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND part = $part
  AND checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY run_id, position, step"""

_SUMMARY_SCHEMA = pa.schema(
    [
        ("group", pa.string()),
        ("position", pa.int64()),
        ("label", pa.string()),
        *TIME_FIELDS,
        ("mean_rank", pa.float64()),
        ("width_low", pa.float64()),
        ("width_high", pa.float64()),
    ]
)


@dataclass(frozen=True)
class _Found:
    """One position of one run."""

    bracket: Bracket
    n_crossings: int
    last: float
    width: tuple[float, float]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TransitionsPerPosition(Answer):
    """When the value of each read position reaches a level.

    table: run, group, position (from 0), label, kind (observed, never, before, no data), after, reached,
    value there, last point, number of crossings, bracket_octaves, width_low and width_high (octaves between
    10 % and 90 % of the position's own change), rank within the run.
    summary: per group and position how many runs got there with the exact interval of that share, median
    time with its interval, spread between runs, mean rank, median width; intervals are over the n_units of the runs that share
    no seed.
    orders: per group Kendall's W over runs, what random orders reach, p, and the order by mean rank.
    """

    label: str
    level: float
    orders: pa.Table

    def overview(self) -> pa.Table:
        """The summary with each interval beside its estimate."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "position": r["label"],
                    "reached": f"{r['n_reached']} of {r['n_runs']}{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    "median step": number(r["median"], 3),
                    f"{self.ci_level:.0%} interval": interval(r["median_low"], r["median_high"], 3),
                    "mean rank": number(r["mean_rank"], 2),
                    "width, octaves": ""
                    if r["width_low"] is None
                    else interval(r["width_low"], r["width_high"], 2),
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A bracket per run and position."""
        from queries.figures.events import event_brackets

        return event_brackets(self.table, "label", self.label, x_scale=x_scale)


@query(title="When does each position learn, and in which order?")
def transitions_per_position(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measure: Annotated[str, Field(description="a measure per read position")] = "position_loss",
    part: Annotated[str, Field(description="split; auto = test, else the only one")] = "auto",
    level: Annotated[
        float,
        Field(description="the value that counts as there, the same for all positions; for a loss in nats"),
    ] = 0.35,
    rule: CrossingRule = "first",
    direction: Towards = "auto",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> TransitionsPerPosition:
    """First point at which each read position reaches an absolute level, per run, and the order over runs.

    The level is the same for every position and absolute: a share of each position's final value would use
    the future. 0.35 nats is half the loss of a fair coin (ln 2 / 2), so even a position with two equally
    likely answers, such as a carry, must have learned to get there. Positions that no run of a group
    brings there are not in its order.
    """
    choice = choose_quantity(archive, select_runs(archive, runs), [measure], which, tables=("fact_position",))
    part = choose_part(archive, choice, part)
    left_out = find_left_out(archive, choice, which)
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "part": part,
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        raise no_such_part(archive, choice, part)
    way = better_direction(choice.quantity, direction)
    found = _transitions(with_groups(rows, choice.selected), level, way, rule)
    labels = _labels(choice, max(position for _, position in found) + 1)
    units = units_by_group(choice.selected, dict.fromkeys(run for run, _ in found))
    orders = _orders(units, found, labels, confidence)
    name = f"{measure} ({part})" if part else measure
    label = f"{name} {'≥' if way == 'up' else '≤'} {number(level)}" + (
        " from then on" if rule == "stays" else ""
    )
    only = next(iter(orders.values())) if len(orders) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    table = _table(choice, found, labels, orders)
    summary = _summary(units, found, labels, orders, confidence)
    return TransitionsPerPosition(
        sentence=_sentence(label, summary, orders),
        table=table,
        summary=summary,
        orders=pa.Table.from_pylist(
            [order.row(group) for group, order in orders.items() if order], schema=ORDER_SCHEMA
        ),
        label=label,
        level=level,
        n_runs=len({run for run, _ in found}),
        unit="steps",
        ci_level=confidence,
        null_name=NULL if only else "",
        p_value=only.agreement.p if only else math.nan,
        verdict=only.verdict if only else "unresolved" if not any(orders.values()) else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *units_limits(units, "n_reached and the other counts"),
            *apart_limits(choice.selected, units, "W and p of the order"),
            *_limits(table, orders),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _transitions(rows: pa.Table, level: float, way: Direction, rule: Rule) -> dict[tuple[int, int], _Found]:
    """By run_id and position, in the order of the table."""
    runs, positions = rows["run_id"].to_numpy(), rows["position"].to_numpy()
    steps, values = floats(rows, "step"), floats(rows, "value")
    found = {}
    for a, b in zip(*stretches(rows, ["run_id", "position"]), strict=True):
        times, y = steps[a:b], values[a:b]
        bracket = crossing(times, y, level, direction=way, rule=rule)
        reached = bracket.kind in ("observed", "before")
        found[int(runs[a]), int(positions[a])] = _Found(
            bracket,
            n_crossings(y, level, way),
            float(times[-1]),
            width_octaves(times, y, way) if reached else (math.nan, math.nan),
        )
    return found


def _labels(choice: Choice, n_positions: int) -> list[str]:
    """What the task calls its positions, else their numbers."""
    known = choice.quantity.params.get("labels")
    if isinstance(known, list) and len(known) == n_positions:
        return [str(name) for name in known]
    return [f"p{k}" for k in range(n_positions)]


def _orders(
    units: Mapping[str, Units], found: Mapping[tuple[int, int], _Found], labels: Sequence[str], level: float
) -> dict[str, Order | None]:
    """The order of positions per group, over those that some run of the group learns."""
    orders = {}
    for group, of in units.items():
        learned = [
            p
            for p in range(len(labels))
            if any((r, p) in found and math.isfinite(found[r, p].bracket.high) for r in of.runs)
        ]
        rows = {r: [found[r, p].bracket if (r, p) in found else _NOTHING for p in learned] for r in of.runs}
        orders[group] = find_order([labels[p] for p in learned], rows, level, of)
    return orders


_NOTHING = Bracket(-math.inf, math.inf, 0)


def _table(
    choice: Choice,
    found: Mapping[tuple[int, int], _Found],
    labels: Sequence[str],
    orders: Mapping[str, Order | None],
) -> pa.Table:
    by_id, groups = choice.selected.by_id, choice.selected.groups
    rows = []
    for (run, position), f in found.items():
        order = orders[groups[run]]
        ranked = order is not None and labels[position] in order.names and run in order.ranks
        rows.append(
            {
                "run": by_id[run].run,
                "group": groups[run],
                "position": position,
                "label": labels[position],
                "kind": f.bracket.kind,
                "after": _step(f.bracket.low),
                "reached": _step(f.bracket.high) if f.bracket.n_points else None,
                "value": finite_or_none(f.bracket.level_at_high),
                "last": int(f.last),
                "n_crossings": f.n_crossings,
                "bracket_octaves": finite_or_none(f.bracket.octaves),
                "width_low": finite_or_none(f.width[0]),
                "width_high": finite_or_none(f.width[1]),
                "rank": float(order.ranks[run][order.names.index(labels[position])])
                if order is not None and ranked
                else None,
            }
        )
    whole, real = pa.int64(), pa.float64()
    kinds = [pa.string(), pa.string(), whole, pa.string(), pa.string(), whole, whole, real, whole, whole]
    names = list(rows[0])
    return pa.Table.from_pylist(
        rows, schema=pa.schema(list(zip(names, [*kinds, real, real, real, real], strict=True)))
    )


def _summary(
    units: Mapping[str, Units],
    found: Mapping[tuple[int, int], _Found],
    labels: Sequence[str],
    orders: Mapping[str, Order | None],
    level: float,
) -> pa.Table:
    rows = []
    for group, of in units.items():
        order = orders[group]
        ranks = np.mean(list(order.ranks.values()), axis=0) if order and order.ranks else None
        for position, label in enumerate(labels):
            mine = {run: found[run, position] for run in of.runs if (run, position) in found}
            known = {run: f.bracket for run, f in mine.items() if f.bracket.n_points}
            widths = [f.width for f in mine.values() if math.isfinite(f.width[1])]
            placed = order.names.index(label) if order and label in order.names else None
            rows.append(
                {
                    "group": group,
                    "position": position,
                    "label": label,
                    **times_over(known, of, level),
                    "mean_rank": float(ranks[placed]) if ranks is not None and placed is not None else None,
                    "width_low": float(np.median([w[0] for w in widths])) if widths else None,
                    "width_high": float(np.median([w[1] for w in widths])) if widths else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=_SUMMARY_SCHEMA)


def _sentence(label: str, summary: pa.Table, orders: Mapping[str, Order | None]) -> str:
    rows = summary.to_pylist()
    everywhere = sum(r["n_reached"] == r["n_runs"] > 0 for r in rows)
    start = f"{label}: reached in every run at {everywhere} of {len(rows)} positions"
    if len(orders) > 1:
        agreed = sum(o is not None and o.verdict == "yes" for o in orders.values())
        return f"{start} of {len(orders)} groups; in {agreed} of them the runs agree on an order."
    order = next(iter(orders.values()))
    return f"{start}; {order.sentence if order else 'fewer than two positions learn, so there is no order'}."


def _limits(table: pa.Table, orders: Mapping[str, Order | None]) -> list[str]:
    rows = table.to_pylist()
    lines = []
    spacing = [r["bracket_octaves"] for r in rows if r["bracket_octaves"] is not None]
    if spacing:
        lines.append(
            f"Times are brackets: the median one is {number(float(np.median(spacing)), 2)} octaves wide."
        )
    wide = [r for r in rows if r["kind"] == "observed" and r["width_high"] is None]
    if wide:
        lines.append(
            f"{len(wide)} transition(s) have no width (first: {wide[0]['label']} in {wide[0]['run']}): checkpoints around "
            "them are more than 2/3 octave apart, or begin with it."
        )
    never = [r for r in rows if r["kind"] == "never"]
    if never:
        lines.append(
            f"{len(never)} position(s) of runs never got there by their last point (first: {never[0]['label']} in "
            f"{never[0]['run']}, step {never[0]['last']:,}): they are later than everything that run reached, not lost."
        )
    before = sum(r["kind"] == "before" for r in rows)
    if before:
        lines.append(f"{before} position(s) of runs were there at the first point: known only to be earlier.")
    lines.append(
        "Widths use the end of training (10 % to 90 % of the change seen): they describe a transition, they do not "
        "foresee one, and a narrow width is no phase transition by itself."
    )
    return [*lines, *order_limits([o for o in orders.values() if o])]


def _step(value: float) -> int | None:
    return int(value) if math.isfinite(value) else None
