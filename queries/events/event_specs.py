"""What people write for an event, `accuracy[test] >= 0.99`, and when it happened in every run."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.head_extremes import TABLES as OF_HEADS
from queries.reading.head_extremes import Extreme, read_extremes
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.scalars import Curve, Scalar, read_scalars
from queries.reading.select import Selected
from queries.results import readable_sql
from queries.stats.intervals import Bracket, Direction, Rule, crossing, n_crossings

_SPEC = re.compile(
    r"(?P<measure>[\w.:-]+)\s*(?:\{(?P<params>[^}]*)\})?\s*(?:\[(?P<part>[^\]]*)\])?"
    r"\s*(?:(?P<sign>>=|<=|≥|≤)\s*(?P<level>\S+))?"
)

_MEASURED_SQL = "SELECT 1 FROM v_quantity WHERE measure = $measure AND table_name <> 'fact_event' LIMIT 1"

_AUTHORED_SQL = """\
SELECT run_id, run, quantity_id, part, step, censored_at
FROM v_event
WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids))
QUALIFY row_number() OVER (PARTITION BY run_id, quantity_id, part ORDER BY ordinal) = 1
ORDER BY run_id, quantity_id, part"""


@dataclass(frozen=True)
class EventSpec:
    """One event: a scalar that reaches a level, or (level None) one that authors give.

    params: parameter values the measure must have, as text. part: of a measure of heads or pairs of heads the one meant
    (L2H3, L0H3>L1H2); "auto" or "" is any of them.
    """

    text: str
    measure: str
    params: tuple[tuple[str, str], ...]
    part: str
    level: float | None
    direction: Direction

    def fits(self, quantity: Quantity) -> bool:
        """Whether the quantity has the parameters asked for."""
        return all(str(quantity.params.get(name)) == value for name, value in self.params)


@dataclass(frozen=True)
class EventTimes:
    """brackets: per event, per run_id; a run without an entry has no data for it.

    crossed: how often a curve goes from not there to there; more than once means that the rule matters. best: of measures of
    heads or pairs the one that is there first, and the best at the last checkpoint.
    """

    brackets: Mapping[str, Mapping[int, Bracket]]
    choices: tuple[Choice, ...]
    left_out: LeftOuts
    limits: tuple[str, ...]
    sql: str
    crossed: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    best: Mapping[str, Mapping[int, tuple[str, str]]] = field(default_factory=dict)


def parse_event(text: str) -> EventSpec:
    """Read `measure[part] >= level`, `measure{param=value}[part] <= level`, or `measure[part]` for authors' events.

    A measure of heads is there once any head is (`head.prefix_matching >= 0.3`), or the one named
    (`head.prefix_matching[L1H3] >= 0.3`); of pairs of heads the level is one of z (`k_composition >= 5`).
    Raises UsageError for anything else.
    """
    found = _SPEC.fullmatch(text.strip())
    level = _number(found["level"]) if found and found["level"] else None
    params = (
        [tuple(p.split("=", 1)) for p in (found["params"] or "").split(",") if p.strip()] if found else []
    )
    # nothing reaches NaN, and nothing that is not broken reaches infinity
    no_level = bool(found and found["level"]) and (level is None or not math.isfinite(level))
    if not found or no_level or any(len(p) != 2 for p in params):
        raise UsageError(
            f"{text!r} is not an event: write 'accuracy[test] >= 0.99', 'restricted_loss{{frequencies=final}}[test] <= "
            "0.1', 'head.prefix_matching >= 0.3' (any head), or 'measure[part]' for an event that authors give."
        )
    return EventSpec(
        text=text.strip(),
        measure=found["measure"],
        params=tuple((p[0].strip(), p[1].strip()) for p in params),
        part=found["part"] if found["part"] is not None else "auto",
        level=level,
        direction="up" if found["sign"] in (">=", "≥") else "down",
    )


def find_events(
    archive: Archive, selected: Selected, texts: Sequence[str], rule: Rule, which: Which
) -> EventTimes:
    """When every event happened in every run that has the data.

    Raises UsageError for a text that is no event, for fewer than two, for one named twice, and as
    `choose_quantity` does for a measure that is not there.
    """
    specs = [parse_event(text) for text in texts]
    names = [s.text for s in specs]
    if len(specs) < 2 or len(set(names)) < len(names):
        raise UsageError(f"an order needs at least two different events, not {names}.")
    levels = {s.text: s for s in specs if s.level is not None}
    authored = [s for s in specs if s.level is None]
    brackets: dict[str, Mapping[int, Bracket]] = {}
    crossed: dict[str, Mapping[int, int]] = {}
    best: dict[str, Mapping[int, tuple[str, str]]] = {}
    choices: list[Choice] = []
    left_out, sql = LeftOuts(), ""
    limits: tuple[str, ...] = ()
    if levels:
        read = read_levels(archive, selected, levels, which)
        for name, spec in levels.items():
            level = spec.level or 0.0
            brackets[name] = {
                run: crossing(times, values, level, direction=spec.direction, rule=rule)
                for run, (times, values) in read.curves[name].items()
            }
            crossed[name] = {
                run: n_crossings(values, level, spec.direction)
                for run, (_, values) in read.curves[name].items()
            }
        for name, found_best in read.best.items():
            best[name] = {
                run: (heads[int(np.searchsorted(read.curves[name][run][0], at))], heads[-1])
                for run, heads in found_best.items()
                if math.isfinite(at := brackets[name][run].high)
            }
        choices += read.choices
        left_out, limits, sql = read.left_out, read.limits, read.sql
    if authored:
        found, given, statement = read_authored(archive, selected, authored, which)
        brackets |= found
        choices += given
        sql = sql or statement
    used = {choice.quantity.quantity_id: choice for choice in choices}
    return EventTimes(
        {n: brackets[n] for n in names}, tuple(used.values()), left_out, limits, sql, crossed, best
    )


@dataclass(frozen=True)
class LevelCurves:
    """Curves of the events that are levels, by event and run_id, wherever they are stored."""

    curves: Mapping[str, Mapping[int, Curve]]
    best: Mapping[str, Mapping[int, list[str]]]
    choices: tuple[Choice, ...]
    left_out: LeftOuts
    limits: tuple[str, ...]
    sql: str


def read_levels(
    archive: Archive, selected: Selected, levels: Mapping[str, EventSpec], which: Which
) -> LevelCurves:
    """Read the curve of every event: a scalar as it is, of heads or pairs of heads the best one. Levels play no part."""
    wants = [
        Want(scalar_names(s), ("fact_scalar", "fact_log", *OF_HEADS), fits=s.fits) for s in levels.values()
    ]
    found = dict(zip(levels, choose_quantities(archive, selected, wants, which), strict=True))
    of_heads = {
        name: Extreme(c, "" if levels[name].part == "auto" else levels[name].part, levels[name].direction)
        for name, c in found.items()
        if isinstance(c, Choice) and c.quantity.table_name in OF_HEADS
    }
    asked = {
        name: Scalar(want, levels[name].part)
        for name, want in zip(levels, wants, strict=True)
        if name not in of_heads
    }
    curves: dict[str, Mapping[int, Curve]] = {}
    best: Mapping[str, Mapping[int, list[str]]] = {}
    choices: list[Choice] = []
    left_outs: list[LeftOuts] = []
    limits: list[str] = []
    sql = ""
    if asked:
        scalars = read_scalars(archive, selected, asked, which, [found[name] for name in asked])
        if scalars.missing:
            raise next(iter(scalars.missing.values()))
        curves |= scalars.curves
        choices += scalars.choices.values()
        left_outs.append(scalars.left_out)
        limits += scalars.limits
        sql = scalars.sql
    if of_heads:
        extremes = read_extremes(archive, of_heads, which)
        curves |= extremes.curves
        best = extremes.best
        choices += [e.choice for e in of_heads.values()]
        left_outs.append(extremes.left_out)
        limits += extremes.limits
        sql = sql or extremes.sql
    return LevelCurves(curves, best, tuple(choices), _joined(left_outs), tuple(dict.fromkeys(limits)), sql)


def _joined(left_outs: Sequence[LeftOuts]) -> LeftOuts:
    """Each checkpoint once."""
    measured = {c.checkpoint_id: c for found in left_outs for c in found.measured}
    unmeasured = {c.checkpoint_id: c for found in left_outs for c in found.unmeasured}
    return LeftOuts(tuple(measured.values()), tuple(unmeasured.values()))


def scalar_names(spec: EventSpec) -> tuple[str, ...]:
    """A bare name means what was measured at checkpoints, then the training log's."""
    return (spec.measure,) if spec.measure.startswith("log.") else (spec.measure, f"log.{spec.measure}")


def read_authored(
    archive: Archive, selected: Selected, specs: Sequence[EventSpec], which: Which
) -> tuple[dict[str, Mapping[int, Bracket]], list[Choice], str]:
    """Steps that authors give are exact; an event not seen is later than `censored_at`."""
    wants = [Want((s.measure,), ("fact_event",), fits=s.fits) for s in specs]
    choices: list[Choice] = []
    for found in choose_quantities(archive, selected, wants, which):
        if not isinstance(found, Choice):
            raise _without_level(archive, specs[len(choices)], found)
        choices.append(found)
    parameters = {
        "quantity_ids": sorted({c.quantity.quantity_id for c in choices}),
        "run_ids": sorted({i for c in choices for i in c.selected.ids}),
    }
    rows = archive.rows(_AUTHORED_SQL, parameters)
    brackets: dict[str, Mapping[int, Bracket]] = {}
    for spec, choice in zip(specs, choices, strict=True):
        mine = [r for r in rows if r["quantity_id"] == choice.quantity.quantity_id]
        parts = sorted({r["part"] for r in mine})
        if spec.part == "auto" and len(parts) > 1:
            raise UsageError(
                f"{spec.measure} has several parts: write {spec.measure}[{parts[0]}] or another of {parts}."
            )
        kept = [r for r in mine if spec.part in ("auto", r["part"])]
        if not kept:
            raise UsageError(f"{spec.text}: no run has that part; there are {parts}.")
        brackets[spec.text] = {r["run_id"]: _given(r["step"], r["censored_at"]) for r in kept}
    return brackets, choices, readable_sql(_AUTHORED_SQL, parameters)


def _without_level(
    archive: Archive, spec: EventSpec, refusal: UsageError | NotComparable
) -> UsageError | NotComparable:
    """What to say of an event without a level that no author gives: where it is a measure, that it needs one."""
    if not archive.rows(_MEASURED_SQL, {"measure": spec.measure}):
        return refusal
    return UsageError(
        f"{spec.text!r} has no level: {spec.measure} is a measure and no event that authors give. Write the level it reaches, "
        f"such as '{spec.text} >= 0.5' or '{spec.text} <= 0.5'."
    )


def _given(step: int | None, censored_at: int | None) -> Bracket:
    if step is not None:
        return Bracket(step - 1.0, float(step), 1)
    return (
        Bracket(float(censored_at), math.inf, 1)
        if censored_at is not None
        else Bracket(-math.inf, math.inf, 0)
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
