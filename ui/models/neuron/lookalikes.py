"""Neurons of other runs that fire on the same texts: a weak stand-in where no two models were compared."""

from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from queries.reading.quantities import choose_quantity
from queries.reading.select import RunSelection, select_runs
from queries.results import readable_sql
from queries.stats.ranked_lists import least_above_chance
from ui.models.address import page_address
from ui.models.component_sets import ComponentSet, named, which_of
from ui.models.neuron.page import TABLE
from ui.models.text import plural, shorten

MOST_RUNS = 12  # every neuron of each is looked at

# the two neurons of each run with most examples in common; ties go to the first layer and number
_SQL = """\
WITH picked AS (
  SELECT c.run_id, c.id AS checkpoint_id
  FROM cell l JOIN v_checkpoint v ON v.checkpoint_id = l.subject_id JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id AND c.run_id IN (SELECT unnest($run_ids))
    AND c.step = $step AND ($with_suspect OR NOT v.suspect)
  QUALIFY row_number() OVER (PARTITION BY c.run_id ORDER BY c.id DESC) = 1
), tops AS (
  SELECT f.run_id, f.layer, f.unit, unnest(f.sequences) AS sequence, unnest(f.positions) AS position
  FROM fact_neuron_top f JOIN picked p ON p.checkpoint_id = f.checkpoint_id AND p.run_id = f.run_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
), own AS (
  SELECT sequence, position FROM tops WHERE run_id = $run_id AND layer = $layer AND unit = $unit AND sequence >= 0
), shared AS (
  SELECT t.run_id, t.layer, t.unit, count(*) AS n
  FROM tops t JOIN own o ON o.sequence = t.sequence AND o.position = t.position
  WHERE t.run_id <> $run_id
  GROUP BY t.run_id, t.layer, t.unit
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY run_id ORDER BY n DESC, layer, unit) AS rank FROM shared
), sizes AS (
  SELECT run_id, count(DISTINCT (layer, unit)) AS n_neurons FROM tops GROUP BY run_id
)
SELECT r.name AS run, s.n_neurons, (SELECT count(*) FROM own) AS k,
       (SELECT e.n_tokens FROM quantity q JOIN encoding e ON e.id = q.encoding_id WHERE q.id = $quantity_id) AS n_tokens,
       max(a.layer) FILTER (a.rank = 1) AS layer, max(a.unit) FILTER (a.rank = 1) AS unit,
       coalesce(max(a.n) FILTER (a.rank = 1), 0) AS shared, coalesce(max(a.n) FILTER (a.rank = 2), 0) AS next_shared
FROM sizes s
JOIN run r ON r.id = s.run_id
LEFT JOIN ranked a ON a.run_id = s.run_id AND a.rank <= 2
WHERE s.run_id <> $run_id
GROUP BY r.name, s.run_id, s.n_neurons
ORDER BY shared DESC, s.run_id"""


@dataclass(frozen=True)
class Lookalike:
    """The neuron of another run with most top examples in common; layer and unit −1 where none has any.

    next_shared: what the second best of that run has in common, the control.
    """

    run: str
    layer: int
    unit: int
    shared: int
    next_shared: int
    n_neurons: int

    @property
    def name(self) -> str:
        """Such as L1N12."""
        return f"L{self.layer}N{self.unit}" if self.unit >= 0 else "—"


@dataclass(frozen=True)
class Lookalikes:
    """One row a run. k: examples of the chosen neuron.

    least: so many in common the best of all neurons looked at has less than once in 100 times if texts were chosen at random.
    """

    rows: tuple[Lookalike, ...]
    k: int
    least: int
    n_runs_without: int
    sql: str


def lookalikes(
    archive: Archive,
    *,
    run: str,
    selection: RunSelection,
    known: ComponentSet,
    layer: int,
    unit: int,
    step: int,
    suspect: bool,
) -> Lookalikes:
    """Overlap of the top examples with those of every neuron of up to `MOST_RUNS` other runs at the same step."""
    which = which_of(known, suspect=suspect)
    choice = choose_quantity(
        archive, select_runs(archive, selection), [known.measure], which, tables=(TABLE,)
    )
    focus = select_runs(archive, named(run, excluded=True))
    mine = next(r.run_id for r in focus.runs if run in r.names)
    others = [i for i in choice.selected.ids if i != mine]
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_id": mine,
        "run_ids": [mine, *others[:MOST_RUNS]],
        "layer": layer,
        "unit": unit,
        "step": step,
        "with_suspect": suspect,
    }
    rows = archive.rows(_SQL, parameters)
    k = int(rows[0]["k"]) if rows else 0
    n_neurons = sum(int(r["n_neurons"]) for r in rows)
    return Lookalikes(
        rows=tuple(
            Lookalike(
                run=r["run"],
                layer=-1 if r["layer"] is None else int(r["layer"]),
                unit=-1 if r["unit"] is None else int(r["unit"]),
                shared=int(r["shared"]),
                next_shared=int(r["next_shared"]),
                n_neurons=int(r["n_neurons"]),
            )
            for r in rows
        ),
        k=k,
        least=least_above_chance(k, int(rows[0]["n_tokens"] or 0), 0.01 / n_neurons) if rows else 1,
        n_runs_without=len(others) - len(rows),
        sql=readable_sql(_SQL, parameters),
    )


def lookalikes_table(found: Lookalikes, here: str, eval_set: str, step: int) -> pa.Table:
    """A row a run: run, neuron, shared, next_shared, n_neurons, page."""
    rows = [
        {
            "run": r.run,
            "neuron": r.name,
            "shared": r.shared,
            "next_shared": r.next_shared,
            "n_neurons": r.n_neurons,
            "page": None
            if r.unit < 0
            else page_address(
                here, "neuron", eval_set=eval_set, focus=r.run, layer=r.layer, unit=r.unit, step=step
            ),
        }
        for r in found.rows
    ]
    whole = ("shared", "next_shared", "n_neurons")
    names = ("run", "neuron", *whole, "page")
    return pa.Table.from_pylist(
        rows, schema=pa.schema([(n, pa.int64() if n in whole else pa.string()) for n in names])
    )


def lookalikes_in_words(found: Lookalikes, name: str, step: int) -> str:
    """What they say."""
    if not found.rows:
        return f"No other run has examples at step {step:,}."
    best = found.rows[0]
    beyond = sum(r.shared >= found.least for r in found.rows)
    return (
        f"Most of the {found.k} examples of {name} at step {step:,} are also of {best.name} of {shorten(best.run, 40)}: "
        f"{best.shared}. In {beyond} of {plural(len(found.rows), 'other run')} some neuron has {found.least} or more in common, "
        "which the best of all neurons looked at has less than once in 100 times if texts were chosen at random."
    )
