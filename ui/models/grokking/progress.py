"""The four losses of grokking as bundles of lines: one run with its phases, or all runs with means."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from queries.grokking_progress import Frequencies, GrokkingProgress
from queries.key_frequency_history import Rule
from queries.loss_curves import LossCurves
from queries.reading.select import RunSelection
from queries.reading.tables import floats
from ui.models.bundles import Bundle, Line, bundles
from ui.models.palette import DASHES, HUES, Stroke
from ui.models.series import RunChoice
from ui.models.text import plural

# column of the answer -> words, measure, part; the colours are theirs on the whole page
LOSSES: Mapping[str, tuple[str, str, str]] = {
    "test_loss": ("test loss", "loss", "test"),
    "train_loss": ("train loss", "loss", "train"),
    "restricted_loss": ("restricted loss", "restricted_loss", "test"),
    "excluded_loss": ("excluded loss", "excluded_loss", "train"),
}
MOST_CONDITIONS = len(DASHES)
# what the page is about beyond loss and accuracy, and how to get it
WANTED = ("restricted_loss", "excluded_loss", "sum_of_squared_weights")
_NO_BAND = pa.table({name: pa.array([], pa.float64()) for name in ("step", "mean", "low", "high", "n_runs")})


@dataclass(frozen=True)
class GrokkingChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    focus: str
    show: str = "one run"
    frequencies: Frequencies = "auto"
    x_scale: str = "log"
    y_scale: str = "log"
    matrix: str = ""
    step: int | None = None
    rule: Rule = "W_L"
    event: str = ""
    level: float | None = None
    measures_y: str = ""


def runs_of(progress: GrokkingProgress) -> list[str]:
    """Runs with any of the measures, in the answer's order."""
    return list(dict.fromkeys(progress.table["run"].to_pylist()))


def has_split(progress: GrokkingProgress) -> bool:
    """Whether anything is there of what tells a run that memorises from one that generalises."""
    of_modular = [*LOSSES, "test_accuracy", "gini", "fve"]
    return any(np.isfinite(floats(progress.table, column)).any() for column in of_modular)


def one_run(progress: GrokkingProgress, run: str) -> list[Bundle]:
    """The losses of one run, a bundle of one line each; those it does not have are left out."""
    rows = progress.table.filter(pc.equal(progress.table["run"], run))
    steps = floats(rows, "step")
    gone = [float(str(e["step"])) for e in progress.provenance.left_out if e["run"] == run]
    found = []
    for k, (column, (words, _, _)) in enumerate(LOSSES.items()):
        values = floats(rows, column)
        if not np.isfinite(values).any():
            continue
        missing = np.setdiff1d(np.array(gone), steps)
        x, y = np.concatenate([steps, missing]), np.concatenate([values, np.full(len(missing), np.nan)])
        order = np.argsort(x, kind="stable")
        line = Line(run, x[order], y[order])
        # two of the four run on top of the others for long: dashes let those be seen
        dash = "solid" if column.startswith(("test", "train")) else "dash"
        found.append(Bundle(run, words, Stroke(HUES[k], dash), (line,), _NO_BAND, "nats", "step"))
    return found


def loss_parameters(
    progress: GrokkingProgress, selection: RunSelection, *, suspect: bool
) -> dict[str, dict[str, Any]]:
    """What to ask `loss_curves` for each loss, so that it reads the very quantities that `progress` was made of."""
    asked: dict[str, dict[str, Any]] = {}
    for column, (_, measure, part) in LOSSES.items():
        used = [
            q for q in progress.provenance.quantities if str(q["measure"]).removeprefix("log.") == measure
        ]
        if not used or not np.isfinite(floats(progress.table, column)).any():
            continue
        quantity = used[0]
        asked[column] = {
            "runs": selection,
            "measure": quantity["measure"],
            "part": part,
            "origin": "log" if str(quantity["measure"]).startswith("log.") else "checkpoint",
            **{
                k: quantity[k]
                for k in ("version", "eval_set", "weight_processing", "dtype", "site", "source")
            },
            "params": json.dumps(quantity["params"]),
        } | ({"with_suspect": True} if suspect else {})
    return asked


def all_runs(answers: Mapping[str, LossCurves]) -> list[Bundle]:
    """The losses of all runs: a colour a loss, a dash a condition, mean and interval over the runs of each."""
    found = []
    for column, answer in answers.items():
        mine = bundles([answer], colour_by="condition")
        colour = HUES[list(LOSSES).index(column)]
        words = LOSSES[column][0]
        for g, bundle in enumerate(mine):
            condition = f" · {bundle.label}" if len(mine) > 1 else f" ({plural(len(bundle.lines), 'run')})"
            stroke = Stroke(colour, DASHES[g % len(DASHES)])
            found.append(replace(bundle, label=words + condition, stroke=stroke))
    return found


def fill_command(progress: GrokkingProgress | None) -> str:
    """The command that measures what the page lacks; "" where nothing is missing."""
    wanted = dict.fromkeys(WANTED)
    if progress is not None:
        columns = {"sum_of_squared_weights": "squared_weights"}
        for measure in WANTED:
            if np.isfinite(floats(progress.table, columns.get(measure, measure))).any():
                del wanted[measure]
    fills = " ".join(f"--fill {measure}" for measure in wanted)
    return f"pathscope ingest STUDY.toml {fills}" if fills else ""


def hidden(drawn: Sequence[Bundle]) -> int:
    """Values of runs that a log y axis cannot show."""
    return sum(int((line.values <= 0).sum()) for b in drawn for line in b.lines)


def ends_table(progress: GrokkingProgress) -> pa.Table:
    """One row a run: between which checkpoints each phase ended, in words."""
    rows: dict[str, dict[str, str]] = {}
    for row in progress.ends.to_pylist():
        mine = rows.setdefault(row["run"], {"run": row["run"], "condition": row["group"]})
        mine[row["phase"].replace("_", " ")] = _bracket(row)
    return pa.Table.from_pylist(list(rows.values()))


def _bracket(row: Mapping[str, Any]) -> str:
    if row["kind"] == "unresolved":
        return "unresolved"
    if row["kind"] == "never":
        return f"not by {row['after']:,}"
    if row["after"] is None:
        return f"by {row['reached']:,}"
    return f"{row['after']:,} – {row['reached']:,}"


def first_positive(drawn: Sequence[Bundle]) -> float:
    """The lowest step above 0 of any line; 1 where there is none."""
    steps = np.concatenate([line.times for b in drawn for line in b.lines])
    positive = steps[steps > 0]
    return float(positive.min()) if len(positive) else 1.0


def progress_in_words(progress: GrokkingProgress, drawn: Sequence[Bundle], choices: GrokkingChoices) -> str:
    """The figure as a sentence, for those who do not see it."""
    which = f"of run {choices.focus}" if choices.show == "one run" else f"of {plural(progress.n_runs, 'run')}"
    what = ", ".join(dict.fromkeys(b.label for b in drawn))
    return (
        f"Line chart {which} over steps, {choices.x_scale} x axis, {choices.y_scale} y axis: {what}. "
        f"{progress.sentence}"
    )


def whose_frequencies(progress: GrokkingProgress) -> str:
    """Whose key frequencies the restricted and excluded loss use, in words; "" where neither is there."""
    used = [floats(progress.table, column) for column in ("restricted_loss", "excluded_loss")]
    if not any(np.isfinite(values).any() for values in used):
        return ""
    if progress.frequencies == "final":
        return "key frequencies of each run's final checkpoint"
    return "key frequencies of each checkpoint itself"


def conditions(progress: GrokkingProgress, runs: RunChoice) -> tuple[RunSelection, int, int]:
    """What to draw means of so that dashes tell conditions apart: (selection, conditions drawn, conditions there)."""
    groups = dict(zip(*(progress.table[c].to_pylist() for c in ("run", "group")), strict=True))
    names = list(dict.fromkeys(groups.values()))
    if len(names) <= MOST_CONDITIONS:
        return runs.selection, len(names), len(names)
    kept = [run for run, group in groups.items() if group in names[:MOST_CONDITIONS]]
    return runs.selection.model_copy(update={"names": tuple(kept)}), MOST_CONDITIONS, len(names)


def sorted_limits(limits: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is not in a picture, what it cannot tell); what a command would fill is said beside that command."""
    missing: list[str] = []
    fine: list[str] = []
    for line in dict.fromkeys(limits):
        if "`pathscope ingest" in line:
            continue
        line = line.replace("'excluded:too' brings them in", "the switch in the sidebar brings them in")
        out = any(
            words in line for words in ("left out", "have no", "has no", "not finite", "checkpoints than")
        )
        (missing if out else fine).append(line)
    return missing, fine
