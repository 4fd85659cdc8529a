"""What a question returns: numbers with their interval, the runs they rest on, and what they cannot tell."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import plotly.graph_objects as go
import pyarrow as pa

from archive.store import Archive
from queries.reading.checkpoints import LeftOuts
from queries.reading.quantities import Choice

Verdict = Literal["yes", "no", "unresolved"]


@dataclass(frozen=True)
class Provenance:
    """Where an answer comes from: enough to repeat it and to see what it does not use.

    quantities: one dict per quantity (measure, version, eval set, parameters, weight processing, dtype, site,
    source, licence, citation). excluded_runs: (run, reason, who). runs_without: asked for, but without the
    measure. left_out: checkpoints kept away, each with run, step, snapshot, why and note. shared_seeds: (group,
    number of runs, seeds) where some but not all runs of a group share a seed. registered: what was registered about
    these runs and measures in advance, and whether in time.
    """

    archive: str
    archive_version: tuple[int, ...]
    snapshot: bool
    runs: tuple[str, ...]
    quantities: tuple[dict[str, object], ...] = ()
    excluded_runs: tuple[tuple[str, str, str], ...] = ()
    runs_without: tuple[str, ...] = ()
    left_out: tuple[dict[str, object], ...] = ()
    shared_seeds: tuple[tuple[str, int, str], ...] = ()
    registered: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, archive: Archive, choices: Sequence[Choice], left_out: LeftOuts | None = None
    ) -> "Provenance":
        """Collect what the steps of a query found."""
        runs = {r.run_id: r.run for c in choices for r in c.selected.runs}
        excluded = {r.run_id: r for c in choices for r in c.selected.excluded}
        return cls(
            archive=str(archive.layout.database),
            archive_version=archive.version,
            snapshot=archive.snapshot,
            runs=tuple(name for _, name in sorted(runs.items())),
            quantities=tuple(_described(c) for c in choices),
            excluded_runs=tuple(
                (r.run, r.exclusion_reason or "", r.excluded_by or "") for _, r in sorted(excluded.items())
            ),
            runs_without=tuple(dict.fromkeys(run for c in choices for run in c.without)),
            left_out=tuple(
                {"run": c.run, "step": c.step, "snapshot": c.snapshot, "why": c.why, "note": c.note}
                for c in (left_out.measured if left_out else ())
            ),
            shared_seeds=tuple(
                dict.fromkeys(
                    (group, list(c.selected.groups.values()).count(group), seeds)
                    for c in choices
                    for group, seeds in c.selected.shared_seeds.items()
                )
            ),
        )

    @property
    def limits(self) -> tuple[str, ...]:
        """One line per kind of thing that was asked for but is not in the answer."""
        from queries.render import brief

        lines = []
        if self.excluded_runs:
            run, reason, who = self.excluded_runs[0]
            lines.append(
                f"{len(self.excluded_runs)} excluded run(s) left out (first: {run}, {reason!r} by {who}); "
                "'excluded:too' brings them in."
            )
        if self.runs_without:
            lines.append(
                f"{len(self.runs_without)} run(s) asked for have no such measure (first: {self.runs_without[0]})."
            )
        if self.shared_seeds:
            group, n, seeds = self.shared_seeds[0]
            rest = len(self.shared_seeds) - 1
            more = f" (and so do those of {rest} more)" if rest else ""
            lines.append(
                f"The {n} runs of {brief(group)} share seeds ({seeds}){more}: intervals and p count them as independent "
                "repeats, which they are not quite."
            )
        return tuple(lines)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Answer:
    """Base of all answers.

    table: the rows of the answer. summary: one row per group, where there are groups.
    estimate, ci_low, ci_high: the headline number in `unit` with its interval at ci_level by ci_method; NaN
    where there is none. n_runs is what it rests on: runs are the unit of inference, items never are.
    null_*, p_value, q_value: the null the answer was held against, where there was one. mde: the smallest
    effect, in `unit`, that runs like these would show (80 % power, two-sided 5 %, against as many others).
    verdict: yes or no to a question that has one, "unresolved" whenever the data cannot support an answer,
    None for an estimate that stands. limits: what the answer cannot tell, in sentences.
    sql: the statement behind `table`, ready to run; python: the line that repeats the question.
    """

    sentence: str
    table: pa.Table
    n_runs: int
    provenance: Provenance
    sql: str
    summary: pa.Table | None = None
    n_items: int | None = None
    unit: str = ""
    estimate: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    ci_level: float = 0.95
    ci_method: str = ""
    null_name: str = ""
    null_mean: float = math.nan
    null_sd: float = math.nan
    p_value: float = math.nan
    q_value: float = math.nan
    mde: float = math.nan
    verdict: Verdict | None = None
    limits: tuple[str, ...] = ()
    title: str = ""
    python: str = ""
    parameters: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The answer's kind: its class name."""
        return type(self).__name__

    def plot(self) -> go.Figure:
        """The answer as a plotly figure; subclasses take options."""
        raise NotImplementedError(f"{self.name} has no figure")

    def overview(self) -> pa.Table | None:
        """What is printed above the rows: the summary, unless a subclass words it more briefly."""
        return self.summary

    def to_pandas(self) -> "Any":
        """The table as a pandas DataFrame."""
        return self.table.to_pandas()

    def to_polars(self) -> "Any":
        """The table as a polars DataFrame; needs polars."""
        try:
            polars = import_module("polars")
        except ImportError:
            raise ImportError(
                "to_polars() needs polars: `pip install polars`; to_pandas() is always there"
            ) from None
        return polars.from_arrow(self.table)

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """The answer as JSON-ready values; what is not a finite number becomes None.

        rows: False gives their number in place of the rows where the answer has a summary: rows may be megabytes.
        """
        from queries.render import as_dict

        return as_dict(self, rows=rows)

    def __str__(self) -> str:
        from queries.render import as_text

        return as_text(self)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.sentence}>"

    def _repr_html_(self) -> str:
        from queries.render import as_html

        return as_html(self)


def readable_sql(sql: str, parameters: Mapping[str, object]) -> str:
    """The statement with its named parameters written out, so that it can be pasted and run."""
    return re.sub(r"\$(\w+)", lambda m: _literal(parameters[m.group(1)]), sql)


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, list | tuple):
        # an empty list needs a type, or comparing ids with it fails
        return "[" + ", ".join(_literal(v) for v in value) + "]" if value else "[]::INTEGER[]"
    raise TypeError(f"no SQL literal for {value!r}")


def _described(choice: Choice) -> dict[str, object]:
    q = choice.quantity
    return {
        "measure": q.measure,
        "version": q.version,
        "eval_set": q.eval_set,
        "params": dict(q.params),
        "weight_processing": q.weight_processing,
        "dtype": q.dtype,
        "site": q.site,
        "source": q.source,
        "licence": q.licence,
        "citation": q.citation,
    }
