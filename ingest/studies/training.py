"""A study that trains: what, which seeds, what to measure, how, and how much is allowed. Imports no torch."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ingest.studies.conditions import Condition, Impossible, combinations
from ingest.studies.naming import run_name
from ingest.studies.parts import AnyRun, AnyStudy, AnyStudyFile
from ingest.studies.seeds import MAX_RUNS, SeedAxes
from ingest.train.spec import Seeds, TrainSpec


@dataclass(frozen=True)
class PlannedRun(AnyRun):
    """One run to be trained, and what makes it. label, apart: as `Condition` has them."""

    spec: TrainSpec
    seeds: Seeds
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImpossibleRun(AnyRun):
    """One run that the study asks for and nobody can train."""

    settings: Impossible
    seeds: Seeds


class StudyFile(AnyStudyFile):
    """A study that trains, as written in TOML; its name is the first part of every run's name."""

    train: dict[str, Any]
    """What to train, as written; every key is that of the training settings (`TrainSpec`)."""
    sweep: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    """Settings of [train] by dotted name, each with a list of values; all combinations are trained."""
    seeds: SeedAxes = SeedAxes()
    """The seed axes."""

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        n = len(self.seeds.combinations())
        for values in self.sweep.values():
            n *= len(values)
        if n > MAX_RUNS:
            raise ValueError(f"{n} runs; a study may have {MAX_RUNS}")
        return self


@dataclass(frozen=True)
class Study(AnyStudy):
    """A study that trains. conditions: every combination of its settings, in order."""

    file: StudyFile
    conditions: tuple[Condition | Impossible, ...]

    @property
    def settings(self) -> StudyFile:
        """The file's settings."""
        return self.file

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Every run that can be trained, in order: settings outermost, seeds innermost."""
        return tuple(
            PlannedRun(run_name(self.name, found.label, seeds), found.label, found.spec, seeds, found.apart)
            for found in self.conditions
            if isinstance(found, Condition)
            for seeds in self.file.seeds.combinations()
        )

    @cached_property
    def impossible(self) -> tuple[ImpossibleRun, ...]:
        """Every other run, in order."""
        return tuple(
            ImpossibleRun(run_name(self.name, found.label, seeds), found.label, found, seeds)
            for found in self.conditions
            if isinstance(found, Impossible)
            for seeds in self.file.seeds.combinations()
        )

    def resolved(self) -> dict[str, Any]:
        """Every setting with its default filled in, as plain values: those of [train] in the first combination."""
        specs = (
            found.spec.model_dump(mode="json") for found in self.conditions if isinstance(found, Condition)
        )
        return {**super().resolved(), "train": next(specs, self.file.train)}


def conditions_of(file: StudyFile, folder: Path) -> tuple[Condition | Impossible, ...]:
    """What a study trains with, and what it cannot: what `combinations` finds, less what the rest of the file forbids.

    Raises as `combinations` does.
    """
    found = tuple(combinations(file.train, file.sweep, folder))
    kept = {step for one in found if isinstance(one, Condition) for step in one.spec.checkpoint_steps()}
    return tuple(_checked(one, file, kept) if isinstance(one, Condition) else one for one in found)


def _checked(condition: Condition, file: StudyFile, kept: set[int]) -> Condition | Impossible:
    """The condition, unless seeds would be without effect or a measure is wanted where nothing is kept.

    kept: steps that any condition of the study keeps. A step that another one keeps is no mistake of this one.
    """
    spec = condition.spec
    why = file.seeds.idle(full_batch=spec.batch is None, endless=spec.make_task().n_train is None)
    for measure, choice in file.measures.schedule.items():
        if isinstance(choice, tuple) and (missing := sorted(set(choice) - kept)):
            why = why or _not_kept(spec, measure, missing)
    return Impossible(condition.label, why, spec.dtype, spec.loss_dtype) if why else condition


def _not_kept(spec: TrainSpec, measure: str, missing: list[int]) -> str:
    """Why a measure cannot be taken at these steps."""
    if missing[-1] > spec.steps:
        return (
            f"measures.schedule.{measure} asks for step {missing[-1]}, but training runs from 0 to {spec.steps}; lower "
            "it or raise train.steps"
        )
    near = min(spec.checkpoint_steps(), key=lambda step: abs(step - missing[0]))
    return (
        f"measures.schedule.{measure} asks for step {missing[0]}, which [train.checkpoints] does not keep; the nearest "
        f"kept step is {near}, or add {missing[0]} to train.checkpoints.at"
    )
