"""Studies as bars of what is there, failed and missing; and cells over time as commits brought them."""

from collections.abc import Sequence

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc

from archive.store import Archive
from queries.reading.tables import floats
from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, decades, log_ticks, name_rows
from ui.models.ingestion.page import OTHERS, StudyState
from ui.models.palette import HUES, MUTED, STROKES, see_through
from ui.models.text import count, distinguish, escape_plotly, plural, shorten

MOST_BARS = 12
MOST_LINES = 8
MOST_POINTS = 300
ROW = 44
DONE, FAILED = HUES[0], HUES[1]

# every k-th commit of a study and its last one: the sums count all of them
OVER_TIME_SQL = """\
WITH moment AS (
  SELECT study_id, committed_at, sum(n_cells)::BIGINT AS n_cells, count(*) AS n_units FROM shard GROUP BY ALL
), running AS (
  SELECT *, sum(n_cells) OVER w AS n_so_far, sum(n_units) OVER w AS n_units_so_far, row_number() OVER w AS k,
         count(*) OVER (PARTITION BY study_id) AS n_commits
  FROM moment WINDOW w AS (PARTITION BY study_id ORDER BY committed_at)
)
SELECT coalesce(t.name, '') AS study, epoch_ms(r.committed_at)::BIGINT AS ms, r.n_so_far::BIGINT AS n_so_far,
       r.n_units_so_far::BIGINT AS n_units_so_far, r.n_commits
FROM running r LEFT JOIN study t ON t.id = r.study_id
WHERE r.k = 1 OR r.k = r.n_commits OR r.k % greatest(1, ceil(r.n_commits / $most)::BIGINT) = 0
ORDER BY study, ms"""


def over_time(archive: Archive, *, most: int = MOST_POINTS) -> pa.Table:
    """Sums after each commit: study, ms (since 1970, UTC), n_so_far (cells), n_units_so_far, n_commits; thinned to `most`."""
    return archive.query(OVER_TIME_SQL, {"most": most})


def bars(studies: Sequence[StudyState]) -> list[StudyState]:
    """The studies that are drawn as bars: those with a number of wanted cells, the unfinished ones first."""
    wanted = [s for s in studies if s.n_wanted]
    return sorted(wanted, key=lambda s: s.is_complete)[:MOST_BARS]


def bars_figure(studies: Sequence[StudyState]) -> go.Figure:
    """A bar a study, as long as what it wants is whole: there, not needed, failed, missing, with the numbers inside."""
    figure = go.Figure()
    pieces = (
        ("there", [s.n_done for s in studies], {"color": DONE}),
        (
            "absent or not applicable",
            [s.n_absent + s.n_not_wanted for s in studies],
            {"color": see_through(MUTED, 0.45)},
        ),
        (
            "failed",
            [s.n_failed for s in studies],
            {"color": FAILED, "pattern": {"shape": "x", "solidity": 0.3}},
        ),
        (
            "missing",
            [s.n_missing or 0 for s in studies],
            {"color": "rgba(0,0,0,0)", "line": {"color": MUTED, "width": 1}},
        ),
    )
    totals = [max(s.n_settled + s.n_failed + (s.n_missing or 0), 1) for s in studies]
    for name, cells, marker in pieces:
        if not any(cells):
            continue
        figure.add_bar(
            name=name,
            orientation="h",
            y=list(range(len(studies))),
            x=[100 * n / total for n, total in zip(cells, totals, strict=True)],
            customdata=[
                [escape_plotly(shorten(s.label, 60)), count(n), count(s.n_wanted or 0)]
                for s, n in zip(studies, cells, strict=True)
            ],
            hovertemplate=f"%{{customdata[0]}}<br>{name}: %{{customdata[1]}} of %{{customdata[2]}} cells<extra></extra>",
            marker=marker,
            width=0.56,
        )
    for row, s in enumerate(studies):
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=row,
            yanchor="middle",
            xshift=176,
            width=170,
            align="left",
            text=escape_plotly(_numbers(s)),
            showarrow=False,
            font={"size": 12},
        )
    name_rows(figure, [s.label for s in studies])
    figure.update_layout(
        barmode="stack",
        height=80 + ROW * len(studies),
        separators=SEPARATORS,
        uirevision="kept",
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        xaxis={"range": [0, 100], "ticksuffix": "%", **LINE, **GRID},
    )
    figure.update_layout(margin={"t": 34, "r": 184, "b": 30})
    return figure


def bars_in_words(studies: Sequence[StudyState]) -> str:
    """The bars as sentences, for those who do not see them."""
    told = "; ".join(f"{shorten(s.label, 40)}: {_numbers(s)}, {_rest(s)}" for s in studies)
    return f"Bars of {plural(len(studies), 'study', 'studies')} by share of wanted cells. {told}."


def _numbers(s: StudyState) -> str:
    # rounded down: 100% means that nothing is left
    percent = int(100 * (s.share or 0.0))
    return f"{count(min(s.n_settled, s.n_wanted or 0))} of {count(s.n_wanted or 0)} · {percent}%"


def _rest(s: StudyState) -> str:
    return f"{count(s.n_failed)} failed, {count(s.n_missing or 0)} missing"


def drawn_lines(table: pa.Table, studies: Sequence[StudyState]) -> list[str]:
    """Names of the studies that are drawn over time: those with cells and the newest commits."""
    there = set(table.filter(pc.greater(table["n_so_far"], 0))["study"].to_pylist())
    return [s.study for s in studies if s.study in there][:MOST_LINES]


def over_time_figure(table: pa.Table, names: Sequence[str], *, y_scale: str = "linear") -> go.Figure:
    """A line a study: cells so far after each commit, against the time of day (UTC). The line's end has its name."""
    figure = go.Figure()
    cells = floats(table, "n_so_far")
    up: dict[str, object] = {"rangemode": "tozero"}
    if y_scale == "log":
        up = {"type": "log", **log_ticks(cells), **(POWERS if decades(cells) >= 2 else {})}
    labels = distinguish([name or OTHERS for name in names], 26)
    for label, name, stroke in zip(labels, names, STROKES, strict=False):
        rows = table.filter(pc.equal(table["study"], name))
        times = pc.cast(rows["ms"], pa.timestamp("ms")).to_pylist()
        figure.add_scatter(
            x=times,
            y=rows["n_so_far"].to_pylist(),
            mode="lines+markers" if rows.num_rows <= 60 else "lines",
            name=escape_plotly(label),
            line={"color": stroke.colour, "dash": stroke.dash, "width": 2, "shape": "hv"},
            marker={"size": 5},
            customdata=rows["n_units_so_far"].to_pylist(),
            hovertemplate="%{x|%Y-%m-%d %H:%M:%S}<br>%{y:,} cells in %{customdata:,} units<extra>"
            + escape_plotly(label)
            + "</extra>",
        )
    figure.update_layout(
        height=320,
        separators=SEPARATORS,
        uirevision="kept",
        margin={"t": 36, "r": 16, "b": 44},
        showlegend=True,
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        xaxis={"title": {"text": "time of the commit (UTC)", "standoff": 8}, **LINE, "showgrid": False},
        yaxis={"title": {"text": "cells brought in"}, **LINE, **GRID, **up},
    )
    return figure


def over_time_in_words(table: pa.Table, names: Sequence[str]) -> str:
    """The lines as a sentence."""
    ends = []
    for name in names:
        rows = table.filter(pc.equal(table["study"], name))
        ends.append(
            f"{shorten(name or OTHERS, 40)}: {count(rows['n_so_far'][-1].as_py())} cells after "
            f"{plural(rows['n_commits'][-1].as_py(), 'commit')}"
        )
    return f"Line chart of cells brought in over time, {plural(len(names), 'study', 'studies')}. {'; '.join(ends)}."


def thinned(table: pa.Table, names: Sequence[str], n_studies: int) -> list[str]:
    """What is not drawn, in words."""
    found = []
    for name in names:
        rows = table.filter(pc.equal(table["study"], name))
        n = rows["n_commits"][-1].as_py()
        if rows.num_rows < n:
            found.append(
                f"{shorten(name or OTHERS, 40)}: {count(rows.num_rows)} of {count(n)} commits are drawn; the sums count all."
            )
    if n_studies > len(names):
        found.append(
            f"{count(len(names))} of {count(n_studies)} studies are drawn, those with the newest commits."
        )
    return found
