"""Measures of the attention of prompts on their way through a checkpoint."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Quantity
from ingest.applicable import NotApplicable
from ingest.evalsets.frozen import Items
from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.clustered import clustered_mean
from ingest.measure import RegisteredMeasure
from ingest.measuring.finite import require_finite
from ingest.measuring.job import AnyJob
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.rows import head_rows
from ingest.readings.attended import AttendedPrompts
from ingest.task import Task


class AttendedJob(AnyJob):
    """A measure of the attention of prompts: one number for each prompt and head, of which the mean is stored."""

    def __init__(self, measure: RegisteredMeasure, quantity: Quantity, task: Task) -> None:
        super().__init__(measure, quantity, task)
        self._by_layer: dict[int, Float[Tensor, "item head"]] = {}

    def see(self, layer: int, prompts: AttendedPrompts) -> None:
        """Look at one layer of some prompts; in any order, and again if need be."""
        if self.trouble is not None:
            return
        with self._guarded(again=True):
            # a prompt without the places has no score, which is NaN as well: so what goes into it is looked at
            if prompts.attention.isnan().any():
                raise FloatingPointError(
                    f"{self.measure.name} is nan: so is the attention of layer {layer}; expected finite numbers"
                )
            found: Tensor = self._function(prompts)
            if layer not in self._by_layer:
                shape = len(self._items), found.shape[1]
                self._by_layer[layer] = torch.full(shape, torch.nan, dtype=torch.float64)
            self._by_layer[layer][prompts.places.items] = found.double().cpu()

    def _result(self) -> MeasuredValue:
        if not self._by_layer:
            raise NotApplicable("the model has no attention heads")
        values = torch.stack([found for _, found in sorted(self._by_layer.items())], 1)
        there = ~values.flatten(1).isnan().any(1)
        if not there.any():
            raise NotApplicable("no prompt of the eval set has the places that it looks at")
        clusters = self._items.clusters(there.nonzero()[:, 0].tolist())
        estimate = clustered_mean(values[there], torch.from_numpy(clusters))
        columns: dict[str, Any] = {
            **head_rows(estimate.value),
            # NULL, not NaN, where one cluster leaves it unknown
            "se": [None if math.isnan(se) else se for se in estimate.se.flatten().tolist()],
            "n_items": estimate.n_items,
            "n_clusters": estimate.n_clusters,
        }
        if self.measure.chance is not None:
            columns["chance"] = self.measure.chance(self.task)
        return self._value(require_finite(self.measure.name, columns, "value"))

    @property
    def _items(self) -> Items:
        assert isinstance(self.task, NextTokens)
        assert self.task.frozen.items is not None  # only prompts come here
        return self.task.frozen.items
