"""What every script here does with its tables: print them while they are made, and put them into docs/statistics.md."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
END = "<!-- end -->"
Lines = Iterable[str]


def make_tables(
    description: str,
    tables: Mapping[str, Callable[[int], Lines]],
    *,
    of: str = "replicates",
    default: int = 1000,
) -> None:
    """Read the command line, print every table, and with --write put each between its marks.

    tables: mark of the page -> lines of Markdown from the number asked for. of: what that number counts.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(f"--{of}", dest="number", metavar="N", type=int, default=default)
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{PAGE.name}")
    given = parser.parse_args()
    for mark, make in tables.items():
        text = ""
        for line in make(given.number):
            print(line, flush=True)
            text += f"{line}\n"
        if given.write:
            before, start, rest = PAGE.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
            if not start:
                raise ValueError(f"{PAGE} has no mark <!-- {mark} -->")
            after = rest.partition(END)[2]
            PAGE.write_text(f"{before}{start}{text}{END}{after}", encoding="utf-8")


def head(*columns: str) -> Lines:
    """The two lines that begin a table."""
    return f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"
