"""When neurons come to respond to what they respond to at the end, and whether they do so suddenly."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_out
from queries.reading.formation import MEASURE, PLACES, Formation, read_formation
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.means import mean_interval
from queries.stats.over_units import fewest_units
from queries.stats.pooled_share import DIFFERENCE_METHOD, excess_over, pooled_share
from queries.stats.shared_null import DRAWS
from queries.stats.smooth_null import FEWEST_POINTS
from queries.stats.token_transitions import ManyCurves, many_transitions
from queries.stats.transition_shape import transition_shape
from queries.stats.transitions import usable
from queries.wording.circuits import or_nan
from queries.wording.formation import formation_limits, formation_sentence

Texts = Literal["top", "held_out"]

# places that a claim about neurons must do better than: the first chosen as `top` is, the others by nothing of the neuron
CONTROLS: dict[Texts, tuple[str, ...]] = {
    "top": ("direction", "other_neuron", "random"),
    "held_out": ("other_neuron", "random"),
}

# of the neurons: with more that cannot be judged, a difference to controls says nothing
MOST_HIDDEN = 0.5
# independent runs: over two, a t interval of what happens to be equal says too much
FEWEST_UNITS = 3

_NEURONS = pa.schema(
    [
        ("neuron", pa.string()),
        ("run", pa.string()),
        ("class", pa.string()),
        *((name, pa.float64()) for name in ("t50", "share", "null_share", "excess", "q", "w", "change")),
        ("rises", pa.bool_()),
        ("held_out_class", pa.string()),
        ("why", pa.string()),
        ("layer", pa.int64()),
        ("unit", pa.int64()),
        ("group", pa.string()),
    ]
)
_SHARES = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("places", pa.string()),
        ("n_curves", pa.int64()),
        *(
            (name, pa.float64())
            for name in ("formed", "major", "minor", "falling", "none", "unresolved", "median_t50")
        ),
    ]
)
_SUMMARY = pa.schema(
    [
        ("group", pa.string()),
        ("places", pa.string()),
        *((name, pa.int64()) for name in ("n_runs", "n_units")),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("formed", "low", "high", "unresolved", "median_t50")),
        *((name, pa.float64()) for name in ("over_controls", "over_low", "over_high")),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class NeuronFormation(Answer):
    """How activations on final examples grow, neuron by neuron, beside controls that no neuron stands behind.

    table: per run and neuron (L0N3) the class of its curve as in phase_transitions and why; t50: the step at
    which half of its rise is done, sudden or not, NULL where it does not rise; share: of its
    range in its steepest octave, null_share: of a smooth curve with its noise; excess over smooth curves, q; w: width of
    the best sigmoid; change: from the first to the last checkpoint; rises: whether it grows in that octave;
    held_out_class: the same neuron on held-out places.
    shares: per run and kind of place the share of curves that form: have a major or minor transition that rises; falling:
    with one that falls; none, unresolved.
    median_t50: of those that form.
    summary: per condition and kind of place means over runs, intervals over the n_units of them that share no seed; in the row
    of the neurons over_controls: the mean over runs of their share less the largest share of a control, NULL where more than
    half of the neurons cannot be judged, and the verdict: yes (surely more than `matters`), no (surely less) or unresolved.
    Places: top (the neuron's final examples), held_out (the same tokens in other documents), other_neuron (final examples of
    another neuron), random, direction (final examples of random directions).
    """

    texts: Texts
    fdr: float
    shares: pa.Table

    def overview(self) -> pa.Table | None:
        """The summary in words."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "group": r["group"],
                    "places": r["places"],
                    "runs": f"{r['n_runs']}{among(r)}",
                    "form suddenly": number(or_nan(r["formed"]), 3),
                    "over runs": interval(or_nan(r["low"]), or_nan(r["high"]), 2),
                    "unresolved": number(or_nan(r["unresolved"]), 2),
                    "median step": number(or_nan(r["median_t50"]), 3),
                    "more than controls": interval(or_nan(r["over_low"]), or_nan(r["over_high"]), 2),
                    "verdict": r["verdict"] or "",
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Shares that form suddenly, neurons beside controls; and when neurons do."""
        from queries.figures.formation import formation_figure

        return formation_figure(self)


@query(title="Do neurons form in sudden transitions?")
def neuron_formation(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    layer: Annotated[
        int | None, Field(ge=0, description="only neurons of this layer; default: of all")
    ] = None,
    texts: Annotated[
        Texts,
        Field(
            description="top: each neuron's final examples; held_out: the same tokens in documents that had no part in the choice"
        ),
    ] = "top",
    matters: Annotated[
        float,
        Field(
            gt=0, lt=1, description="share of neurons more than of controls that would matter: yes is more"
        ),
    ] = 0.1,
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of wrong ones accepted among transitions")
    ] = 0.05,
    draws: Annotated[int, Field(ge=10_000, le=10_000_000, description="smooth curves drawn per run")] = DRAWS,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> NeuronFormation:
    """Test every neuron's activation on its final examples for a rise within one octave that smooth curves do not have.

    Examples are chosen by the end of training, so that a rise is bound to be there; whether it is sudden is held against
    random directions, whose examples are chosen in the same way, other neurons on the same examples, and random places.
    The final checkpoint itself, which chose, is left out of the curves. Neurons and controls are tested together, at one
    threshold for all of a run.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, [MEASURE], which, tables=("fact_neuron",))
    left_out = find_left_out(archive, choice, which)
    formations, sql = read_formation(archive, choice, left_out, layer)
    if not formations:
        raise UsageError(
            f"{MEASURE} is there at no checkpoint between step 0 and the final one; `pathscope ingest STUDY.toml --fill "
            f"{MEASURE}` with more checkpoints kept."
        )
    order = {run: k for k, run in enumerate(in_order(choice.selected, choice.selected.ids))}
    tested = [_Run(f, fdr, draws) for f in sorted(formations, key=lambda f: order[f.run_id])]
    neurons = [row for run in tested for row in run.rows(choice.selected, texts)]
    shares = [row for run in tested for row in run.shares(choice.selected)]
    units = units_by_group(choice.selected, [run.run_id for run in tested])
    summary = [
        row
        for group, of in units.items()
        for row in _summary(group, [r for r in shares if r["group"] == group], of, texts, matters, confidence)
    ]
    main = [row for row in summary if row["places"] == texts]
    only = main[0] if len(main) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    verdicts: list[Verdict] = [row["verdict"] for row in main]
    return NeuronFormation(
        sentence=formation_sentence(summary, texts, tested[0].why),
        table=pa.Table.from_pylist(neurons, schema=_NEURONS),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        shares=pa.Table.from_pylist(shares, schema=_SHARES),
        texts=texts,
        fdr=fdr,
        n_runs=len(tested),
        n_items=len(neurons) // len(tested),
        unit="share of neurons, less the largest of a control",
        estimate=or_nan(only["over_controls"]) if only else math.nan,
        ci_low=or_nan(only["over_low"]) if only else math.nan,
        ci_high=or_nan(only["over_high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=DIFFERENCE_METHOD if only else "",
        null_name="smooth curves with serial noise of like size, fitted again in every draw",
        verdict=verdicts[0] if len(set(verdicts)) == 1 else None,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *units_limits(units, ""),
            *formation_limits(shares, texts, [(choice.selected.by_id[r.run_id].run, r.why) for r in tested]),
        ),
        provenance=provenance,
        sql=sql,
    )


class _Run:
    """All curves of a run, neurons and controls, tested together."""

    def __init__(self, formation: Formation, fdr: float, draws: int) -> None:
        self.run_id = formation.run_id
        self._formation = formation
        # (layer, kind of place, unit) of every curve that is one
        self.keys = [
            (layer, place, int(unit))
            for (layer, place), values in sorted(formation.activations.items())
            for unit in np.flatnonzero(np.isfinite(values).all(0))
        ]
        times, _ = usable(formation.steps, np.zeros(len(formation.steps)))
        kept = np.isin(formation.steps, times)
        columns = [formation.activations[layer, place][kept, unit] for layer, place, unit in self.keys]
        self.times = times
        self.values = np.column_stack(columns) if columns else np.empty((len(times), 0))
        self.why = ""
        if len(times) < FEWEST_POINTS:
            self.why = f"{len(times)} of {FEWEST_POINTS} checkpoints needed between step 0 and the final one"
        elif times[-1] <= 2 * times[0]:
            self.why = "checkpoints span no more than an octave"
        elif not columns:
            self.why = "no neuron has a value at every checkpoint"
        self.test = (
            ManyCurves.untested(self.values, self.why)
            if self.why
            else many_transitions(times, self.values, fdr=fdr, draws=draws)
        )

    @property
    def formed(self) -> NDArray[np.bool_]:
        """Curves with a transition that rises."""
        return self.test.found & self.test.rises

    def rows(self, selected: Selected, texts: Texts) -> list[dict[str, Any]]:
        """One per neuron on the texts asked for, by layer and number."""
        t = self.test
        elsewhere = {
            (at, unit): str(t.kind[k]) for k, (at, place, unit) in enumerate(self.keys) if place == "held_out"
        }
        return [
            {
                "neuron": f"L{at}N{unit}",
                "run": selected.by_id[self.run_id].run,
                "class": str(t.kind[k]),
                "t50": half_risen(self.times, self.values[:, k]),
                **{
                    name: finite_or_none(float(getattr(t, name)[k]))
                    for name in ("share", "null_share", "excess", "q", "w")
                },
                "change": float(self.values[-1, k] - self.values[0, k]) if len(self.values) else None,
                "rises": bool(t.rises[k]),
                "held_out_class": elsewhere.get((at, unit)),
                "why": str(t.why[k]),
                "layer": at,
                "unit": unit,
                "group": selected.groups[self.run_id],
            }
            for k, (at, place, unit) in enumerate(self.keys)
            if place == texts
        ]

    def shares(self, selected: Selected) -> list[dict[str, Any]]:
        """One per kind of place; NULL where nothing could be tested."""
        found = []
        of_place = np.array([place for _, place, _ in self.keys], dtype=object)
        for place in PLACES:
            here = of_place == place
            kind, rises, t50 = self.test.kind[here], self.test.rises[here], self.test.t50[here]
            formed = self.formed[here]
            counted = {
                "formed": formed,
                "major": formed & (kind == "major_transition"),
                "minor": formed & (kind == "minor_transition"),
                "falling": self.test.found[here] & ~rises,
                "none": kind == "none",
                "unresolved": kind == "unresolved",
            }
            known = t50[formed & np.isfinite(t50)]
            found.append(
                {
                    "run": selected.by_id[self.run_id].run,
                    "group": selected.groups[self.run_id],
                    "places": place,
                    "n_curves": int(here.sum()),
                    **{n: None if self.why or not len(v) else float(v.mean()) for n, v in counted.items()},
                    "median_t50": float(np.median(known)) if len(known) else None,
                }
            )
        return found


def half_risen(times: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    """When half of a rise is done, of the rising curve nearest to the values; None for one that does not rise."""
    half = transition_shape(times, values, "up").t50
    there = half.kind == "observed" and half.low > 0
    return math.sqrt(half.low * half.high) if there else None


def _summary(
    group: str,
    shares: Sequence[dict[str, Any]],
    units: Units,
    texts: Texts,
    matters: float,
    confidence: float,
) -> list[dict[str, Any]]:
    """One row per kind of place, with the claim in that of the neurons."""
    by_place = {place: [r for r in shares if r["places"] == place] for place in PLACES}
    found = []
    for place in PLACES:
        rows = by_place[place]
        tested = [run for run, r in zip(units.runs, rows, strict=True) if r["formed"] is not None]
        known = [r for r in rows if r["formed"] is not None]
        sudden = [round(r["formed"] * r["n_curves"]) for r in known]
        formed, low, high = pooled_share(sudden, [r["n_curves"] for r in known], confidence, units.of(tested))
        means = {n: mean_interval([or_nan(r[n]) for r in rows])[0] for n in ("unresolved", "median_t50")}
        row = {"formed": formed, "low": low, "high": high, **means}
        numbers = {name: finite_or_none(value) for name, value in row.items()}
        found.append(
            {"group": group, "places": place, "n_runs": len(tested), **units.columns(tested), **numbers}
        )
    claim, verdict = _claim(by_place, units, texts, matters, confidence)
    found[PLACES.index(texts)] |= {**{n: finite_or_none(v) for n, v in claim.items()}, "verdict": verdict}
    return found


def _claim(
    by_place: Mapping[str, Sequence[dict[str, Any]]],
    units: Units,
    texts: Texts,
    matters: float,
    confidence: float,
) -> tuple[dict[str, float], Verdict]:
    """By how much neurons exceed the largest control of their run, and whether that is surely more or less than matters."""
    runs, mine, controls = [], [], []
    for k, run in enumerate(units.runs):
        beside = [by_place[place][k] for place in CONTROLS[texts]]
        beside = [r for r in beside if r["formed"] is not None]
        if by_place[texts][k]["formed"] is not None and beside:
            runs.append(run)
            mine.append(by_place[texts][k])
            controls.append(max(beside, key=lambda r: r["formed"]))
    nothing = dict.fromkeys(("over_controls", "over_low", "over_high"), math.nan)
    if not runs:
        return nothing, "unresolved"
    shared = units.of(runs)
    trials, other_trials = ([r["n_curves"] for r in rows] for rows in (mine, controls))
    others = [r["formed"] * r["n_curves"] for r in controls]
    sudden = [r["formed"] * r["n_curves"] for r in mine]
    # what cannot be judged may be a transition: of the neurons, for a verdict that there is none
    hidden = [r["unresolved"] * r["n_curves"] for r in mine]
    over, low, high = excess_over(sudden, trials, others, other_trials, confidence, shared)
    all_of_them = [a + b for a, b in zip(sudden, hidden, strict=True)]
    _, _, most = excess_over(all_of_them, trials, others, other_trials, confidence, shared)
    if mean_interval([r["unresolved"] for r in mine])[0] > MOST_HIDDEN:
        return nothing, "unresolved"  # nothing found among what nobody could find is no number
    whole, enough = len(runs) == len(units.runs), fewest_units(shared, len(runs)) >= FEWEST_UNITS
    surely: Verdict = "yes" if low > matters else "no" if whole and most < matters else "unresolved"
    verdict = surely if enough else "unresolved"
    return {"over_controls": over, "over_low": low, "over_high": high}, verdict
