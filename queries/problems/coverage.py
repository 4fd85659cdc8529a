"""What the runs of an archive hold of the measures that problems read: one statement, whatever is asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from archive.store import Archive
from queries.problems.problem import Need

# a training log is one cell of the run, without a checkpoint: as many steps as anybody needs
LOGGED = 1_000_000

# As in quantities.py the ledger, the one long table, is narrowed by ids before anything is joined to it. State 1 = done;
# subject kind 0 = run, 1 = checkpoint. Two snapshots of a step count twice: telling them apart takes three times as long.
_SQL = f"""\
WITH wanted AS (
  SELECT quantity_id, measure, eval_set, source FROM v_quantity WHERE measure IN (SELECT unnest($measures))
), counted AS (
  SELECT c.run_id, l.quantity_id, count(*) AS n_steps
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND c.integrity = 'ok'
    AND l.quantity_id IN (SELECT quantity_id FROM wanted)
  GROUP BY c.run_id, l.quantity_id
  UNION ALL
  SELECT subject_id, quantity_id, {LOGGED} FROM cell
  WHERE subject_kind = 0 AND state = 1 AND quantity_id IN (SELECT quantity_id FROM wanted)
), held AS (
  SELECT k.run_id, w.measure, w.eval_set, w.source, max(k.n_steps) AS n_steps
  FROM counted k JOIN wanted w ON w.quantity_id = k.quantity_id
  GROUP BY ALL
), listed AS (
  SELECT run_id, list({{measure: measure, eval_set: eval_set, source: source, n_steps: n_steps}}
                      ORDER BY measure, eval_set, source) AS held
  FROM held GROUP BY run_id
)
SELECT r.run_id, r.run, r.family, r.condition, r.init_seed, r.init_hash,
       r.intervention_json NOT IN ('', '{{}}', 'null') AS changed, p.run_id AS parent_id,
       r.parent_run <> '' AS goes_on, s.study, h.held
FROM v_run r
LEFT JOIN listed h ON h.run_id = r.run_id
LEFT JOIN (SELECT name, min(run_id) AS run_id FROM v_run_name GROUP BY name) p
  ON p.name = r.parent_run AND r.parent_run <> ''
LEFT JOIN (SELECT x.run_id, min(t.name) AS study FROM study_run x JOIN study t ON t.id = x.study_id
           GROUP BY x.run_id) s ON s.run_id = r.run_id
WHERE NOT r.excluded
ORDER BY r.run_id"""


@dataclass(frozen=True)
class Held:
    """Finished cells of one measure on one eval set."""

    eval_set: str
    source: str
    n_steps: int


@dataclass(frozen=True)
class HoldingRun:
    """One run that is not excluded, and what it holds.

    changed: somebody intervened in its training. goes_on: it was trained on from another run, which is parent_id where
    the archive has it. held: one object for all runs of an archive that hold the same.
    """

    run_id: int
    run: str
    family: str
    condition: str
    init: str
    changed: bool
    goes_on: bool
    parent_id: int | None
    study: str
    held: Mapping[str, tuple[Held, ...]]

    @property
    def intervened(self) -> bool:
        """Whether something was done to it that is not done to others: at init, in training, or by going on."""
        return self.changed or self.goes_on

    @property
    def repeats(self) -> str:
        """What it is a repeat of; a run without a condition stands alone."""
        return f"{self.family}: {self.condition}" if self.condition else self.run

    def places(self, need: Need) -> list[Held]:
        """Where it has what is needed, often enough."""
        return [
            held
            for name in need.any_of
            for held in self.held.get(name, ())
            if fnmatchcase(held.eval_set, need.on) and held.n_steps >= need.steps
        ]

    def touches(self, need: Need) -> bool:
        """Whether it has some of what is needed, however little."""
        return any(
            fnmatchcase(held.eval_set, need.on) for name in need.any_of for held in self.held.get(name, ())
        )


def read_coverage(archive: Archive, measures: Iterable[str]) -> list[HoldingRun]:
    """Every run that is not excluded, with what it holds of these measures."""
    known: dict[str, dict[str, tuple[Held, ...]]] = {}

    def kept(entries: Sequence[Mapping[str, object]]) -> dict[str, tuple[Held, ...]]:
        words = repr(entries)
        if words not in known:
            known[words] = _by_measure(entries)
        return known[words]

    return [
        HoldingRun(
            run_id=row["run_id"],
            run=row["run"],
            family=row["family"],
            condition=row["condition"],
            init=row["init_hash"] if row["init_seed"] is None else f"seed {row['init_seed']}",
            changed=row["changed"],
            goes_on=row["goes_on"],
            parent_id=row["parent_id"],
            study=row["study"] or "",
            held=kept(row["held"] or ()),
        )
        for row in archive.rows(_SQL, {"measures": sorted(set(measures))})
    ]


def holding(runs: Sequence[HoldingRun], fits: Callable[[HoldingRun], bool]) -> list[HoldingRun]:
    """Runs of which something is so that hangs on what they hold alone: asked once of all that hold the same."""
    kinds = {id(run.held): run for run in runs}
    fitting = {kind for kind, run in kinds.items() if fits(run)}
    return [run for run in runs if id(run.held) in fitting] if fitting else []


def having(need: Need, runs: Sequence[HoldingRun]) -> list[HoldingRun]:
    """Those that have what is needed, often enough."""
    return holding(runs, lambda run: bool(run.places(need)))


def lacking(need: Need, runs: Sequence[HoldingRun]) -> list[HoldingRun]:
    """The others."""
    return holding(runs, lambda run: not run.places(need))


def _by_measure(entries: Iterable[Mapping[str, object]]) -> dict[str, tuple[Held, ...]]:
    found: dict[str, tuple[Held, ...]] = {}
    for entry in entries:
        name = str(entry["measure"])
        held = Held(str(entry["eval_set"]), str(entry["source"]), int(str(entry["n_steps"])))
        found[name] = (*found.get(name, ()), held)
    return found
