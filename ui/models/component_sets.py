"""What was measured of heads and neurons: by measure, by eval set, and on which checkpoints of which runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from archive.store import Archive
from queries.reading.checkpoints import find_left_out
from queries.reading.quantities import VARIANT_FIELDS, Which, choose_quantity
from queries.reading.refusals import eval_set_names
from queries.reading.select import RunSelection, select_runs
from queries.reading.tables import in_order

# of the ledger, so that no fact is read; one row per quantity with a result
_SETS_SQL = """\
WITH done AS (
  SELECT l.quantity_id, count(DISTINCT c.run_id) AS n_runs
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1
  GROUP BY l.quantity_id
)
SELECT q.measure, q.version, q.unit, q.eval_set, q.encoding_hash, e.tokenizer, q.params_json, q.weight_processing, q.dtype,
       q.site, q.source, q.table_name, d.n_runs
FROM v_quantity q JOIN done d ON d.quantity_id = q.quantity_id
JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.table_name = $table
ORDER BY q.measure, q.version, q.quantity_id"""

# the same of what two checkpoints are compared by
_COMPARED_SQL = """\
WITH done AS (
  SELECT l.quantity_id, count(DISTINCT c.run_id) AS n_runs
  FROM cell l JOIN checkpoint_pair k ON k.id = l.subject_id JOIN checkpoint c ON c.id IN (k.checkpoint_a, k.checkpoint_b)
  WHERE l.subject_kind = 2 AND l.state = 1
  GROUP BY l.quantity_id
)
SELECT q.measure, q.version, q.unit, q.eval_set, q.encoding_hash, e.tokenizer, q.params_json, q.weight_processing, q.dtype,
       q.site, q.source, q.table_name, d.n_runs
FROM v_quantity q JOIN done d ON d.quantity_id = q.quantity_id
JOIN v_encoding e ON e.encoding_id = q.encoding_id
ORDER BY q.measure, q.version, q.quantity_id"""

_STEPS_SQL = """\
SELECT DISTINCT c.step
FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id AND c.run_id = $run_id
  AND c.id NOT IN (SELECT unnest($left_out))
ORDER BY c.step"""

# parameters that name a variant, as `queries.reading.variants.variant_label` reads them
_NAMING = ("variant", "mask")


class Labelled(Protocol):
    """Numbers as people tell them apart: by a label, by an eval set, and by the rest."""

    @property
    def label(self) -> str:
        """The measure, with its variant where it has several."""

    @property
    def eval_set(self) -> str:
        """Name of the eval set."""

    @property
    def rest(self) -> str:
        """What else tells it from others; "" where nothing does."""


S = TypeVar("S", bound=Labelled)


@dataclass(frozen=True)
class ComponentSet:
    """Numbers of one measure of components that may stand side by side: one eval set, one source, one set of parameters.

    label: the measure with its variant, where it has several. rest: what else tells it from others of that label and
    eval set; "" where nothing does. which: how to ask a query for it. table: the fact table it is kept in.
    """

    label: str
    measure: str
    eval_set: str
    rest: str
    which: Which
    unit: str
    n_runs: int
    table: str = ""


@dataclass(frozen=True)
class Measured:
    """Which runs have a measure of components, in the order people count; n_without: runs asked for that lack it."""

    runs: tuple[str, ...]
    n_without: int


def component_sets(archive: Archive, *, table: str) -> list[ComponentSet]:
    """Everything that is kept in one fact table, by label, the set on most runs first."""
    return _by_measure(archive.rows(_SETS_SQL, {"table": table}))


def compared_sets(archive: Archive) -> list[ComponentSet]:
    """The same of everything that two models are compared by, of all tables of pairs of checkpoints."""
    return _by_measure(archive.rows(_COMPARED_SQL))


def _by_measure(rows: Sequence[dict[str, Any]]) -> list[ComponentSet]:
    by_measure: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_measure.setdefault(row["measure"], []).append(row)
    found = [known for rows in by_measure.values() for known in _sets(rows)]
    return sorted(found, key=lambda s: (s.label, -s.n_runs, s.eval_set, s.rest))


def measured_runs(archive: Archive, *, selection: RunSelection, known: ComponentSet, table: str) -> Measured:
    """Runs of a selection that have the set; raises what `choose_quantity` does where they do not agree on one."""
    selected = select_runs(archive, selection)
    choice = choose_quantity(archive, selected, [known.measure], known.which, tables=(table,))
    names = [choice.selected.by_id[i].run for i in in_order(choice.selected, choice.selected.ids)]
    return Measured(tuple(names), len(choice.without))


def measured_steps(
    archive: Archive, *, run: str, known: ComponentSet, table: str, suspect: bool
) -> tuple[int, ...]:
    """Steps at which a run has the set, ascending, without suspect checkpoints unless they are wanted."""
    which = which_of(known, suspect=suspect)
    selected = select_runs(archive, named(run, excluded=True))
    selected = selected.only(r.run_id for r in selected.runs if run in r.names)
    choice = choose_quantity(archive, selected, [known.measure], which, tables=(table,))
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_id": choice.selected.ids[0],
        "left_out": find_left_out(archive, choice, which).ids,
    }
    return tuple(int(row["step"]) for row in archive.rows(_STEPS_SQL, parameters))


def named(*names: str, excluded: bool) -> RunSelection:
    """Runs by their names, where brackets and stars stand for themselves. excluded: they may be excluded ones."""
    literal = ("".join(f"[{c}]" if c in "*?[" else c for c in name) for name in names)
    return RunSelection(names=tuple(literal), with_excluded=excluded)


def which_of(known: ComponentSet, *, suspect: bool) -> Which:
    """How to ask a query for the set."""
    return Which(**known.which, with_suspect=True) if suspect else known.which


def labels(sets: Sequence[Labelled]) -> list[str]:
    """Every label once."""
    return list(dict.fromkeys(s.label for s in sets))


def eval_sets(sets: Sequence[Labelled], label: str) -> list[str]:
    """Eval sets of a label, in the order of the sets."""
    return list(dict.fromkeys(s.eval_set for s in sets if s.label == label))


def rests(sets: Sequence[S], label: str, eval_set: str) -> list[S]:
    """Sets that only their parameters, weights or source tell apart."""
    return [s for s in sets if s.label == label and s.eval_set == eval_set]


def _sets(rows: Sequence[Mapping[str, Any]]) -> list[ComponentSet]:
    """Sets of one measure; versions of one variant are one set, because the query takes the newest complete one."""
    sets = eval_set_names((row["eval_set"], row["tokenizer"], row["encoding_hash"]) for row in rows)
    rows = [{**row, "eval_set": sets[row["encoding_hash"]]} for row in rows]
    # the name of an eval set, with its tokenizer where several share it, says which encoding it is
    named = [f for f in VARIANT_FIELDS if f != "encoding_hash"]
    differing = [f for f in named if len({row[f] for row in rows}) > 1]
    grouped: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(tuple(row[f] for f in differing), []).append(row)
    found = []
    for values, mine in grouped.items():
        row = mine[0]
        variant = _variant(row["params_json"]) if "params_json" in differing else ""
        rest = [
            value
            for field, value in zip(differing, values, strict=True)
            if field != "eval_set" and not (field == "params_json" and _only_variant(rows, row))
        ]
        which: dict[str, Any] = {
            "params" if field == "params_json" else field: value
            for field, value in zip(differing, values, strict=True)
        }
        found.append(
            ComponentSet(
                label=f"{row['measure']}:{variant}" if variant else row["measure"],
                measure=row["measure"],
                eval_set=row["eval_set"],
                rest=" · ".join(rest),
                which=Which(**which),  # type: ignore[typeddict-item]  # the names are Which's own fields
                unit="" if row["unit"] in ("1", "unknown") else row["unit"],
                n_runs=max(r["n_runs"] for r in mine),
                table=row["table_name"],
            )
        )
    return found


def _variant(params_json: str) -> str:
    params = json.loads(params_json)
    return ":".join(str(params[key]) for key in _NAMING if params.get(key) not in (None, "", "sum_targets"))


def _only_variant(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> bool:
    """True where no other row of the same variant and eval set has other parameters."""
    same = {
        r["params_json"]
        for r in rows
        if _variant(r["params_json"]) == _variant(row["params_json"]) and r["eval_set"] == row["eval_set"]
    }
    return len(same) == 1
