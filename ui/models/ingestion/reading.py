"""Everything that the page takes from the database, in one short session."""

from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from ui.models.ingestion.failures import FailureGroup, failures
from ui.models.ingestion.figure import over_time
from ui.models.ingestion.page import Progress, progress


@dataclass(frozen=True)
class Reading:
    """One state of the archive: counts by study, what is not done, and sums over time (see `over_time`)."""

    progress: Progress
    failures: list[FailureGroup]
    over_time: pa.Table


def read(archive: Archive) -> Reading:
    """Open, ask, close."""
    with archive.session():
        return Reading(progress(archive), failures(archive), over_time(archive))
