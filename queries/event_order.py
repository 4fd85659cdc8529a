"""Do events happen in the same order in every run: Kendall's W, pairwise precedence, the commonest order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_specs import EventTimes, find_events
from queries.events.event_times import finite_or_none
from queries.events.orders import NULL, ORDER_SCHEMA, Order, find_order, order_limits
from queries.parameters import CrossingRule, IntervalLevel
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import among, apart_limits, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.intervals import Bracket

_ROWS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "group", "event", "kind")),
        ("after", pa.int64()),
        ("reached", pa.int64()),
        ("rank", pa.float64()),
    ]
)
_PAIRS = pa.schema(
    [
        *((name, pa.string()) for name in ("group", "first", "second")),
        *((name, pa.int64()) for name in ("n_runs", "n_before", "n_after", "n_unclear", "n_units")),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("low", "high", "p")),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class EventOrder(Answer):
    """Events in order, run by run.

    table: run, group, event, kind (observed, never, before, no data), after, reached, rank within the run
    (unclear pairs count half).
    summary: per group and pair of events in how many runs the one certainly came first, the exact interval of
    the chance that it does, sign-test p, verdict (yes: first comes first; no: second does); interval, p and verdict are of
    n_units of the runs, which share no seed, and so are W and its p.
    orders: per group Kendall's W, the value that random orders stay below in 95 %, p, the order by mean rank,
    the commonest full order and in how many runs it is.
    """

    orders: pa.Table

    def overview(self) -> pa.Table:
        """The pairs with each interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "first": r["first"],
                    "second": r["second"],
                    "in that order": f"{r['n_before']} of {r['n_runs']}{among(r)}",
                    "unclear": r["n_unclear"],
                    "chance of it": interval(r["low"], r["high"], 2),
                    "p": number(r["p"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A bracket per run and event."""
        from queries.figures.events import event_brackets

        return event_brackets(self.table, "event", "order of events", x_scale=x_scale)


@query(title="Do events happen in the same order in every run?")
def event_order(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    events: Annotated[
        tuple[str, ...],
        Field(
            description="'measure[part] >= level' or '<=' (measure{param=value} where there are variants), or an authors' event"
        ),
    ] = ("accuracy[train] >= 0.99", "accuracy[test] >= 0.99"),
    rule: CrossingRule = "first",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> EventOrder:
    """Order of two or more events over runs: agreement against random orders, and who precedes whom.

    A time is known only to a bracket, so two events of a run are in order only where their brackets do not
    overlap; events a run never reached come after all it did. Levels are absolute: a share of the final value
    would use the future and make orders of its own.
    """
    selected = select_runs(archive, runs)
    found = find_events(archive, selected, events, rule, which)
    groups = _groups(selected, found)
    units = units_by_group(selected, [run for members in groups.values() for run in members])
    orders = {
        group: find_order(
            list(found.brackets),
            {r: [found.brackets[e].get(r, _NOTHING) for e in found.brackets] for r in members},
            confidence,
            units[group],
        )
        for group, members in groups.items()
    }
    only = next(iter(orders.values())) if len(orders) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, found.choices, found.left_out), shared_seeds=())
    table = _table(selected, found, groups, orders)
    return EventOrder(
        sentence=_sentence(orders),
        table=table,
        summary=_pairs(orders),
        orders=pa.Table.from_pylist(
            [order.row(group) for group, order in orders.items() if order], schema=ORDER_SCHEMA
        ),
        n_runs=sum(len(members) for members in groups.values()),
        n_items=None,
        unit="",
        ci_level=confidence,
        null_name=NULL if only else "",
        p_value=only.agreement.p if only else math.nan,
        verdict=_verdict(orders),
        limits=(
            *provenance.limits,
            *found.limits,
            *units_limits(units, "n_before and the other counts"),
            *apart_limits(selected, units, "W, p and the intervals of pairs"),
            *_limits(table, orders),
        ),
        provenance=provenance,
        sql=found.sql,
    )


_NOTHING = Bracket(-math.inf, math.inf, 0)


def _groups(selected: Selected, found: EventTimes) -> dict[str, list[int]]:
    """Runs that know any of the events, by group."""
    groups: dict[str, list[int]] = {}
    for run in in_order(selected, selected.ids):
        if any(run in brackets for brackets in found.brackets.values()):
            groups.setdefault(selected.groups[run], []).append(run)
    return groups


def _table(
    selected: Selected,
    found: EventTimes,
    groups: Mapping[str, list[int]],
    orders: Mapping[str, Order | None],
) -> pa.Table:
    rows = []
    for group, members in groups.items():
        order = orders[group]
        for run in members:
            for k, (event, brackets) in enumerate(found.brackets.items()):
                bracket = brackets.get(run, _NOTHING)
                rows.append(
                    {
                        "run": selected.by_id[run].run,
                        "group": group,
                        "event": event,
                        "kind": bracket.kind,
                        "after": finite_or_none(bracket.low),
                        "reached": finite_or_none(bracket.high),
                        "rank": float(order.ranks[run][k]) if order and run in order.ranks else None,
                    }
                )
    columns = {name: [row[name] for row in rows] for name in _ROWS.names}
    # steps are whole numbers that went through float64 unharmed
    return pa.table({n: pa.array(values).cast(_ROWS.field(n).type) for n, values in columns.items()})


def _pairs(orders: Mapping[str, Order | None]) -> pa.Table:
    rows = []
    for group, order in orders.items():
        for (first, second), p in order.pairs.items() if order else ():
            n = p.n_before + p.n_after + p.n_unclear
            verdict = "yes" if p.low > 0.5 else "no" if p.high < 0.5 else "unresolved"
            rows.append(
                {
                    "group": group,
                    "first": first,
                    "second": second,
                    "n_runs": n,
                    "n_before": p.n_before,
                    "n_after": p.n_after,
                    "n_unclear": p.n_unclear,
                    "n_units": p.n_units,
                    "unit": order.unit if order else "run",
                    "low": p.low,
                    "high": p.high,
                    "p": p.p,
                    "verdict": verdict,
                }
            )
    return pa.Table.from_pylist(rows, schema=_PAIRS)


def _verdict(orders: Mapping[str, Order | None]) -> Literal["yes", "unresolved"] | None:
    """Of the only group; None for several, unless none of them can tell."""
    verdicts = [o.verdict if o else "unresolved" for o in orders.values()]
    if len(verdicts) == 1:
        return "yes" if verdicts[0] == "yes" else "unresolved"
    return "unresolved" if all(v == "unresolved" for v in verdicts) else None


def _sentence(orders: Mapping[str, Order | None]) -> str:
    if len(orders) > 1:
        agreed = sum(o is not None and o.verdict == "yes" for o in orders.values())
        return f"In {agreed} of {len(orders)} groups the runs agree on an order of events."
    order = next(iter(orders.values()))
    if order is None:
        return "No run has the data for all of these events, so there is no order."
    text = order.sentence
    return f"{text[0].upper()}{text[1:]}."


def _limits(table: pa.Table, orders: Mapping[str, Order | None]) -> list[str]:
    rows = table.to_pylist()
    lines = []
    for kind, words in (
        (
            "never",
            "never seen by the last point: later than everything that run reached, in no known order among them",
        ),
        ("before", "there at the first point: known only to be earlier"),
        ("no data", "without data: those runs are in the pairs they know, not in W"),
    ):
        mine = [r for r in rows if r["kind"] == kind]
        if mine:
            lines.append(
                f"{len(mine)} event(s) of runs are {words} (first: {mine[0]['event']} in {mine[0]['run']})."
            )
    return [*lines, *order_limits([o for o in orders.values() if o])]
