"""Whether something measured before a cutoff foretells when an event happens, beyond what the settings of a run tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.events.foretold import Asked, Foretold, foretold_at, headline, overall, with_adjusted
from queries.parameters import IntervalLevel
from queries.reading.onsets import Onsets, read_onsets
from queries.reading.quantities import Which
from queries.reading.run_settings import read_settings
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.multiple import holm
from queries.stats.onset import MOST_DRAWS, Estimate
from queries.wording.onset import onset_limits, onset_sentence

NULL = "predictors exchanged within conditions"
METHOD = "jackknife over seeds"

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("cutoff", _WHOLE),
        *((name, _TEXT) for name in ("run", "group", "seeds", "status", "kind")),
        ("after", _WHOLE),
        ("reached", _WHOLE),
        ("values", pa.list_(_REAL)),
        ("read_at", _WHOLE),
        *((name, _REAL) for name in ("predicted", "predicted_baseline", "lead_octaves")),
    ]
)
_SUMMARY = pa.schema(
    [
        *((name, _WHOLE) for name in ("cutoff", "n_runs", "n_events", "n_before", "n_unclear", "n_without")),
        *((name, _REAL) for name in ("c_index", "c_low", "c_high")),
        *((name, _REAL) for name in ("c_baseline", "baseline_low", "baseline_high")),
        *(
            (name, _REAL)
            for name in ("gain", "gain_low", "gain_high", "c_within", "within_low", "within_high")
        ),
        *((name, _REAL) for name in ("p", "p_adjusted", "null_mean", "null_sd")),
        ("n_draws", _WHOLE),
        *((name, _REAL) for name in ("rank_corr", "rank_low", "rank_high", "mae_log2", "mae_baseline")),
        *((name, _REAL) for name in ("brier", "brier_baseline", "brier_at")),
        ("n_brier", _WHOLE),
        *((name, _REAL) for name in ("lead_octaves", "lead_least", "lead_most", "mde")),
        ("n_left_out", _WHOLE),
        ("verdict", _TEXT),
        ("runs_needed", _WHOLE),
        ("why", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PredictOnset(Answer):
    """What a measurement before a cutoff tells of when an event happens.

    table: per cutoff and run the status: at risk (the event certainly lay ahead, and the predictor was measured), before (it had
    come), unclear (it came between measurements around the cutoff), not seen (last looked at before), no predictor, no data; kind
    (observed, never), after and reached (steps that bracket the event), values of the predictors, read_at (last step they use),
    predicted and predicted_baseline (median step, by models that have not seen the run, with and without the predictor),
    lead_octaves (cutoff to event).
    summary: per cutoff n_runs at risk, n_events of them seen; c_index with the predictor, c_baseline with settings alone (share
    of pairs in a certain order that are predicted in that order, both left out), gain (their difference) with its interval,
    c_within (of pairs of one condition, of which settings tell nothing: 0.5), p (gains as large with exchanged predictors),
    p_adjusted (Holm over cutoffs), null_mean, null_sd, n_draws; rank_corr (Somers' D of runs that both got there), mae_log2
    (mean error in octaves, of those that got there), brier (squared error of the probability to be there by brier_at, of
    n_brier runs), lead_octaves (median) from lead_least to lead_most, mde (gain that would be found), n_left_out (groups of runs
    that are left out together), verdict, runs_needed (where unresolved), why there is none.
    shown: the cutoff that the estimate is of.
    """

    event: str
    predictor: tuple[str, ...]
    shown: int

    def overview(self) -> pa.Table:
        """The cutoffs in few columns."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "cutoff": r["cutoff"],
                    "at risk": r["n_runs"],
                    "events": r["n_events"],
                    "C": number(r["c_index"], 2),
                    "settings": number(r["c_baseline"], 2),
                    "gain": f"{number(r['gain'], 2)} {interval(_nan(r['gain_low']), _nan(r['gain_high']), 2)}",
                    "within": f"{number(r['c_within'], 2)} {interval(_nan(r['within_low']), _nan(r['within_high']), 2)}",
                    "p": number(r["p_adjusted"], 2),
                    "error [octaves]": f"{number(r['mae_log2'], 2)} ({number(r['mae_baseline'], 2)})",
                    "lead": number(r["lead_octaves"], 2),
                    "verdict": r["verdict"],
                    "why": r["why"] or "",
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Predicted against observed times, and the C-index by cutoff."""
        from queries.figures.onset import predicted_and_observed

        return predicted_and_observed(self)


@query(title="Can something measured early foretell when an event happens?")
def predict_onset(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    event: Annotated[
        str, Field(description="'measure[part] >= level' or '<=', or an authors' event")
    ] = "accuracy[test] >= 0.99",
    predictor: Annotated[
        tuple[str, ...],
        Field(
            description="scalars used together, each 'measure[part]' and then nothing, log, slope or log slope (over log2 step); "
            "of heads the largest, or one by name (head.prefix_matching[L1H3])"
        ),
    ] = ("loss[test]",),
    cutoff: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(
            description="steps up to which anything is known; default: 1, 10, 100, ... up to the last step"
        ),
    ] = (),
    settings: Annotated[
        tuple[str, ...],
        Field(
            description="settings the baseline knows, such as weight_decay; default: all that differ between conditions"
        ),
    ] = (),
    margin: Annotated[
        float, Field(gt=0, lt=0.5, description="gain in C-index below which a predictor adds nothing")
    ] = 0.05,
    brier_at: Annotated[
        int | None, Field(ge=1, description="step of the Brier score; default: median of the events at risk")
    ] = None,
    ridge: Annotated[
        float, Field(gt=0, le=100, description="penalty of the fit, in runs without an effect")
    ] = 1.0,
    draws: Annotated[
        int, Field(ge=99, le=9999, description="most draws of the null; each fits everything again")
    ] = MOST_DRAWS,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> PredictOnset:
    """Times of an event predicted from a measurement and settings, and from settings alone, for runs left out.

    Only what was measured by the cutoff is used, and only of runs to which the event had not come. Cutoffs are steps, never
    shares of a time that is known only afterwards. Log-normal times with a ridge penalty, known to brackets, censored where the
    event was not seen. Yes: the gain in C-index is above 0 and beyond what exchanged predictors give. No: it is surely below
    `margin`.
    """
    selected = select_runs(archive, runs)
    onsets = read_onsets(archive, selected, event, predictor, which)
    known = read_settings(archive, selected, settings)
    asked = Asked(margin, brier_at, ridge, confidence, draws)
    found = [foretold_at(c, onsets, selected, known, asked) for c in _cutoffs(cutoff, onsets)]
    _refuse_late(onsets, found)
    p = holm(np.array([f.found.p if f.found else math.nan for f in found]))
    found = with_adjusted(found, dict(zip((f.cutoff for f in found), p.tolist(), strict=True)))
    top = headline(found)
    gain = top.found.gain if top.found else Estimate(math.nan)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, onsets.choices, onsets.left_out), shared_seeds=())
    return PredictOnset(
        sentence=onset_sentence(onsets.event, _named(onsets), found, confidence),
        table=_table(selected, found),
        summary=pa.Table.from_pylist([_summary(f) for f in found], schema=_SUMMARY),
        event=onsets.event,
        predictor=tuple(p.text for p in onsets.predictors),
        shown=top.cutoff,
        n_runs=len(top.at_risk),
        unit="C-index",
        estimate=gain.value if math.isfinite(gain.low) else math.nan,
        ci_low=gain.low,
        ci_high=gain.high,
        ci_level=confidence,
        ci_method=METHOD if math.isfinite(gain.low) else "",
        null_name=NULL if top.found else "",
        null_mean=top.found.null_mean if top.found else math.nan,
        null_sd=top.found.null_sd if top.found else math.nan,
        p_value=top.found.p if top.found else math.nan,
        q_value=top.p_adjusted,
        mde=top.detectable,
        verdict=overall(found),
        limits=(*provenance.limits, *onsets.limits, *onset_limits(onsets, selected, known, found)),
        provenance=provenance,
        sql=onsets.sql,
    )


def _cutoffs(given: Sequence[int], onsets: Onsets) -> list[int]:
    """The steps asked for in order, or powers of ten, which no outcome has chosen."""
    if given:
        return sorted(set(given))
    last = onsets.last_step
    powers = [10**k for k in range(1 + int(math.log10(last)))] if last >= 1 else [1]
    return powers


def _refuse_late(onsets: Onsets, found: Sequence[Foretold]) -> None:
    """A predictor that no run had while the event lay ahead is none."""
    waiting = [f for f in found if f.having("no predictor")]
    if waiting and not any(f.at_risk for f in found):
        first = onsets.first_read
        since = (
            f"its first value is at step {first:,.0f}" if math.isfinite(first) else "it has no finite value"
        )
        raise UsageError(
            f"{_named(onsets)} was not measured by step {waiting[-1].cutoff:,} in any run that {onsets.event} lay ahead of: "
            f"{since} (a slope needs three points within two octaves). Ask for a later cutoff, or for what was measured earlier."
        )


def _named(onsets: Onsets) -> str:
    return " and ".join(p.text for p in onsets.predictors)


def _table(selected: Selected, found: Sequence[Foretold]) -> pa.Table:
    rows = []
    place = {run: k for k, run in enumerate(in_order(selected, selected.ids))}
    for f in found:
        predicted = {r.run_id: k for k, r in enumerate(f.at_risk)}
        for r in sorted(f.runs, key=lambda r: place[r.run_id]):
            row = selected.by_id[r.run_id]
            reached = finite_or_none(r.bracket.high)
            entry: dict[str, Any] = {
                "cutoff": f.cutoff,
                "run": row.run,
                "group": selected.groups[r.run_id],
                "seeds": row.seeds,
                "status": r.status,
                "kind": r.bracket.kind,
                "after": _whole(r.bracket.low),
                "reached": _whole(r.bracket.high),
                "values": list(r.values) or None,
                "read_at": _whole(r.read_at),
            }
            if r.status == "at risk" and f.found is not None:
                k = predicted[r.run_id]
                entry["predicted"] = _step(f, float(f.found.full.location[k]))
                entry["predicted_baseline"] = _step(f, float(f.found.baseline.location[k]))
            if r.status == "at risk" and reached is not None and f.cutoff:
                low = max(r.bracket.low, 0.5)
                entry["lead_octaves"] = (math.log2(low) + math.log2(reached)) / 2 - math.log2(f.cutoff)
            rows.append(entry)
    return pa.Table.from_pylist(rows, schema=_TABLE)


def _step(f: Foretold, log2_step: float) -> float | None:
    """A predicted step; never before the cutoff, as the event had not come by then."""
    return max(2.0**log2_step, float(f.cutoff)) if math.isfinite(log2_step) else None


def _summary(f: Foretold) -> dict[str, Any]:
    leads = f.leads[np.isfinite(f.leads)]
    row: dict[str, Any] = {
        "cutoff": f.cutoff,
        "n_runs": len(f.at_risk),
        "n_events": f.n_events,
        "n_before": len(f.having("before")),
        "n_unclear": len(f.having("unclear")),
        "n_without": len(f.having("not seen", "no predictor", "no data")),
        "brier_at": finite_or_none(f.brier_at),
        "mde": finite_or_none(f.detectable),
        "verdict": f.verdict,
        "runs_needed": f.runs_needed,
        "why": f.why or None,
    }
    if len(leads):
        row |= {
            "lead_octaves": float(np.median(leads)),
            "lead_least": float(leads.min()),
            "lead_most": float(leads.max()),
        }
    if f.found is None:
        return row
    o = f.found
    for name, low, high, estimate in (
        ("c_index", "c_low", "c_high", o.full.c_index),
        ("c_baseline", "baseline_low", "baseline_high", o.baseline.c_index),
        ("gain", "gain_low", "gain_high", o.gain),
        ("c_within", "within_low", "within_high", o.within),
        ("rank_corr", "rank_low", "rank_high", o.rank_corr),
    ):
        row |= {name: finite_or_none(estimate.value), low: finite_or_none(estimate.low)}
        row[high] = finite_or_none(estimate.high)
    return row | {
        "p": finite_or_none(o.p),
        "p_adjusted": finite_or_none(f.p_adjusted),
        "null_mean": finite_or_none(o.null_mean),
        "null_sd": finite_or_none(o.null_sd),
        "n_draws": o.n_draws,
        "mae_log2": finite_or_none(o.full.mae),
        "mae_baseline": finite_or_none(o.baseline.mae),
        "brier": finite_or_none(o.brier),
        "brier_baseline": finite_or_none(o.brier_baseline),
        "n_brier": o.n_brier,
        "n_left_out": int(f.design.unit.max()) + 1 if f.design else None,
    }


def _whole(step: float) -> int | None:
    return int(step) if math.isfinite(step) else None


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
