"""How strong each frequency is over training: one run, one matrix, thinned for drawing where it is long."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.reading.checkpoints import find_left_out
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import RunSelection, select_runs
from queries.results import readable_sql

Floats = NDArray[np.float64]

MEASURE = "fourier_norm"
MOST_COLUMNS = 400  # checkpoints side by side in a picture; a column is then still two pixels wide
MATRICES = ("W_L", "W_E", "logits")  # in the order of interest: what the output is made of comes first

_STEPS_SQL = """\
SELECT part, list(DISTINCT step ORDER BY step) AS steps
FROM v_vector
WHERE quantity_id = $quantity_id AND run_id = $run_id AND checkpoint_id NOT IN (SELECT unnest($left_out))
GROUP BY part
ORDER BY part"""

# every k-th checkpoint, and always the first, the last and the one that was asked for
_SPECTRUM_SQL = """\
WITH ranked AS (
  SELECT step, "values", row_number() OVER (ORDER BY step) - 1 AS k, count(*) OVER () AS n
  FROM v_vector
  WHERE quantity_id = $quantity_id AND run_id = $run_id AND part = $matrix
    AND checkpoint_id NOT IN (SELECT unnest($left_out))
)
SELECT step, "values" FROM ranked
WHERE k % ceil(n / $max_columns)::BIGINT = 0 OR k = n - 1 OR step = $step
ORDER BY step"""


@dataclass(frozen=True)
class SpectrumSteps:
    """Which matrices of a run have a spectrum, and at which steps each has one."""

    steps: dict[str, tuple[int, ...]]

    @property
    def matrices(self) -> list[str]:
        """Best known first."""
        known = [m for m in MATRICES if m in self.steps]
        return known + [m for m in self.steps if m not in known]


@dataclass(frozen=True)
class Spectrum:
    """Strengths of frequencies 1, 2, ... of one matrix of one run.

    steps: (checkpoint,) as drawn. values: (checkpoint, frequency); NaN where a checkpoint has none. step: the one
    that was asked for. n_steps: checkpoints before thinning.
    """

    run: str
    matrix: str
    steps: NDArray[np.int64]
    values: Floats
    step: int
    n_steps: int
    sql: str

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """1 ... (p - 1) / 2."""
        return np.arange(1, self.values.shape[1] + 1)

    @property
    def now(self) -> Floats:
        """The spectrum at the step that was asked for."""
        found: Floats = self.values[self.steps == self.step][-1]
        return found

    @property
    def last(self) -> Floats:
        """The spectrum at the last step that has one."""
        found: Floats = self.values[-1]
        return found

    @property
    def is_signed(self) -> bool:
        """True where a strength may be negative, as coefficients of logits are."""
        return bool((self.values < 0).any())

    @property
    def n_broken(self) -> int:
        """Drawn checkpoints with a number that is not finite."""
        return int((~np.isfinite(self.values)).any(axis=1).sum())


def spectrum_steps(archive: Archive, *, run: str, suspect: bool) -> SpectrumSteps:
    """Matrices and steps of a run; raises UsageError where the archive has no spectrum of it."""
    found = archive.rows(_STEPS_SQL, _parameters(archive, run, suspect))
    return SpectrumSteps({row["part"]: tuple(row["steps"]) for row in found})


def spectrum(
    archive: Archive, *, run: str, matrix: str, step: int, suspect: bool, max_columns: int = MOST_COLUMNS
) -> Spectrum:
    """The strengths of one matrix over training, thinned in SQL to about `max_columns` checkpoints."""
    parameters = _parameters(archive, run, suspect)
    known = {row["part"]: row["steps"] for row in archive.rows(_STEPS_SQL, parameters)}
    parameters |= {"matrix": matrix, "step": step, "max_columns": max_columns}
    table = archive.query(_SPECTRUM_SQL, parameters)
    rows = [np.asarray(v, np.float64) for v in table["values"].to_pylist()]
    width = max(len(row) for row in rows)
    # a run has one modulus, but a shorter row must not be read as another frequency's
    values = np.array([np.pad(row, (0, width - len(row)), constant_values=np.nan) for row in rows])
    return Spectrum(
        run=run,
        matrix=matrix,
        steps=table["step"].to_numpy(),
        values=values,
        step=step,
        n_steps=len(known[matrix]),
        sql=readable_sql(_SPECTRUM_SQL, parameters),
    )


def spectrum_table(found: Spectrum) -> pa.Table:
    """One row a frequency at the chosen step: its strength now and at the end."""
    return pa.table({"frequency": found.frequencies, "strength": found.now, "at_the_end": found.last})


def _parameters(archive: Archive, run: str, suspect: bool) -> dict[str, Any]:
    """Which numbers: the quantity that answers for this run, and the checkpoints that stay out."""
    selected = select_runs(archive, RunSelection(names=(run,), with_excluded=True))
    # a name may be a pattern that fits others too
    selected = selected.only(r.run_id for r in selected.runs if run in r.names)
    which: Which = {"with_suspect": True} if suspect else {}
    choice = choose_quantity(archive, selected, [MEASURE], which, tables=("fact_vector",))
    return {
        "quantity_id": choice.quantity.quantity_id,
        "run_id": choice.selected.ids[0],
        "left_out": find_left_out(archive, choice, which).ids,
    }
