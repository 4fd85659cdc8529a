"""Which pair of heads composes most in each run, or first, and how all pairs stood before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice
from queries.reading.tables import stretches
from queries.results import readable_sql
from queries.stats.composition_null import composition_p

Floats = NDArray[np.float64]
Rule = Literal["final", "first"]

ALPHA = 0.05
# below this part of the largest, scores differ by rounding
ROUNDING = 1e-5
MOST_LAYERS = 10_000

_SQL = """\
WITH known AS (
  SELECT f.run_id, c.step, f.src_layer, f.dst_layer, coalesce(r.n_heads, round(sqrt(len(f.z)))::INTEGER) AS n,
         f."values" AS scores, f.baselines, f.z, list_max(list_filter(f.z, x -> isfinite(x))) AS largest
  FROM fact_head_pair f JOIN checkpoint c ON c.id = f.checkpoint_id JOIN run r ON r.id = f.run_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
), ends AS (
  SELECT run_id, max(step) AS last_step, min(step) FILTER (WHERE largest >= $least_z) AS first_step FROM known GROUP BY run_id
)
SELECT k.run_id, k.step, k.src_layer, k.dst_layer, k.n, k.scores, k.baselines, k.z, e.last_step, e.first_step
FROM known k JOIN ends e ON e.run_id = k.run_id
WHERE k.step = 0 OR k.step = CASE WHEN $first THEN e.first_step ELSE e.last_step END
ORDER BY k.run_id, k.step, k.src_layer, k.dst_layer"""


@dataclass(frozen=True)
class PairTable:
    """Two layers at one checkpoint: (source head, destination head)."""

    scores: Floats
    baselines: Floats
    z: Floats


@dataclass(frozen=True)
class Contest:
    """One run: who won, and how all pairs of heads stood at step 0 (`before`, by layers).

    winners: (source layer, source head, destination layer, destination head), several where they came first together.
    at, then_z: the step at which they won, and the largest z there. p: how often rotated weights reach the score of the
    best, among all pairs of the run. why: why the run is not used, "" where it is.
    """

    run_id: int
    winners: tuple[tuple[int, int, int, int], ...]
    before: Mapping[tuple[int, int], Floats]
    then_z: float
    at: int | None
    p: float
    n_pairs: int
    why: str

    @property
    def by_layer(self) -> dict[int, Floats]:
        """Pair of layers as one number -> (pair of heads, 1) of z at step 0: what shows that two runs began alike."""
        return {
            src * MOST_LAYERS + dst: z.reshape(-1, 1)
            for (src, dst), z in self.before.items()
            if np.isfinite(z).all()
        }


def read_contests(
    archive: Archive, choice: Choice, left_out: LeftOuts, rule: Rule, least_z: float
) -> tuple[dict[int, Contest], str]:
    """run_id -> its contest, and the statement. One statement; runs without any pair are not in the result."""
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": left_out.ids,
        "least_z": least_z,
        "first": rule == "first",
    }
    rows = archive.query(_SQL, parameters)
    found = {}
    for a, b in zip(*stretches(rows, ["run_id"]), strict=True):
        contest = _contest(rows.slice(int(a), int(b - a)), rule, least_z)
        found[contest.run_id] = contest
    return found, readable_sql(_SQL, parameters)


def _contest(rows: pa.Table, rule: Rule, least_z: float) -> Contest:
    listed = rows.to_pylist()
    run, last, first = (listed[0][name] for name in ("run_id", "last_step", "first_step"))
    at = first if rule == "first" else last
    tables: dict[int, dict[tuple[int, int], PairTable]] = {}
    for row in listed:
        columns = (
            np.array(row[name], dtype=np.float64).reshape(row["n"], -1)
            for name in ("scores", "baselines", "z")
        )
        tables.setdefault(row["step"], {})[row["src_layer"], row["dst_layer"]] = PairTable(*columns)
    before = {pair: table.z for pair, table in tables.get(0, {}).items()}
    now = tables.get(at, {}) if at is not None else {}
    winners, p, then_z, n_pairs = _winners(now, rule, least_z)
    why = _why_not(before, winners, at, p, rule, least_z)
    return Contest(run, winners, before, then_z, at, p, n_pairs, why)


def _winners(
    now: Mapping[tuple[int, int], PairTable], rule: Rule, least_z: float
) -> tuple[tuple[tuple[int, int, int, int], ...], float, float, int]:
    """The winning pairs, p of the best of them among all, its z, and how many pairs have a z."""
    cells = [
        (float(table.z[cell]), (src, cell[0], dst, cell[1]), table, cell)
        for (src, dst), table in now.items()
        for cell in zip(*(axis.tolist() for axis in np.nonzero(np.isfinite(table.z))), strict=True)
    ]
    if not cells:
        return (), float("nan"), float("nan"), 0
    z, best, table, cell = max(cells, key=lambda c: c[0])
    p = float(composition_p(table.scores[cell], table.baselines[cell], table.z[cell]))
    winners = (best,) if rule == "final" else tuple(name for value, name, _, _ in cells if value >= least_z)
    return winners, min(1.0, p * len(cells)), z, len(cells)


def _why_not(
    before: Mapping[tuple[int, int], Floats],
    winners: Sequence[tuple[int, int, int, int]],
    at: int | None,
    p: float,
    rule: Rule,
    least_z: float,
) -> str:
    """Why a run says nothing of where winners stood; "" where it does."""
    if not before:
        return "no checkpoint at step 0"
    if at is None:
        return f"no pair reaches z = {least_z:g}"
    if at == 0:
        return "a pair is there at step 0 already" if rule == "first" else "no checkpoint after step 0"
    if not winners:
        return "no pair has a z at the end"
    if rule == "final" and not p < ALPHA:
        return "no pair composes more than rotated weights do"
    for src, _, dst, _ in winners:
        z = before.get((src, dst))
        if z is None or not np.isfinite(z).all():
            return "z is not known of all pairs at step 0"
        if np.ptp(z) <= ROUNDING * np.abs(z).max():
            return "all pairs have the same z at step 0"
    return ""
