"""What else is known of one head: its partners by composition, where it looks, and its other scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from archive.store import Archive
from queries.head import PROFILES, Head
from queries.results import readable_sql
from ui.models.axes import GRID, LINE, NO_GRID
from ui.models.palette import HUES
from ui.models.text import escape_plotly, plural

HEIGHT = 260
MOST_BARS = 64

# what is known beside scores is measured on few checkpoints: only there can the answer change
_STEPS_SQL = """\
SELECT DISTINCT c.step
FROM cell l
JOIN checkpoint c ON c.id = l.subject_id
JOIN run r ON r.id = c.run_id
WHERE l.subject_kind = 1 AND l.state = 1 AND r.name = $run
  AND l.quantity_id IN (SELECT quantity_id FROM v_quantity
                        WHERE table_name IN ('fact_head_pair', 'fact_attention') OR measure IN (SELECT unnest($measures)))
ORDER BY c.step"""

_PROFILE_SQL = """\
SELECT r.name AS run, c.step, q.measure, q.eval_set, q.params_json, f."values"
FROM fact_vector f
JOIN v_quantity q ON q.quantity_id = f.quantity_id
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE r.name = $run AND c.step = $step AND q.measure = $measure AND q.eval_set = $eval_set
  AND f.layer = $layer AND f.unit = $head"""


def sparse_steps(archive: Archive, *, run: str) -> tuple[int, ...]:
    """Checkpoints of a run with partners, profiles or patterns, ascending."""
    rows = archive.rows(_STEPS_SQL, {"run": run, "measures": list(PROFILES)})
    return tuple(int(row["step"]) for row in rows)


def last_of(steps: Sequence[int], step: int) -> int:
    """The last of the steps not after `step`; 0 where there is none. An answer at either is the same."""
    return max((s for s in steps if s <= step), default=0)


def partners_table(found: Head, run: str) -> pa.Table:
    """Partners of one run, the largest z first: partner, way (what it does by which of Q, K and V), z, score, baseline."""
    rows = [r for r in found.partners.to_pylist() if r["run"] == run]
    rows.sort(key=lambda r: -r["z"])
    columns = ("partner", "way", "z", "score", "baseline")
    told = [{**r, "way": f"{r['direction']}, {r['mode'].upper()}"} for r in rows]
    return pa.Table.from_pylist(
        [{c: r[c] for c in columns} for r in told],
        schema=pa.schema([(c, pa.string() if c in ("partner", "way") else pa.float64()) for c in columns]),
    )


def partners_step(found: Head, run: str) -> int | None:
    """The checkpoint that the partners are from; None where there are none."""
    return next((r["step"] for r in found.partners.to_pylist() if r["run"] == run), None)


def scores_table(found: Head, run: str) -> pa.Table:
    """Every score of the head in one run: score, eval_set, first, last, chance, last_z, largest, largest_at."""
    summary = found.summary
    assert summary is not None, "an answer about a head always has a summary"
    columns = ["score", "eval_set", "first", "last", "chance", "last_z", "largest", "largest_at"]
    mine = [r for r in summary.to_pylist() if r["run"] == run]
    rows = [{c: _blank(r[c]) for c in columns} for r in mine]
    return pa.Table.from_pylist(rows, schema=pa.schema([summary.schema.field(c) for c in columns]))


def profiles(found: Head, run: str) -> list[dict[str, Any]]:
    """Where the head looks, a row a profile: profile, eval_set, step, labels, values."""
    return [r for r in found.profiles.to_pylist() if r["run"] == run and r["values"]]


def profile_sql(profile: dict[str, Any], layer: int, head: int) -> str:
    """The statement that gives a profile's numbers."""
    measure = next(m for m, (kind, _) in PROFILES.items() if kind == profile["profile"])
    place = {name: profile[name] for name in ("run", "step", "eval_set")}
    return readable_sql(_PROFILE_SQL, {**place, "measure": measure, "layer": layer, "head": head})


def profile_table(profile: dict[str, Any]) -> pa.Table:
    """Every bar, also those that are not drawn: run, eval_set, step, what the profile is over, share."""
    known = profile["labels"] or []
    return pa.Table.from_pylist(
        [
            {
                **{name: profile[name] for name in ("run", "eval_set", "step")},
                profile["profile"]: str(known[k]) if k < len(known) else str(k),
                "value": value,
            }
            for k, value in enumerate(profile["values"])
        ]
    )


def profile_figure(profile: dict[str, Any], *, unit: str) -> go.Figure:
    """Bars: the share of attention by distance, or by kind of token."""
    labels = _labels(profile)
    values = np.asarray(profile["values"], float)[:MOST_BARS]
    figure = go.Figure(
        go.Bar(
            x=list(range(len(values))),
            y=values,
            marker={"color": HUES[0]},
            hovertext=[f"{label}: {value:.4g}" for label, value in zip(labels, values, strict=True)],
            hoverinfo="text",
        )
    )
    every = max(1, len(values) // 16)
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 56, "t": 8, "b": 52, "r": 8},
        xaxis={
            "title": {"text": _axis(profile), "standoff": 8},
            "tickvals": list(range(0, len(values), every)),
            "ticktext": labels[::every],
            **LINE,
            **NO_GRID,
        },
        yaxis={"title": {"text": unit or "value", "standoff": 8}, **LINE, **GRID},
        showlegend=False,
    )
    return figure


def profile_in_words(profile: dict[str, Any], head: str) -> str:
    """The figure as a sentence, for those who do not see it."""
    values = np.asarray(profile["values"], float)
    start = (
        f"Bars of where {head} of {profile['run']} looks by {profile['profile']} at step {profile['step']:,}"
    )
    if not np.isfinite(values).any():
        return f"{start}: no share is finite."
    at = int(np.nanargmax(values))
    label = profile["labels"][at] if profile["labels"] and at < len(profile["labels"]) else str(at)
    return f"{start}, {plural(len(values), 'bar')}. Largest: {values[at]:.3g} at {label}."


def _labels(profile: dict[str, Any]) -> list[str]:
    n = min(len(profile["values"]), MOST_BARS)
    known = profile["labels"] or []
    return [escape_plotly(str(known[i])) if i < len(known) else str(i) for i in range(n)]


def _axis(profile: dict[str, Any]) -> str:
    if profile["profile"] == "distance":
        return "tokens back, from"
    return "kind of token looked at"


def _blank(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
