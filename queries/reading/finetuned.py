"""Runs that go on from others: where each began, the losses of both on every eval set, and over training."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from queries.reading.checkpoint_pairs import MOST_PAIRS, Pair, Point
from queries.reading.checkpoints import LeftOuts
from queries.reading.lineage import Lineages
from queries.reading.quantities import Choice
from queries.reading.refusals import eval_set_names
from queries.reading.select import RunRow, RunSelection, Selected, select_runs
from queries.reading.tables import stretches
from queries.results import readable_sql

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# every checkpoint that has losses; of runs that were tuned also their sums by document, for the curve
_SQL = """\
WITH places AS (
  SELECT l.quantity_id, c.run_id, c.id AS checkpoint_id, c.step, c.integrity, c.integrity_note, c.weights_hash
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($quantity_ids))
    AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
), losses AS (
  SELECT f.quantity_id, f.checkpoint_id, CASE WHEN s.document >= 0 THEN s.document ELSE -1 - f.sequence END AS document,
         sum(list_sum(list_filter(f."values", x -> isfinite(x)))::DOUBLE) AS total,
         sum(len(list_filter(f."values", x -> isfinite(x)))) AS n
  FROM fact_token f
  JOIN quantity q ON q.id = f.quantity_id
  LEFT JOIN content_sequence s ON s.encoding_id = q.encoding_id AND s.sequence = f.sequence
  WHERE f.quantity_id IN (SELECT unnest($quantity_ids)) AND f.run_id IN (SELECT unnest($tuned_ids))
  GROUP BY ALL
)
SELECT p.quantity_id, p.run_id, p.checkpoint_id, p.step AS at_step, p.integrity, p.integrity_note, p.weights_hash,
       coalesce(d.document, -1) AS document, coalesce(d.total, 0) AS total_loss, coalesce(d.n, 0) AS n
FROM places p
LEFT JOIN losses d ON d.quantity_id = p.quantity_id AND d.checkpoint_id = p.checkpoint_id
ORDER BY p.quantity_id, p.run_id, p.step, d.document"""


@dataclass(frozen=True)
class Tuned:
    """A run and the one it goes on from."""

    run: RunRow
    base: RunRow


@dataclass(frozen=True)
class Place:
    """One checkpoint with losses. documents, totals, counts: of its finite losses by document, empty for a base."""

    point: Point
    weights_hash: str
    documents: Ints
    totals: Floats
    counts: Floats


@dataclass(frozen=True)
class Began:
    """Where a tuned run began (a), where it is looked at (b), and what says so; near: two adjacent ones of the base."""

    tuned: Tuned
    pair: Pair
    why: str
    near: Pair | None
    curve: tuple[Place, ...]


def find_tuned(
    archive: Archive, runs: RunSelection | str | Sequence[str], base: str
) -> tuple[Selected, list[Tuned], list[str]]:
    """Runs asked for that go on from another one of the archive, that one, and what to say of runs that do not.

    base: only those that go on from it. The selection holds both kinds. One statement, two where a base is not among the
    runs asked for. Raises UsageError where there is none, UnknownName for a base that is no run.
    """
    asked = RunSelection.of(runs)
    selected = select_runs(archive, asked)
    known = (*selected.runs, *selected.excluded)
    names = {name for run in known for name in (*run.names, run.run)}
    elsewhere = any(run.parent_run and run.parent_run not in names for run in selected.runs)
    whole = select_runs(archive, RunSelection(with_excluded=True)).runs if elsewhere else known
    lineages = Lineages(whole)
    if base and base not in lineages.by_name:
        every = Lineages.of(archive).by_name
        if base not in every:
            raise UnknownName.of("run", base, every, listing="`pathscope sql 'SELECT run FROM v_run'`")
    found, excluded, absent = [], [], []
    for run in selected.runs:
        parent = lineages.parent(run)
        if parent is None:
            absent += [run] if run.parent_run else []
        elif base and base not in (*parent.names, parent.run):
            continue
        elif parent.excluded and not asked.with_excluded:
            excluded.append(Tuned(run, parent))
        else:
            found.append(Tuned(run, parent))
    if not found:
        raise UsageError(_no_lineage(selected, base, absent, excluded))
    if len(found) > MOST_PAIRS:
        raise UsageError(
            f"{len(found)} runs go on from another one; this question takes up to {MOST_PAIRS}: choose fewer with --runs, or "
            "those of one run with --base."
        )
    lines = []
    if absent:
        lines.append(
            f"{len(absent)} run(s) go on from one that the archive does not have (first: {absent[0].run}, from "
            f"{absent[0].parent_run}) and are not in the answer."
        )
    if excluded:
        lines.append(
            f"{len(excluded)} run(s) go on from an excluded one (first: {excluded[0].run}, from {excluded[0].base.run}) and "
            "are not in the answer; 'excluded:too' brings them in."
        )
    taking_part = {r.run_id: r for tuned in found for r in (tuned.base, tuned.run)}
    return Selected(tuple(taking_part[k] for k in sorted(taking_part)), selected.excluded), found, lines


def choose_losses(
    found: Sequence[Choice], tuned: Sequence[Tuned], wanted: Sequence[str]
) -> tuple[dict[str, Choice], list[str]]:
    """Losses of tokens by the name of their eval set, of those that a tuned run and its base both have.

    wanted: names of eval sets; empty: all. Raises UnknownName for one that is not there, NotComparable where one has
    several variants, or none is common to a run and its base.
    """
    kept = [c for c in found if not wanted or any(c.quantity.is_on(name) for name in wanted)]
    for name in wanted:
        if not any(c.quantity.is_on(name) for c in found):
            raise UnknownName.of(
                "eval set with token_loss of these runs",
                name,
                {c.quantity.eval_set for c in found},
                listing="`pathscope sql 'FROM v_encoding'`",
            )
    hashes = Counter(c.quantity.encoding_hash for c in kept)
    twice = next((c for c in kept if hashes[c.quantity.encoding_hash] > 1), None)
    if twice is not None:
        raise NotComparable(
            f"token_loss on {twice.quantity.eval_set} is there in several variants (dtype, source or weight processing); "
            f"choose one, such as dtype={twice.quantity.dtype!r} or source={twice.quantity.source!r}."
        )
    common = [c for c in kept if any({t.run.run_id, t.base.run_id} <= set(c.selected.ids) for t in tuned)]
    if not common:
        first = tuned[0]
        raise NotComparable(
            f"no eval set has token_loss of both {first.run.run} and {first.base.run}, which it goes on from, on the same "
            "tokens; a study with the eval set of one that loads the other, or `pathscope ingest STUDY.toml --fill token_loss`, "
            "measures it."
        )
    names = eval_set_names(
        (c.quantity.eval_set, c.quantity.tokenizer, c.quantity.encoding_hash) for c in kept
    )
    without = sorted(names[c.quantity.encoding_hash] for c in kept if c not in common)
    lines = (
        [f"Not used, because no tuned run and its base both have it: token_loss on {', '.join(without)}."]
        if without
        else []
    )
    return {names[c.quantity.encoding_hash]: c for c in common}, lines


def read_places(
    archive: Archive, choices: Sequence[Choice], tuned: Sequence[Tuned], left_out: LeftOuts
) -> tuple[dict[int, dict[int, dict[int, Place]]], str]:
    """Checkpoints with losses: quantity_id -> run_id -> step -> place, and the statement."""
    runs = {r.run_id: r for t in tuned for r in (t.run, t.base)}
    parameters: dict[str, object] = {
        "quantity_ids": sorted(c.quantity.quantity_id for c in choices),
        "run_ids": sorted(runs),
        "tuned_ids": sorted(t.run.run_id for t in tuned),
        "left_out": left_out.ids,
    }
    rows = archive.query(_SQL, parameters)
    found: dict[int, dict[int, dict[int, Place]]] = {}
    for start, end in zip(*stretches(rows, ["quantity_id", "checkpoint_id"]), strict=True):
        place = _place(rows.slice(int(start), int(end - start)), runs)
        of_quantity = found.setdefault(rows["quantity_id"][int(start)].as_py(), {})
        of_quantity.setdefault(place.point.run_id, {})[place.point.step] = place
    return found, readable_sql(_SQL, parameters)


def begin(
    tuned: Tuned,
    places: Mapping[int, Mapping[int, Place]],
    base_step: int | str,
    step: int | str,
) -> Began | str:
    """Where a tuned run began, on one eval set, or why that is not known.

    At the checkpoint of its base whose weights its own first one has, or at its own step 0, which is the same; else at the
    base's last. base_step: a step of the base instead. The yardstick is the base's last two checkpoints up to there.
    """
    own, of_base = places.get(tuned.run.run_id, {}), places.get(tuned.base.run_id, {})
    if not own or not of_base:
        return f"{(tuned.run if not own else tuned.base).run} has no usable token_loss there"
    if isinstance(step, int) and step not in own:
        return f"{tuned.run.run} has none at step {step} (nearest: {_near(own, step)})"
    end = own[step if isinstance(step, int) else max(own)]
    first = own[min(own)]
    hashes = {h for h in (first.weights_hash, tuned.run.init_hash) if h}
    equal = [s for s, place in of_base.items() if place.weights_hash in hashes]
    if isinstance(base_step, int):
        if base_step not in of_base:
            return f"{tuned.base.run} has none at step {base_step} (nearest: {_near(of_base, base_step)})"
        start, why = of_base[base_step], "as asked for"
    elif base_step == "final":
        start, why = of_base[max(of_base)], "as asked for"
    elif equal:
        start, why = of_base[max(equal)], "whose weights it began with"
    elif first.point.step == 0:
        start, why = first, "before its first update"
    else:
        start, why = of_base[max(of_base)], "the last there is; where it really began was not recorded"
    if start.point.checkpoint_id == end.point.checkpoint_id:
        return f"{tuned.run.run} has no checkpoint after step {end.point.step}"
    until = start.point.step if start.point.run_id == tuned.base.run_id else max(of_base)
    before = sorted(s for s in of_base if s <= until)
    near = Pair(of_base[before[-2]].point, of_base[before[-1]].point) if len(before) > 1 else None
    curve = tuple(own[s] for s in sorted(own) if s <= end.point.step)
    return Began(tuned, Pair(start.point, end.point), why, near, curve)


def _place(rows: pa.Table, runs: Mapping[int, RunRow]) -> Place:
    row: dict[str, Any] = rows.slice(0, 1).to_pylist()[0]
    doubt = "" if row["integrity"] == "ok" else f"{row['integrity']}: {row['integrity_note']}".rstrip(": ")
    point = Point(row["run_id"], runs[row["run_id"]].run, row["at_step"], row["checkpoint_id"], doubt)
    counts = rows["n"].to_numpy().astype(np.float64)
    known = counts > 0
    return Place(
        point,
        row["weights_hash"] or "",
        rows["document"].to_numpy().astype(np.int64)[known],
        rows["total_loss"].to_numpy().astype(np.float64)[known],
        counts[known],
    )


def _near(places: Mapping[int, Place], step: int) -> str:
    return ", ".join(map(str, sorted(places, key=lambda s: abs(s - step))[:3]))


def _no_lineage(selected: Selected, base: str, absent: Sequence[RunRow], excluded: Sequence[Tuned]) -> str:
    if excluded:
        one = excluded[0]
        return (
            f"{one.run.run} goes on from {one.base.run}, which is excluded ({one.base.exclusion_reason}); add 'excluded:too' to "
            "the runs to use it all the same."
        )
    if absent:
        one_run = absent[0]
        return (
            f"{one_run.run} goes on from {one_run.parent_run!r}, which is no run of {len(selected.runs)} asked for nor any other "
            "of the archive; `pathscope ingest` or `pathscope import` brings it in."
        )
    which = f" goes on from {base}" if base else " goes on from another one (parent_run)"
    return (
        f'none of the {len(selected.runs)} runs asked for{which}; `pathscope sql "SELECT run, parent_run FROM v_run WHERE '
        "parent_run <> ''\"` lists those that do, `Recorder(..., parent_run=...)` and `parent_run` in family_params record it."
    )
