"""Which checkpoints answer, and which stay out and why: suspect, superseded or without a result."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from archive.errors import UsageError
from archive.schema.base import CellState
from archive.store import Archive
from queries.reading.quantities import Choice, Quantity, Which
from queries.reading.select import Selected

# one pass over the ledger of some quantities: what is there but must not be used, and what is not there
_LEFT_OUT_SQL = """\
WITH asked AS (SELECT unnest($quantity_ids) AS quantity_id, unnest($run_ids) AS run_id),
measured AS (
  SELECT subject_id AS checkpoint_id, quantity_id, state FROM cell
  WHERE subject_kind = 1 AND quantity_id IN (SELECT unnest($quantity_ids))
), judged AS (
  SELECT c.*, m.quantity_id, m.state, m.state = 1 AND ($with_suspect OR NOT c.suspect) AS usable
  FROM measured m
  JOIN v_checkpoint c ON c.checkpoint_id = m.checkpoint_id
  JOIN asked a ON a.quantity_id = m.quantity_id AND a.run_id = c.run_id
)
SELECT checkpoint_id, run, step, snapshot, integrity, integrity_note, integrity_link, state, usable
FROM judged
QUALIFY NOT usable
     OR row_number() OVER (PARTITION BY quantity_id, run_id, step, usable ORDER BY suspect, checkpoint_id DESC) > 1
ORDER BY run_id, step, checkpoint_id, quantity_id"""

_AT_SQL = """\
SELECT c.id AS checkpoint_id, c.run_id, c.step
FROM cell l
JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id
  AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
  AND ($step IS NULL OR c.step = $step)
QUALIFY row_number() OVER (PARTITION BY c.run_id ORDER BY c.step DESC) = 1
ORDER BY c.run_id"""

_STEPS_SQL = """\
SELECT DISTINCT c.step FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id
  AND c.run_id IN (SELECT unnest($run_ids))
ORDER BY abs(c.step - $step) LIMIT 3"""

Step = Annotated[
    int | Literal["final"],
    Field(union_mode="left_to_right", description="a step, or final = the last checkpoint of each run"),
]


@dataclass(frozen=True)
class Picked:
    """One checkpoint per run: run_id -> (checkpoint_id, step)."""

    at: dict[int, tuple[int, int]]

    @property
    def ids(self) -> list[int]:
        """checkpoint_id of every picked checkpoint."""
        return [checkpoint for checkpoint, _ in self.at.values()]

    @property
    def steps(self) -> list[int]:
        """The distinct steps, ascending."""
        return sorted({step for _, step in self.at.values()})

    @property
    def place(self) -> str:
        """Where that is, in words."""
        first, last = self.steps[0], self.steps[-1]
        return f"step {first:,}" if first == last else f"each run's last step ({first:,} to {last:,})"


@dataclass(frozen=True)
class LeftOut:
    """One checkpoint an answer leaves out. why: its integrity state, "superseded", or its cell's state."""

    checkpoint_id: int
    run: str
    step: int
    snapshot: str
    why: str
    note: str = ""


@dataclass(frozen=True)
class LeftOuts:
    """All checkpoints left out of an answer; only `measured` ones have rows that must be kept away."""

    measured: tuple[LeftOut, ...] = ()
    unmeasured: tuple[LeftOut, ...] = ()

    @property
    def ids(self) -> list[int]:
        """checkpoint_id of rows to keep out of the answer."""
        return [c.checkpoint_id for c in self.measured]

    @property
    def limits(self) -> tuple[str, ...]:
        """What to say about them: counts by reason, with the first one named."""
        return tuple(
            f"{n} checkpoint(s) left out as {why} (first: {first.run} step {first.step}"
            f"{': ' + first.note if first.note else ''})."
            for (why, n), first in (
                (entry, next(c for c in self.measured if c.why == entry[0]))
                for entry in Counter(c.why for c in self.measured).items()
            )
        ) + tuple(
            f"{n} checkpoint(s) have no value: {why} (`pathscope status` names them)."
            for why, n in Counter(c.why for c in self.unmeasured).items()
        )


def find_left_out(archive: Archive, choice: Choice, which: Which) -> LeftOuts:
    """Which checkpoints of the chosen runs must stay out of an answer from the chosen quantity.

    Suspect ones (unless which["with_suspect"]), and all but the newest of several snapshots of one step.
    """
    return find_left_outs(archive, [choice], which)


def find_left_outs(archive: Archive, choices: Iterable[Choice], which: Which) -> LeftOuts:
    """The same of several quantities with one statement, each checkpoint once."""
    odd = [choice for choice in choices if choice.n_odd]
    if not odd:
        return LeftOuts()
    # several choices may be of one quantity, such as two parts of it
    asked = sorted({(c.quantity.quantity_id, run) for c in odd for run in c.selected.ids})
    parameters = {
        "quantity_ids": [quantity for quantity, _ in asked],
        "run_ids": [run for _, run in asked],
        "with_suspect": which.get("with_suspect", False),
    }
    measured: dict[int, LeftOut] = {}
    unmeasured: dict[int, LeftOut] = {}
    for row in archive.rows(_LEFT_OUT_SQL, parameters):
        if row["state"] != CellState.DONE:
            why = CellState(row["state"]).name.lower().replace("_", " ")
        else:
            why = "superseded by a newer snapshot" if row["usable"] else f"suspect ({row['integrity']})"
        note = " ".join(t for t in (row["integrity_note"], row["integrity_link"]) if t)
        entry = LeftOut(row["checkpoint_id"], row["run"], row["step"], row["snapshot"], why, note)
        (measured if row["state"] == CellState.DONE else unmeasured)[entry.checkpoint_id] = entry
    return LeftOuts(tuple(measured.values()), tuple(unmeasured.values()))


def pick_checkpoints(
    archive: Archive, selected: Selected, quantity: Quantity, left_out: LeftOuts, step: int | Literal["final"]
) -> Picked:
    """The checkpoint of each run at `step` (or its last one) that has a usable value of `quantity`.

    Runs without one are not in the result. Raises UsageError naming the nearest steps when no run has it.
    """
    parameters = {"quantity_id": quantity.quantity_id, "run_ids": selected.ids}
    wanted = None if step == "final" else step
    rows = archive.rows(_AT_SQL, {**parameters, "left_out": left_out.ids, "step": wanted})
    if not rows:
        if wanted is None:
            raise UsageError(
                f"every checkpoint with {quantity.measure} is left out ({' '.join(left_out.limits)}); "
                "with_suspect=True uses suspect ones."
            )
        near = [str(r["step"]) for r in archive.rows(_STEPS_SQL, {**parameters, "step": wanted})]
        raise UsageError(
            f"no run has {quantity.measure} at step {wanted}; the nearest steps are {', '.join(near)} "
            "(or step='final')."
        )
    return Picked({r["run_id"]: (r["checkpoint_id"], r["step"]) for r in rows})
