"""What the Trajectory page asks for: which runs have inner products, how many can be told apart, what was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from queries.reading.select import RunSelection, Selected
from queries.reading.trajectories import MEASURES
from queries.trajectory_pca import TrajectoryPca
from ui.models.palette import STROKES
from ui.models.text import distinguish

# runs that can be told apart in one picture, which also bounds the random walks that are simulated
MOST_RUNS = len(STROKES)

_HAVING_SQL = """\
SELECT DISTINCT f.run_id, q.measure
FROM fact_vector f JOIN v_quantity q ON q.quantity_id = f.quantity_id
WHERE q.measure IN (SELECT unnest($measures))"""


@dataclass(frozen=True)
class TrajectoryChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    of: str
    picture: str = "planes"
    weighting: str = "log time"
    after_step: int = 0
    x_scale: str = "log"


def runs_by_object(archive: Archive) -> dict[str, frozenset[int]]:
    """What moves ("weights", "logits") -> run_id of every run with its inner products; only what is there."""
    rows = archive.rows(_HAVING_SQL, {"measures": list(MEASURES.values())})
    found = {of: frozenset(r["run_id"] for r in rows if r["measure"] == m) for of, m in MEASURES.items()}
    return {of: runs for of, runs in found.items() if runs}


def drawn_runs(selected: Selected, selection: RunSelection) -> tuple[RunSelection, int, int]:
    """(what to ask for, runs drawn, runs there): the first runs in the archive's order, each in a stroke of its own."""
    n = len(selected.runs)
    if n <= MOST_RUNS:
        return selection, n, n
    names = tuple(r.run for r in selected.runs[:MOST_RUNS])
    return selection.model_copy(update={"names": names}), MOST_RUNS, n


def runs_table(found: TrajectoryPca) -> pa.Table:
    """One row a run: shares of its components, its largest turn, and those of its random walks."""
    shares: dict[str, dict[str, float]] = {}
    for row in found.shares.to_pylist():
        mine = shares.setdefault(row["run"], {})
        mine[f"PC{row['component']}"] = row["share"]
        mine[f"PC{row['component']} of walks"] = row["null_share"]
    turns = found.summary.to_pylist() if found.summary is not None else []
    keys = ("n_checkpoints", "turn_degrees", "turn_step", "null_turn", "null_turn_q95", "p_turn")
    labels = distinguish([r["run"] for r in turns]) if turns else []
    return pa.Table.from_pylist(
        [
            {"run": label, **{k: r[k] for k in keys}, **shares.get(r["run"], {})}
            for label, r in zip(labels, turns, strict=True)
        ]
    )


def walks_in_words(found: TrajectoryPca) -> str:
    """What a long, evenly weighted random walk shows, beside which shares are to be read."""
    closed = {r["component"]: r["closed_form"] for r in found.shares.to_pylist()}
    shares = " / ".join(f"{closed[c]:.1%}" for c in sorted(closed))
    return (
        f"A long random walk in many dimensions has {shares} by itself, and draws a smooth curve with a turn."
    )


def missing_of(limits: Sequence[str]) -> tuple[list[str], list[str]]:
    """(what is not in the picture, what it cannot tell)."""
    missing: list[str] = []
    fine: list[str] = []
    for line in dict.fromkeys(limits):
        line = line.replace("'excluded:too' brings them in", "the switch in the sidebar brings them in")
        out = any(words in line for words in ("left out", "have no such", "checkpoints than", "fewer than"))
        (missing if out else fine).append(line)
    return missing, fine
