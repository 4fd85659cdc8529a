"""Which numbers answer a question: one quantity for all runs asked for, or a refusal that says how to ask.

Numbers of different eval sets, parameters, weight processing, dtypes, sites, sources or measure versions
are never put side by side by themselves.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Annotated, TypedDict

from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.coverage import coverage_sql
from queries.reading.refusals import VARIANT_FIELDS as VARIANT_FIELDS
from queries.reading.refusals import how_to_fill, mixed, no_such_variant, told, unknown_measure, who_reads
from queries.reading.select import Selected

_QUANTITIES_SQL = """\
SELECT q.quantity_id, q.measure, q.version, q.scope, q.table_name, q.unit, q.lower_bound, q.upper_bound,
       q.direction, q.eval_set, q.encoding_hash, q.params_json, q.weight_processing, q.dtype, q.site,
       q.source, s.licence, s.citation, m.summary, e.tokenizer
FROM v_quantity q
JOIN v_encoding e ON e.encoding_id = q.encoding_id
JOIN v_source s ON s.source_id = q.source_id
JOIN v_measure m ON m.measure = q.measure AND m.version = q.version
WHERE q.measure IN (SELECT unnest($measures))
ORDER BY q.quantity_id"""

_MEASURES_SQL = "SELECT DISTINCT measure FROM v_quantity"


class Which(TypedDict, total=False):
    """Which variant of a measure to use, when the archive has several; any field may be left out."""

    source: Annotated[str, Field(description="who measured: pathscope, or an imported set")]
    eval_set: Annotated[
        str, Field(description="name of the eval set; of several with that name NAME: TOKENIZER, or its hash")
    ]
    version: Annotated[int, Field(description="version of the measure; default: the newest complete one")]
    weight_processing: Annotated[str, Field(description="raw, fold_ln or fold_ln_center")]
    dtype: Annotated[str, Field(description="number type the model ran in")]
    site: Annotated[str, Field(description="site of the unit, as in v_quantity")]
    params: Annotated[str, Field(description="parameters of the measure, as JSON")]
    with_suspect: Annotated[bool, Field(description="also use checkpoints whose integrity is not ok")]


@dataclass(frozen=True)
class Quantity:
    """One row of v_quantity with its source's licence: what was measured, completely."""

    quantity_id: int
    measure: str
    version: int
    scope: str
    table_name: str
    unit: str
    lower_bound: float | None
    upper_bound: float | None
    direction: str
    eval_set: str
    encoding_hash: str
    params_json: str
    weight_processing: str
    dtype: str
    site: str
    source: str
    licence: str
    citation: str
    summary: str
    tokenizer: str

    def is_on(self, eval_set: str) -> bool:
        """Whether an eval set asked for is the one this was measured on.

        eval_set: its name, NAME: TOKENIZER, or at least 8 characters of its hash.
        """
        hashed = len(eval_set) >= 8 and self.encoding_hash.startswith(eval_set)
        return hashed or eval_set in (self.eval_set, f"{self.eval_set}: {self.tokenizer}")

    @property
    def variant(self) -> tuple[str, ...]:
        """Everything but the version that two comparable numbers share."""
        return (self.measure, *(str(getattr(self, f)) for f in VARIANT_FIELDS))

    @property
    def origin(self) -> str:
        """Where it was measured: "log" for training logs, "checkpoint" for saved states."""
        return "log" if self.table_name == "fact_log" else "checkpoint"

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """Lowest and highest value the measure can take; None where there is no such limit."""
        return self.lower_bound, self.upper_bound

    @property
    def shown_unit(self) -> str:
        """The unit as words: empty where there is none or it is not known."""
        return "" if self.unit in ("1", "unknown") else self.unit

    @property
    def params(self) -> Mapping[str, object]:
        """Parameters of the measurement."""
        found: dict[str, object] = json.loads(self.params_json)
        return found


@dataclass(frozen=True)
class Choice:
    """The quantity a question is answered from, the runs that have it, and what to say about the choice.

    n_odd: checkpoints of these runs that may have to be left out.
    """

    quantity: Quantity
    selected: Selected
    without: tuple[str, ...]
    notes: tuple[str, ...]
    n_odd: int


@dataclass(frozen=True)
class Want:
    """One of several measures that a question needs side by side.

    measures: names in order of preference; the first that is there for every run with any of them is used.
    tables: fact tables the question can read. params: parameter values the quantity must have (None and ""
    match a missing one). fits: anything else it must be.
    """

    measures: tuple[str, ...]
    tables: tuple[str, ...]
    params: Mapping[str, object] = field(default_factory=dict)
    fits: Callable[[Quantity], bool] = lambda quantity: True


def choose_quantity(
    archive: Archive,
    selected: Selected,
    measures: Sequence[str],
    which: Which,
    *,
    tables: Sequence[str],
    params: Mapping[str, object] | None = None,
) -> Choice:
    """Find the one quantity that answers for all runs that have any of `measures`.

    measures, tables, params: as in `Want`. The newest version that is complete on these runs is used; an
    older one is noted.
    Raises UnknownName for a measure the archive lacks, UsageError when the filters match nothing or no run
    has it, NotComparable naming what differs and how to choose.
    """
    want = Want(tuple(measures), tuple(tables), params or {})
    (found,) = choose_quantities(archive, selected, [want], which)
    if isinstance(found, Choice):
        return found
    raise found


def choose_quantities(
    archive: Archive,
    selected: Selected,
    wants: Sequence[Want],
    which: Which,
    *,
    each_variant_of: Sequence[str] = (),
) -> list[Choice | UsageError | NotComparable]:
    """The same for several measures with two statements in all; what cannot answer comes back as its error.

    Each want is answered for the runs that have it, which may be different ones. An `eval_set` asked for
    says nothing about what needs none, such as a norm of weights, where several measures are wanted.
    each_variant_of: measures of which every variant there is, such as on each eval set, is one more want at the end.
    """
    names = sorted({name for want in wants for name in want.measures} | set(each_variant_of))
    known = [Quantity(**row) for row in archive.rows(_QUANTITIES_SQL, {"measures": names})]
    wants = [*wants, *_variants(known, each_variant_of)]
    measures = cache(lambda: [row["measure"] for row in archive.rows(_MEASURES_SQL)])
    wanted = [_candidates(known, want, which, measures, several=len(wants) > 1) for want in wants]
    every = {q.quantity_id: q for found in wanted if not isinstance(found, UsageError) for q in found}
    coverage, odd = _coverage(archive, list(every.values()), selected) if every else ({}, {})
    return [
        found if isinstance(found, UsageError) else _answering(want, found, coverage, odd, selected, which)
        for want, found in zip(wants, wanted, strict=True)
    ]


def _variants(known: Sequence[Quantity], measures: Sequence[str]) -> list[Want]:
    """A want per variant of the measures."""
    tables = {q.variant: q.table_name for q in known if q.measure in measures}
    return [
        Want((variant[0],), (table,), fits=partial(_is_variant, variant)) for variant, table in tables.items()
    ]


def _is_variant(variant: tuple[str, ...], quantity: Quantity) -> bool:
    return quantity.variant == variant


def _candidates(
    known: list[Quantity],
    want: Want,
    which: Which,
    measures: Callable[[], list[str]],
    *,
    several: bool,
) -> list[Quantity] | UsageError:
    """Quantities that could answer, or why there is none."""
    candidates = [q for q in known if q.measure in want.measures]
    if not candidates:
        return unknown_measure(want.measures, measures())
    readable = [q for q in candidates if q.table_name in want.tables]
    if not readable:
        q = candidates[0]
        return UsageError(
            f"{q.measure} is measured per {q.scope} ({q.table_name}); this question reads {' or '.join(want.tables)}. "
            f"{who_reads(q)}"
        )
    exactly = _exact_params(which)
    free = _without_eval_set(which) if several else which
    wanted = [
        q
        for q in readable
        if want.fits(q) and _wanted(q, free if q.encoding_hash == "none" else which, want.params, exactly)
    ]
    return wanted or UsageError(no_such_variant(readable, which, want.params))


def _answering(
    want: Want,
    wanted: list[Quantity],
    everywhere: dict[int, dict[int, int]],
    odd: dict[int, int],
    selected: Selected,
    which: Which,
) -> Choice | UsageError | NotComparable:
    """The choice among candidates of one want, from cells counted for all wants."""
    mine = _ids(wanted)
    coverage = {run: found for run, found in everywhere.items() if set(found) & mine}
    if not coverage:
        names = ", ".join(r.run for r in selected.runs[:3]) + (" ..." if len(selected.runs) > 3 else "")
        return UsageError(
            f"none of the {len(selected.runs)} runs asked for ({names}) has {' or '.join(want.measures)}"
            f"{told(which)}; `pathscope status` shows what each run has{how_to_fill(wanted)}."
        )
    try:
        quantity, notes = _choose(wanted, coverage, want.measures, selected)
    except NotComparable as refusal:
        return refusal
    return Choice(
        quantity=quantity,
        selected=selected.only(coverage),
        without=tuple(r.run for r in selected.runs if r.run_id not in coverage),
        notes=notes,
        n_odd=odd.get(quantity.quantity_id, 0),
    )


def _without_eval_set(which: Which) -> Which:
    free = which.copy()
    free.pop("eval_set", None)
    return free


def _choose(
    wanted: list[Quantity], coverage: dict[int, dict[int, int]], measures: Sequence[str], selected: Selected
) -> tuple[Quantity, tuple[str, ...]]:
    by_measure = {m: [q for q in wanted if q.measure == m] for m in measures}
    for measure in measures:
        mine = by_measure[measure]
        if mine and all(set(found) & _ids(mine) for found in coverage.values()):
            variant, notes = _variant(mine, coverage, selected)
            quantity, more = _version(variant, coverage, selected)
            others = [m for m in measures if m != measure and by_measure[m]]
            also = tuple(f"Answered from {measure}; {m} is in the archive too." for m in others)
            return quantity, (*also, *notes, *more)
    having = {m: [r for r, found in coverage.items() if set(found) & _ids(q)] for m, q in by_measure.items()}
    options = ", ".join(f"{m} ({len(runs)} runs)" for m, runs in having.items() if runs)
    raise NotComparable(
        f"no single measure is there for all {len(coverage)} runs: {options}. Ask for one of them by name, "
        f"or `pathscope ingest STUDY.toml --fill {measures[0]}` measures the rest."
    )


def _variant(
    quantities: list[Quantity], coverage: dict[int, dict[int, int]], selected: Selected
) -> tuple[list[Quantity], tuple[str, ...]]:
    """Versions of the one variant that every run has."""
    groups: dict[tuple[str, ...], list[Quantity]] = defaultdict(list)
    for q in quantities:
        groups[q.variant].append(q)
    runs_of = {v: [r for r, found in coverage.items() if set(found) & _ids(qs)] for v, qs in groups.items()}
    groups = {v: qs for v, qs in groups.items() if runs_of[v]}
    complete = [v for v in groups if len(runs_of[v]) == len(coverage)]
    here = [v for v in complete if groups[v][0].source == "pathscope"]
    if len(complete) == 1 or len(here) == 1:
        best = here[0] if len(here) == 1 else complete[0]
        others = sorted({groups[v][0].source for v in groups if v != best} - {groups[best][0].source})
        notes = (
            (f"Measured by {groups[best][0].source}; {', '.join(others)} has published it too (source=...).",)
            if others
            else ()
        )
        return groups[best], notes
    raise NotComparable(mixed(groups, runs_of, selected))


def _version(
    versions: list[Quantity], coverage: dict[int, dict[int, int]], selected: Selected
) -> tuple[Quantity, tuple[str, ...]]:
    """The newest version with as many cells as any version has, on every run."""
    newest_first = sorted(versions, key=lambda q: -q.version)
    most = {r: max(found.get(q.quantity_id, 0) for q in versions) for r, found in coverage.items()}
    short: dict[int, list[int]] = {}
    for q in newest_first:
        lacking = [r for r, found in coverage.items() if found.get(q.quantity_id, 0) < most[r]]
        if not lacking:
            notes = tuple(
                f"{q.measure} version {v} is newer but not complete on {len(runs)} of {len(coverage)} runs "
                f"(first: {selected.by_id[runs[0]].run}); `pathscope ingest STUDY.toml --fill {q.measure}` "
                "completes it."
                for v, runs in short.items()
            )
            return q, notes
        short[q.version] = lacking
    measure = versions[0].measure
    states = "; ".join(
        f"version {v} is not complete on {len(runs)} runs (first: {selected.by_id[runs[0]].run})"
        for v, runs in short.items()
    )
    raise NotComparable(
        f"no version of {measure} is complete on all {len(coverage)} runs: {states}. "
        f"`pathscope ingest STUDY.toml --fill {measure}` completes the newest, or ask for fewer runs."
    )


def _coverage(
    archive: Archive, wanted: list[Quantity], selected: Selected
) -> tuple[dict[int, dict[int, int]], dict[int, int]]:
    """Finished cells by run_id and quantity_id, and the number of odd ones by quantity_id."""
    found: dict[int, dict[int, int]] = defaultdict(dict)
    odd: dict[int, int] = defaultdict(int)
    sql = coverage_sql(q.table_name for q in wanted)
    table = archive.query(sql, {"quantity_ids": sorted(_ids(wanted)), "run_ids": selected.ids})
    for run, quantity, n, n_odd in zip(*(c.to_pylist() for c in table.columns), strict=True):
        odd[quantity] += n_odd
        if n:
            found[run][quantity] = n
    return dict(sorted(found.items())), odd


def _ids(quantities: Iterable[Quantity]) -> set[int]:
    return {q.quantity_id for q in quantities}


def _exact_params(which: Which) -> object:
    """The parameters asked for as JSON; None when they were not."""
    try:
        return json.loads(which["params"]) if "params" in which else None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"params={which['params']!r} is not JSON ({error}); write params='{{\"k\": 3}}'."
        ) from None


def _wanted(quantity: Quantity, which: Which, params: Mapping[str, object], exactly: object) -> bool:
    if "eval_set" in which and not quantity.is_on(which["eval_set"]):
        return False
    for name in ("source", "version", "weight_processing", "dtype", "site"):
        if name in which and getattr(quantity, name) != which[name]:
            return False
    if exactly is not None and exactly != quantity.params:
        return False
    return all(_blank(quantity.params.get(key)) == _blank(value) for key, value in params.items())


def _blank(value: object) -> object:
    return None if value == "" else value
