"""Which seeds a study trains with: three independent axes, paired or crossed. Imports no torch."""

import itertools
import re
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ingest.train.spec import Seeds, Settings

MAX_RUNS = 100_000


def _seed_list(value: object) -> object:
    """`"0..4"` is the seeds 0 to 4; anything else goes through to pydantic."""
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)\.\.(\d+)", value.strip())
        if match is None:
            raise ValueError('give a list of integers, or a range such as "0..4", which includes both ends')
        first, last = int(match.group(1)), int(match.group(2))
        if last < first or last - first >= MAX_RUNS:
            raise ValueError(f"a range goes upwards and holds at most {MAX_RUNS} seeds")
        return list(range(first, last + 1))
    return value


SeedList = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_seed_list), Field(min_length=1)
]


class SeedAxes(Settings):
    """Which seeds, along three independent axes."""

    mode: Literal["paired", "crossed"] = "paired"
    """paired: the first of each list make run 1, and so on; crossed: every combination is a run."""
    init: SeedList = (0,)
    """Seeds of the initial weights."""
    data_order: SeedList = (0,)
    """Seeds of the order of the examples."""
    split: SeedList = (0,)
    """Seeds of the choice of training examples."""

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        lists = {"init": self.init, "data_order": self.data_order, "split": self.split}
        if self.mode == "paired":
            lengths = {name: len(seeds) for name, seeds in lists.items() if len(seeds) > 1}
            if len(set(lengths.values())) > 1:
                found = ", ".join(f"{name} {n}" for name, n in lengths.items())
                raise ValueError(
                    f'paired axes need lists of one length (or one seed); found {found}. mode = "crossed" takes all '
                    "combinations"
                )
        seeds = self._triples()
        if len(set(seeds)) < len(seeds):
            raise ValueError("the same seeds come twice; every run of a study has seeds of its own")
        return self

    def combinations(self) -> list[Seeds]:
        """The seeds of every run of one condition, in order."""
        return [Seeds(init=init, data_order=order, split=split) for init, order, split in self._triples()]

    def idle(self, *, full_batch: bool, endless: bool) -> str:
        """Why crossing the axes would train the same run several times; empty where it would not."""
        no_effect = {
            "data_order": "full-batch training sees no order" if full_batch else "",
            "split": "endless data has no split" if endless else "",
        }
        for axis, why in no_effect.items():
            n = len(getattr(self, axis))
            if why and n > 1 and self.mode == "crossed":
                return (
                    f"seeds.{axis} has {n} values but no effect ({why}), so crossing it would train every run {n} "
                    "times; give it one value"
                )
        return ""

    def _triples(self) -> list[tuple[int, int, int]]:
        lists = (self.init, self.data_order, self.split)
        if self.mode == "crossed":
            return list(itertools.product(*lists))
        n = max(map(len, lists))
        init, data_order, split = (seeds * n if len(seeds) == 1 else seeds for seeds in lists)
        return list(zip(init, data_order, split, strict=True))
