"""A study: what to train, which seeds, what to measure, how, and how much is allowed. Imports no torch.

The TOML file is checked whole before anything runs; every mistake names the file, the key, the value and
what is allowed. `docs/studies.md` explains every key.
"""

import itertools
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from archive.errors import PathscopeError, UsageError
from ingest.naming import leaves, run_name, sweep_label, with_value
from ingest.study_errors import worded
from ingest.train.spec import Seeds, Settings, TrainSpec

MAX_RUNS = 100_000

DEFAULT_MEASURES = ("loss", "accuracy", "weight_norm", "sum_of_squared_weights")

# these choose what is kept of a run, or make another kind of run
_NOT_SWEPT = ("checkpoints", "steps", "task")

ScheduleChoice = Literal["all", "sparse", "final"] | Annotated[int, Field(ge=2)] | tuple[int, ...]


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


class MeasureChoice(Settings):
    """What to measure at the checkpoints."""

    names: tuple[str, ...] = DEFAULT_MEASURES
    """Names of measures; `pathscope measures` lists them."""
    schedule: dict[str, ScheduleChoice] = Field(default={})
    """Per measure, which of the kept checkpoints: "all", "sparse" (12 log-spaced and the last), "final", a number of
    log-spaced ones, or a list of steps. Default: what the measure says of itself."""

    @field_validator("names")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice")
        return names

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.schedule:
            if name not in self.names:
                raise ValueError(
                    f"schedule speaks of {name!r}, which is not among names: {', '.join(self.names)}"
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


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study: its canonical name and what makes it.

    label: its combination of swept settings, "" when nothing is swept.
    """

    name: str
    label: str
    spec: TrainSpec
    seeds: Seeds


class StudyFile(Settings):
    """A study as written in TOML."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    """Letters, digits, dot, dash and underscore; the first part of every run's name."""
    summary: str = ""
    """One sentence for people."""
    archive: str = ""
    """The archive, relative to this file; --archive and PATHSCOPE_ARCHIVE win."""
    train: TrainSpec
    """What to train; every key is that of the training settings."""
    sweep: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = Field(default={})
    """Settings of [train] by dotted name, each with a list of values; all combinations are trained."""
    seeds: SeedAxes = SeedAxes()
    """The seed axes."""
    measures: MeasureChoice = MeasureChoice()
    """What to measure."""
    executor: ExecutorChoice = ExecutorChoice()
    """Where to run."""
    budget: Budget = Budget()
    """What it may cost."""

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
        """Every combination of swept settings with its label ("" when nothing is swept)."""
        if not self.sweep:
            return [("", self.train)]
        written = self.train.model_dump(mode="json")
        specs = []
        for values in itertools.product(*self.sweep.values()):
            chosen = dict(zip(self.sweep, values, strict=True))
            settings = written
            for key, value in chosen.items():
                settings = with_value(settings, key.split("."), value)
            specs.append((sweep_label(chosen), TrainSpec.model_validate(settings)))
        return specs

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
        try:
            specs = self.specs()
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(
                f"sweep: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"
            ) from None
        seen: dict[str, str] = {}
        for label, spec in specs:
            if spec.hash in seen:
                raise ValueError(f"sweep: {seen[spec.hash]} and {label} are the same settings")
            seen[spec.hash] = label
        return self


@dataclass(frozen=True)
class Study:
    """A study with where it came from. `toml` is the file as written."""

    file: StudyFile
    path: Path
    toml: str

    @property
    def name(self) -> str:
        """The study's name."""
        return self.file.name

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """Every run, in order: settings outermost, seeds innermost."""
        return tuple(self.file.runs())

    @property
    def archive(self) -> Path | None:
        """The archive the file names, relative to the file; None when it names none."""
        return (self.path.parent / self.file.archive).absolute() if self.file.archive else None

    def resolved(self) -> dict[str, Any]:
        """Every setting with its default filled in, as plain values."""
        return self.file.model_dump(mode="json")


def load_study(path: str | Path) -> Study:
    """Read and check a study file; raises UsageError naming file, key, value found and what is allowed."""
    path = Path(path).expanduser().absolute()
    try:
        toml = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        beside = f"; in {path.parent} there are {', '.join(near)}" if near else ""
        raise UsageError(f"no study file {path}{beside}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as a study: {error}") from None
    return parse_study(toml, path)


def parse_study(toml: str, path: Path) -> Study:
    """Check the text of a study file; `path` is what messages call it and what its archive is relative to."""
    try:
        settings = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    try:
        return Study(StudyFile.model_validate(settings), path, toml)
    except ValidationError as error:
        raise UsageError(worded(error, StudyFile, path, settings)) from None
    except PathscopeError as error:  # an unknown task, an impossible schedule: worded already
        raise UsageError(f"{path}: {error}") from None
