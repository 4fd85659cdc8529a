"""The coverage strip: for each measure of a family, which checkpoints have it, lack it, or failed at it."""

from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from archive.store import Archive
from ui.models.palette import HUES, MUTED, see_through
from ui.models.text import escape_plotly, fold, plural, shorten

# see-through, so that they suit both grounds
FULL, HALF, NONE = see_through(HUES[0], 0.85), see_through(HUES[0], 0.5), see_through(MUTED, 0.14)
FAILED, SUSPECT = HUES[1], HUES[3]
MAX_BINS = 120
MAX_ROWS = 24
ROW_HEIGHT = 22

_FAMILIES_SQL = """\
SELECT family, count(*) AS n_runs, count(*) FILTER (excluded) AS n_excluded FROM v_run
GROUP BY family ORDER BY n_runs DESC, family"""

# neighbouring steps share a column where there are more of them than columns
_BINS_SQL = """\
SELECT bin, min(step) AS first_step, max(step) AS last_step, sum(n)::BIGINT AS n_points
FROM (SELECT c.step, count(*) AS n, ntile($bins) OVER (ORDER BY c.step) - 1 AS bin
      FROM v_checkpoint c JOIN v_run r ON r.run_id = c.run_id WHERE r.family = $family GROUP BY c.step)
GROUP BY bin ORDER BY bin"""

_CELLS_SQL = """\
WITH point AS (
  SELECT c.checkpoint_id, c.suspect, b.bin
  FROM v_checkpoint c
  JOIN v_run r ON r.run_id = c.run_id
  JOIN (SELECT unnest($firsts) AS first_step, unnest($lasts) AS last_step, unnest($numbers) AS bin) b
    ON c.step BETWEEN b.first_step AND b.last_step
  WHERE r.family = $family
)
SELECT q.measure, p.bin, count(DISTINCT l.quantity_id) AS n_quantities, count(*) FILTER (l.state = 1) AS n_done,
       count(*) FILTER (l.state = 1 AND p.suspect) AS n_suspect, count(*) FILTER (l.state IN (2, 3)) AS n_failed,
       count(*) FILTER (l.state NOT IN (1, 2, 3)) AS n_not_possible
FROM cell l
JOIN point p ON l.subject_kind = 1 AND p.checkpoint_id = l.subject_id
JOIN v_quantity q ON q.quantity_id = l.quantity_id
GROUP BY q.measure, p.bin"""

_LOGS_SQL = """\
SELECT q.measure, f.run_id, min(f.first_step) AS first_step, max(f.last_step) AS last_step
FROM (SELECT run_id, quantity_id, min(step) AS first_step, max(step) AS last_step FROM fact_log
      WHERE run_id IN (SELECT run_id FROM v_run WHERE family = $family) GROUP BY ALL) f
JOIN v_quantity q ON q.quantity_id = f.quantity_id
GROUP BY q.measure, f.run_id"""


# the same counts step by step, as people may ask for them
STEPS_SQL = """\
SELECT l.measure, l.step, count(*) AS n_cells, count(*) FILTER (l.state = 'done') AS n_done,
       count(*) FILTER (l.state = 'done' AND c.suspect) AS n_suspect, count(*) FILTER (l.state LIKE 'failed%') AS n_failed
FROM v_cell l
JOIN v_run r ON r.run_id = l.run_id
LEFT JOIN v_checkpoint c ON c.checkpoint_id = CASE WHEN l.subject_kind = 1 THEN l.subject_id END
WHERE r.family = $family AND l.subject_kind IN (0, 1)
GROUP BY l.measure, l.step ORDER BY l.measure, l.step"""


@dataclass(frozen=True)
class FamilySize:
    """A family and how many of its runs there are."""

    family: str
    n_runs: int
    n_excluded: int


@dataclass(frozen=True)
class Coverage:
    """Rows = measures, columns = ranges of steps.

    share: of the checkpoints (for logs: of the runs) in a column, how many have the measure, 0-1.
    n_suspect, n_failed: how many of them are suspect, or failed; absent upstream and not applicable count as
    neither. n_points: checkpoints per column; is_log: rows that come from training logs.
    """

    measures: tuple[str, ...]
    first_step: NDArray[np.int64]
    last_step: NDArray[np.int64]
    n_points: NDArray[np.int64]
    share: NDArray[np.float64]
    n_suspect: NDArray[np.int64]
    n_failed: NDArray[np.int64]
    is_log: NDArray[np.bool_]
    n_hidden: int = 0

    @property
    def n_columns(self) -> int:
        """Number of ranges of steps."""
        return len(self.first_step)


def families(archive: Archive) -> list[FamilySize]:
    """Every family, the one with most runs first."""
    return [FamilySize(**row) for row in archive.rows(_FAMILIES_SQL)]


def coverage(archive: Archive, *, family: str) -> Coverage:
    """What each measure of `family` has, over training; at most MAX_ROWS measures and MAX_BINS columns."""
    logs = archive.rows(_LOGS_SQL, {"family": family})
    bins = archive.rows(_BINS_SQL, {"family": family, "bins": MAX_BINS})
    if bins:
        first, last, n_points = (
            np.array([b[k] for b in bins]) for k in ("first_step", "last_step", "n_points")
        )
    else:
        end = max((int(row["last_step"]) for row in logs), default=0)
        edges = np.unique(np.linspace(0, end + 1, 41).astype(np.int64))
        first, last, n_points = edges[:-1], edges[1:] - 1, np.zeros(len(edges) - 1, np.int64)
    cells = archive.rows(
        _CELLS_SQL,
        {
            "family": family,
            "firsts": first.tolist(),
            "lasts": last.tolist(),
            "numbers": list(range(len(first))),
        },
    )
    n_quantities: dict[str, int] = {}
    for row in cells:
        n_quantities[row["measure"]] = max(n_quantities.get(row["measure"], 0), row["n_quantities"])
    log_names = sorted({row["measure"] for row in logs} - set(n_quantities))
    every = sorted(n_quantities) + log_names
    names = every[:MAX_ROWS]
    row_of = {name: i for i, name in enumerate(names)}
    shape = (len(names), len(first))
    share, suspect, failed = np.zeros(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for row in cells:
        if row["measure"] in row_of:
            at = (row_of[row["measure"]], row["bin"])
            possible = n_points[row["bin"]] * n_quantities[row["measure"]] - row["n_not_possible"]
            share[at] = row["n_done"] / possible if possible > 0 else 0.0
            suspect[at], failed[at] = row["n_suspect"], row["n_failed"]
    n_logs = {name: sum(1 for row in logs if row["measure"] == name) for name in log_names}
    for row in logs:
        if row["measure"] in row_of and row["measure"] in n_logs:
            # a log is written before the update: its last step leads to the checkpoint one step later
            covered = (first >= row["first_step"]) & (first <= row["last_step"] + 1)
            share[row_of[row["measure"]]] += covered / n_logs[row["measure"]]
    return Coverage(
        measures=tuple(names),
        first_step=first,
        last_step=last,
        n_points=n_points,
        share=share,
        n_suspect=suspect,
        n_failed=failed,
        is_log=np.array([name in n_logs for name in names], dtype=np.bool_),
        n_hidden=len(every) - len(names),
    )


def coverage_figure(found: Coverage) -> go.Figure:
    """Heat strip: full colour = every checkpoint has it, pale = none; ✕ failed, △ suspect.

    Written for both grounds: colours are see-through, and states carry marks as well.
    """
    rows, columns = found.share.shape
    figure = go.Figure()
    figure.add_heatmap(
        z=found.share,
        x=list(range(columns)),
        y=list(range(rows)),
        zmin=0,
        zmax=1,
        colorscale=[[0, NONE], [0.001, see_through(HUES[0], 0.25)], [1, FULL]],
        showscale=False,
        xgap=1,
        ygap=3,
        hovertext=[[_hover(found, i, j) for j in range(columns)] for i in range(rows)],
        hoverinfo="text",
        name="have",
    )
    for counts, symbol, colour, name in (
        (found.n_failed, "x", FAILED, "failed"),
        (found.n_suspect, "triangle-up", SUSPECT, "suspect"),
    ):
        i, j = np.nonzero(counts)
        if len(i):
            figure.add_scatter(
                x=j.tolist(),
                y=i.tolist(),
                mode="markers",
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1, "color": "white"}},
                hovertext=[_hover(found, a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True)],
                hoverinfo="text",
                name=name,
                showlegend=False,
            )
    if not found.n_points.any():
        spacing = "even ranges"
    elif (found.first_step == found.last_step).all():
        spacing = "one column a step, not to scale"
    else:
        spacing = "neighbouring steps share a column, not to scale"
    ticks = (
        np.unique(np.linspace(0, columns - 1, min(columns, 9)).round().astype(int))
        if columns
        else np.array([], int)
    )
    figure.update_layout(
        height=74 + ROW_HEIGHT * max(rows, 1),
        margin={"l": 8, "r": 26, "t": 8, "b": 44, "pad": 0},
        xaxis={
            "tickvals": ticks.tolist(),
            "ticktext": [f"{found.first_step[t]:,}".replace(",", " ") for t in ticks],
            "title": {"text": f"step ({spacing})", "standoff": 8},
            "range": [-0.5, columns - 0.5],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "tickvals": list(range(rows)),
            "ticktext": [escape_plotly(shorten(m, 28)) + "  " for m in found.measures],
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "automargin": True,
        },
        showlegend=False,
    )
    return figure


def coverage_in_words(found: Coverage, family: str) -> str:
    """The strip as a sentence, for screen readers and for the caption."""
    whole = int((found.share >= 1).all(axis=1).sum()) if found.n_columns else 0
    where = f"over {plural(n, 'checkpoint')}" if (n := int(found.n_points.sum())) else "in training logs"
    words = [
        f"{family}: {plural(len(found.measures) + found.n_hidden, 'measure')} {where}",
        f"{whole} of the {len(found.measures)} drawn complete",
    ]
    if found.n_failed.any():
        words.append(f"{plural(int(found.n_failed.sum()), 'cell')} failed")
    if found.n_suspect.any():
        words.append(f"{plural(int(found.n_suspect.sum()), 'cell')} on suspect checkpoints")
    return ", ".join(words) + "."


def _hover(found: Coverage, i: int, j: int) -> str:
    first, last = found.first_step[j], found.last_step[j]
    steps = f"step {first}" if first == last else f"steps {first}–{last}"
    whose = "training log" if found.is_log[i] else plural(int(found.n_points[j]), "checkpoint")
    lines = [f"<b>{fold(found.measures[i])}</b>", f"{steps}, {whose}: {found.share[i, j]:.0%} have it"]
    if found.n_failed[i, j]:
        lines.append(f"{found.n_failed[i, j]} failed")
    if found.n_suspect[i, j]:
        lines.append(f"{found.n_suspect[i, j]} on suspect checkpoints")
    return "<br>".join(lines)
