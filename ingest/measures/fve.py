"""B24: share of variance that trigonometric functions of the key frequencies explain."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archive.records import Part
from ingest.mathematics.trig_losses import Explained, logits_explained
from ingest.measure import NotApplicable, measure
from ingest.models.loaded import LoadedModel
from ingest.readings.addition_grid import (
    DEFAULT_RULE,
    AdditionGrid,
    addition_grid,
    current_keys,
    keys_of,
    matrix_part,
)
from ingest.readings.evaluation import WholeEvaluation

# the linear and quadratic terms of one frequency, beside the mean
NEURON_TERMS = 8


def _fits(
    grid: AdditionGrid, keys: Sequence[int], neuron_keys: Sequence[int] | None = None
) -> dict[Part, Explained]:
    """Of the logits by the key frequencies; of the median neuron by its best one of `neuron_keys`, or of all."""
    if grid.logits.min() == grid.logits.max():
        raise NotApplicable("all logits are equal: there is no variance to explain")
    of_logits = logits_explained(grid.logits, keys)
    fractions = grid.neuron_fractions
    if neuron_keys is not None:
        fractions = fractions[[k - 1 for k in neuron_keys]]
    median = float(fractions.max(0).values.quantile(0.5))
    of_neurons = Explained(median, grid.p**2, NEURON_TERMS)
    return {matrix_part("logits"): of_logits, matrix_part("neurons"): of_neurons}


def _taking(read: Callable[[Explained], float]) -> Callable[[WholeEvaluation], Mapping[Part, float]]:
    def fve(evaluation: WholeEvaluation) -> Mapping[Part, float]:
        """Share of variance explained: of the logits by cos(w_k (a + b − c)) of the key frequencies, of the median neuron.

        `logits`: variance of all p³ logits around their mean; the key frequencies are those of the checkpoint
        itself, by the `W_L` rule. `neurons`: for each neuron the linear and quadratic terms of its best
        frequency, then the median over neurons. The variant `adjusted` takes off what as many terms explain of
        unrelated numbers, and can be negative; it does not account for choosing the best of (p − 1)/2. The
        variant `final` takes the key frequencies of the run's last checkpoint, and of each neuron the best
        among those. Modular addition with an MLP only.
        """
        grid = addition_grid(evaluation)
        return {part: read(fit) for part, fit in _fits(grid, current_keys(grid)).items()}

    return fve


def explained_by_final(evaluation: WholeEvaluation, final: LoadedModel) -> Mapping[Part, float]:
    """As `fve`, with the key frequencies of the final checkpoint."""
    grid = addition_grid(evaluation)
    keys = keys_of(final, grid.p)
    return {part: fit.share for part, fit in _fits(grid, keys, keys).items()}


def _register(called: str, frequencies: str) -> Callable[[Any], Any]:
    return measure(
        "fve",
        scope="part",
        unit="share",
        bounds=(None, 1.0),
        direction="neither",
        citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
        traced=True,
        variant=called,
        params={"frequencies": frequencies, "rule": DEFAULT_RULE, "adjusted": called == "adjusted"},
    )


_plain = _taking(lambda fit: fit.share)
# one docstring for a measure and its variants
explained_by_final.__doc__ = _plain.__doc__
_register("", "current")(_plain)
_register("adjusted", "current")(_taking(lambda fit: fit.adjusted))
_register("final", "final")(explained_by_final)
