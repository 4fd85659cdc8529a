"""Facts: catalogue/gpt2.toml."""

from ingest.family import family
from ingest.published_family import PublishedFamily


@family("gpt2", citation="Radford et al. 2019")
class Gpt2(PublishedFamily):
    """OpenAI's GPT-2 small and medium, final weights only."""
