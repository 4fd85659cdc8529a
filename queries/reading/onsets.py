"""What was known of every run by a step: whether an event lay ahead, and what had been measured until then."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_specs import EventSpec, parse_event, read_authored, read_levels
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice, Which
from queries.reading.scalars import Curve
from queries.reading.select import Selected
from queries.stats.intervals import Bracket, crossing

Floats = NDArray[np.float64]
Form = Literal["value", "log", "slope", "log slope"]
Status = Literal["at risk", "before", "unclear", "not seen", "no predictor", "no data"]

_FORM = re.compile(r"(?P<what>.*?)(?:\s+(?P<form>log\s+slope|slope|log|value))?")
# a slope is that of the last octaves before the cutoff, from so many points at least
OCTAVES, LEAST_POINTS = 2.0, 3


@dataclass(frozen=True)
class Predictor:
    """One scalar and what is taken of it at a cutoff: the last value, its log2, or the slope of either over log2 steps."""

    text: str
    spec: EventSpec
    form: Form

    def at(self, curve: Curve | None, cutoff: float) -> tuple[float, float]:
        """What the curve says by the cutoff, and the last step that it uses; NaN where it says nothing.

        value, log: the last finite value. slope: least squares over the steps of the last two octaves, three or more.
        """
        if curve is None:
            return math.nan, math.nan
        steps, values = curve
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log2(values) if self.form.startswith("log") else values
        known = (steps <= cutoff) & np.isfinite(values)
        if self.form.endswith("slope"):
            known &= steps > cutoff / 2**OCTAVES
        if known.sum() < (LEAST_POINTS if self.form.endswith("slope") else 1):
            return math.nan, math.nan
        last = float(steps[known][-1])
        if not self.form.endswith("slope"):
            return float(values[known][-1]), last
        x = np.log2(steps[known])
        x = x - x.mean()
        return float(x @ values[known] / (x @ x)), last


@dataclass(frozen=True)
class RunAt:
    """One run at a cutoff. status: at risk, or why it says nothing there. values: of the predictors, read up to `read_at`."""

    run_id: int
    status: Status
    bracket: Bracket
    values: tuple[float, ...] = ()
    read_at: float = math.nan


@dataclass(frozen=True)
class Onsets:
    """When the event happened in each run, and the curves of the predictors, by run_id."""

    event: str
    brackets: Mapping[int, Bracket]
    predictors: tuple[Predictor, ...]
    curves: Mapping[str, Mapping[int, Curve]]
    choices: tuple[Choice, ...]
    left_out: LeftOuts
    limits: tuple[str, ...]
    sql: str

    @property
    def last_step(self) -> float:
        """The last step at which the event was looked for in any run; NaN where it was in none."""
        ends = [v for b in self.brackets.values() for v in (b.low, b.high) if math.isfinite(v)]
        return max(ends, default=math.nan)

    @property
    def first_read(self) -> float:
        """The first step with a finite value of every predictor in any run; inf where there is none."""
        steps = [
            min(
                (
                    float(s[np.isfinite(v)][0])
                    for s, v in self.curves[p.text].values()
                    if np.isfinite(v).any()
                ),
                default=math.inf,
            )
            for p in self.predictors
        ]
        return max(steps)

    def at(self, cutoff: float, run_ids: Sequence[int]) -> list[RunAt]:
        """Every run at a cutoff: at risk if the event certainly came, or will come, later, and each predictor has a value."""
        return [self._run(run, cutoff) for run in run_ids]

    def _run(self, run: int, cutoff: float) -> RunAt:
        bracket = self.brackets.get(run, Bracket(-math.inf, math.inf, 0))
        if not bracket.n_points:
            return RunAt(run, "no data", bracket)
        if bracket.high <= cutoff:
            return RunAt(run, "before", bracket)
        if bracket.kind == "never" and bracket.low <= cutoff:
            return RunAt(run, "not seen", bracket)
        if bracket.low < cutoff:
            return RunAt(run, "unclear", bracket)
        read = [p.at(self.curves[p.text].get(run), cutoff) for p in self.predictors]
        values = tuple(value for value, _ in read)
        known = bool(np.isfinite(values).all())
        last = max(step for _, step in read) if known else math.nan
        return RunAt(run, "at risk" if known else "no predictor", bracket, values, last)


def parse_predictor(text: str) -> Predictor:
    """Read `measure[part]`, `measure{param=value}`, and after it value (as without), log, slope or log slope.

    Of a measure of heads or pairs of heads it is the largest at each checkpoint, or the one named as its part.

    Raises UsageError for anything else.
    """
    found = _FORM.fullmatch(text.strip())
    spec = parse_event(found["what"]) if found and found["what"] else None
    if found is None or spec is None or spec.level is not None:
        raise UsageError(
            f"{text!r} is no predictor: write a scalar such as 'weight_norm' or 'loss[test]', and after it log, slope or "
            "log slope, as in 'log.loss[train] slope'."
        )
    form: dict[str, Form] = {"": "value", "value": "value", "log": "log", "slope": "slope"}
    # of many heads or pairs the largest: a spec without a level is read as "down", which would be the smallest
    return Predictor(
        " ".join(text.split()),
        replace(spec, direction="up"),
        form.get(" ".join((found["form"] or "").split()), "log slope"),
    )


def read_onsets(
    archive: Archive, selected: Selected, event: str, predictors: Sequence[str], which: Which
) -> Onsets:
    """Read the event and the predictors of all runs together.

    Raises UsageError for a text that is no event or predictor, for a predictor named twice and for one that is computed from
    the end of the run, and as `choose_quantity` does for what is not there.
    """
    spec = parse_event(event)
    asked = tuple(parse_predictor(text) for text in predictors)
    names = [p.text for p in asked]
    if not asked or len(set(names)) < len(names):
        raise UsageError(f"predictor={names}: name at least one, and none twice.")
    # one curve may serve several predictors, and the event too
    levels = {p.spec.text: p.spec for p in asked} | ({spec.text: spec} if spec.level is not None else {})
    read = read_levels(archive, selected, levels, which)
    choices = {c.quantity.quantity_id: c for c in read.choices}
    _refuse_the_future(asked, list(choices.values()))
    if spec.level is not None:
        brackets: Mapping[int, Bracket] = {
            run: crossing(steps, values, spec.level, direction=spec.direction)
            for run, (steps, values) in read.curves[spec.text].items()
        }
    else:
        found, given, _ = read_authored(archive, selected, [spec], which)
        brackets = found[spec.text]
        choices |= {c.quantity.quantity_id: c for c in given}
    return Onsets(
        event=spec.text,
        brackets=brackets,
        predictors=asked,
        curves={p.text: read.curves[p.spec.text] for p in asked},
        choices=tuple(choices.values()),
        left_out=read.left_out,
        limits=read.limits,
        sql=read.sql,
    )


def _refuse_the_future(predictors: Sequence[Predictor], choices: Sequence[Choice]) -> None:
    """Some measures are computed with what only the last checkpoint tells."""
    for predictor in predictors:
        for choice in choices:
            q = choice.quantity
            mine = q.measure.removeprefix("log.") == predictor.spec.measure.removeprefix("log.")
            if mine and predictor.spec.fits(q) and q.params.get("frequencies") == "final":
                raise UsageError(
                    f"{predictor.text} uses the key frequencies of the run's last checkpoint, which nobody knows at a cutoff: "
                    f"ask for {q.measure.removesuffix(':final')}, which uses those of each checkpoint."
                )
