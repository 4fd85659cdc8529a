"""Where weights come from, and fetching them ahead of the measuring."""

from pathlib import Path

from archive.errors import UsageError
from ingest.sources.base import Source
from ingest.sources.files import TOKENIZER, WEIGHTS, FileSet
from ingest.sources.folder import FolderSource
from ingest.sources.hub import HubSource

__all__ = ["TOKENIZER", "WEIGHTS", "make_source"]


def make_source(place: str, files: FileSet = WEIGHTS) -> Source:
    """The source that a study or a person names.

    `hub`: the Hugging Face hub, fetched into pathscope's own cache; `hub:FOLDER`: into that folder;
    `path:FOLDER`: what lies there already (`ingest.sources.folder` says in which layouts). files: TOKENIZER for
    the files of a tokenizer in place of weights.
    """
    kind, where = place_of(place)
    return FolderSource(where, files) if kind == "path" and where is not None else HubSource(where, files)


def place_of(place: str) -> tuple[str, Path | None]:
    """Kind and folder of a place: ("hub", None), ("hub", FOLDER) or ("path", FOLDER); raises UsageError."""
    kind, _, where = place.partition(":")
    if kind == "hub" or (kind == "path" and where):
        return kind, Path(where).expanduser() if where else None
    raise UsageError(f"no source {place!r}: write `hub`, `hub:CACHE_FOLDER` or `path:FOLDER`.")
