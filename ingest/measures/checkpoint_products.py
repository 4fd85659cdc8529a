"""B28: inner products of a run's checkpoints, as weights and as logits, for principal components of its trajectory."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.mathematics.inner_products import SKETCH_DIMENSION, SKETCH_SEED, product_rows, sketch
from ingest.measure import NotApplicable, Rows, measure
from ingest.models.loaded import NamedWeights
from ingest.readings.evaluation import WholeEvaluation
from ingest.readings.history import EvaluationHistory, WeightHistory, centred

# numbers of all checkpoints together beyond which exact products are refused: about 400 MB and minutes
MOST_NUMBERS = 50_000_000
STEPS, PRODUCTS = Part(kind="gram", name="steps"), Part(kind="gram", name="products")
SKETCH = Part(kind="gram", name="sketch")
EXACT: dict[str, Any] = {"projection": "none"}
SKETCHED: dict[str, Any] = {
    "projection": "count sketch",
    "dimension": SKETCH_DIMENSION,
    "seed": SKETCH_SEED,
}


def _register(name: str, variant: str = "") -> Callable[[Any], Any]:
    return measure(
        name,
        scope="vector",
        unit="1",
        bounds=(None, None),
        direction="neither",
        citation="Li et al. 2018, Visualizing the loss landscape of neural nets (principal components of a trajectory)",
        variant=variant,
        params=SKETCHED if variant else EXACT,
    )


def weight_products(history: WeightHistory) -> Rows:
    """Inner products of the checkpoint's weights with those of all kept checkpoints of the run up to it.

    All parameters in one vector, as stored. `steps`: of the checkpoints, the last one its own; `products`: in the
    same order, the last one its own squared norm. Taken when training is over, in one pass over the
    checkpoints, up to 5e7 numbers altogether. The variant `sketch` needs one checkpoint only and has no
    limit: `sketch` is a random projection to 4,096 numbers, whose inner products x·y are right on average with a
    standard deviation of at most |x||y|/45, and squared distances within a relative one of 2.2%.
    """
    return _rows(history, "weight_products")


def logit_products(history: EvaluationHistory) -> Rows:
    """Inner products of the checkpoint's logits with those of all kept checkpoints of the run up to it.

    All logits of the evaluation set at the positions read in one vector, minus their mean over the outputs, which
    no softmax sees. Parts, limit and the variant `sketch` as in `weight_products`.
    """
    return _rows(history, "logit_products")


def sketched_weights(model: NamedWeights) -> Mapping[Part, Float[Tensor, " coordinate"]]:
    """As `weight_products`, by a random projection of each checkpoint."""
    return {SKETCH: sketch(model.weights.items())}


def sketched_logits(evaluation: WholeEvaluation) -> Mapping[Part, Float[Tensor, " coordinate"]]:
    """As `logit_products`, by a random projection of each checkpoint."""
    return {SKETCH: sketch([("logits", centred(evaluation.logits))])}


def _rows(history: WeightHistory | EvaluationHistory, name: str) -> Rows:
    n = len(history.steps)
    if n * history.size > MOST_NUMBERS:
        raise NotApplicable(
            f"{n} checkpoints of {history.size:,} numbers are {n * history.size:.2g}, and exact products stop at "
            f"{MOST_NUMBERS:.2g}; `{name}:sketch` has no limit"
        )
    wanted = [history.steps.index(step) for step in history.wanted]
    rows = product_rows(history.blocks(), wanted)
    steps = torch.tensor(history.steps, dtype=torch.float64)
    return {
        step: {STEPS: steps[: i + 1], PRODUCTS: row}
        for step, i, row in zip(history.wanted, wanted, rows, strict=True)
    }


# one docstring for a measure and its variant
sketched_weights.__doc__, sketched_logits.__doc__ = weight_products.__doc__, logit_products.__doc__
_register("weight_products")(weight_products)
_register("weight_products", "sketch")(sketched_weights)
_register("logit_products")(logit_products)
_register("logit_products", "sketch")(sketched_logits)
