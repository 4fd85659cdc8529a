"""The Heads page: what was chosen, which head is meant, and the finder's table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.head_score_history import HeadScoreHistory
from queries.head_scores import HeadScores
from queries.reading.tables import floats
from ui.models.numbers import or_nan

Floats = NDArray[np.float64]

CURVES = ("this head", "best of each run")
SORTS = ("value", "above chance", "z")
MOST_ROWS = 500  # of the finder; a browser sorts them at once, and nobody reads more
MOST_RUNS = 60  # in one figure or table; more runs make neither readable
SPARK_POINTS = 40
FIRST = "head.prefix_matching"
PALE = 4  # colours reach at least so many times chance: a grid of heads at chance must not look full


@dataclass(frozen=True)
class HeadChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's.

    head: such as L1H2; never "", which the address has for the best of the run.
    """

    measure: str
    eval_set: str
    variant: str
    focus: str
    step: int
    show: str = "one run"
    sort: str = "value"
    head: str = ""
    curves_of: str = "this head"
    x_scale: str = "log"
    y_scale: str = "linear"
    matched: bool = False
    item: str = ""
    look: str = "looks at"


@dataclass(frozen=True)
class Grid:
    """Scores of one run's heads at one step: (layer, head); NaN where there is none. top: end of the colours."""

    run: str
    step: int
    values: Floats
    chance: Floats
    z: Floats
    top: float

    @property
    def is_signed(self) -> bool:
        """True where a score is below 0, as eigenvalue scores may be."""
        return bool((self.values < 0).any())

    @property
    def n_missing(self) -> int:
        """Heads without a finite score."""
        return int((~np.isfinite(self.values)).sum())


def first_label(labels: Sequence[str]) -> str:
    """What to open with: how well heads match prefixes, where that was measured."""
    return FIRST if FIRST in labels else labels[0]


def grid(scores: HeadScores, history: HeadScoreHistory, run: str) -> Grid:
    """One run's heads as a matrix. history: every head over training, for a range that the slider leaves alone."""
    rows = [r for r in scores.table.to_pylist() if r["run"] == run]
    shape = (1 + max(r["layer"] for r in rows), 1 + max(r["head"] for r in rows))
    values, chance, z = (np.full(shape, np.nan) for _ in range(3))
    for r in rows:
        at = r["layer"], r["head"]
        values[at] = or_nan(r["value"])
        chance[at] = or_nan(r["chance"])
        z[at] = or_nan(r["z"])
    known = chance[np.isfinite(chance)]
    pale = PALE * float(np.abs(known).max(initial=0.0))
    top = max(peak_of(history), min(pale, 1.0) if scores.unit == "probability" else pale)
    return Grid(run, rows[0]["step"], values, chance, z, top)


def peak_of(history: HeadScoreHistory) -> float:
    """The score furthest from 0, of any head at any checkpoint; 1 where all are 0 or none is finite."""
    every = np.abs(floats(history.table, "value"))
    return float(every[np.isfinite(every)].max(initial=0.0)) or 1.0


def head_names(*answers: HeadScoreHistory | HeadScores) -> list[str]:
    """Every head in any of the answers, layer by layer."""
    rows: set[tuple[int, int, str]] = set()
    for answer in answers:
        rows |= set(zip(*(answer.table[c].to_pylist() for c in ("layer", "head", "name")), strict=True))
    return [name for _, _, name in sorted(rows)]


def best_head(history: HeadScoreHistory) -> str:
    """The head with the largest last score: what the page is about until somebody chooses."""
    rows = history.summary.to_pylist() if history.summary is not None else []
    finite = [r for r in rows if np.isfinite(or_nan(r["last"]))]
    return str(max(finite or rows, key=lambda r: np.nan_to_num(or_nan(r["last"]), nan=-np.inf))["name"])


def finder(
    scores: HeadScores, history: HeadScoreHistory, sort: str, most: int = MOST_ROWS
) -> tuple[pa.Table, int]:
    """(rows of the finder, how many there are): run, head, value, chance, above, z, peak, peak_at, course.

    The largest by `sort` come first, heads without that number last. peak, peak_at and course (the score over
    training, thinned) are there for the run of `history` only.
    """
    courses = _courses(history)
    rows = []
    for r in scores.table.to_pylist():
        value, chance = or_nan(r["value"]), or_nan(r["chance"])
        peak, peak_at, course = courses.get((r["run"], r["name"]), (None, None, None))
        rows.append(
            {
                "run": r["run"],
                "head": r["name"],
                "value": value,
                "chance": chance,
                "above": value - chance,
                "z": or_nan(r["z"]),
                "peak": peak,
                "peak_at": peak_at,
                "course": course,
            }
        )
    column = {"value": "value", "above chance": "above", "z": "z"}[sort]
    rows.sort(key=lambda r: -_known(r[column]))
    schema = pa.schema(
        [
            ("run", pa.string()),
            ("head", pa.string()),
            *((name, pa.float64()) for name in ("value", "chance", "above", "z", "peak")),
            ("peak_at", pa.int64()),
            ("course", pa.list_(pa.float64())),
        ]
    )
    return pa.Table.from_pylist([_blank(r) for r in rows[:most]], schema=schema), len(rows)


def usable_sorts(scores: HeadScores) -> list[str]:
    """Orders that the scores allow: without a level of chance nothing is above it, without an error there is no z."""
    known = {
        "value": True,
        "above chance": np.isfinite(floats(scores.table, "chance")).any(),
        "z": np.isfinite(floats(scores.table, "z")).any(),
    }
    return [sort for sort in SORTS if known[sort]]


def runs_drawn(runs: Sequence[str], focus: str, most: int = MOST_RUNS) -> tuple[str, ...]:
    """The runs of a figure: the focus and the first others, at most `most`."""
    others = [run for run in runs if run != focus]
    return (focus, *others[: most - 1])


def _courses(history: HeadScoreHistory) -> Mapping[tuple[str, str], tuple[float, int, list[float]]]:
    """(run, head) -> (largest score, its step, the course thinned to `SPARK_POINTS`)."""
    values: dict[tuple[str, str], list[float]] = {}
    columns = [history.table[c].to_pylist() for c in ("run", "name")]
    for run, name, value in zip(*columns, floats(history.table, "value").tolist(), strict=True):
        values.setdefault((run, name), []).append(value)
    found = {}
    for r in history.summary.to_pylist() if history.summary is not None else ():
        course = np.array(values[r["run"], r["name"]])
        at = np.unique(np.linspace(0, len(course) - 1, SPARK_POINTS).round().astype(int))
        # a table draws no gaps: what is not finite is left out of the course
        thin = course[at]
        found[r["run"], r["name"]] = (r["largest"], r["largest_at"], thin[np.isfinite(thin)].tolist())
    return found


def _known(value: Any) -> float:
    return value if isinstance(value, float) and np.isfinite(value) else -np.inf


def _blank(row: dict[str, Any]) -> dict[str, Any]:
    """NaN as nothing: a table shows an empty cell."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
