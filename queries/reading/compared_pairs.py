"""Comparisons of two models that are stored: which pairs of runs have one, at which checkpoints, and which stay out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa

from archive.errors import NotComparable, PathscopeError, UnknownName, UsageError
from archive.schema.base import CellState
from archive.store import Archive
from queries.reading.checkpoint_pairs import numbering
from queries.reading.checkpoints import LeftOut, LeftOuts, Step
from queries.reading.quantities import Choice, Which
from queries.reading.select import Selected

# of each ordered pair of runs the checkpoints asked for and the first ones; what must not be used is told too
_PAIRS_SQL = """\
WITH judged AS (
  SELECT k.id AS pair_id, l.state, l.state = 1 AND ($with_suspect OR NOT (a.suspect OR b.suspect)) AS usable,
         a.run_id AS run_id_a, a.step AS step_a, b.run_id AS run_id_b, b.step AS step_b,
         a.checkpoint_id AS checkpoint_a, a.snapshot AS snapshot_a, a.integrity AS integrity_a,
         concat_ws(' ', nullif(a.integrity_note, ''), nullif(a.integrity_link, '')) AS note_a,
         b.checkpoint_id AS checkpoint_b, b.snapshot AS snapshot_b, b.integrity AS integrity_b,
         concat_ws(' ', nullif(b.integrity_note, ''), nullif(b.integrity_link, '')) AS note_b
  FROM cell l
  JOIN checkpoint_pair k ON k.id = l.subject_id
  JOIN v_checkpoint a ON a.checkpoint_id = k.checkpoint_a
  JOIN v_checkpoint b ON b.checkpoint_id = k.checkpoint_b
  WHERE l.subject_kind = 2 AND l.quantity_id = $quantity_id
    AND a.run_id IN (SELECT unnest($run_ids)) AND b.run_id IN (SELECT unnest($run_ids))
), newest AS (
  SELECT * FROM judged WHERE usable
  QUALIFY row_number() OVER (PARTITION BY run_id_a, step_a, run_id_b, step_b
                             ORDER BY checkpoint_a DESC, checkpoint_b DESC) = 1
), asked AS (
  SELECT * FROM newest WHERE $step IS NULL OR step_b = $step
  QUALIFY row_number() OVER (PARTITION BY run_id_a, run_id_b ORDER BY coalesce(step_a = $step, false) DESC,
                             least(step_a, step_b) DESC, greatest(step_a, step_b) DESC) = 1
), earliest AS (
  SELECT * FROM newest
  QUALIFY row_number() OVER (PARTITION BY run_id_a, run_id_b
                             ORDER BY least(step_a, step_b), greatest(step_a, step_b)) = 1
)
SELECT *, (SELECT e.n_tokens - 2 * coalesce(e.n_sequences, 0) FROM v_quantity q JOIN v_encoding e USING (encoding_id)
           WHERE q.quantity_id = $quantity_id) AS n_tokens
FROM (SELECT 'asked' AS part, * FROM asked
      UNION ALL SELECT 'first', * FROM earliest
      UNION ALL SELECT 'left out', * FROM judged WHERE NOT usable)
ORDER BY ALL"""

_STEPS_SQL = """\
SELECT DISTINCT b.step
FROM cell l
JOIN checkpoint_pair k ON k.id = l.subject_id
JOIN checkpoint b ON b.id = k.checkpoint_b
WHERE l.subject_kind = 2 AND l.state = 1 AND l.quantity_id = $quantity_id AND b.run_id IN (SELECT unnest($run_ids))
ORDER BY abs(b.step - $step) LIMIT 3"""


@dataclass(frozen=True)
class Compared:
    """One stored comparison of checkpoint a with checkpoint b, in that order; checkpoint_a, checkpoint_b: their ids.

    shared: whether units of one number began as the same unit in both (a run with itself, one init, one lineage), and why.
    """

    pair_id: int
    run_id_a: int
    run_id_b: int
    step_a: int
    step_b: int
    checkpoint_a: int
    checkpoint_b: int
    shared: bool
    why: str

    @property
    def ends(self) -> tuple[int, int]:
        """Both runs."""
        return self.run_id_a, self.run_id_b


@dataclass(frozen=True)
class ComparedPairs:
    """Comparisons that answer. first: those of the earliest checkpoints of the same runs, where both are earlier.

    n_tokens: of the eval set that are read, all but the first and last of every sequence; 0 where that is not known.
    """

    at: tuple[Compared, ...]
    first: Mapping[tuple[int, int], Compared]
    left_out: LeftOuts
    notes: tuple[str, ...]
    n_tokens: int

    @property
    def run_ids(self) -> list[int]:
        """Every run that takes part."""
        return sorted(set(chain.from_iterable(p.ends for p in self.at)))

    @property
    def ids(self) -> list[int]:
        """pair_id of all of them, the first ones included."""
        return sorted({p.pair_id for p in (*self.at, *self.first.values())})

    @property
    def steps(self) -> list[int]:
        """The distinct steps, ascending."""
        return sorted({step for p in self.at for step in (p.step_a, p.step_b)})

    @property
    def place(self) -> str:
        """Where that is, in words."""
        first, last = self.steps[0], self.steps[-1]
        return f"step {first:,}" if first == last else f"steps {first:,} to {last:,}"

    def only(self, pairs: Sequence[Compared]) -> "ComparedPairs":
        """The same with fewer pairs."""
        ends = {p.ends for p in pairs}
        first = {key: p for key, p in self.first.items() if key in ends}
        return ComparedPairs(tuple(pairs), first, self.left_out, self.notes, self.n_tokens)


def how_to_compare(measure: str) -> str:
    """What to write into a study so that a comparison is there, as sentences."""
    return (
        'A study with [load] and [compare] makes it: [compare] pairs = "same step", both_orders = true, [[eval_sets]] such as '
        f'kind = "stdlib", and [measures] names = ["{measure}"] (docs/studies.md).'
    )


def chosen_comparison(
    found: Choice | UsageError | NotComparable, measure: str, which: Which, selected: Selected | None = None
) -> Choice:
    """The choice, or its error with what to write into a study where nothing was compared.

    selected: the runs asked about; of one alone measuring more of it helps less than another one.
    """
    if isinstance(found, Choice):
        return found
    one = isinstance(found, UsageError) and not isinstance(found, UnknownName) and selected is not None
    if one and selected is not None and len(selected.runs) == 1:
        raise UsageError(
            f"{selected.runs[0].run} alone was asked about, and it was compared with nothing of its own: {measure} is of two "
            f"checkpoints. Ask for another seed beside it (--runs takes several). {how_to_compare(measure)}"
        )
    raise refused(found, measure, which)


def refused(error: UsageError | NotComparable, measure: str, which: Which) -> PathscopeError:
    """The error to raise: where nothing of the kind is there, with the part of a study that makes it."""
    if isinstance(error, NotComparable):
        return error
    if isinstance(error, UnknownName):
        return UsageError(
            f"this archive holds no {measure}, which two models are compared by. {how_to_compare(measure)}"
        )
    return error if which else UsageError(f"{error} {how_to_compare(measure)}")


def pick_compared(archive: Archive, choice: Choice, step: Step, which: Which) -> ComparedPairs:
    """The comparison of every ordered pair of runs at `step`, and at the first checkpoints.

    step: final takes of each pair the latest checkpoints that were compared; a number those with b at that step, and a too
    where there is such a one. Raises UsageError naming the nearest steps where there is none.
    """
    parameters: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "with_suspect": which.get("with_suspect", False),
        "step": step if isinstance(step, int) else None,
    }
    rows = archive.query(_PAIRS_SQL, parameters)
    by_part = {
        name: rows.filter(pa.array([part == name for part in rows["part"].to_pylist()])).to_pylist()
        for name in ("asked", "first", "left out")
    }
    left_out, notes = _left_out(choice.selected, by_part["left out"])
    at = [_compared(choice.selected, row) for row in by_part["asked"]]
    if not at:
        raise _nothing(archive, choice, parameters, left_out, notes)
    earliest = {p.ends: p for p in (_compared(choice.selected, row) for row in by_part["first"])}
    first = {
        p.ends: earliest[p.ends]
        for p in at
        if earliest[p.ends].step_a < p.step_a and earliest[p.ends].step_b < p.step_b
    }
    n_tokens = max(0, by_part["asked"][0]["n_tokens"] or 0)
    return ComparedPairs(tuple(at), first, left_out, notes, n_tokens)


def _compared(selected: Selected, row: Mapping[str, int]) -> Compared:
    ends = row["run_id_a"], row["run_id_b"]
    shared, why = numbering(*(selected.by_id[run] for run in ends))
    return Compared(
        pair_id=row["pair_id"],
        run_id_a=ends[0],
        run_id_b=ends[1],
        **{name: row[name] for name in ("step_a", "step_b", "checkpoint_a", "checkpoint_b")},
        shared=shared,
        why=why,
    )


def _left_out(selected: Selected, rows: Sequence[Mapping[str, object]]) -> tuple[LeftOuts, tuple[str, ...]]:
    """Suspect checkpoints that were compared, and how many pairs have no result."""
    suspect: dict[object, LeftOut] = {}
    without: list[str] = []
    for row in rows:
        names = [selected.by_id[int(str(row[f"run_id_{end}"]))].run for end in "ab"]
        if row["state"] != CellState.DONE:
            state = CellState(int(str(row["state"]))).name.lower().replace("_", " ")
            without.append(f"{names[0]} step {row['step_a']} with {names[1]} step {row['step_b']}: {state}")
            continue
        for end, name in zip("ab", names, strict=True):
            if row[f"integrity_{end}"] != "ok":
                checkpoint, step = (int(str(row[f"{of}_{end}"])) for of in ("checkpoint", "step"))
                suspect[checkpoint] = LeftOut(
                    checkpoint,
                    name,
                    step,
                    str(row[f"snapshot_{end}"]),
                    f"suspect ({row[f'integrity_{end}']})",
                    str(row[f"note_{end}"]),
                )
    notes = (
        (
            f"{len(without)} pair(s) of checkpoints have no result (first: {without[0]}; `pathscope status` names them).",
        )
        if without
        else ()
    )
    return LeftOuts(tuple(suspect.values())), notes


def _nothing(
    archive: Archive,
    choice: Choice,
    parameters: Mapping[str, object],
    left_out: LeftOuts,
    notes: Sequence[str],
) -> UsageError:
    measure, step = choice.quantity.measure, parameters["step"]
    if step is None:
        why = " ".join((*left_out.limits, *notes))
        return UsageError(
            f"no comparison by {measure} can be used ({why}); with_suspect=True uses suspect checkpoints."
        )
    asked = {name: parameters[name] for name in ("quantity_id", "run_ids", "step")}
    near = ", ".join(str(row["step"]) for row in archive.rows(_STEPS_SQL, asked))
    return UsageError(
        f"no two runs are compared by {measure} at step {step}; the nearest steps are {near} (or step='final')."
    )


def in_one_order(picked: ComparedPairs, run_ids: Sequence[int]) -> ComparedPairs:
    """Of two runs compared in both orders the one in which they come in `run_ids`; for what is the same in both."""
    place = {run: k for k, run in enumerate(run_ids)}
    there = {p.ends for p in picked.at}
    kept = [p for p in picked.at if place[p.run_id_a] <= place[p.run_id_b] or p.ends[::-1] not in there]
    return picked.only(kept)
