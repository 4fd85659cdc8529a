"""Facts: catalogue/polypythias.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("polypythias", citation="van der Wal et al. 2025, arXiv 2503.09543")
class PolyPythias(PublishedFamily):
    """PolyPythias: five Pythia sizes with nine more seeds each, and 160m with one source of chance varied alone."""
