"""Which runs a question is about: by name, pattern, family, condition, tag or source."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import Annotated, Any, Self

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive

PREFIXES = ("family", "condition", "tag", "source")

# columns in the order of RunRow's fields
_RUNS_SQL = """\
SELECT r.run_id, r.run, r.family, r.source, r.condition, r.init_seed, r.data_order_seed, r.split_seed,
       r.init_hash, r.tags, r.excluded, r.exclusion_reason, r.excluded_by, n.names, r.parent_run, r.n_params
FROM v_run r
JOIN (SELECT run_id, list(DISTINCT name) AS names FROM v_run_name GROUP BY run_id) n ON n.run_id = r.run_id
ORDER BY r.run_id"""


class RunSelection(BaseModel):
    """Runs to ask about. Fields narrow one another; within a field any value may match (tags: all must).

    names: run names, aliases of any source, or shell patterns (`*`, `?`, `[ab]`); empty = every run.
    with_excluded: also use runs that somebody excluded; otherwise answers leave them out and say so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    with_excluded: bool = False

    @classmethod
    def of(cls, runs: "RunSelection | str | Iterable[str]") -> Self:
        """From what people type: names, patterns, or `family:X`, `condition:X`, `tag:X`, `source:X`.

        `excluded:too` includes excluded runs. A name with a colon in it is taken as a name unless the colon
        follows one of these words. Raises UsageError for an empty list, which is more likely a slip than "all", and for a
        word without a name.
        """
        if isinstance(runs, RunSelection):
            return cls(**runs.model_dump())
        found: dict[str, list[str]] = {"name": [], **{p: [] for p in PREFIXES}}
        with_excluded = False
        terms = [runs] if isinstance(runs, str) else list(runs)
        if not terms:
            raise UsageError("no run asked for: '*' means all of them.")
        for term in terms:
            prefix, colon, rest = term.partition(":")
            if term == "excluded:too":
                with_excluded = True
            elif colon and prefix in PREFIXES:
                if not rest:
                    raise UsageError(
                        f"runs {term!r}: which {prefix}? Say it after the colon, such as {prefix}:NAME."
                    )
                found[prefix].append(rest)
            elif term != "*":
                found["name"].append(term)
        return cls(
            names=tuple(found["name"]),
            families=tuple(found["family"]),
            conditions=tuple(found["condition"]),
            tags=tuple(found["tag"]),
            sources=tuple(found["source"]),
            with_excluded=with_excluded,
        )

    def terms(self) -> list[str]:
        """The selection as the list of strings that `of` reads."""
        parts = [
            *self.names,
            *(f"family:{v}" for v in self.families),
            *(f"condition:{v}" for v in self.conditions),
            *(f"tag:{v}" for v in self.tags),
            *(f"source:{v}" for v in self.sources),
            *(["excluded:too"] if self.with_excluded else []),
        ]
        return parts or ["*"]


ALL_RUNS = RunSelection()

Runs = Annotated[
    RunSelection | str | Sequence[str],
    BeforeValidator(RunSelection.of),
    Field(description="run names, aliases or patterns; or family:X, condition:X, tag:X, source:X"),
]


@dataclass(frozen=True)
class RunRow:
    """One run of the archive as queries need it."""

    run_id: int
    run: str
    family: str
    source: str
    condition: str
    init_seed: int | None
    data_order_seed: int | None
    split_seed: int | None
    init_hash: str
    tags: tuple[str, ...]
    excluded: bool
    exclusion_reason: str | None
    excluded_by: str | None
    names: tuple[str, ...]
    parent_run: str = ""
    n_params: int | None = None

    @property
    def seeds(self) -> str:
        """The seeds that are known, such as `init 3, split 0`."""
        known = (("init", self.init_seed), ("order", self.data_order_seed), ("split", self.split_seed))
        return ", ".join(f"{name} {value}" for name, value in known if value is not None)


@dataclass(frozen=True)
class Selected:
    """Runs to use, and the excluded ones that matched but are left out."""

    runs: tuple[RunRow, ...]
    excluded: tuple[RunRow, ...]

    @property
    def ids(self) -> list[int]:
        """run_id of every run to use."""
        return [r.run_id for r in self.runs]

    @cached_property
    def by_id(self) -> Mapping[int, RunRow]:
        """Runs to use by run_id."""
        return {r.run_id: r for r in self.runs}

    @cached_property
    def groups(self) -> Mapping[int, str]:
        """run_id -> name of what the run is a repeat of: its condition, with the family where that is needed.

        A run without a condition stands alone: nothing says that it repeats another.
        """
        n_families = Counter(condition for _, condition in {(r.family, r.condition) for r in self.runs})

        def name(run: RunRow) -> str:
            if not run.condition:
                return run.run
            return f"{run.family}: {run.condition}" if n_families[run.condition] > 1 else run.condition

        return {run.run_id: name(run) for run in self.runs}

    @cached_property
    def shared_seeds(self) -> Mapping[str, str]:
        """Group -> which seeds some but not all of its runs share, such as `4 init, 4 split`: no independent repeats."""
        members: dict[str, list[RunRow]] = {}
        for run in self.runs:
            members.setdefault(self.groups[run.run_id], []).append(run)
        found = {}
        for group, rows in members.items():
            shared = []
            for name, seed in (("init", "init_seed"), ("order", "data_order_seed"), ("split", "split_seed")):
                known = [value for row in rows if (value := getattr(row, seed)) is not None]
                if 1 < len(set(known)) < len(known):
                    shared.append(f"{len(set(known))} {name}")
            if shared:
                found[group] = ", ".join(shared)
        return found

    def only(self, run_ids: Iterable[int]) -> "Selected":
        """The same with fewer runs to use."""
        keep = set(run_ids)
        return Selected(tuple(r for r in self.runs if r.run_id in keep), self.excluded)


def select_runs(archive: Archive, runs: RunSelection | str | Iterable[str]) -> Selected:
    """Find the runs asked for, in the archive's order.

    Raises UnknownName with the nearest names for a name, pattern, family, condition, tag or source that
    matches nothing, UsageError when the fields together match nothing, NotComparable when every match is
    excluded.
    """
    wanted = RunSelection.of(runs)
    table = archive.query(_RUNS_SQL)
    if not table.num_rows:
        raise UsageError(
            f"{archive.layout.database} holds no run yet: `pathscope ingest STUDY.toml` trains or loads some, `pathscope import` "
            "reads published results, `pathscope demo` shows both on a small example."
        )
    # thousands of runs: only the columns that are searched become lists, only the runs asked for rows
    known = cache(lambda name: table[name].to_pylist())
    _refuse_unknown(wanted, known)
    found = _rows(table.filter(pa.array(_matches(wanted, known, table.num_rows), pa.bool_())))
    if not found:
        raise UsageError(
            f"no run in {archive.layout.database} matches {' and '.join(wanted.terms())} together; "
            "`pathscope sql 'SELECT run, family, condition, source, tags FROM v_run'` shows what there is."
        )
    used = tuple(r for r in found if wanted.with_excluded or not r.excluded)
    excluded = () if wanted.with_excluded else tuple(r for r in found if r.excluded)
    if not used:
        first = excluded[0]
        raise NotComparable(
            f"all {len(excluded)} runs asked for are excluded ({first.run}: {first.exclusion_reason}, by "
            f"{first.excluded_by}); add 'excluded:too' to the runs to use them all the same."
        )
    return Selected(used, excluded)


def _rows(table: pa.Table) -> list[RunRow]:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    for name in ("tags", "names"):
        columns[name] = map(tuple, columns[name])
    return [RunRow(*row) for row in zip(*columns.values(), strict=True)]


# what the archive has: the list of a column, as long as it has runs
_Known = Callable[[str], Sequence[Any]]


def _refuse_unknown(wanted: RunSelection, known: _Known) -> None:
    fields = {
        "run": ("names", wanted.names, "run"),
        "family": ("family", wanted.families, "DISTINCT family"),
        "condition": ("condition", wanted.conditions, "DISTINCT condition"),
        "tag": ("tags", wanted.tags, "DISTINCT unnest(tags)"),
        "source": ("source", wanted.sources, "DISTINCT source"),
    }
    for field, (column, terms, shown) in fields.items():
        if not terms:
            continue
        several = column in ("names", "tags")
        values = {value for mine in known(column) for value in mine} if several else set(known(column))
        for term in terms:
            if not _has(values, term):
                listing = f"`pathscope sql 'SELECT {shown} FROM v_run'`"
                raise UnknownName.of(field, term, values, listing=listing)


def _has(values: set[str], term: str) -> bool:
    return term in values or any(fnmatchcase(value, term) for value in values)


def _matches(wanted: RunSelection, known: _Known, n_runs: int) -> list[bool]:
    """Of every run whether all fields that say something mean it."""
    fits = [True] * n_runs
    for column, terms in (
        ("family", wanted.families),
        ("condition", wanted.conditions),
        ("source", wanted.sources),
    ):
        if terms:
            meant = _meant(terms)
            fits = [fit and meant(value) for fit, value in zip(fits, known(column), strict=True)]
    if wanted.names:
        meant = _meant(wanted.names)
        fits = [fit and any(map(meant, names)) for fit, names in zip(fits, known("names"), strict=True)]
    for tag in wanted.tags:
        meant = _meant((tag,))
        fits = [fit and any(map(meant, tags)) for fit, tags in zip(fits, known("tags"), strict=True)]
    return fits


def _meant(terms: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the terms means a value; words without a pattern are looked up, however many they are."""
    exact = frozenset(terms)
    patterns = [term for term in terms if any(sign in term for sign in "*?[")]
    return lambda value: value in exact or any(fnmatchcase(value, pattern) for pattern in patterns)
