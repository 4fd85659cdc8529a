"""Measures of language models on their way through a checkpoint: circuits, neurons, prompts, likely tokens, patterns."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archive.records import Part, Quantity
from ingest.applicable import NotApplicable
from ingest.mathematics.prompt_scores import PromptScores
from ingest.mathematics.token_top import TokenTop
from ingest.measure import Reads, RegisteredMeasure
from ingest.measuring.attended_job import AttendedJob
from ingest.measuring.finite import require_finite
from ingest.measuring.intervention_jobs import InterventionJob
from ingest.measuring.job import AnyJob, Job
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.rows import head_rows, layers_together, pair_rows, vector_rows
from ingest.models.loaded import Activations
from ingest.readings.circuit import CircuitWeights
from ingest.readings.distributions import Distributions
from ingest.readings.units import SOLU_NEURONS, UnitReducer, Units
from ingest.task import Task


class CircuitJob(AnyJob):
    """A measure of weights by their role."""

    found: Any = None

    def read(self, circuit: CircuitWeights) -> None:
        """Look at the weights."""
        with self._guarded():
            self.found = self._function(circuit)

    def _result(self) -> MeasuredValue:
        name = self.measure.name
        if self.measure.scope == "head pair":
            # z stays NaN where every rotation gives the same score
            return self._value(require_finite(name, pair_rows(self.found), "values"))
        if self.measure.scope == "unit vector":
            columns = vector_rows(self.found)
            n = len(columns["values"]) // len(self.found)
            parts = tuple(part for part in self.found for _ in range(n))
            return self._value(require_finite(name, columns, "values", parts), parts)
        columns = head_rows(self.found)
        if self.measure.chance is not None:
            columns["chance"] = self.measure.chance(self.task)
        return self._value(require_finite(name, columns, "value"))


class UnitsJob(AnyJob):
    """A measure of neurons: one reducer a layer, made when the layer is first seen."""

    def __init__(self, measure: RegisteredMeasure, quantity: Quantity, task: Task) -> None:
        super().__init__(measure, quantity, task)
        self._reducers: list[UnitReducer] = []
        self._taken: list[int] = []

    def see(
        self,
        layer: int,
        activations: Float[Tensor, "sequence position unit"],
        sequences: Int[Tensor, " sequence"],
        documents: Int[Tensor, " sequence"],
    ) -> None:
        """Take in one layer of a batch; layers come in order, sequences by number.

        A piece that comes again, because memory did not suffice for the rest of it, is taken in once.
        """
        if self.trouble is not None:
            return
        if layer < len(self._taken):
            new = slice(int((sequences < self._taken[layer]).sum()), None)
            activations, sequences, documents = activations[new], sequences[new], documents[new]
        if not len(sequences):
            return
        with self._guarded(f"in layer {layer}", again=True):
            if layer == len(self._reducers):
                self._reducers.append(self._reducer(Units(layer, activations.shape[2])))
                self._taken.append(0)
            self._reducers[layer].update(activations, sequences, documents)
            self._taken[layer] = int(sequences[-1]) + 1

    def _reducer(self, units: Units) -> UnitReducer:
        made: UnitReducer = self._function(units)
        return made

    def _result(self) -> MeasuredValue:
        if not self._reducers:
            mid = self.measure.site == SOLU_NEURONS
            raise NotApplicable(
                "the model has no norm between its neurons and what reads them"
                if mid
                else "the model has no MLP neurons"
            )
        found = [reducer.rows() for reducer in self._reducers]
        parts = tuple(part for _, parts in found for part in parts)
        columns = layers_together([columns for columns, _ in found])
        if "values" in columns:
            # a unit that does not vary has no skew
            may_be_undefined = self.measure.scope == "unit"
            require_finite(self.measure.name, columns, "values", parts, nan_allowed=may_be_undefined)
        return self._value(columns, parts)


class PromptsJob(AnyJob):
    """A measure of the answers to prompts."""

    _values: Float[Tensor, " item"] | None = None

    def read(self, scores: PromptScores) -> None:
        """Look at the answers to all prompts."""
        with self._guarded():
            # the first choice among logits of which one is NaN would pass for an answer
            probabilities = {"item": np.arange(len(scores.top)), "value": scores.target_prob.cpu().numpy()}
            require_finite("target_prob", probabilities, "value")
            self._values = self._function(scores)

    def _result(self) -> MeasuredValue:
        assert self._values is not None
        columns: dict[str, Any] = {
            "item": np.arange(len(self._values)),
            "value": self._values.double().cpu().numpy(),
        }
        if self.measure.chance is not None:
            columns["chance"] = self.measure.chance(self.task)
        return self._value(require_finite(self.measure.name, columns, "value"))


class DistributionsJob(AnyJob):
    """A measure of the likely tokens at every position."""

    def __init__(self, measure: RegisteredMeasure, quantity: Quantity, task: Task) -> None:
        super().__init__(measure, quantity, task)
        self._found: dict[int, TokenTop] = {}

    def see(self, sequence: int, distributions: Distributions) -> None:
        """Look at one sequence; in any order, and again if need be."""
        if self.trouble is None:
            with self._guarded(f"of sequence {sequence}", again=True):
                self._found[sequence] = self._function(distributions)

    def _result(self) -> MeasuredValue:
        rows = sorted(self._found.items())
        lengths = [len(found.remainder) for _, found in rows]
        tokens = [
            torch.cat([found.token_ids.cpu(), torch.full((len(found.remainder), 1), -1)], 1)
            for _, found in rows
        ]
        log_probs = [
            torch.cat([found.log_probs.cpu().double(), found.remainder.cpu().double().log()[:, None]], 1)
            for _, found in rows
        ]
        return self._value(
            {
                "sequence": np.repeat([sequence for sequence, _ in rows], lengths),
                "position": np.concatenate([np.arange(n) for n in lengths]),
                "token_ids": torch.cat(tokens).numpy(),
                "log_probs": torch.cat(log_probs).numpy(),
            }
        )


class PatternsJob(AnyJob):
    """Attention patterns of the first sequences, as they are."""

    def __init__(self, measure: RegisteredMeasure, quantity: Quantity, task: Task) -> None:
        super().__init__(measure, quantity, task)
        self._rows: dict[tuple[int, int], Float[Tensor, "head query key"]] = {}

    def see(self, layer: int, first: int, activations: Activations) -> None:
        """Look at one layer of a piece that begins with sequence `first`."""
        if self.trouble is not None or first >= self.measure.params["items"]:
            return
        with self._guarded(again=True):
            patterns = self._function(activations)[: self.measure.params["items"] - first, 0]
            for item, pattern in enumerate(patterns, first):
                self._rows[item, layer] = pattern.to("cpu", copy=True)  # a view would keep the whole layer

    def _result(self) -> MeasuredValue:
        if not self._rows:
            raise NotApplicable("the model has no attention heads")
        keys = sorted(self._rows)
        patterns = [self._rows[key] for key in keys]
        n_heads = len(patterns[0])
        _, n_query, n_key = patterns[0].shape
        return self._value(
            require_finite(
                self.measure.name,
                {
                    "item": np.repeat([item for item, _ in keys], n_heads),
                    "layer": np.repeat([layer for _, layer in keys], n_heads),
                    "head": np.tile(np.arange(n_heads), len(keys)),
                    "n_query": n_query,
                    "n_key": n_key,
                    "values": torch.cat(patterns).reshape(len(keys) * n_heads, -1).double().numpy(),
                },
                "values",
            )
        )


def make_job(
    measure: RegisteredMeasure,
    quantity: Quantity,
    task: Task,
    splits: Mapping[Part, Bool[Tensor, " example"]],
) -> AnyJob:
    """The job that carries out a measure, by what it reads."""
    if measure.scope == "attention":
        return PatternsJob(measure, quantity, task)
    if measure.reads in _JOB_OF:
        return _JOB_OF[measure.reads](measure, quantity, task)
    return Job(measure, quantity, task, splits)


_JOB_OF: dict[Reads, type[AnyJob]] = {
    "circuit": CircuitJob,
    "units": UnitsJob,
    "prompts": PromptsJob,
    "attended prompts": AttendedJob,
    "distributions": DistributionsJob,
    "interventions": InterventionJob,
}
