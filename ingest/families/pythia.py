"""Facts: catalogue/pythia.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("pythia", citation="Biderman et al. 2023, arXiv 2304.01373")
class Pythia(PublishedFamily):
    """EleutherAI's Pythia suite: plain, deduped and v0 models of ten sizes, 154 checkpoints each (v0: 143)."""
