"""Spectra of the initial weights, and the frequencies each run ends with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, find_left_outs
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import Selected
from queries.results import readable_sql

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SQL = """\
SELECT run_id, run, step, measure, part, "values" AS by_frequency
FROM v_vector
WHERE run_id IN (SELECT unnest($run_ids)) AND checkpoint_id NOT IN (SELECT unnest($left_out))
  AND (quantity_id = $keys AND part = $rule OR quantity_id = $strengths AND step = 0)
QUALIFY row_number() OVER (PARTITION BY run_id, quantity_id, part ORDER BY step DESC) = 1
ORDER BY run_id, measure, part"""


@dataclass(frozen=True)
class InitialSpectra:
    """One run. key: whether each frequency is key at the last checkpoint; strengths at step 0 by matrix, without sign.

    why: why the run is not used, "" where it is.
    """

    run_id: int
    step: int
    key: Bools
    strengths: Mapping[str, Floats]

    @property
    def chosen(self) -> list[int]:
        """Key frequencies, counted from 1."""
        return [int(k) + 1 for k in np.flatnonzero(self.key)]

    @property
    def why(self) -> str:
        """Why the run says nothing of what was chosen."""
        if not self.step:
            return "no checkpoint after step 0"
        if not self.key.any():
            return "no key frequency at the end"
        return (
            "more than half of all frequencies are key at the end"
            if 2 * self.key.sum() > len(self.key)
            else ""
        )


@dataclass(frozen=True)
class SpectraRead:
    """by_run: those with key frequencies, by run_id. choices: of key frequencies and of strengths."""

    by_run: Mapping[int, InitialSpectra]
    choices: tuple[Choice, Choice]
    left_out: LeftOuts
    sql: str


def read_spectra(archive: Archive, selected: Selected, rule: str, which: Which) -> SpectraRead:
    """Four statements at most. Raises UsageError where no run has key frequencies by the rule, or none has spectra at step 0."""
    wants = [Want((name,), ("fact_vector",)) for name in ("key_frequencies", "fourier_norm")]
    keys, strengths = choose_quantities(archive, selected, wants, which)
    if not isinstance(keys, Choice):
        raise keys
    if not isinstance(strengths, Choice):
        raise strengths
    choices = (keys, strengths)
    left_out = find_left_outs(archive, choices, which)
    parameters: dict[str, object] = {
        "run_ids": keys.selected.ids,
        "left_out": left_out.ids,
        "keys": keys.quantity.quantity_id,
        "rule": rule,
        "strengths": strengths.quantity.quantity_id,
    }
    at: dict[int, tuple[int, Bools]] = {}
    spectra: dict[int, dict[str, Floats]] = {}
    for row in archive.rows(_SQL, parameters):
        values = np.array(row["by_frequency"], dtype=np.float64)
        if row["measure"] == "key_frequencies":
            at[row["run_id"]] = row["step"], values > 0.5
        else:
            spectra.setdefault(row["run_id"], {})[row["part"]] = np.abs(values)
    if not at:
        raise UsageError(
            f'no usable key frequencies by the rule {rule!r}; `pathscope sql "SELECT DISTINCT part FROM v_vector WHERE measure = '
            "'key_frequencies'\"` lists the rules there are."
        )
    if not set(spectra) & set(at):
        raise UsageError(
            "no run has fourier_norm at step 0: what the initial weights tell needs a checkpoint of them. `pathscope status` "
            "shows which checkpoints there are; `pathscope ingest STUDY.toml --fill fourier_norm` measures kept ones."
        )
    by_run = {run: InitialSpectra(run, step, key, spectra.get(run, {})) for run, (step, key) in at.items()}
    return SpectraRead(by_run, choices, left_out, readable_sql(_SQL, parameters))
