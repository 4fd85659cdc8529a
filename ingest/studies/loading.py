"""A study that loads: which checkpoints of which runs, which eval sets, what to measure. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_serializer, field_validator, model_validator

from archive.errors import UnknownName, UsageError
from ingest.evalset import EvalSetSettings, make_eval_set
from ingest.family import CheckpointRef, Family, ModelSpec, make_family
from ingest.sources.base import Source
from ingest.studies.parts import AnyRun, AnyStudy, AnyStudyFile, MeasureChoice, ScheduleChoice
from ingest.train.schedule import sparse_steps
from ingest.train.spec import Settings

DEFAULT_MEASURES = ("loss", "head.previous_token", "head.first_token")


class LoadSpec(Settings):
    """Where models come from."""

    family: str
    """Name of a family; `pathscope families` lists them."""
    family_params: dict[str, Any] = Field(default={})
    """Settings of the family, for those that have any: a folder (relative to this file), an adapter."""
    runs: tuple[str, ...] = ()
    """Names of runs, aliases or repositories; `*` and `?` as in file names. Default: all of the family's."""
    source: str = "hub"
    """`hub`, `hub:CACHE_FOLDER` or `path:FOLDER`, relative to this file."""
    checkpoints: ScheduleChoice = "all"
    """Which checkpoints of each run: "all", "sparse", "final", a number of log-spaced ones, or a list of steps."""
    cache_gb: float | None = Field(None, gt=0)
    """Gigabytes (10^9 bytes) of fetched weights that may lie in the cache of source `hub`; default: 50."""
    tokenizer: str = ""
    """`bytes`, a repository of the source, or `path:FOLDER`; default: the run's own."""
    batch: int = Field(4, ge=1)
    """Sequences that go through a model together; halved where memory does not hold them."""

    moved: bool = False
    """The runs' files lie elsewhere than when they were measured before; without this, that is refused."""

    @field_validator("source")
    @classmethod
    def _is_a_source(cls, source: str) -> str:
        kind, _, where = source.partition(":")
        if kind not in ("hub", "path") or (kind == "path" and not where):
            raise ValueError("write `hub`, `hub:CACHE_FOLDER` or `path:FOLDER`")
        return source

    @model_validator(mode="after")
    def _family_works(self) -> "LoadSpec":
        self.make_family()
        return self

    @model_validator(mode="after")
    def _cache_is_one(self) -> "LoadSpec":
        if self.cache_gb is not None and not self.source.startswith("hub"):
            raise ValueError(
                f"cache_gb = {self.cache_gb:g} is room for what is fetched from the hub, and nothing is fetched from "
                f"{self.source}; leave it out"
            )
        return self

    def origin(self, spec: ModelSpec) -> str:
        """Where a run is from, as written: a project that is moved as a whole keeps it."""
        where = self.family_params.get("folder") or spec.repository
        return f"{self.family} {where}"

    def beside(self, folder: Path) -> "LoadSpec":
        """The same with folders taken as relative to this one, the study file's."""
        params = self.make_family().beside(folder).model_dump(mode="json", exclude_unset=False)
        kind, _, where = self.source.partition(":")
        source = f"{kind}:{folder / Path(where).expanduser()}" if where else self.source
        return self.model_copy(update={"family_params": params, "source": source})

    def make_family(self) -> Family:
        """The family; raises UnknownName or pydantic's ValidationError."""
        return make_family(self.family, self.family_params)

    def make_source(self) -> Source:
        """Where the weights come from, with as much room for them as the study gives."""
        source = self.make_family().source(self.source)
        if self.cache_gb is not None:
            source.keep_within(round(self.cache_gb * 1e9))
        return source


class EvalSetChoice(Settings):
    """One eval set of a study. measures: those taken on it; empty: all that fit it."""

    settings: EvalSetSettings
    measures: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the study calls it: its name, else its kind."""
        return self.settings.name or self.settings.kind

    @field_serializer("settings")
    def _written(self, settings: EvalSetSettings) -> dict[str, Any]:
        return settings.as_written()


class LoadStudyFile(AnyStudyFile):
    """A study that loads, as written in TOML."""

    load: LoadSpec
    """What to load."""
    eval_sets: tuple[EvalSetChoice, ...] = ()
    """On what to measure; each a table `[[eval_sets]]` with a kind, its settings, and `measures`."""
    measures: MeasureChoice = MeasureChoice(names=DEFAULT_MEASURES)
    """What to measure."""

    @field_validator("eval_sets", mode="before")
    @classmethod
    def _made(cls, tables: object) -> object:
        if not isinstance(tables, Sequence) or not all(isinstance(table, Mapping) for table in tables):
            return tables
        return tuple(
            {
                "settings": make_eval_set({key: value for key, value in table.items() if key != "measures"}),
                "measures": table.get("measures", ()),
            }
            for table in tables
        )

    @model_validator(mode="after")
    def _labels_differ(self) -> "LoadStudyFile":
        labels = [choice.label for choice in self.eval_sets]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"two eval sets are called {twice[0]!r}; give one of them another name")
        for choice in self.eval_sets:
            for name in choice.measures:
                if name not in self.measures.names:
                    raise ValueError(
                        f"eval set {choice.label!r} asks for {name!r}, which is not among measures.names: "
                        f"{', '.join(self.measures.names)}"
                    )
        return self


@dataclass(frozen=True)
class LoadedRun(AnyRun):
    """One run to be loaded, and which of its checkpoints."""

    spec: ModelSpec
    refs: tuple[CheckpointRef, ...]


@dataclass(frozen=True)
class LoadStudy(AnyStudy):
    """A study that loads."""

    file: LoadStudyFile

    @property
    def settings(self) -> LoadStudyFile:
        """The file's settings."""
        return self.file

    @cached_property
    def load(self) -> LoadSpec:
        """What to load, with folders as absolute paths."""
        return self.file.load.beside(self.path.parent)

    @cached_property
    def family(self) -> Family:
        """Where the runs are from."""
        return self.load.make_family()

    @cached_property
    def runs(self) -> tuple[LoadedRun, ...]:
        """Every run, in the order of the family; raises UnknownName for a name that fits none."""
        chosen: dict[str, ModelSpec] = {}
        for pattern in self.file.load.runs or ("*",):
            for spec in self._matching(pattern):
                chosen[spec.name] = spec
        return tuple(self._run(spec) for spec in self.family.runs() if spec.name in chosen)

    def resolved(self) -> dict[str, Any]:
        """Every setting as a plain value, with folders as absolute paths: from there checkpoints can be had again."""
        return {**super().resolved(), "load": self.load.model_dump(mode="json")}

    def _matching(self, pattern: str) -> list[ModelSpec]:
        if not set(pattern) & set("*?["):
            return [self.family.find(pattern)]
        found = [
            spec
            for spec in self.family.runs()
            if any(fnmatchcase(name, pattern) for name in (spec.name, *spec.aliases, spec.repository))
        ]
        if not found:
            names = [spec.name for spec in self.family.runs()]
            raise UnknownName.of(
                f"{self.family.name} run", pattern, names, listing=f"`pathscope families {self.family.name}`"
            )
        return found

    def _run(self, spec: ModelSpec) -> LoadedRun:
        refs = self.family.checkpoints_in(spec, self.load.source)
        steps = chosen_steps(
            tuple(ref.step for ref in refs),
            self.file.load.checkpoints,
            f"{self.path}: load.checkpoints",
            f"{spec.name} has checkpoints",
        )
        return LoadedRun(spec.name, spec.name, spec, tuple(ref for ref in refs if ref.step in steps))


def chosen_steps(kept: Sequence[int], choice: ScheduleChoice, key: str, who: str) -> tuple[int, ...]:
    """Those of the kept steps that a schedule asks for; raises UsageError for a step that is not among them."""
    if choice == "all":
        return tuple(kept)
    if choice == "sparse":
        return sparse_steps(tuple(kept))
    if choice == "final":
        return tuple(kept[-1:])
    if isinstance(choice, int):
        return sparse_steps(tuple(kept), choice)
    assert not isinstance(choice, str)
    if missing := sorted(set(choice) - set(kept)):
        near = min(kept, key=lambda step: abs(step - missing[0]))
        raise UsageError(
            f"{key} asks for step {missing[0]}; {who} from {kept[0]} to {kept[-1]}, the nearest at {near}."
        )
    return tuple(sorted(set(choice)))
