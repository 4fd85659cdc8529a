"""Whether what an answer tests was registered before the results of its runs were there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.reading.select import RunSelection, select_runs

if TYPE_CHECKING:
    from queries.results import Provenance

_HYPOTHESES_SQL = """\
SELECT name, statement, primary_measure, alpha, runs_json, who, registered_at
FROM v_hypothesis ORDER BY registered_at, name"""

# when the first unit of results of these runs was written, by the clock of the machine that measured
_FIRST_SQL = """\
WITH asked AS (SELECT run_id FROM v_run WHERE run IN (SELECT unnest($runs))),
subjects AS (
  SELECT 0 AS kind, run_id AS id FROM asked
  UNION ALL SELECT 1, id FROM checkpoint WHERE run_id IN (FROM asked)
  UNION ALL SELECT 2, k.id FROM checkpoint_pair k JOIN checkpoint a ON a.id = k.checkpoint_a
            WHERE a.run_id IN (FROM asked)
)
SELECT min(s.created_at) AS first,
       (SELECT count(*) FROM v_audit WHERE action = 'drop') AS n_drops
FROM cell l
JOIN subjects x ON x.kind = l.subject_kind AND x.id = l.subject_id
JOIN shard s ON s.id = l.shard_id
WHERE l.state = 1"""


@dataclass(frozen=True)
class Hypothesis:
    """A question registered in advance. runs: as `runs` of a query takes them."""

    name: str
    statement: str
    primary_measure: str
    alpha: float
    runs: tuple[str, ...]
    who: str
    registered_at: datetime


def read_hypotheses(archive: Archive) -> list[Hypothesis]:
    """All that are registered, in order of time."""
    return [
        Hypothesis(**{k: v for k, v in row.items() if k != "runs_json"}, runs=_runs(row["runs_json"]))
        for row in archive.rows(_HYPOTHESES_SQL)
    ]


def find_hypothesis(archive: Archive, name: str) -> Hypothesis:
    """The one of that name; raises UnknownName with the nearest."""
    known = {found.name: found for found in read_hypotheses(archive)}
    if name not in known:
        raise UnknownName.of("hypothesis", name, known, listing="`pathscope hypothesis list`")
    return known[name]


@dataclass(frozen=True)
class Standing:
    """What is there of a hypothesis's runs. n_runs: in the archive, excluded ones too; first: their first result, if any."""

    n_runs: int
    first: datetime | None


def standing(archive: Archive, hypothesis: Hypothesis) -> Standing:
    """How many of its runs the archive has, and when the first result of theirs was written."""
    runs = _meant(archive, hypothesis.runs)
    if not runs:
        return Standing(0, None)
    (row,) = archive.rows(_FIRST_SQL, {"runs": sorted(runs)})
    return Standing(len(runs), row["first"])


def registered(archive: Archive, provenance: "Provenance") -> tuple[str, ...]:
    """One line for every hypothesis about a measure and all runs that an answer rests on; empty where there is none.

    A registration counts where it came before the first result of every one of these runs.
    """
    measures = {str(quantity["measure"]) for quantity in provenance.quantities}
    about = [found for found in read_hypotheses(archive) if _base(found.primary_measure) in measures]
    about = [found for found in about if set(provenance.runs) <= _meant(archive, found.runs)]
    if not about or not provenance.runs:
        return ()
    (row,) = archive.rows(_FIRST_SQL, {"runs": list(provenance.runs)})
    published = any(quantity["source"] != "pathscope" for quantity in provenance.quantities)
    return tuple(_line(found, row["first"], row["n_drops"], published=published) for found in about)


def _line(hypothesis: Hypothesis, first: datetime | None, n_drops: int, *, published: bool) -> str:
    # the measure is all that a registration and an answer share for certain, so the line names it
    name, at = (
        f"{hypothesis.name!r}, by {hypothesis.primary_measure}",
        f"{hypothesis.registered_at:%Y-%m-%d %H:%M}",
    )
    if first is not None and hypothesis.registered_at >= first:
        return f"registered as {name}, on {at}, only after the first results of these runs ({first:%Y-%m-%d %H:%M}): exploratory"
    if published:
        return f"registered as {name}, on {at}, before the import of published results, which anybody may have known"
    dropped = f"; results were dropped from this archive {n_drops} time(s), see v_audit" if n_drops else ""
    return f"registered as {name}, on {at}, before the first results of these runs{dropped}"


def _base(measure: str) -> str:
    """The measure without its variant, which the archive has among the parameters."""
    return measure.split(":")[0]


def _meant(archive: Archive, runs: Sequence[str]) -> set[str]:
    wanted = RunSelection.of(list(runs)).model_copy(update={"with_excluded": True})
    try:
        return {run.run for run in select_runs(archive, wanted).runs}
    except UsageError:  # none of them is in the archive yet
        return set()


def _runs(runs_json: str) -> tuple[str, ...]:
    return tuple(json.loads(runs_json or "{}").get("runs", ())) or ("*",)
