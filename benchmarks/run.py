"""Measures the promises about speed, as ratios within one run.

    python -m benchmarks.run [--only commit] [--folder DIR] [--quick] [--write]

Every `bench_*.py` beside this file has `measure(folder) -> Iterable[Measured]`. Ours and the bare way take
turns, the fastest of each counts. Prints a table of each; `--write` also puts it into benchmarks/README.md, with the date.
`--folder` keeps the large made-up archives for the next time (1 GB).
"""

import argparse
import datetime
import importlib
import os
import platform
import sys
import tempfile
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol, cast

from benchmarks.measured import Measured

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
END = "<!-- end -->\n"


class Benchmark(Protocol):
    """What a bench_*.py offers."""

    def measure(self, folder: Path) -> Iterable[Measured]:
        """Run it, with a folder for large files that may be kept."""


def machine() -> str:
    """The machine and the versions that matter, in one line."""
    import duckdb
    import pyarrow

    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} × {model}, {memory:.0f} GB, {platform.system()} {platform.release()}; Python "
        f"{platform.python_version()}, DuckDB {duckdb.__version__}, PyArrow {pyarrow.__version__}"
    )


def table(rows: Iterable[Measured]) -> str:
    """A Markdown table."""
    lines = ["| what | pathscope | bare | ratio | promised |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.what} | {r.ours} | {r.bare} | {r.ratio:.2f} | {'' if r.promised is None else f'≤ {r.promised:g}'}"
        f"{' (not kept)' if r.broken else ''} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmarks; exit code 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description="Measures the promises about speed.")
    names = sorted(p.stem.removeprefix("bench_") for p in HERE.glob("bench_*.py"))
    parser.add_argument("--only", choices=names, action="append", help="these only")
    parser.add_argument("--folder", type=Path, help="where to keep large made-up archives")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    parser.add_argument("--quick", action="store_true", help="smaller made-up files")
    given = parser.parse_args()
    if given.quick:
        os.environ["PATHSCOPE_BENCH_QUICK"] = "1"
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    kept = True
    with nullcontext(str(given.folder)) if given.folder else tempfile.TemporaryDirectory() as folder:
        for name in given.only or names:
            print(f"\n{name}", flush=True)
            module = cast(Benchmark, importlib.import_module(f"benchmarks.bench_{name}"))
            rows = []
            for row in module.measure(Path(folder)):
                print(table([row]).splitlines()[-1], flush=True)
                rows.append(row)
            if given.write:
                write(name, rows)
            kept &= not any(r.broken for r in rows)
    return 0 if kept else 1


def write(name: str, rows: Iterable[Measured]) -> None:
    """Put the rows of one benchmark between its marks in the page, with the machine and how busy it is."""
    before, mark, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- measured: {name} -->\n")
    if not mark:
        raise ValueError(f"{PAGE} has no mark <!-- measured: {name} -->")
    stamp = f"`bench_{name}.py`, {datetime.date.today()}, {machine()}; load average at the end {os.getloadavg()[0]:.1f}.\n"
    PAGE.write_text(f"{before}{mark}{stamp}\n{table(rows)}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
