"""B21: the frequencies a modular adder computes with, by every rule in use, at the checkpoint itself."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.measure import measure
from ingest.readings.addition_grid import addition_grid, rule_part
from ingest.readings.evaluation import WholeEvaluation

CITATION = (
    "Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability (neuron clusters); "
    "TransformerLens' grokking demo (W_E norm above a quarter of the largest)"
)
PARAMS = {"frequencies": "current", "neuron_level": 0.85, "strength": "max/4"}


@measure(
    "key_frequencies",
    scope="vector",
    unit="1",
    bounds=(0.0, 1.0),
    direction="neither",
    citation=CITATION,
    traced=True,
    params=PARAMS,
)
def key_frequencies(evaluation: WholeEvaluation) -> Mapping[Part, Float[Tensor, " frequency"]]:
    """Key frequencies of this checkpoint by each rule: 1 for a key frequency and 0 for another, frequency k at index k − 1.

    Rules: `W_E`, `W_L`, `logits`: strength above a quarter of the largest; `neurons`: at least one neuron of
    whose variance the frequency alone explains 0.85. No numeric rule is published, and these disagree: of a
    published run `W_L` and `neurons` name the same five, `logits` two of them and `W_E` ten. Before training
    has formed any, the first three name the largest of noise. Modular addition only.
    """
    grid = addition_grid(evaluation)
    flags = {}
    for rule, keys in grid.key_frequencies.items():
        flags[rule_part(rule)] = torch.zeros((grid.p - 1) // 2, dtype=torch.float64)
        flags[rule_part(rule)][[k - 1 for k in keys]] = 1
    return flags


@measure(
    "key_frequency_count",
    scope="part",
    unit="frequencies",
    bounds=(0.0, None),
    direction="neither",
    citation=CITATION,
    traced=True,
    params=PARAMS,
)
def key_frequency_count(evaluation: WholeEvaluation) -> Mapping[Part, float]:
    """Number of key frequencies of this checkpoint, by each rule of `key_frequencies`."""
    found = addition_grid(evaluation).key_frequencies
    return {rule_part(rule): float(len(keys)) for rule, keys in found.items()}
