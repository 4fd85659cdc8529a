"""What people write for an event, `accuracy[test] >= 0.99`, and when it happened in every run."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.scalars import Scalar, read_scalars
from queries.reading.select import Selected
from queries.results import readable_sql
from queries.stats.intervals import Bracket, Direction, Rule, crossing

_SPEC = re.compile(
    r"(?P<measure>[\w.:-]+)\s*(?:\{(?P<params>[^}]*)\})?\s*(?:\[(?P<part>[^\]]*)\])?"
    r"\s*(?:(?P<sign>>=|<=|≥|≤)\s*(?P<level>\S+))?"
)

_AUTHORED_SQL = """\
SELECT run_id, run, quantity_id, part, step, censored_at
FROM v_event
WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids))
QUALIFY row_number() OVER (PARTITION BY run_id, quantity_id, part ORDER BY ordinal) = 1
ORDER BY run_id, quantity_id, part"""


@dataclass(frozen=True)
class EventSpec:
    """One event: a scalar that reaches a level, or (level None) one that authors give.

    params: parameter values the measure must have, as text.
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
    """brackets: per event, per run_id; a run without an entry has no data for it."""

    brackets: Mapping[str, Mapping[int, Bracket]]
    choices: tuple[Choice, ...]
    left_out: LeftOuts
    limits: tuple[str, ...]
    sql: str


def parse_event(text: str) -> EventSpec:
    """Read `measure[part] >= level`, `measure{param=value}[part] <= level`, or `measure[part]` for authors' events.

    Raises UsageError for anything else.
    """
    found = _SPEC.fullmatch(text.strip())
    level = _number(found["level"]) if found and found["level"] else None
    params = (
        [tuple(p.split("=", 1)) for p in (found["params"] or "").split(",") if p.strip()] if found else []
    )
    if not found or (found["level"] and level is None) or any(len(p) != 2 for p in params):
        raise UsageError(
            f"{text!r} is not an event: write 'accuracy[test] >= 0.99', 'restricted_loss{{frequencies=final}}[test] <= "
            "0.1', or 'measure[part]' for an event that authors give."
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
    choices: list[Choice] = []
    left_out, sql = LeftOuts(), ""
    limits: tuple[str, ...] = ()
    if levels:
        asked = {
            n: Scalar(Want(_names(s), ("fact_scalar", "fact_log"), fits=s.fits), s.part)
            for n, s in levels.items()
        }
        scalars = read_scalars(archive, selected, asked, which)
        if scalars.missing:
            raise next(iter(scalars.missing.values()))
        for name, spec in levels.items():
            brackets[name] = {
                run: crossing(times, values, spec.level or 0.0, direction=spec.direction, rule=rule)
                for run, (times, values) in scalars.curves[name].items()
            }
        choices += scalars.choices.values()
        left_out, limits, sql = scalars.left_out, scalars.limits, scalars.sql
    if authored:
        found, given, statement = _authored(archive, selected, authored, which)
        brackets |= found
        choices += given
        sql = sql or statement
    used = {choice.quantity.quantity_id: choice for choice in choices}
    return EventTimes({n: brackets[n] for n in names}, tuple(used.values()), left_out, limits, sql)


def _names(spec: EventSpec) -> tuple[str, ...]:
    """A bare name means what was measured at checkpoints, then the training log's."""
    return (spec.measure,) if spec.measure.startswith("log.") else (spec.measure, f"log.{spec.measure}")


def _authored(
    archive: Archive, selected: Selected, specs: Sequence[EventSpec], which: Which
) -> tuple[dict[str, Mapping[int, Bracket]], list[Choice], str]:
    """Steps that authors give are exact; an event not seen is later than `censored_at`."""
    wants = [Want((s.measure,), ("fact_event",), fits=s.fits) for s in specs]
    choices: list[Choice] = []
    for found in choose_quantities(archive, selected, wants, which):
        if not isinstance(found, Choice):
            raise found
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
