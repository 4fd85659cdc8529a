"""Reading several scalars of the same runs with one statement: curves that a question needs side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.reading.tables import floats, stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]  # steps, ascending, and values

_PARTS_SQL = """\
SELECT DISTINCT f.quantity_id, p.name AS part
FROM (
  SELECT quantity_id, run_id, part_id FROM fact_scalar WHERE quantity_id IN (SELECT unnest($quantity_ids))
  UNION ALL
  SELECT quantity_id, run_id, part_id FROM fact_log WHERE quantity_id IN (SELECT unnest($quantity_ids))
) f JOIN part p ON p.id = f.part_id
WHERE f.run_id IN (SELECT unnest($run_ids))
ORDER BY f.quantity_id, part"""

_SQL = """\
WITH wanted AS (
  SELECT unnest($names) AS name, unnest($quantities) AS quantity_id, unnest($parts) AS part
), measured AS (
  SELECT run_id, run, quantity_id, part, step, value FROM v_scalar
  WHERE quantity_id IN (SELECT unnest($quantities)) AND run_id IN (SELECT unnest($run_ids))
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
  UNION ALL
  SELECT run_id, run, quantity_id, part, step, value FROM v_log
  WHERE quantity_id IN (SELECT unnest($quantities)) AND run_id IN (SELECT unnest($run_ids))
)
SELECT m.run_id, m.run, w.name, m.step, m.value AS scalar
FROM measured m JOIN wanted w ON w.quantity_id = m.quantity_id AND w.part = m.part
ORDER BY m.run_id, w.name, m.step"""


@dataclass(frozen=True)
class Scalar:
    """One scalar a question needs: the measure it comes from and its part ("auto": test, the whole, or the only one)."""

    want: Want
    part: str = "auto"


@dataclass(frozen=True)
class Scalars:
    """Curves by the name they were asked for under, then by run_id.

    choices: the quantity each comes from. missing: why a name has no curve at all.
    """

    curves: Mapping[str, Mapping[int, Curve]]
    choices: Mapping[str, Choice]
    missing: Mapping[str, UsageError | NotComparable]
    parts: Mapping[str, str]
    left_out: LeftOuts
    sql: str
    limits: tuple[str, ...] = field(default=())

    def curve(self, name: str, run_id: int) -> Curve | None:
        """Steps and values, or None where the run has none."""
        return self.curves.get(name, {}).get(run_id)


def read_scalars(
    archive: Archive,
    selected: Selected,
    asked: Mapping[str, Scalar],
    which: Which,
    found: Sequence[Choice | UsageError | NotComparable] | None = None,
) -> Scalars:
    """Read every scalar of `asked` for the runs that have it; values that are not finite stay in.

    Four statements whatever is asked for. found: what `choose_quantities` gave for `asked`, where that was asked before.
    Raises one of the errors where nothing asked for can be read.
    """
    if found is None:
        found = choose_quantities(archive, selected, [s.want for s in asked.values()], which)
    choices = {n: c for n, c in zip(asked, found, strict=True) if isinstance(c, Choice)}
    missing = {n: c for n, c in zip(asked, found, strict=True) if not isinstance(c, Choice)}
    if not choices:
        raise _first(missing)
    parts = _parts(archive, choices, {name: asked[name].part for name in choices}, missing)
    choices = {name: choice for name, choice in choices.items() if name in parts}
    if not choices:
        raise _first(missing)
    left_out = find_left_outs(archive, choices.values(), which)
    parameters: dict[str, object] = {
        "names": list(choices),
        "quantities": [c.quantity.quantity_id for c in choices.values()],
        "parts": [parts[name] for name in choices],
        "run_ids": sorted({i for c in choices.values() for i in c.selected.ids}),
        "left_out": left_out.ids,
    }
    table = archive.query(_SQL, parameters)
    curves: dict[str, dict[int, Curve]] = {name: {} for name in choices}
    steps, values = floats(table, "step"), floats(table, "scalar")
    names, runs = table["name"], table["run_id"].to_numpy()
    for a, b in zip(*stretches(table, ["run_id", "name"]), strict=True):
        curves[names[int(a)].as_py()][int(runs[a])] = (steps[a:b], values[a:b])
    limits = dict.fromkeys(note for c in choices.values() for note in c.notes)
    return Scalars(
        curves, choices, missing, parts, left_out, readable_sql(_SQL, parameters), (*limits, *left_out.limits)
    )


def _first(missing: Mapping[str, UsageError | NotComparable]) -> UsageError | NotComparable:
    """What to raise where nothing can be read: numbers that are there but differ go before those that are not."""
    return min(missing.values(), key=lambda error: not isinstance(error, NotComparable))


def _parts(
    archive: Archive,
    choices: Mapping[str, Choice],
    asked: Mapping[str, str],
    missing: dict[str, UsageError | NotComparable],
) -> dict[str, str]:
    """The part to read of every name; one that does not exist becomes an entry of `missing`."""
    parameters = {
        "quantity_ids": sorted({c.quantity.quantity_id for c in choices.values()}),
        "run_ids": sorted({c.selected.ids[0] for c in choices.values()}),
    }
    known: dict[int, list[str]] = {}
    for row in archive.rows(_PARTS_SQL, parameters):
        known.setdefault(row["quantity_id"], []).append(row["part"])
    parts = {}
    for name, choice in choices.items():
        there, part, measure = (
            known.get(choice.quantity.quantity_id, []),
            asked[name],
            choice.quantity.measure,
        )
        if part == "auto":
            usual = [p for p in ("test", "") if p in there] or (there if len(there) == 1 else [])
            if not usual:
                missing[name] = UsageError(
                    f"{measure} has several parts: choose one of {', '.join(map(repr, there))}."
                )
                continue
            part = usual[0]
        if part not in there:
            listing = f"`pathscope sql \"SELECT DISTINCT part FROM v_curve WHERE measure = '{measure}'\"`"
            missing[name] = UnknownName.of(f"part of {measure}", part, there, listing=listing)
            continue
        parts[name] = part
    return parts
