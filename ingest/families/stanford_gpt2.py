"""Facts: catalogue/stanford_gpt2.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("stanford_gpt2", citation="Karamcheti et al. 2021, Mistral, github.com/stanford-crfm/mistral")
class StanfordGpt2(PublishedFamily):
    """Stanford CRFM's GPT-2 small and medium with five seeds each, 609 checkpoints each."""
