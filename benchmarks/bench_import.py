"""Importing the published results of Pythia: where the time goes. A large CSV: how much memory it takes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measured import Measured, words
from ingest.importers.importing import import_results

ROOT = Path(__file__).resolve().parent.parent
N_RUNS = 20
MAPPING = """
table = "log"
[columns]
run = "run"
step = "step"
[values.train_loss]
measure = "log.loss"
part = "train"
[values.val_loss]
measure = "log.loss"
part = "validation"
"""
# in a process of its own, whose peak is that of the import
IMPORT = """
import json, sys
from pathlib import Path
from ingest.importers.importing import import_results
report = import_results(Path(sys.argv[1]), Path(sys.argv[2]))
assert report.exit_code == 0, report.problems
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([int(peak.split()[1]) / 1024, report.n_rows, sum(vars(report.timings).values())]))
"""


def measure(folder: Path) -> Iterable[Measured]:
    """Both figures; PATHSCOPE_BENCH_QUICK=1 makes the large file 0.3 GB."""
    yield from _published(folder)
    yield _large(folder, 300 if os.environ.get("PATHSCOPE_BENCH_QUICK") else 1000)


def _large(folder: Path, megabytes: int) -> Measured:
    """Peak memory of a made-up CSV against that of one a quarter its size."""
    peak, n_rows, took = _imported(folder, megabytes)
    quarter, _, _ = _imported(folder, megabytes // 4)
    return Measured(
        f"import of a {'1 GB' if megabytes == 1000 else f'{megabytes} MB'} CSV: peak memory (left) against that of a "
        f"quarter of it (right); {n_rows:,} rows in {words(took)}",
        f"{peak:.0f} MB", f"{quarter:.0f} MB", peak / quarter, 1.25,
    )  # fmt: skip


def _imported(folder: Path, megabytes: int) -> tuple[float, int, float]:
    """Peak memory in MB, rows and seconds of importing a CSV of this size."""
    here = folder / f"import-{megabytes}"
    (here / "set").mkdir(parents=True)
    _write_csv(here / "set" / "curves.csv", megabytes * 10**6)
    (here / "set" / "curves.csv.mapping.toml").write_text(MAPPING, encoding="utf-8")
    command = [sys.executable, "-c", IMPORT, str(here / "x.duckdb"), str(here / "set")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    shutil.rmtree(here)
    peak, n_rows, took = json.loads(ran.stdout)
    return peak, n_rows, took


def _write_csv(path: Path, n_bytes: int) -> None:
    """Losses of twenty runs, step by step."""
    with path.open("w", encoding="utf-8") as handle:
        handle.write("run,step,train_loss,val_loss\n")
        step = 0
        while handle.tell() < n_bytes:
            for _ in range(500):
                loss = 1 + 1 / (1 + step / 7919)
                handle.writelines(
                    f"run-{run:02d},{step},{loss + run / 977:.15f},{loss + run / 787:.15f}\n"
                    for run in range(N_RUNS)
                )
                step += 1


def _published(folder: Path) -> Iterable[Measured]:
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
