"""The best of a run's heads, or pairs of heads, at every checkpoint: one curve where a measure has a number for each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.heads import parse_head
from queries.reading.quantities import Choice, Which
from queries.reading.tables import floats, stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]  # steps, ascending, and values

TABLES = ("fact_head", "fact_head_pair")

_HEADS = 'coalesce(r.n_heads, round(sqrt(len(f."values")))::INTEGER)'

# which head or pair in one number: lists would take four times as long to carry through a maximum
_SIZE = 10_000
_PACKED = f"((m.layer::BIGINT * {_SIZE} + m.head) * {_SIZE} + m.to_layer + 1) * {_SIZE} + m.to_head + 1"

# -1: any. A pair of heads is judged by its z: raw scores have a baseline of their own.
# A checkpoint at which no head has a finite number was not measured.
_SQL = f"""\
WITH wanted AS (
  SELECT unnest($names) AS name, unnest($quantities) AS quantity_id, unnest($signs) AS sign, unnest($layers) AS layer,
         unnest($heads) AS head, unnest($to_layers) AS to_layer, unnest($to_heads) AS to_head
), measured AS (
  SELECT run_id, checkpoint_id, quantity_id, layer, head, -1 AS to_layer, -1 AS to_head, value::DOUBLE AS value
  FROM fact_head
  WHERE quantity_id IN (SELECT unnest($quantities)) AND run_id IN (SELECT unnest($run_ids))
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
  UNION ALL
  SELECT run_id, checkpoint_id, quantity_id, src_layer, cell // n, dst_layer, cell % n, value
  FROM (
    SELECT f.run_id, f.checkpoint_id, f.quantity_id, f.src_layer, f.dst_layer, {_HEADS} AS n,
           unnest(f.z)::DOUBLE AS value, generate_subscripts(f.z, 1) - 1 AS cell
    FROM fact_head_pair f JOIN run r ON r.id = f.run_id
    WHERE f.quantity_id IN (SELECT unnest($quantities)) AND f.run_id IN (SELECT unnest($run_ids))
      AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
  )
)
SELECT m.run_id, w.name, c.step, any_value(w.sign) * max(w.sign * m.value) AS extreme,
       arg_max({_PACKED}, w.sign * m.value) AS best
FROM measured m
JOIN wanted w ON w.quantity_id = m.quantity_id
JOIN checkpoint c ON c.id = m.checkpoint_id
WHERE isfinite(m.value)
  AND (w.layer < 0 OR (w.layer = m.layer AND w.head = m.head AND w.to_layer = m.to_layer AND w.to_head = m.to_head))
GROUP BY m.run_id, w.name, c.step
ORDER BY m.run_id, w.name, c.step"""


@dataclass(frozen=True)
class Extreme:
    """One curve: the largest ("up") or smallest ("down") of all heads or pairs, or of the named one only."""

    choice: Choice
    component: str
    direction: Literal["up", "down"]


@dataclass(frozen=True)
class Extremes:
    """Curves by the name they were asked for under, then by run_id; best: the head or pair behind every value."""

    curves: Mapping[str, Mapping[int, Curve]]
    best: Mapping[str, Mapping[int, list[str]]]
    left_out: LeftOuts
    limits: tuple[str, ...]
    sql: str


def read_extremes(archive: Archive, asked: Mapping[str, Extreme], which: Which) -> Extremes:
    """Read the best head or pair of heads per checkpoint, with one statement for all names.

    Of pairs of heads the z is read. Raises UsageError for a name that is no head or pair, and where no run has it.
    """
    choices = [e.choice for e in asked.values()]
    left_out = find_left_outs(archive, choices, which)
    places = [_place(e) for e in asked.values()]
    parameters: dict[str, object] = {
        "names": list(asked),
        "quantities": [c.quantity.quantity_id for c in choices],
        "signs": [1 if e.direction == "up" else -1 for e in asked.values()],
        **{
            name: [place[k] for place in places]
            for k, name in enumerate(("layers", "heads", "to_layers", "to_heads"))
        },
        "run_ids": sorted({i for c in choices for i in c.selected.ids}),
        "left_out": left_out.ids,
    }
    table = archive.query(_SQL, parameters)
    curves: dict[str, dict[int, Curve]] = {name: {} for name in asked}
    best: dict[str, dict[int, list[str]]] = {name: {} for name in asked}
    steps, values = floats(table, "step"), floats(table, "extreme")
    names, runs, places_best = table["name"], table["run_id"].to_numpy(), table["best"].to_pylist()
    for a, b in zip(*stretches(table, ["run_id", "name"]), strict=True):
        name, run = names[int(a)].as_py(), int(runs[a])
        curves[name][run] = (steps[a:b], values[a:b])
        best[name][run] = [_written(place) for place in places_best[a:b]]
    for name, found in curves.items():
        if not found:
            measure, component = asked[name].choice.quantity.measure, asked[name].component
            raise UsageError(
                f"{name}: no run has {component or 'any head'} of {measure}; `pathscope query phase_transitions --measure "
                f"{measure}` names those there are."
            )
    limits = dict.fromkeys(
        [*(note for c in choices for note in c.notes), *left_out.limits, *_said(asked.values())]
    )
    return Extremes(curves, best, left_out, tuple(limits), readable_sql(_SQL, parameters))


def _place(extreme: Extreme) -> tuple[int, int, int, int]:
    """Layer and head, and those of the second head of a pair; −1 for any."""
    if not extreme.component:
        return -1, -1, -1, -1
    pair = extreme.choice.quantity.table_name == "fact_head_pair"
    ends = extreme.component.split(">")
    if len(ends) != (2 if pair else 1):
        kind = "pairs of heads, such as L0H3>L1H2" if pair else "heads, such as L2H3"
        raise UsageError(
            f"{extreme.choice.quantity.measure} is measured of {kind}, not of {extreme.component!r}."
        )
    first = parse_head(ends[0])
    return (*first, *parse_head(ends[1])) if pair else (*first, -1, -1)


def _written(packed: int) -> str:
    """The name of a head or pair from its number."""
    rest, to_head = divmod(packed, _SIZE)
    rest, to_layer = divmod(rest, _SIZE)
    layer, head = divmod(rest, _SIZE)
    to_layer, to_head = to_layer - 1, to_head - 1
    return f"L{layer}H{head}" + (f">L{to_layer}H{to_head}" if to_layer >= 0 else "")


def _said(asked: Iterable[Extreme]) -> list[str]:
    """What has to be said of curves of the best one."""
    lines = []
    free = [e.choice.quantity for e in asked if not e.component]
    heads = sorted({q.measure for q in free if q.table_name == "fact_head"})
    pairs = sorted({q.measure for q in free if q.table_name == "fact_head_pair"})
    if heads:
        lines.append(
            f"{', '.join(heads)}: any head of the run counts, not the same one all the time; the more heads, the sooner one "
            "is there by chance."
        )
    if pairs:
        lines.append(
            f"{', '.join(pairs)}: any pair of heads counts, by its z (distance from randomly rotated weights in their standard "
            "deviations); the best of many pairs has a z of 2 to 4 before training."
        )
    return lines
