"""An answer as text for a terminal, as HTML for a notebook, as plain values for JSON."""

import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from queries.reading.tables import shared_folder, shared_words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from queries.results import Answer

ROWS_SHOWN = 12
OVERVIEW_ROWS = 40
# columns that hold names of groups
GROUPS = ("group", "earlier", "later")


def number(value: object, digits: int = 4) -> str:
    """A cell for people: thousands with commas, floats with `digits` significant digits, – for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        if math.isinf(value):
            return "∞" if value > 0 else "−∞"
        if value == int(value) and abs(value) < 1e15:
            return number(int(value))
        return number(round(value)) if abs(value) >= 1000 else f"{value:.{digits}g}"
    if isinstance(value, list):
        return ", ".join(number(v, digits) for v in value)
    return str(value)


def interval(low: float, high: float, digits: int = 4) -> str:
    """[low, high] for people; empty when neither end is known."""
    if math.isnan(low) and math.isnan(high):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def brief(group: str, width: int = 60) -> str:
    """A condition as people can read it: its first words and its last, which tells it from others; the table has it whole."""
    if len(group) <= width:
        return group
    first, _, last = group.rpartition(" ")
    return f"{first[: max(1, width - len(last) - 3)].rsplit(' ', 1)[0]} … {last}"


def headline(answer: "Answer") -> str:
    """Estimate with interval, runs and verdict on one line."""
    parts = []
    if math.isfinite(answer.estimate):
        estimate = f"{number(answer.estimate)} {interval(answer.ci_low, answer.ci_high)}".rstrip()
        method = f" ({answer.ci_level:.0%}, {answer.ci_method})" if answer.ci_method else ""
        parts.append(f"{estimate} {answer.unit}".rstrip() + method)
    parts.append(f"{answer.n_runs} run{'' if answer.n_runs == 1 else 's'}")
    if answer.n_items is not None:
        parts.append(f"{answer.n_items:,} items")
    if math.isfinite(answer.p_value):
        parts.append(f"p = {answer.p_value:.3g} against {answer.null_name}")
    if math.isfinite(answer.mde):
        parts.append(f"smallest detectable difference {number(answer.mde)} {answer.unit}".rstrip())
    if answer.verdict:
        parts.append(f"verdict: {answer.verdict}")
    return " · ".join(parts)


def source_lines(answer: "Answer") -> list[str]:
    """What was measured by whom, and on which archive; eval sets that share all else are one line."""
    lines: dict[tuple[str, str], list[str]] = {}
    for q in answer.provenance.quantities:
        named = f"{q['measure']} version {q['version']}"
        eval_set = str(q["eval_set"]) if q["eval_set"] not in ("", "none") else ""
        details = [
            f"{q['weight_processing']} weights"
            if q["weight_processing"] not in ("", "unknown", "raw")
            else "",
            ", ".join(f"{k} {v}" for k, v in q["params"].items() if v != "")
            if isinstance(q["params"], dict)
            else "",
            f"by {q['source']}" + (f" ({q['licence']})" if q["licence"] else ""),
        ]
        lines.setdefault((named, ", ".join(d for d in details if d)), []).append(eval_set)
    found = [
        ", ".join(part for part in (named, _eval_sets(sets), details) if part)
        for (named, details), sets in lines.items()
    ]
    return [*found, answer.provenance.archive]


def _eval_sets(names: Sequence[str]) -> str:
    known = list(dict.fromkeys(name for name in names if name))
    if len(known) < 2:
        return f"eval set {known[0]}" if known else ""
    more = f" and {len(known) - 3} more" if len(known) > 3 else ""
    return f"eval sets {', '.join(known[:3])}{more}"


def as_text(answer: "Answer", width: int = 120) -> str:
    """The answer as plain text."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None, markup=False, highlight=False).print(
        renderable(answer, width=width)
    )
    return out.getvalue().rstrip() + "\n"


def renderable(answer: "Answer", *, rows: int = ROWS_SHOWN, width: int = 120) -> "RenderableType":
    """The answer for a rich console: sentence, headline, tables, limits, where it comes from."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(answer.title, style="bold"),
        Text(answer.sentence),
        Text(headline(answer), style="dim"),
    ]
    overview = answer.overview()
    if overview is not None and overview.num_rows:
        parts += [Text(), *_rich_table(overview, OVERVIEW_ROWS, width)]
    if answer.table.num_rows:
        parts += [Text(), *_rich_table(answer.table, rows, width)]
    if answer.limits:
        parts += [Text(), Text("What this cannot tell", style="bold")]
        parts += [Padding(Text(f"- {line}"), (0, 0, 0, 1)) for line in answer.limits]
    parts += [Text(), *(Text(f"from {line}", style="dim") for line in source_lines(answer))]
    parts += [Text(line, style="dim") for line in answer.provenance.registered]
    parts.append(Text(answer.python, style="dim"))
    return Group(*parts)


def _rich_table(table: pa.Table, rows: int, width: int) -> "list[RenderableType]":
    """A table cut to the rows and columns that fit, and a line that says what was cut."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table, notes = _without_constants(table)
    names = list(table.column_names)
    cells = list(_cells(table, rows))
    if table.num_rows == 1:  # one row reads better downwards, and nothing has to be cut
        shown = Table.grid(padding=(0, 2))
        for name, cell in zip(names, cells[0], strict=True):
            shown.add_row(Text(name, style="dim"), Text(brief(cell) if name in GROUPS else cell))
        return [shown]
    for k, name in enumerate(names):
        if name in ("run", *GROUPS):
            cut = (shared_folder if name == "run" else shared_words)([row[k] for row in cells])
            if cut:
                notes.append(f"{name} without {cut}")
            for row in cells:
                row[k] = row[k][len(cut) :]
    fitting = _fitting(names, cells, width)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for k in fitting:
        right = _numeric(table.schema.field(names[k]).type)
        shown.add_column(
            Text(names[k]),
            justify="right" if right else "left",
            no_wrap=k > 0,
            max_width=_widest_first(width) if k == 0 else None,
            overflow="fold",
        )
    for row in cells:
        shown.add_row(*(Text(row[k]) for k in fitting))
    if table.num_rows > rows:
        notes.insert(0, f"{rows} of {table.num_rows:,} rows")
    if len(fitting) < len(names):
        notes.append(f"also: {', '.join(name for k, name in enumerate(names) if k not in fitting)}")
    lines = [Padding(Text("; ".join(notes), style="dim"), (0, 0, 0, 1))] if notes else []
    return [shown, *lines]


def _fitting(names: list[str], cells: list[list[str]], width: int) -> list[int]:
    """Which columns are shown: the first, and every other that still has room, so that a long text hides no number.

    The first one says which row is which; where it is long it is broken into lines.
    """
    room, fitting = width, []
    for k, name in enumerate(names):
        needed = max(len(name), *(len(row[k]) for row in cells)) + 3
        if k == 0 or needed <= room:
            fitting.append(k)
            room -= min(needed, _widest_first(width) + 3) if k == 0 else needed
    return fitting


def _widest_first(width: int) -> int:
    """Characters of a line that the first column may take."""
    return max(16, 2 * width // 5)


def _without_constants(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """The table without columns that say the same in every row, and those values as notes.

    A long group name that all rows share would push the numbers off a narrow terminal.
    """
    if table.num_rows < 2:
        return table, []
    constant = [
        name
        for name in table.column_names
        # the first column says which row is which, unless it is the group of all of them
        if (name == "group" or name != table.column_names[0])
        and not pa.types.is_nested(table.schema.field(name).type)
        and len(table.column(name).unique()) == 1
    ]
    if len(constant) == table.num_columns - 1:  # rows that are all alike say so better than names alone
        return table, []
    values = {name: number(table.column(name)[0].as_py()) for name in constant}
    values |= {name: brief(value) for name, value in values.items() if name in GROUPS}
    said = [f"{name} {value}" for name, value in values.items() if value not in ("", "–")]
    return table.drop_columns(constant), [f"all rows: {', '.join(said)}"] if said else []


def as_html(answer: "Answer", rows: int = ROWS_SHOWN) -> str:
    """The answer as HTML without scripts: readable in a saved notebook, on light and dark pages."""
    text = html.escape
    parts = [
        f"<div><b>{text(answer.title)}</b><br>{text(answer.sentence)}<br><small>{text(headline(answer))}</small>"
    ]
    tables = [(answer.overview(), OVERVIEW_ROWS), (answer.table, rows)]
    parts += [_html_table(t, n) for t, n in tables if t is not None and t.num_rows]
    if answer.limits:
        items = "".join(f"<li>{text(line)}</li>" for line in answer.limits)
        parts.append(f"<details open><summary>What this cannot tell</summary><ul>{items}</ul></details>")
    parts.append("<small>" + "<br>".join(_where_from(answer)) + "</small>")
    for label, code in (("Python", answer.python), ("SQL", answer.sql)):
        parts.append(f"<details><summary>{label}</summary><pre>{text(code)}</pre></details>")
    return "".join(parts) + "</div>"


def _where_from(answer: "Answer") -> list[str]:
    lines = [f"from {line}" for line in source_lines(answer)]
    return [html.escape(line) for line in (*lines, *answer.provenance.registered)]


def _html_table(table: pa.Table, rows: int) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.column_names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in _cells(table, rows)
    )
    more = f"<small>{rows} of {table.num_rows:,} rows</small>" if table.num_rows > rows else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def as_dict(answer: "Answer", *, rows: bool = True) -> dict[str, Any]:
    """Everything in the answer as JSON-ready values; without `rows` how many there are, where a summary stands for them."""
    provenance = answer.provenance
    every = (
        {
            "table": _records(answer.table),
            "tables": {name: _records(table) for name, table in _other_tables(answer).items()},
        }
        if rows or answer.summary is None
        else {"n_rows": answer.table.num_rows}
    )
    return {
        "query": answer.name,
        "question": answer.title,
        "answer": answer.sentence,
        "estimate": _json(answer.estimate),
        "ci_low": _json(answer.ci_low),
        "ci_high": _json(answer.ci_high),
        "ci_level": answer.ci_level,
        "ci_method": answer.ci_method,
        "unit": answer.unit,
        "n_runs": answer.n_runs,
        "n_items": answer.n_items,
        "null": {
            "name": answer.null_name,
            "mean": _json(answer.null_mean),
            "sd": _json(answer.null_sd),
            "p_value": _json(answer.p_value),
            "q_value": _json(answer.q_value),
        },
        "mde": _json(answer.mde),
        "verdict": answer.verdict,
        "limits": list(answer.limits),
        "parameters": _json(answer.parameters),
        "summary": _records(answer.summary) if answer.summary is not None else [],
        **every,
        "provenance": {
            "archive": provenance.archive,
            "snapshot": provenance.snapshot,
            "archive_version": list(provenance.archive_version),
            "runs": list(provenance.runs),
            "quantities": _json(list(provenance.quantities)),
            "excluded_runs": [
                {"run": run, "reason": reason, "who": who} for run, reason, who in provenance.excluded_runs
            ],
            "runs_without": list(provenance.runs_without),
            "left_out": _json(list(provenance.left_out)),
            "registered": list(provenance.registered),
        },
        "sql": answer.sql,
        "python": answer.python,
    }


def _other_tables(answer: "Answer") -> dict[str, pa.Table]:
    """Tables of this kind of answer beyond the rows and the summary, by the attribute they are known as."""
    named = {f.name: getattr(answer, f.name) for f in fields(answer)}
    return {
        name: value
        for name, value in named.items()
        if isinstance(value, pa.Table) and name not in ("table", "summary")
    }


def _records(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return [{name: _json(value) for name, value in row.items()} for row in rows]


def _json(value: object) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    return value


def _cells(table: pa.Table, rows: int) -> Iterable[list[str]]:
    for row in table.slice(0, rows).to_pylist():
        yield [number(value) for value in row.values()]


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
