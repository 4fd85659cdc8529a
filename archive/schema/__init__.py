"""The tables of an archive: `dimensions` (small, keyed) and `facts` (large, keyless)."""

from archive.schema.base import metadata
from archive.schema.dimensions import DIMENSIONS
from archive.schema.facts import CONTENT, FACTS, FactTable, all_fact_tables

__all__ = ["CONTENT", "DIMENSIONS", "FACTS", "FactTable", "all_fact_tables", "metadata"]
