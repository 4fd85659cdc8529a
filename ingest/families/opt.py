"""Facts: catalogue/opt.toml."""

from ingest.families.published import PublishedFamily
from ingest.family import family


@family("opt", citation="Zhang et al. 2022, arXiv 2205.01068")
class Opt(PublishedFamily):
    """Meta's OPT-125m, final weights only."""
