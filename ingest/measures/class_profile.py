"""B15: at what kinds of token a head looks."""

from jaxtyping import Float
from torch import Tensor

from ingest.evalsets.classes import TokenClass
from ingest.mathematics.class_attention import attention_by_class
from ingest.measure import measure
from ingest.models.loaded import Activations


@measure(
    "head.class_profile",
    scope="head vector",
    unit="probability",
    bounds=(0.0, 1.0),
    direction="neither",
    citation="pathscope; classes as in Clark et al. 2019, What does BERT look at?",
    traced=True,
    params={"classes": [kind.name.lower() for kind in TokenClass]},
    taken_on="text",
)
def class_profile(batch: Activations) -> Float[Tensor, "example layer head class"]:
    """Attention by the kind of token it falls on, meaned over queries; the kinds of a head add up to 1.

    `params` name the kinds in order. Common kinds get more of any head's attention: compare heads, or see `head.mask`.
    """
    return batch.once(attention_by_class).double().mean(-2)
