"""Facts: catalogue/gpt_neo.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("gpt_neo", citation="Black et al. 2021, doi 10.5281/zenodo.5297715")
class GptNeo(PublishedFamily):
    """EleutherAI's GPT-Neo 125M, final weights only."""
