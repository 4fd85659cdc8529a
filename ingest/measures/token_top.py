"""B26: the most likely next tokens of every position."""

from ingest.mathematics.token_top import TokenTop
from ingest.mathematics.token_top import token_top as most_likely
from ingest.measure import measure
from ingest.readings.distributions import Distributions

K = 64


@measure(
    "token_top",
    scope="token top",
    unit="nats",
    bounds=(None, 0.0),
    direction="neither",
    citation="pathscope: bounds on divergences of two models from their most likely tokens",
    schedule="sparse",
    params={"k": K},
    taken_on="text",
)
def token_top(distributions: Distributions) -> TokenTop:
    """The 64 most likely next tokens of every position with their log-probabilities, and that of all others together.

    Equally likely tokens come by lower id. Token -1 stands for all others.
    """
    return most_likely(distributions.logits, min(K, distributions.logits.shape[1]))
