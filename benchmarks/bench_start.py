"""Starting: `pathscope status` against importing what it needs."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from archive.create import ensure_archive
from benchmarks.made import head_unit
from benchmarks.measured import Measured, compare, seconds


def measure(folder: Path) -> Iterable[Measured]:
    """On an archive with a run in it."""
    import numpy as np

    from archive.committer import commit_inbox

    layout = ensure_archive(folder / "start.duckdb")
    head_unit("run-000", range(10), np.random.default_rng(0)).write(layout.inbox)
    commit_inbox(layout)
    root = Path(__file__).resolve().parent.parent
    status = [sys.executable, "-m", "pathscope", "status", "--archive", str(layout.database), "--json"]
    imports = [sys.executable, "-c", "import duckdb, sqlalchemy, pyarrow"]

    def run(command: list[str]) -> float:
        return seconds(lambda: subprocess.run(command, check=True, cwd=root, stdout=subprocess.DEVNULL))

    yield compare(
        "`pathscope status`; `python -c 'import duckdb, sqlalchemy, pyarrow'`",
        lambda: run(status),
        lambda: run(imports),
        times=7,
        promised=3.0,
    )
