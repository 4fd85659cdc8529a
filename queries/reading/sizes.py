"""How large each run's model is: as recorded, as asked, or as its name says; never assumed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from archive.errors import NotComparable, UsageError
from queries.reading.select import RunRow, Selected

SizesGiven = Annotated[
    tuple[str, ...],
    Field(description="parameters of models whose size is not recorded, such as my-model=125e6"),
]

_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
# a word of a name that is a size and nothing else: 70m, 1.4b; not 0.5MtokBS, step1000 or seed3
_WORD = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([kmbt])(?![a-z0-9.])", re.IGNORECASE)


@dataclass(frozen=True)
class Sizes:
    """Parameters of every run's model by run_id, NaN-free; `unknown` are runs whose size nobody says.

    nominal: names of runs whose size is the word in their name, which may leave out embeddings.
    """

    of: Mapping[int, float]
    nominal: tuple[str, ...]
    unknown: tuple[str, ...]

    def get(self, run_id: int) -> float | None:
        """Parameters, or None where they are not known."""
        return self.of.get(run_id)

    def refuse_unknown(self, why: str) -> None:
        """Raise NotComparable, saying how to tell, where the size of a run is not known."""
        if self.unknown:
            first, rest = ", ".join(self.unknown[:3]), len(self.unknown) - 3
            named = first if len(self.unknown) == 1 else f"{len(self.unknown)} runs ({first}"
            if len(self.unknown) > 1:
                named += f" and {rest} more)" if rest > 0 else ")"
            raise NotComparable(
                f"{why}, and the size of {named} is neither recorded nor in the name; tell it with "
                f"sizes=('{self.unknown[0]}=125e6',) (--sizes {self.unknown[0]}=125e6), or ask for other runs."
            )

    @property
    def limits(self) -> tuple[str, ...]:
        """What to say of sizes that are only names."""
        if not self.nominal:
            return ()
        return (
            f"The size of {len(self.nominal)} run(s) is the one in the name (first: {self.nominal[0]}): their parameters are "
            "not recorded, and some names count without embeddings.",
        )


def run_sizes(selected: Selected, given: Sequence[str] = ()) -> Sizes:
    """Parameters of each run: `given` as NAME=NUMBER first, then the record, then the only size in the name.

    Raises UsageError for a `given` that is not NAME=NUMBER or names no run asked for.
    """
    told = _told(given, selected)
    sizes: dict[int, float] = {}
    nominal, unknown = [], []
    for run in selected.runs:
        words = _WORD.findall(run.run)
        if run.run_id in told:
            sizes[run.run_id] = told[run.run_id]
        elif run.n_params is not None:
            sizes[run.run_id] = float(run.n_params)
        elif len(words) == 1:
            number, unit = words[0]
            sizes[run.run_id] = float(number) * _UNITS[unit.lower()]
            nominal.append(run.run)
        else:
            unknown.append(run.run)
    return Sizes(sizes, tuple(nominal), tuple(unknown))


def size_words(size: float | None) -> str:
    """A size for people: 70.4M; empty where it is not known."""
    if size is None:
        return ""
    for letter, unit in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= unit:
            return f"{size / unit:.3g}{letter}"
    return f"{size:.3g}"


def _told(given: Sequence[str], selected: Selected) -> dict[int, float]:
    found = {}
    for text in given:
        name, _, number = text.rpartition("=")
        runs: list[RunRow] = [r for r in selected.runs if name in r.names]
        try:
            size = float(number)
        except ValueError:
            size = 0.0
        if not name or not size > 0:
            raise UsageError(f"sizes={text!r}: expected NAME=PARAMETERS, such as my-model=125e6.")
        if not runs:
            known = ", ".join(r.run for r in selected.runs[:3])
            raise UsageError(f"sizes={text!r}: no run asked for is called {name!r}; there are {known}, ...")
        found[runs[0].run_id] = size
    return found
