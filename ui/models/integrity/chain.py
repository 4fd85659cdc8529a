"""One run's checkpoints in a row: how far each is from the one before, and what is odd about it."""

import re
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from archive.upkeep.integrity import SKETCHED, LedgerRow, RunLedger, read_ledger
from ui.models.axes import GRID, LINE, POWERS, SEPARATORS, log_ticks
from ui.models.palette import HUES, MUTED, see_through
from ui.models.steps import StepAxis
from ui.models.text import count, escape_plotly, fold, number, plural, shorten

Floats = NDArray[np.float64]

MOST_OTHERS = 12
# distances are between all pairs, so the work grows with the square
MOST_CHECKPOINTS = 2000
MOST_LABELS = 8
BELOW = 3.0  # exchanged for a distance of 0, which has no logarithm: so far below the smallest one
SYMBOLS = {
    "duplicate": "square",
    "out_of_order": "diamond",
    "absent": "x",
    "defect": "triangle-up",
    "accepted": "circle-open",
}
WORDS = {"out_of_order": "out of order"}

# the same numbers as the ledger's, without its judgement: sketches of one projection, newest snapshots
DISTANCES_SQL = """\
WITH sketch AS (
  SELECT f.run_id, f.checkpoint_id, f.quantity_id, c.step, f."values" AS v FROM fact_vector f
  JOIN checkpoint c ON c.id = f.checkpoint_id
  WHERE f.run_id IN (SELECT unnest($ids))
    AND f.quantity_id IN (SELECT q.id FROM quantity q JOIN measure m ON m.id = q.measure_id WHERE m.name = $sketched)
    AND f.part_id IN (SELECT id FROM part WHERE kind = 'gram' AND name = 'sketch')
), chosen AS (
  SELECT run_id, quantity_id FROM sketch GROUP BY run_id, quantity_id
  QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY count(*) DESC, quantity_id) = 1
), newest AS (
  SELECT s.* FROM sketch s JOIN chosen USING (run_id, quantity_id)
  QUALIFY row_number() OVER (PARTITION BY s.run_id, s.step ORDER BY s.checkpoint_id DESC) = 1
)
SELECT r.name AS run, n.step,
       list_distance(n.v, lag(n.v) OVER (PARTITION BY n.run_id ORDER BY n.step))
         / nullif(sqrt(list_inner_product(n.v, n.v)), 0) AS to_previous
FROM newest n JOIN run r ON r.id = n.run_id
ORDER BY n.run_id, n.step"""

# what is recorded; distances and new findings are worked out from sketches and hashes
CHECKPOINTS_SQL = """\
SELECT run, step, snapshot, integrity, integrity_note, integrity_link, weights_hash FROM v_checkpoint
WHERE run_id IN (SELECT unnest($ids)) ORDER BY run_id, step, snapshot"""


@dataclass(frozen=True)
class Chain:
    """A judged run, and the distances of other runs of its condition: columns run, step, to_previous."""

    ledger: RunLedger
    others: pa.Table
    n_others: int

    @property
    def odd(self) -> tuple[LedgerRow, ...]:
        """Checkpoints that something is or was said against."""
        return tuple(row for row in self.ledger.rows if row.integrity != "ok" or row.accepted)

    @property
    def has_distances(self) -> bool:
        """Whether any neighbours have sketches."""
        return any(row.to_previous is not None for row in self.ledger.rows)


def ledger(archive: Archive, *, run_id: int, run: str) -> RunLedger:
    """The run's ledger, judged as `pathscope verify --checkpoints` does, and recorded nowhere."""
    return read_ledger(archive, run_id, run)


def distances(archive: Archive, *, run_ids: tuple[int, ...]) -> pa.Table:
    """Distance of each checkpoint with a sketch from the one before: run, step, to_previous (relative; null at the first)."""
    return archive.query(DISTANCES_SQL, {"ids": list(run_ids), "sketched": SKETCHED})


def state(row: LedgerRow) -> str:
    """What people call it: ok, accepted, or what is wrong; `new: ` where nothing is recorded yet."""
    words = "accepted" if row.accepted else WORDS.get(row.integrity, row.integrity)
    return f"new: {words}" if row.new else words


def chain_table(found: RunLedger) -> pa.Table:
    """A row a checkpoint: step, to_previous, to_next (relative), state, finding, link, weights_hash, snapshot."""
    rows = found.rows
    return pa.table(
        {
            "step": pa.array([r.step for r in rows], pa.int64()),
            "to_previous": pa.array([r.to_previous for r in rows], pa.float64()),
            "to_next": pa.array([r.to_next for r in rows], pa.float64()),
            "state": pa.array([state(r) for r in rows], pa.string()),
            "finding": pa.array([r.note for r in rows], pa.string()),
            "link": pa.array([r.link or None for r in rows], pa.string()),
            "weights_hash": pa.array([r.weights_hash for r in rows], pa.string()),
            "snapshot": pa.array([r.snapshot for r in rows], pa.string()),
        }
    )


def chain_figure(chain: Chain, *, x_scale: str, y_scale: str = "log") -> go.Figure:
    """Distance to the checkpoint before against the step; other runs thin, odd checkpoints marked and labelled."""
    figure = go.Figure()
    rows = chain.ledger.rows
    steps = np.array([r.step for r in rows], float)
    values = np.array([np.nan if r.to_previous is None else r.to_previous for r in rows], float)
    other_steps = np.asarray(chain.others["step"].to_numpy(zero_copy_only=False), float)
    other_values = np.asarray(chain.others["to_previous"].to_numpy(zero_copy_only=False), float)
    axis = StepAxis.of(np.concatenate([steps, other_steps]), x_scale)
    every = np.concatenate([values, other_values])
    positive = every[np.isfinite(every) & (every > 0)]
    bottom = float(positive.min()) / BELOW if len(positive) else 1.0
    floor = bottom if y_scale == "log" else 0.0
    _others(figure, chain, axis, floor)
    there = np.isfinite(values)
    figure.add_scatter(
        x=axis.place(steps[there]),
        y=np.maximum(values[there], floor),
        mode="lines+markers",
        name=escape_plotly(shorten(chain.ledger.run, 40)),
        line={"color": HUES[0], "width": 2},
        marker={"size": 4},
        customdata=[[f"{s:,.0f}", number(v)] for s, v in zip(steps[there], values[there], strict=True)],
        hovertemplate="step %{customdata[0]}<br>%{customdata[1]} of the length of the weights<extra></extra>",
    )
    _odd(figure, chain, axis, floor, y_scale)
    top = float(positive.max()) if len(positive) else 1.0
    # room above for the words of odd checkpoints
    up: dict[str, object] = {"range": [-0.05 * top, 1.35 * top]}
    if y_scale == "log":
        up = {"range": [np.log10(floor) - 0.15, np.log10(top) + 0.45]}
        up |= {**POWERS, **log_ticks(np.array([floor, top]))}
    figure.update_layout(
        height=400,
        separators=SEPARATORS,
        margin={"t": 46, "r": 20, "b": 48},
        showlegend=True,
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0},
        xaxis=axis.layout(),
        yaxis={
            "title": {"text": "distance to the checkpoint before"},
            "type": y_scale,
            **LINE,
            **GRID,
            **up,
        },
        annotations=[*figure.layout.annotations, *axis.mark()],
    )
    return figure


def _others(figure: go.Figure, chain: Chain, axis: StepAxis, floor: float) -> None:
    named = False
    for run in dict.fromkeys(chain.others["run"].to_pylist()):
        mine = [
            (s, d)
            for r, s, d in zip(
                *(chain.others[c].to_pylist() for c in ("run", "step", "to_previous")), strict=True
            )
            if r == run
        ]
        points = [(s, d) for s, d in mine if d is not None]
        figure.add_scatter(
            x=axis.place(np.array([s for s, _ in points], float)),
            y=[max(d, floor) for _, d in points],
            mode="lines",
            name=plural(chain.n_others, "other run") + " of its condition",
            legendgroup="others",
            showlegend=not named,
            line={"color": see_through(MUTED, 0.65), "width": 1},
            hovertemplate=f"{escape_plotly(shorten(run, 60))}<br>%{{y:.4g}}<extra></extra>",
        )
        named = True


def _odd(figure: go.Figure, chain: Chain, axis: StepAxis, floor: float, y_scale: str) -> None:
    by_state: dict[str, list[LedgerRow]] = {}
    for row in chain.odd:
        by_state.setdefault("accepted" if row.accepted else row.integrity, []).append(row)
    for kind, rows in by_state.items():
        figure.add_scatter(
            x=axis.place(np.array([r.step for r in rows], float)),
            y=[_height(r, floor) for r in rows],
            mode="markers",
            name=f"{WORDS.get(kind, kind)} ({count(len(rows))})",
            marker={
                "symbol": SYMBOLS.get(kind, "star"),
                "size": 12,
                "color": HUES[2] if kind == "accepted" else HUES[1],
                "line": {"width": 2, "color": HUES[2] if kind == "accepted" else HUES[1]},
            },
            customdata=[[f"{r.step:,}", state(r), fold(r.note)] for r in rows],
            hovertemplate="step %{customdata[0]}: %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )
    edges = np.quantile(axis.place(np.array([r.step for r in chain.ledger.rows], float)), (0.2, 0.7))
    for k, row in enumerate(sorted(chain.odd, key=lambda r: r.step)[:MOST_LABELS]):
        x, y = float(axis.place(np.array([row.step], float))[0]), _height(row, floor)
        figure.add_annotation(
            x=np.log10(x) if axis.scale == "log" else x,
            y=np.log10(y) if y_scale == "log" else y,
            text=escape_plotly(f"{row.step:,}: {_briefly(row.note)}"),
            # words at an edge would run out of the figure
            xanchor="right" if x > edges[1] else "left" if x < edges[0] else "center",
            ax=0,
            ay=-22 - 17 * (k % 3),
            arrowwidth=1,
            arrowcolor=see_through(MUTED, 0.8),
            font={"size": 11},
        )


def _briefly(note: str) -> str:
    """The first clause of a finding, without what it has in brackets."""
    return shorten(re.sub(r" \(.*?\)", "", note).partition(";")[0], 40)


def _height(row: LedgerRow, floor: float) -> float:
    """Where a checkpoint is drawn; without a distance at the bottom, and on a log axis at a distance of 0 too."""
    return max(row.to_previous or 0.0, floor)


def chain_in_words(chain: Chain) -> str:
    """The figure as sentences."""
    known = [r.to_previous for r in chain.ledger.rows if r.to_previous is not None]
    told = (
        "; ".join(f"step {r.step:,} {state(r)}, {shorten(r.note, 80)}" for r in chain.odd[:12])
        or "none is odd"
    )
    span = (
        f"from {number(min(known))} to {number(max(known))} of the length of the weights"
        if known
        else "not known"
    )
    return (
        f"Distance to the checkpoint before, {plural(len(chain.ledger.rows), 'checkpoint')} of {shorten(chain.ledger.run, 60)}, "
        f"{span}, beside {plural(chain.n_others, 'other run')}. Checkpoints something is said against: {told}."
    )


def chain_notes(chain: Chain, n_condition: int, y_scale: str = "log") -> list[str]:
    """What the ledger remarks, and what is not drawn. n_condition: other runs of the condition with sketches."""
    found = list(chain.ledger.remarks)
    zero = sum(r.to_previous == 0 for r in chain.ledger.rows) if y_scale == "log" else 0
    if zero:
        found.append(
            f"{plural(zero, 'distance')} of exactly 0 {'is' if zero == 1 else 'are'} drawn at the bottom: a logarithm has no 0."
        )
    without = [r for r in chain.odd if r.to_previous is None]
    if without:
        found.append(f"{plural(len(without), 'odd checkpoint')} without a distance stand at the bottom.")
    if len(chain.odd) > MOST_LABELS:
        found.append(
            f"{MOST_LABELS} of {len(chain.odd)} odd checkpoints have their reason beside them; the table has all."
        )
    if n_condition > chain.n_others:
        found.append(f"{chain.n_others} of {count(n_condition)} other runs of the condition are drawn.")
    return found
