"""Questions to an archive: typed functions that return an answer with its interval, limits and provenance."""

PART_OF = "pathscope"
