"""What the Curves page can draw, what was chosen, and the address that brings the choice back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import write_csv

from queries.loss_curves import LossCurves
from queries.reading.curves import AXIS_COLUMN
from queries.reading.select import RunSelection, Selected
from ui.models.conditions import condition_labels
from ui.models.palette import HUES, STROKES
from ui.models.series import Series
from ui.models.text import count, plural

POINTS_IN_ALL = 200_000  # what a browser draws in well under a second
MOST_POINTS, FEWEST_POINTS = 800, 20


@dataclass(frozen=True)
class Choices:
    """Everything that was chosen on the page; the fields' names are the address's."""

    measure: str
    part: tuple[str, ...] = ()
    variant: str = ""
    family: tuple[str, ...] = ()
    condition: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    axis: str = "step"
    x_scale: str = "log"
    y_scale: str = "linear"
    colour_by: str = "condition"
    excluded: bool = False
    suspect: bool = False

    @property
    def selection(self) -> RunSelection:
        """The runs asked for."""
        return RunSelection(
            names=self.run, families=self.family, conditions=self.condition, with_excluded=self.excluded
        )


def drawable(selected: Selected, choices: Choices, n_parts: int) -> tuple[RunSelection, int, int]:
    """What to ask for so that groups can be told apart: (selection, groups drawn, groups that have a curve).

    selected: runs that have the measure. The first groups in the archive's order are kept; nothing is dropped without being said.
    """
    groups = list(dict.fromkeys(selected.groups.values()))
    most = most_groups(n_parts) if choices.colour_by == "condition" else len(groups)
    if len(groups) <= most:
        return choices.selection, len(groups), len(groups)
    kept = set(groups[:most])
    runs = [r for r in selected.runs if selected.groups[r.run_id] in kept]
    if all(r.condition for r in runs):
        narrowed = {"conditions": tuple(dict.fromkeys(r.condition for r in runs))}
    else:
        narrowed = {"names": tuple(r.run for r in runs)}
    return choices.selection.model_copy(update=narrowed), most, len(groups)


def parameters(series: Series, choices: Choices, selection: RunSelection, part: str) -> dict[str, Any]:
    """The choices as parameters of the query `loss_curves`, for one part."""
    asked: dict[str, Any] = {
        "runs": selection,
        "measure": series.measure,
        "part": part,
        "axis": choices.axis,
        # the name alone decides between training log and checkpoints: never swap one for the other
        "origin": "log" if series.measure.startswith("log.") else "checkpoint",
        **series.variant(choices.variant).which,
    }
    if choices.suspect:
        asked["with_suspect"] = True
    return asked


def points_per_run(n_runs: int) -> int:
    """How many steps a run may have in the drawing before SQL thins them."""
    return max(FEWEST_POINTS, min(MOST_POINTS, POINTS_IN_ALL // max(1, n_runs)))


def most_groups(n_parts: int) -> int:
    """How many conditions can be told apart: one stroke each, or one hue each when dashes show the part."""
    return len(STROKES) if n_parts <= 1 else len(HUES)


def notes(
    answers: Sequence[LossCurves], *, n_drawn: int, n_groups: int, hidden: int = 0, cut: int = 0
) -> tuple[list[str], list[str]]:
    """(what is missing from the picture, what the picture cannot tell), each line once.

    hidden: values that a log axis cannot show. cut: intervals that reach beyond the y axis.
    """
    missing: list[str] = []
    fine: list[str] = []
    if n_drawn < n_groups:
        missing.append(f"{n_drawn} of {n_groups} conditions are drawn; choose others in the sidebar.")
    for answer in answers:
        drawn, there = len(pc.unique(answer.table["step"])), answer.n_steps
        if drawn < there:
            missing.append(
                f"1 of {there / drawn:.2g} points drawn: {count(drawn)} of {count(there)} steps, spread over both scales. "
                "The CSV has all of them."
            )
    if hidden:
        missing.append(f"{plural(hidden, 'value')} at or below 0 have no place on a log axis.")
    if cut:
        missing.append(cut_words(cut))
    for line in dict.fromkeys(line for a in answers for line in a.limits):
        if line.startswith("Thinned"):
            continue
        line = line.replace("'excluded:too' brings them in", "the switch in the sidebar brings them in")
        (missing if "left out" in line or "have no" in line or "not finite" in line else fine).append(line)
    return list(dict.fromkeys(missing)), fine


def cut_words(n: int) -> str:
    """What to say of intervals that are cut, of which there are `n`."""
    reach = "reaches" if n == 1 else "reach"
    return (
        f"{plural(n, 'interval')} of a mean {reach} beyond the y axis, which is that of the runs: the band is cut there, hover "
        "over the mean for its width."
    )


def ends(answers: Sequence[LossCurves]) -> pa.Table:
    """Where the curves end, one row a group and part, at the last point that all runs of the group have."""
    tables = []
    for answer in answers:
        if answer.summary is not None:
            label = pa.array([answer.label] * answer.summary.num_rows, pa.string())
            tables.append(answer.summary.append_column("curve", label))
    table = pa.concat_tables(tables)
    columns = ["curve", "group", "n_runs", AXIS_COLUMN[answers[0].axis], "mean", "low", "high", "sd"]
    groups = list(dict.fromkeys(table["group"].to_pylist()))
    if len(groups) == 1:
        return table.select([c for c in columns if c != "group"])
    short = condition_labels(groups, 60)
    labels = pa.array([short[g] for g in table["group"].to_pylist()], pa.string())
    return table.select(columns).set_column(1, "group", labels)


def as_csv(answers: Sequence[LossCurves]) -> str:
    """Every value of the answers, one row each, with measure, part and unit in front."""
    tables = []
    for answer in answers:
        n = answer.table.num_rows
        front = {"measure": answer.label, "unit": answer.unit}
        table = answer.table
        for k, (name, value) in enumerate(front.items()):
            table = table.add_column(k, name, pa.array([value] * n, pa.string()))
        tables.append(table)
    sink = pa.BufferOutputStream()
    write_csv(pa.concat_tables(tables), sink)
    return str(sink.getvalue().to_pybytes(), "utf-8")
