"""One answer on the page: asked part by part, and told as facts, tables and lines."""

import math

import pyarrow as pa

from archive.store import Archive
from queries.problems.asking import Part
from queries.problems.asking import ask as ask_problem
from queries.render import interval, number, source_lines
from queries.results import Answer
from ui.models.questions.options import Given
from ui.models.text import plural, shorten

MOST_ROWS = 1000  # more than anybody scrolls through; the CSV has all
MOST_NAMES = 12

# columns of a table that hold what its rows are compared with
_CONTROLS = ("control", "null", "chance", "floor", "baseline", "beyond")


def ask_part(archive: Archive, *, number: str, letter: str, hypothesis: str, given: Given) -> Part:
    """One question of a problem, asked alone so that each is shown as soon as it is answered."""
    asked = ask_problem(archive, number, hypothesis=hypothesis, letters=letter, **dict(given))
    return asked.parts[0]


def facts(answer: Answer) -> list[tuple[str, str]]:
    """Verdict, estimate, what it rests on, null, control and smallest detectable effect, as far as there are any."""
    found: list[tuple[str, str]] = []
    if answer.verdict:
        found.append(("Verdict", answer.verdict))
    if math.isfinite(answer.estimate):
        found.append(("Estimate", _estimate(answer)))
    items = f", {answer.n_items:,} items" if answer.n_items is not None else ""
    found.append(("Rests on", plural(answer.n_runs, "run") + items))
    if null := _null(answer):
        found.append(("Null", null))
    if controls := control_columns(answer):
        found.append(
            ("Control", f"the table's column{'s' if len(controls) > 1 else ''} {', '.join(controls)}")
        )
    if math.isfinite(answer.mde):
        found.append(
            (
                "Could show",
                f"a difference of {number(answer.mde)} {answer.unit}".rstrip() + " or more (80 % power)",
            )
        )
    return found


def control_columns(answer: Answer) -> list[str]:
    """Columns of its tables that hold what the numbers beside them are compared with."""
    tables = [table for table in (answer.overview(), answer.table) if table is not None]
    names = dict.fromkeys(name for table in tables for name in table.column_names)
    return [name for name in names if any(word in name for word in _CONTROLS)]


def shown_rows(table: pa.Table) -> tuple[pa.Table, str]:
    """The first rows, and what is said where there are more."""
    if table.num_rows <= MOST_ROWS:
        return table, ""
    return table.slice(
        0, MOST_ROWS
    ), f"The first {MOST_ROWS:,} of {table.num_rows:,} rows; the CSV has all of them."


def origins(answer: Answer) -> list[tuple[str, str]]:
    """Where the numbers come from: measures with version and eval set, runs, what was left out, parameters, archive."""
    provenance = answer.provenance
    *measures, archive = source_lines(answer)
    found = [("Measures", line) for line in measures]
    found.append(("Runs", _names(provenance.runs)))
    found += [("Citation", line) for line in _citations(answer)]
    if provenance.excluded_runs:
        found.append(
            ("Excluded", _names([f"{run} ({reason})" for run, reason, _ in provenance.excluded_runs]))
        )
    if provenance.runs_without:
        found.append(("Without it", _names(provenance.runs_without)))
    if provenance.left_out:
        found.append(("Left out", plural(len(provenance.left_out), "suspect checkpoint")))
    given = ", ".join(f"{name} = {value}" for name, value in answer.parameters.items())
    found.append(("Parameters", given or "all as they are by default"))
    copy = ", the published copy" if provenance.snapshot else ""
    found.append(("Archive", archive + copy))
    return found


def _estimate(answer: Answer) -> str:
    told = f"{number(answer.estimate)} {answer.unit}".rstrip()
    ends = interval(answer.ci_low, answer.ci_high)
    if ends:
        told += f", {ends} at {answer.ci_level:.0%}"
    return f"{told} ({answer.ci_method})" if answer.ci_method else told


def _null(answer: Answer) -> str:
    parts = [answer.null_name] if answer.null_name else []
    if math.isfinite(answer.null_mean):
        spread = f" ± {number(answer.null_sd)}" if math.isfinite(answer.null_sd) else ""
        parts.append(
            f"{number(answer.null_mean)}{spread} (mean ± sd)"
            if spread
            else f"mean {number(answer.null_mean)}"
        )
    parts += [
        f"{name} = {value:.3g}"
        for name, value in (("p", answer.p_value), ("q", answer.q_value))
        if math.isfinite(value)
    ]
    return ", ".join(parts)


def _names(names: "list[str] | tuple[str, ...]") -> str:
    shown = ", ".join(shorten(name, 60) for name in names[:MOST_NAMES])
    return f"{shown} and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else shown


def _citations(answer: Answer) -> list[str]:
    quantities = answer.provenance.quantities
    return list(dict.fromkeys(str(q["citation"]) for q in quantities if q["citation"]))
