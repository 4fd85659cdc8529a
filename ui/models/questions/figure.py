"""An answer's own figure, made to fit a page: long names on axes shortened, room for a long legend."""

from math import ceil

import plotly.graph_objects as go

from ui.models.text import distinguish, escape_plotly

LONGEST_TICK = 30
LONGEST_ENTRY = 48
MOST_LEGEND = 12  # entries that fit under a figure as it is
READABLE_LEGEND = 40  # more than these nobody compares with the lines: hovering names them
# pixels of a legend's row; a narrow page has two entries in each
LEGEND_ROW = 20


def on_page(figure: go.Figure) -> str:
    """Change a figure in place; gives what to say of it, empty where nothing was left out."""
    for axis in ("x", "y"):
        names = _names(figure, axis)
        if any(len(name) > LONGEST_TICK for name in names):
            short = [escape_plotly(label) for label in distinguish(names, LONGEST_TICK)]
            ticks = {"tickmode": "array", "tickvals": names, "ticktext": short}
            figure.update_layout({f"{axis}axis": ticks})
    entries = list(dict.fromkeys(trace.name for trace in figure.data if trace.name))
    if any(len(name) > LONGEST_ENTRY for name in entries):
        brief = dict(zip(entries, distinguish(entries, LONGEST_ENTRY), strict=True))
        figure.for_each_trace(lambda trace: trace.update(name=brief.get(trace.name, trace.name)))
    n_entries = sum(trace.showlegend is not False and bool(trace.name) for trace in figure.data)
    if n_entries <= MOST_LEGEND or figure.layout.showlegend is False:
        return ""
    if n_entries > READABLE_LEGEND:
        figure.update_layout(showlegend=False)
        return f"{n_entries} names without a legend: hover for them."
    figure.update_layout(height=(figure.layout.height or 450) + LEGEND_ROW * ceil(n_entries / 2))
    return ""


def _names(figure: go.Figure, axis: str) -> list[str]:
    """The names along the first axis of a kind, where it has names and no ticks of its own; in order of appearance."""
    layout = figure.layout[f"{axis}axis"]
    if layout.tickvals is not None or layout.ticktext is not None:
        return []
    traces = [trace for trace in figure.data if getattr(trace, f"{axis}axis", None) in (None, axis)]
    along = [getattr(trace, axis, None) for trace in traces]
    places = [value for values in along if values is not None for value in values]
    if not places or not all(isinstance(value, str) for value in places):
        return []
    return list(dict.fromkeys(places))
