from collections.abc import Callable
from pathlib import Path

import pytest

from archive.layout import Layout
from ingest.importers.importing import import_results
from ingest.importers.report import ImportReport

Import = Callable[..., ImportReport]


@pytest.fixture
def import_(layout: Layout) -> Import:
    """Import a path into this test's archive."""

    def run(path: Path, format_name: str = "auto", **fields: object) -> ImportReport:
        return import_results(layout.database, path, format_name=format_name, **fields)  # type: ignore[arg-type]

    return run
