"""What studies of every kind have: a name, what to measure, where to run, what it may cost. Imports no torch."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ingest.train.spec import Settings

DEFAULT_MEASURES = ("loss", "accuracy", "weight_norm", "sum_of_squared_weights")

ScheduleChoice = Literal["all", "sparse", "final"] | Annotated[int, Field(ge=2)] | tuple[int, ...]


class MeasureChoice(Settings):
    """What to measure at the checkpoints."""

    names: tuple[str, ...] = DEFAULT_MEASURES
    """Names of measures; `pathscope measures` lists them."""
    schedule: dict[str, ScheduleChoice] = Field(default={})
    """Per measure, which of the kept checkpoints: "all", "sparse" (12 log-spaced and the last), "final", a number of
    log-spaced ones, or a list of steps. Default: what the measure says of itself."""
    max_rows: dict[str, Annotated[int, Field(ge=1)]] = Field(default={})
    """Per measure, how many rows it may still write over all runs and checkpoints; a plan beyond it is refused.
    Default: by what the rows are of, as `ingest.planning.row_budget` has it."""

    @field_validator("names")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice")
        return names

    @model_validator(mode="after")
    def _known(self) -> Self:
        for key, named in (("schedule", self.schedule), ("max_rows", self.max_rows)):
            for name in named:
                if name not in self.names:
                    raise ValueError(
                        f"{key} speaks of {name!r}, which is not among names: {', '.join(self.names)}"
                    )
        return self


class ExecutorChoice(Settings):
    """Where units of work run."""

    kind: str = "local"
    """"local": worker processes on this machine; "inline": in this process, one at a time; "package.module:callable":
    whatever that callable returns, in the shape of concurrent.futures.Executor."""
    processes: int | None = Field(None, ge=1, le=1024)
    """Worker processes; default: one for every core this process may use, or one for a GPU."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the arithmetic is done."""
    seeds_per_process: int | None = Field(None, ge=1)
    """Seeds trained as one batch; default: on a CPU as many as fit its cache, on a GPU 128."""
    checkpoints_per_unit: int = Field(16, ge=1)
    """A unit of work ends after this many checkpoints at the latest: what a crash can cost."""


class Budget(Settings):
    """What a study may cost; a plan beyond it is refused before anything runs."""

    max_cells: int = Field(1_000_000, ge=1)
    """Ledger cells still to be filled."""
    max_hours: float = Field(24.0, gt=0)
    """Estimated wall-clock hours still to go."""
    max_gb: float = Field(20.0, gt=0)
    """Estimated gigabytes (10^9 bytes) of weights and results still to be written."""


class AnyStudyFile(Settings):
    """What every study file may say."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Letters, digits, dot, dash and underscore."""
    summary: str = ""
    """One sentence for people."""
    archive: str = ""
    """The archive, relative to this file; --archive and PATHSCOPE_ARCHIVE win."""
    measures: MeasureChoice = MeasureChoice()
    """What to measure."""
    executor: ExecutorChoice = ExecutorChoice()
    """Where to run."""
    budget: Budget = Budget()
    """What it may cost."""


@dataclass(frozen=True)
class AnyRun:
    """One run of a study: its canonical name, and the label of what it shares with other runs of the study."""

    name: str
    label: str


@dataclass(frozen=True)
class AnyStudy(ABC):
    """A study with where it came from. `toml` is the file as written."""

    path: Path
    toml: str

    @property
    @abstractmethod
    def settings(self) -> AnyStudyFile:
        """The file's settings."""

    @property
    @abstractmethod
    def runs(self) -> Sequence[AnyRun]:
        """Every run, in order."""

    @property
    def name(self) -> str:
        """The study's name."""
        return self.settings.name

    @property
    def archive(self) -> Path | None:
        """The archive the file names, relative to the file; None when it names none."""
        named = self.settings.archive
        return (self.path.parent / named).absolute() if named else None

    def resolved(self) -> dict[str, Any]:
        """Every setting with its default filled in, as plain values."""
        return self.settings.model_dump(mode="json")
