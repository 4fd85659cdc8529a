"""Facts: catalogue/gpt2.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("gpt2", citation="Radford et al. 2019")
class Gpt2(PublishedFamily):
    """OpenAI's GPT-2 small and medium, final weights only."""
