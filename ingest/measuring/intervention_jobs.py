"""Causal measures on their way through a checkpoint."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archive.records import Part
from ingest.mathematics.clustered import Estimate
from ingest.measuring.finite import require_finite
from ingest.measuring.job import AnyJob
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.rows import places
from ingest.readings.interventions import Interventions


class InterventionJob(AnyJob):
    """A measure of a model with its parts replaced. Missing numbers are allowed where a note says why."""

    found: Estimate | Mapping[Part, Estimate] | None = None

    def read(self, interventions: Interventions) -> None:
        """Have everything run that the measure asks for."""
        with self._guarded():
            self.found = self._function(interventions)

    def _result(self) -> MeasuredValue:
        assert self.found is not None
        parts: tuple[Part, ...] = ()
        if isinstance(self.found, Estimate):
            estimate = self.found
            layer, head = places(*estimate.value.shape)
            where: dict[str, Any] = {"layer": layer, "head": head}
        else:
            parts, where = tuple(self.found), {}
            estimate = _together(list(self.found.values()))
        columns = {
            **where,
            "value": _numbers(estimate.value),
            # NULL, not NaN, where it is not known
            "se": [None if np.isnan(se) else se for se in _numbers(estimate.se).tolist()],
            "n_items": estimate.n_items,
            "n_clusters": estimate.n_clusters,
        }
        n = len(columns["value"])
        columns |= {name: np.full(n, columns[name]) for name in ("n_items", "n_clusters")}
        if self.measure.chance is not None:
            columns["chance"] = self.measure.chance(self.task)
        require_finite(self.measure.name, columns, "value", parts, nan_allowed=bool(estimate.note))
        return self._value(columns, parts, estimate.note)


def _together(found: list[Estimate]) -> Estimate:
    """Single numbers of the same rows as one list."""
    return Estimate(
        torch.stack([one.value for one in found]),
        torch.stack([one.se for one in found]),
        found[0].n_items,
        found[0].n_clusters,
        next((one.note for one in found if one.note), ""),
    )


def _numbers(values: Tensor) -> np.ndarray:
    flat: np.ndarray = values.double().cpu().numpy().reshape(-1)
    return flat
