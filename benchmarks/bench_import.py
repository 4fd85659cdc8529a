"""Importing the 391 result files of Pythia v1: where the time goes."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measured import Measured, words
from ingest.importers.importing import import_results

ROOT = Path(__file__).resolve().parent.parent


def measure(folder: Path) -> Iterable[Measured]:
    """The database's share against reading and parsing; nothing when the result files are not here."""
    published = Path(os.environ.get("PATHSCOPE_REFDATA", ROOT.parent / "shared" / "refdata")) / "pythia"
    if not published.is_dir():
        print(f"no {published}: the import is not measured")
        return
    best: Measured | None = None
    for _ in range(3):
        path = folder / "import.duckdb"
        report = import_results(path, published, format_name="lm-eval")
        t = report.timings
        found = Measured(
            f"import of {report.n_files} files, {report.commit.n_rows:,} rows: commit (left) against reading and parsing "
            f"(right); writing units takes {words(t.shards)}",
            words(t.commit), words(t.parse), t.commit / t.parse, 1.0,
        )  # fmt: skip
        best = found if best is None or found.ratio < best.ratio else best
        path.unlink()
        shutil.rmtree(path.with_suffix(".d"))
    assert best is not None
    yield best
