"""Whether measures reach a level before an event happens: in how many runs, and by how many octaves of training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_specs import EventTimes, find_events
from queries.events.event_times import finite_or_none
from queries.parameters import CrossingRule, IntervalLevel
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import Units, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.intervals import Bracket
from queries.stats.lead import Lead, RunLead, lead_over_runs, run_lead
from queries.stats.multiple import Correction, adjusted
from queries.wording.lead import lead_limits, lead_sentence

METHOD = "Student t over runs, from both ends of every bracket"
NULL = "leads and lags equally likely (exact sign test of the runs that are decided)"

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("run", "group", "measure", "order")),
        *((name, _REAL) for name in ("lead_least", "lead_most")),
        *((name, _WHOLE) for name in ("measure_after", "measure_reached", "event_after", "event_reached")),
        ("spacing", _REAL),
        ("times_crossed", _WHOLE),
        *((name, _TEXT) for name in ("first_there", "best_at_end")),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("group", "measure")),
        *((name, _WHOLE) for name in ("n_runs", "n_units", "n_leading", "n_following", "n_untold")),
        ("unit", _TEXT),
        *(
            (name, _WHOLE)
            for name in ("n_event_never", "n_measure_never", "n_neither", "n_from_start", "n_no_data")
        ),
        *((name, _REAL) for name in ("lead_octaves", "low", "high", "even_low", "even_high")),
        *((name, _REAL) for name in ("least", "most", "spacing", "detectable", "p", "p_adjusted")),
        ("verdict", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LeadLag(Answer):
    """How long before an event measures reach a level.

    table: per run and measure the order (leads, follows: certain; untold: brackets overlap; neither; from the start: there at
    the first checkpoint; no data), lead_least and lead_most (octaves it lies between; None where one was never seen on
    that side), the brackets of both times, spacing (octaves between checkpoints there), times_crossed (how often the
    measure goes from below the level to it); of measures of heads or pairs the one that was first_there and the best_at_end.
    summary: per group and measure n_leading, n_following and n_untold of n_runs, n_units of them independent (values of the
    seed `unit`); n_event_never (of these, runs where the measure
    got there and the event never did), n_measure_never (the event came without it), n_neither, n_from_start and
    n_no_data (not counted); lead_octaves (mean of the middles of the brackets), low and high (interval of the mean over runs
    that holds wherever in its bracket each time lies), even_low and even_high (if each is anywhere in it with
    equal chance), least and most (bounds of the mean of these runs), detectable, p (sign test; where runs share seeds, p and
    intervals are over the values of a seed: over runs they would be too sure), p_adjusted (over all rows) and verdict:
    leads, follows, together (within half a spacing, by the even interval) or unresolved.
    """

    event: str

    def overview(self) -> pa.Table:
        """The summary with intervals in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "measure": r["measure"],
                    "leads": f"{r['n_leading']} of {r['n_runs']}",
                    "follows": r["n_following"],
                    "untold": r["n_untold"],
                    "lead [octaves]": f"{number(r['lead_octaves'], 2)} {interval(_open(r['low'], -1), _open(r['high'], 1), 2)}",
                    "p": number(r["p_adjusted"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """What each run's brackets leave of its lead, by measure."""
        from queries.figures.leads import lead_brackets

        return lead_brackets(self)


@query(title="Does a measure change before the event it should foretell?")
def lead_lag(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    measures: Annotated[
        tuple[str, ...],
        Field(
            description="'measure[part] >= level' or '<='; of heads any (head.prefix_matching >= 0.3), of pairs any z "
            "(k_composition >= 5)"
        ),
    ] = ("accuracy[train] >= 0.99",),
    event: Annotated[
        str, Field(description="the event, in the same words, or one that authors give")
    ] = "accuracy[test] >= 0.99",
    rule: CrossingRule = "first",
    pooled: Annotated[bool, Field(description="all runs as one group, whatever their condition")] = False,
    correction: Annotated[
        Correction,
        Field(description="p over all measures and groups: holm (none wrong) or bh (share that is wrong)"),
    ] = "holm",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> LeadLag:
    """When each measure reaches its level against when the event happens, run by run, in octaves of training (log2 of steps).

    Levels are absolute. A share of a measure's final value knows the future: under it whatever grows slowly leads, so it
    is not offered. Times are known to brackets between checkpoints; a run counts for either side only where they do not
    overlap. The best of a run's heads counts, or of its pairs of heads by z.
    """
    selected = select_runs(archive, runs)
    found = find_events(archive, selected, (*measures, event), rule, which)
    groups = _groups(selected, found, pooled)
    table = [row for members in groups.values() for row in _rows(selected, found, measures, event, members)]
    n_conditions = len({selected.groups[run] for members in groups.values() for run in members})
    leads = {
        (group, measure): _leads(found, measure, event, members)
        for group, members in groups.items()
        for measure in measures
    }
    units = {group: units_of(selected, members) for group, members in groups.items()}
    judged = {
        (group, measure): lead_over_runs(runs, confidence, list(units[group].counted.values()))
        for (group, measure), runs in leads.items()
    }
    summary = _summary(leads, judged, units, correction, confidence)
    only = summary[0] if len(summary) == 1 else None
    lead = next(iter(judged.values())) if only else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, found.choices, found.left_out), shared_seeds=())
    return LeadLag(
        sentence=lead_sentence(summary, event),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        event=event,
        n_runs=sum(len(members) for members in groups.values()),
        unit="octaves" if only else "",
        estimate=lead.lead if lead else math.nan,
        ci_low=lead.low if lead and math.isfinite(lead.lead) else math.nan,
        ci_high=lead.high if lead and math.isfinite(lead.lead) else math.nan,
        ci_level=confidence,
        ci_method=METHOD if lead and math.isfinite(lead.lead) else "",
        null_name=NULL if lead and math.isfinite(lead.p) else "",
        p_value=lead.p if lead else math.nan,
        mde=lead.detectable if lead else math.nan,
        verdict=_verdict(summary),
        limits=(
            *provenance.limits,
            *found.limits,
            *units_limits(units, "n_leading and n_following"),
            *lead_limits(summary, table, rule, event, n_conditions if pooled else 1),
        ),
        provenance=provenance,
        sql=found.sql,
    )


ALL = "all runs"
_NOTHING = Bracket(-math.inf, math.inf, 0)


def _groups(selected: Selected, found: EventTimes, pooled: bool) -> dict[str, list[int]]:
    """Runs that know the event or any measure, by group."""
    groups: dict[str, list[int]] = {}
    for run in in_order(selected, selected.ids):
        if any(run in brackets for brackets in found.brackets.values()):
            groups.setdefault(ALL if pooled else selected.groups[run], []).append(run)
    return groups


def _leads(found: EventTimes, measure: str, event: str, members: Sequence[int]) -> list[RunLead]:
    return [
        run_lead(found.brackets[measure].get(run, _NOTHING), found.brackets[event].get(run, _NOTHING))
        for run in members
    ]


def _rows(
    selected: Selected, found: EventTimes, measures: Sequence[str], event: str, members: Sequence[int]
) -> list[dict[str, Any]]:
    rows = []
    for measure in measures:
        for run, lead in zip(members, _leads(found, measure, event, members), strict=True):
            heads = found.best.get(measure, {}).get(run, (None, None))
            before, after = (found.brackets[name].get(run, _NOTHING) for name in (measure, event))
            rows.append(
                {
                    "run": selected.by_id[run].run,
                    "group": selected.groups[run],
                    "measure": measure,
                    "order": lead.order,
                    "lead_least": finite_or_none(lead.low),
                    "lead_most": finite_or_none(lead.high),
                    "measure_after": _step(before.low),
                    "measure_reached": _step(before.high),
                    "event_after": _step(after.low),
                    "event_reached": _step(after.high),
                    "spacing": finite_or_none(lead.spacing),
                    "times_crossed": found.crossed.get(measure, {}).get(run),
                    "first_there": heads[0],
                    "best_at_end": heads[1],
                }
            )
    return rows


def _summary(
    leads: Mapping[tuple[str, str], Sequence[RunLead]],
    judged: Mapping[tuple[str, str], Lead],
    units: Mapping[str, Units],
    correction: Correction,
    level: float,
) -> list[dict[str, Any]]:
    corrected = adjusted(np.array([lead.p for lead in judged.values()]), correction)
    rows = []
    for ((group, measure), lead), p in zip(judged.items(), corrected.tolist(), strict=True):
        runs = leads[group, measure]
        members = zip(units[group].runs, runs, strict=True)
        counted = [run for run, r in members if r.order in ("leads", "follows", "untold")]
        told = [r for r in runs if r.order in ("leads", "follows", "untold")]
        rows.append(
            {
                "group": group,
                "measure": measure,
                "n_runs": len(told),
                **units[group].columns(counted),
                "n_leading": lead.n_leading,
                "n_following": lead.n_following,
                "n_untold": lead.n_untold,
                "n_event_never": sum(math.isinf(r.high) and math.isnan(r.middle) for r in told),
                "n_measure_never": sum(math.isinf(r.low) and math.isnan(r.middle) for r in told),
                "n_neither": sum(r.order == "neither" for r in runs),
                "n_from_start": sum(r.order == "from the start" for r in runs),
                "n_no_data": sum(r.order == "no data" for r in runs),
                "lead_octaves": finite_or_none(lead.lead),
                **{
                    name: finite_or_none(getattr(lead, name))
                    for name in (
                        "low",
                        "high",
                        "even_low",
                        "even_high",
                        "least",
                        "most",
                        "spacing",
                        "detectable",
                    )
                },
                "p": finite_or_none(lead.p),
                "p_adjusted": finite_or_none(p),
                "verdict": lead.verdict(p, 1 - level),
            }
        )
    return rows


def _verdict(summary: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """Whether the measure comes before the event, where there is one answer to that."""
    words: dict[str, Verdict] = {"leads": "yes", "follows": "no", "together": "no"}
    found = {words.get(r["verdict"], "unresolved") for r in summary}
    return found.pop() if len(found) == 1 else None


def _step(time: float) -> int | None:
    return int(time) if math.isfinite(time) else None


def _open(end: float | None, sign: int) -> float:
    return sign * math.inf if end is None else end
