"""Which scalars the archive has curves of: by measure, by what must not be mixed, and for which runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive.store import Archive
from queries.reading.quantities import VARIANT_FIELDS, Which
from queries.reading.refusals import eval_set_names
from queries.reading.select import RunSelection

_QUANTITIES_SQL = """\
SELECT q.quantity_id, q.measure, q.version, q.unit, q.eval_set, q.encoding_hash, e.tokenizer, q.params_json,
       q.weight_processing, q.dtype, q.site, q.source
FROM v_quantity q JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.table_name IN ('fact_scalar', 'fact_log')
ORDER BY q.measure, q.version, q.quantity_id"""

# the fact tables themselves: over all rows, without the names that the views would join on
_PARTS_SQL = """\
SELECT f.quantity_id, p.kind, p.name, f.n_values, f.n_runs
FROM (SELECT quantity_id, part_id, count(*) AS n_values, count(DISTINCT run_id) AS n_runs
      FROM fact_scalar GROUP BY ALL
      UNION ALL
      SELECT quantity_id, part_id, count(*) AS n_values, count(DISTINCT run_id) AS n_runs
      FROM fact_log GROUP BY ALL) f
JOIN part p ON p.id = f.part_id
ORDER BY f.quantity_id, p.kind, p.name"""

_RUNS_WITH_SQL = """\
SELECT DISTINCT run_id FROM fact_scalar WHERE quantity_id IN (SELECT unnest($ids))
UNION
SELECT DISTINCT run_id FROM fact_log WHERE quantity_id IN (SELECT unnest($ids))"""

_RUNS_SQL = """\
SELECT r.run, r.family, r.condition, r.tokens_per_step IS NOT NULL AS has_tokens, coalesce(s.n, 0) AS n_suspect
FROM v_run r
LEFT JOIN (SELECT run_id, count(DISTINCT step) AS n FROM checkpoint WHERE integrity <> 'ok' GROUP BY run_id) s
  ON s.run_id = r.run_id
ORDER BY r.run_id"""

# the order in which people know these
_FIRST_PARTS = ("test", "train", "")
_FIRST_MEASURES = ("loss", "log.loss")


@dataclass(frozen=True)
class Variant:
    """Numbers of one measure that may be drawn together: one eval set, one source, one set of parameters.

    label: "" where the measure has only this one. which: how to ask the query for it. parts: its splits,
    tensors or classes ("" is the whole). quantity_ids: one per version of the measure.
    """

    label: str
    which: Which
    parts: tuple[str, ...]
    part_kind: str
    quantity_ids: tuple[int, ...]
    n_runs: int
    n_values: int

    @property
    def default_parts(self) -> list[str]:
        """Both splits, since they are read against each other; else the whole, else the first part."""
        return list(self.parts[:2] if self.part_kind == "split" else self.parts[:1])


@dataclass(frozen=True)
class Series:
    """A scalar that can be drawn, with its variants, the one on most runs first."""

    measure: str
    unit: str
    variants: tuple[Variant, ...]

    def variant(self, label: str) -> Variant:
        """The variant of that label; the first for any other word."""
        return next((v for v in self.variants if v.label == label), self.variants[0])


@dataclass(frozen=True)
class RunNames:
    """A run as the pickers know it. n_suspect: steps at which it has a suspect checkpoint."""

    run: str
    family: str
    condition: str
    has_tokens: bool
    n_suspect: int = 0


@dataclass(frozen=True)
class RunChoice:
    """Which runs were chosen; an empty field means all of them. The fields' names are the address's."""

    family: tuple[str, ...] = ()
    condition: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    excluded: bool = False
    suspect: bool = False

    @property
    def selection(self) -> RunSelection:
        """The runs asked for."""
        return RunSelection(
            names=self.run, families=self.family, conditions=self.condition, with_excluded=self.excluded
        )


def catalogue(archive: Archive) -> list[Series]:
    """Every scalar with a curve, by name; measured ones before what training loops logged."""
    parts: dict[int, list[dict[str, Any]]] = {}
    for row in archive.rows(_PARTS_SQL):
        parts.setdefault(row["quantity_id"], []).append(row)
    by_measure: dict[str, list[dict[str, Any]]] = {}
    for row in archive.rows(_QUANTITIES_SQL):
        if row["quantity_id"] in parts:
            by_measure.setdefault(row["measure"], []).append(row)
    return sorted(
        (Series(name, rows[-1]["unit"], _variants(rows, parts)) for name, rows in by_measure.items()),
        key=lambda s: (s.measure.startswith("log."), s.measure),
    )


def first_measure(known: Sequence[Series]) -> str:
    """What to open with: the scalar that most runs have, the loss where it is one of them."""
    most = max(s.variants[0].n_runs for s in known)
    names = [s.measure for s in known if s.variants[0].n_runs == most]
    return next((m for m in _FIRST_MEASURES if m in names), names[0])


def runs_with(archive: Archive, *, quantity_ids: tuple[int, ...]) -> frozenset[int]:
    """run_id of every run that has a value of these quantities."""
    found = archive.query(_RUNS_WITH_SQL, {"ids": list(quantity_ids)})
    return frozenset(found["run_id"].to_pylist())


def run_names(archive: Archive) -> list[RunNames]:
    """Every run with its family and condition, in the archive's order."""
    return [RunNames(**row) for row in archive.rows(_RUNS_SQL)]


def _variants(
    rows: Sequence[Mapping[str, Any]], parts: Mapping[int, list[dict[str, Any]]]
) -> tuple[Variant, ...]:
    """What differs in more than its version, most runs first."""
    sets = eval_set_names((row["eval_set"], row["tokenizer"], row["encoding_hash"]) for row in rows)
    rows = [{**row, "eval_set": sets[row["encoding_hash"]]} for row in rows]
    # the name of an eval set, with its tokenizer where several share it, says which encoding it is
    named = [f for f in VARIANT_FIELDS if f != "encoding_hash"]
    differing = [f for f in named if len({row[f] for row in rows}) > 1]
    grouped: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        grouped.setdefault(tuple(row[f] for f in differing), []).append(row["quantity_id"])
    found = [
        _variant(differing, values, ids, [part for i in ids for part in parts[i]])
        for values, ids in grouped.items()
    ]
    return tuple(sorted(found, key=lambda v: (-v.n_runs, -v.n_values, v.label)))


def _variant(
    fields: Iterable[str], values: tuple[str, ...], ids: list[int], parts: Sequence[Mapping[str, Any]]
) -> Variant:
    which: dict[str, Any] = {
        "params" if field == "params_json" else field: value
        for field, value in zip(fields, values, strict=True)
    }
    named = dict.fromkeys((part["kind"], part["name"]) for part in parts)
    known = sorted(
        named, key=lambda p: (_FIRST_PARTS.index(p[1]) if p[1] in _FIRST_PARTS else len(_FIRST_PARTS), p)
    )
    kinds = {kind for kind, _ in known}
    return Variant(
        label=" · ".join(values),
        which=Which(**which),  # type: ignore[typeddict-item]  # the names are Which's own fields
        parts=tuple(name for _, name in known),
        part_kind=kinds.pop() if len(kinds) == 1 else "",
        quantity_ids=tuple(ids),
        n_runs=max(part["n_runs"] for part in parts),
        n_values=sum(part["n_values"] for part in parts),
    )
