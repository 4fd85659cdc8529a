"""A study that trains: what, which seeds, what to measure, how, and how much is allowed. Imports no torch."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from archive.errors import UsageError
from ingest.studies.naming import leaves, run_name, sweep_label, with_value
from ingest.studies.parts import AnyRun, AnyStudy, AnyStudyFile
from ingest.train.spec import Seeds, Settings, TrainSpec

MAX_RUNS = 100_000

# these choose what is kept of a run, or make another kind of run
_NOT_SWEPT = ("checkpoints", "steps", "task")


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
        seeds = self.combinations()
        if len(set(seeds)) < len(seeds):
            raise ValueError("the same seeds come twice; every run of a study has seeds of its own")
        return self

    def combinations(self) -> list[tuple[int, int, int]]:
        """(init, data_order, split) of every run, in order."""
        lists = (self.init, self.data_order, self.split)
        if self.mode == "crossed":
            return list(itertools.product(*lists))
        n = max(map(len, lists))
        init, data_order, split = (seeds * n if len(seeds) == 1 else seeds for seeds in lists)
        return list(zip(init, data_order, split, strict=True))


@dataclass(frozen=True)
class PlannedRun(AnyRun):
    """One run to be trained, and what makes it. label: its combination of swept settings, "" when nothing is swept."""

    spec: TrainSpec
    seeds: Seeds


class StudyFile(AnyStudyFile):
    """A study that trains, as written in TOML; its name is the first part of every run's name."""

    train: TrainSpec
    """What to train; every key is that of the training settings."""
    sweep: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    """Settings of [train] by dotted name, each with a list of values; all combinations are trained."""
    seeds: SeedAxes = SeedAxes()
    """The seed axes."""

    @model_validator(mode="after")
    def _axes_matter(self) -> Self:
        if self.seeds.mode == "crossed":
            endless = self.train.make_task().n_train is None
            idle = {"data_order": self.train.batch is None, "split": endless}
            why = {"data_order": "full-batch training sees no order", "split": "endless data has no split"}
            for axis, has_no_effect in idle.items():
                n = len(getattr(self.seeds, axis))
                if has_no_effect and n > 1:
                    raise ValueError(
                        f"seeds.{axis} has {n} values but no effect ({why[axis]}), so crossing it would train every "
                        f"run {n} times; give it one value"
                    )
        return self

    def runs(self) -> list[PlannedRun]:
        """Every run, in order: settings outermost, seeds innermost."""
        runs = []
        for label, spec in self.specs():
            for init, data_order, split in self.seeds.combinations():
                seeds = Seeds(init=init, data_order=data_order, split=split)
                runs.append(PlannedRun(run_name(self.name, label, seeds), label, spec, seeds))
        return runs

    def specs(self) -> list[tuple[str, TrainSpec]]:
        """Every combination of swept settings that can be trained, with its label ("" when nothing is swept)."""
        return [(label, spec) for label, spec in self._combinations() if isinstance(spec, TrainSpec)]

    def refused(self) -> list[tuple[str, str]]:
        """Every other combination with its label, and why it cannot be trained."""
        return [(label, why) for label, why in self._combinations() if isinstance(why, str)]

    def _combinations(self) -> Iterator[tuple[str, TrainSpec | str]]:
        if not self.sweep:
            yield "", self.train
            return
        written = self.train.model_dump(mode="json")
        for values in itertools.product(*self.sweep.values()):
            chosen = dict(zip(self.sweep, values, strict=True))
            settings = written
            for key, value in chosen.items():
                settings = with_value(settings, key.split("."), value)
            try:
                yield sweep_label(chosen), TrainSpec.model_validate(settings)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, first["loc"]))
                found = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
                yield sweep_label(chosen), f"{place}{found}: {first['msg']}"
            except UsageError as error:
                yield sweep_label(chosen), str(error)

    @model_validator(mode="after")
    def _sweep_works(self) -> Self:
        if not self.sweep:
            return self
        written = self.train.model_dump(mode="json")
        known = [key for key in leaves(written) if key.split(".")[0] not in _NOT_SWEPT]
        for key in self.sweep:
            if key.split(".")[0] in _NOT_SWEPT:
                raise ValueError(f'sweep."{key}": {", ".join(_NOT_SWEPT)} cannot be swept; write two studies')
            if key not in known:
                raise ValueError(f'sweep."{key}" is no setting of [train]; those are {", ".join(known)}')
        n = len(self.seeds.combinations())
        for values in self.sweep.values():
            n *= len(values)
        if n > MAX_RUNS:
            raise ValueError(f"{n} runs; a study may have {MAX_RUNS}")
        specs = self.specs()
        if not specs:  # a mistake rather than a sweep that goes too far
            raise ValueError(f"sweep: {self.refused()[0][1]}")
        seen: dict[str, str] = {}
        for label, spec in specs:
            if spec.hash in seen:
                raise ValueError(f"sweep: {seen[spec.hash]} and {label} are the same settings")
            seen[spec.hash] = label
        return self


@dataclass(frozen=True)
class Study(AnyStudy):
    """A study that trains."""

    file: StudyFile

    @property
    def settings(self) -> StudyFile:
        """The file's settings."""
        return self.file

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Every run, in order: settings outermost, seeds innermost."""
        return tuple(self.file.runs())
