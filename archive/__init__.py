"""What is stored: tables, records, identity, writing, reading. Knows no model, no torch, no question."""

from archive.errors import PathscopeError
from archive.layout import Layout
from archive.store import Archive, open_archive

PART_OF = "pathscope"

__all__ = ["Archive", "Layout", "PathscopeError", "open_archive"]
