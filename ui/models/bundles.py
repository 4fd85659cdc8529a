"""Answers as bundles of lines: one bundle a group and part, in a stroke of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from queries.loss_curves import LossCurves
from queries.reading.curves import AXIS_COLUMN
from queries.reading.tables import floats
from ui.models.conditions import condition_labels
from ui.models.palette import DASHES, HUES, STROKES, Stroke
from ui.models.text import distinguish, plural, shorten

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One run of one part. times: steps or tokens; NaN values are gaps."""

    run: str
    times: Floats
    values: Floats


@dataclass(frozen=True)
class Bundle:
    """All runs of one group and one part, drawn in one stroke, with their mean where there are several."""

    name: str
    label: str
    stroke: Stroke
    lines: tuple[Line, ...]
    band: pa.Table
    unit: str
    at: str

    @property
    def end(self) -> float:
        """The height at which the name stands: the last finite value of the mean, or of the only run."""
        values = floats(self.band, "mean") if self.band.num_rows else self.lines[0].values
        finite = values[np.isfinite(values)]
        return float(finite[-1]) if len(finite) else math.nan


def bundles(answers: Sequence[LossCurves], *, colour_by: str) -> list[Bundle]:
    """One bundle a group and part. colour_by "condition" keeps the query's groups, "run" splits them up."""
    at = AXIS_COLUMN[answers[0].axis]
    column = "run" if colour_by == "run" else "group"
    names = list(dict.fromkeys(name for a in answers for name in a.table[column].to_pylist()))
    labels = distinguish(names) if column == "run" else list(condition_labels(names, 30).values())
    found = []
    for p, answer in enumerate(answers):
        part = part_of(answer)
        for g, name in enumerate(names):
            rows = answer.table.filter(pc.equal(answer.table[column], name))
            if not rows.num_rows:
                continue
            lines = tuple(_lines(rows, at, answer))
            band = answer.bands.filter(pc.equal(answer.bands["group"], name)).slice(
                0, None if len(lines) > 1 else 0
            )
            words = [labels[g]] * (len(names) > 1 or column == "run") + [shorten(part, 30)] * (
                len(answers) > 1
            )
            label = " · ".join(w for w in words if w) or shorten(part, 30) or labels[g]
            if len(lines) > 1:
                label += f" ({plural(len(lines), 'run')})"
            found.append(
                Bundle(
                    name,
                    label,
                    _stroke(g, p, len(names), len(answers)),
                    lines,
                    band,
                    "" if answer.unit == "1" else answer.unit,
                    at,
                )
            )
    return found


def measure_of(answer: LossCurves) -> str:
    """The name of the measure that answered."""
    return str(answer.provenance.quantities[0]["measure"])


def part_of(answer: LossCurves) -> str:
    """The part in brackets after the measure, such as `test`; "" for the whole."""
    return answer.label.removeprefix(measure_of(answer)).strip().removeprefix("(").removesuffix(")")


def _stroke(group: int, part: int, n_groups: int, n_parts: int) -> Stroke:
    if n_parts == 1:
        return STROKES[group % len(STROKES)]
    if n_groups == 1:
        return STROKES[part % len(STROKES)]
    return Stroke(HUES[group % len(HUES)], DASHES[part % len(DASHES)])


def _lines(rows: pa.Table, at: str, answer: LossCurves) -> Sequence[Line]:
    """The rows run by run; a checkpoint that is left out becomes a gap, not a straight line over it."""
    gaps: dict[str, list[float]] = {}
    if at == "step":
        for entry in answer.provenance.left_out:
            gaps.setdefault(str(entry["run"]), []).append(float(str(entry["step"])))
    names = rows["run"].to_numpy(zero_copy_only=False)
    times, values = floats(rows, at), floats(rows, "value")
    edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    lines = []
    for a, b in pairwise(edges):
        missing = np.setdiff1d(np.array(gaps.get(names[a], []), float), times[a:b])
        x = np.concatenate([times[a:b], missing])
        y = np.concatenate([values[a:b], np.full(len(missing), np.nan)])
        order = np.argsort(x, kind="stable")
        lines.append(Line(names[a], x[order], y[order]))
    return lines
