"""B24: share of variance that trigonometric functions of the key frequencies explain."""

from collections.abc import Callable, Mapping

from archive.records import Part
from ingest.addition_grid import DEFAULT_RULE, AdditionGrid, addition_grid, current_keys, matrix_part
from ingest.evaluation import WholeEvaluation
from ingest.measure import NotApplicable, measure
from ingest.trig_losses import Explained, logits_explained

# the linear and quadratic terms of one frequency, beside the mean
NEURON_TERMS = 8


def _fits(grid: AdditionGrid) -> dict[Part, Explained]:
    """Of the logits by the current key frequencies; of the median neuron by its own best frequency."""
    if grid.logits.min() == grid.logits.max():
        raise NotApplicable("all logits are equal: there is no variance to explain")
    of_logits = logits_explained(grid.logits, current_keys(grid))
    median = float(grid.neuron_fractions.max(0).values.quantile(0.5))
    of_neurons = Explained(median, grid.p**2, NEURON_TERMS)
    return {matrix_part("logits"): of_logits, matrix_part("neurons"): of_neurons}


def _taking(read: Callable[[Explained], float]) -> Callable[[WholeEvaluation], Mapping[Part, float]]:
    def fve(evaluation: WholeEvaluation) -> Mapping[Part, float]:
        """Share of variance explained: of the logits by cos(w_k (a + b − c)) of the key frequencies, of the median neuron.

        `logits`: variance of all p³ logits around their mean; the key frequencies are those of the checkpoint
        itself, by the `W_L` rule. `neurons`: for each neuron the linear and quadratic terms of its best
        frequency, then the median over neurons. The variant `adjusted` takes off what
        as many terms explain of unrelated numbers, and can be negative; it does not account for choosing the
        best of (p − 1)/2. Modular addition with an MLP only.
        """
        return {part: read(fit) for part, fit in _fits(addition_grid(evaluation)).items()}

    return fve


for _variant, _read in (("", lambda fit: fit.share), ("adjusted", lambda fit: fit.adjusted)):
    measure(
        "fve",
        scope="part",
        unit="share",
        bounds=(None, 1.0),
        direction="neither",
        citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
        traced=True,
        variant=_variant,
        params={"frequencies": "current", "rule": DEFAULT_RULE, "adjusted": bool(_variant)},
    )(_taking(_read))
