"""What a family is: runs that exist somewhere, their checkpoints, and how to load one. Imports no torch.

family = make_family("pythia")
spec = family.find("pythia-14m")                    # also by alias, repository or a former name
refs = family.checkpoints_in(spec, "hub")
for fetched in Fetcher(family.source("hub"), refs):  # ingest/sources
    model = family.load(fetched.ref, fetched.snapshot)  # a HookedModel (ingest/models/hooked.py)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from archive.errors import UnknownName
from archive.records import Checkpoint, Integrity, Run
from archive.records import Family as FamilyRecord
from ingest.catalogue import Size
from ingest.registry import Registry, first_sentence, require_text

if TYPE_CHECKING:
    from ingest.evalsets.tokenizing import TextTokenizer
    from ingest.models.hooked import HookedModel
    from ingest.sources.base import Snapshot, Source


@dataclass(frozen=True)
class ModelSpec:
    """One training run that somebody published or made, and what is known of it before loading anything.

    repository: where its weights are, for a source to find. None and "" mean that it is not known.
    """

    name: str
    family: str
    repository: str
    aliases: tuple[str, ...] = ()
    architecture: str = ""
    size: Size | None = None
    tokenizer: str = ""
    condition: str = ""
    init_seed: int | None = None
    data_order_seed: int | None = None
    same_init: str = ""
    same_order: str = ""
    parent_run: str = ""
    intervention: Mapping[str, str] | None = None
    tokens_per_step: float | None = None
    final_step: int | None = None
    notes: tuple[str, ...] = ()

    def record(self) -> Run:
        """The run as the archive knows it.

        Where runs are known to share initial weights or the order of data, their hashes are the name of what
        they share: equal exactly for those runs, which is all that a query asks of them.
        """
        size = self.size
        return Run(
            name=self.name,
            family=self.family,
            architecture=self.architecture,
            n_params=size.n_params if size else None,
            n_layers=size.n_layers if size else None,
            n_heads=size.n_heads if size else None,
            d_model=size.d_model if size else None,
            d_mlp=size.d_mlp if size else None,
            init_seed=self.init_seed,
            data_order_seed=self.data_order_seed,
            init_hash=self.same_init and f"group:{self.same_init}",
            data_order_hash=self.same_order and f"group:{self.same_order}",
            condition=self.condition,
            parent_run=self.parent_run,
            intervention=None if self.intervention is None else dict(self.intervention),
            tokens_per_step=self.tokens_per_step,
            final_step=self.final_step,
            # a folder's name is nobody's alias: two runs may lie in folders of one name
            aliases=tuple(
                sorted({*self.aliases, *({self.repository} if "/" in self.repository else ())} - {self.name})
            ),
            notes=self.notes,
        )


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint that should exist: where to fetch it, and what its label means.

    step: optimiser updates, whatever the label counts. integrity: what is known against it beforehand.
    """

    run: str
    repository: str
    revision: str
    label: str
    step: int
    tokens_seen: float | None = None
    integrity: Integrity = "ok"
    integrity_note: str = ""
    integrity_link: str = ""

    def record(self, *, commit: str = "", weights_hash: str = "", location: str = "") -> Checkpoint:
        """The checkpoint as the archive knows it. commit: what the revision resolved to."""
        return Checkpoint(
            run=self.run,
            step=self.step,
            label=self.label,
            tokens_seen=self.tokens_seen,
            revision=commit or self.revision,
            weights_hash=weights_hash,
            location=location,
            integrity=self.integrity,
            integrity_note=self.integrity_note,
            integrity_link=self.integrity_link,
        )


class Family(BaseModel, ABC):
    """A family with its settings (pydantic fields, so a study file is validated by them)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: ClassVar[str]
    citation: ClassVar[str]

    @abstractmethod
    def runs(self) -> tuple[ModelSpec, ...]:
        """Every run of the family, in a stable order."""

    @abstractmethod
    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The checkpoints of a run by step, whether or not they can be had; none where a place must be asked."""

    def checkpoints_in(self, spec: ModelSpec, place: str) -> tuple[CheckpointRef, ...]:
        """The same for runs whose schedule is no formula: there it is what a place, as `source` has it, lists.

        Raises CheckpointNotAvailable for a place that cannot be asked.
        """
        return self.checkpoints(spec)

    @abstractmethod
    def source(self, place: str = "hub") -> "Source":
        """Where the weights come from: `hub`, `hub:CACHE` or `path:FOLDER`; see `ingest.sources.make_source`."""

    @abstractmethod
    def load(self, ref: CheckpointRef, snapshot: "Snapshot", *, device: str = "cpu") -> "HookedModel":
        """The model of a fetched checkpoint; raises WeightsRefused for files that cannot be trusted."""

    def tokenizer(self, spec: ModelSpec, place: str = "hub", named: str = "") -> "TextTokenizer | None":
        """The tokenizer of a run, from the repository `named` or the one the run says; None where neither is known.

        Raises TokenizerNotAvailable where its files cannot be had, TokenizerRefused where they are no tokenizer.
        """
        repository = named or spec.tokenizer
        if not repository:
            return None
        from ingest.evalsets.hub_tokenizer import load_tokenizer
        from ingest.sources import TOKENIZER, make_source
        from ingest.sources.base import CheckpointNotAvailable, TokenizerNotAvailable

        try:
            snapshot = make_source(place, TOKENIZER).get(repository, "main")
        except CheckpointNotAvailable as error:
            raise TokenizerNotAvailable(spec.name, repository, error.reason) from None
        return load_tokenizer(snapshot.folder, name=repository)

    def run_record(self, spec: ModelSpec) -> Run:
        """A run of this family as the archive knows it."""
        return spec.record()

    @property
    def record(self) -> FamilyRecord:
        """The family as the archive knows it."""
        return FamilyRecord(name=self.name, summary=first_sentence(type(self)))

    def record_of(self, spec: ModelSpec) -> FamilyRecord:
        """The family that a run is filed under, which need not be this one."""
        return self.record

    def beside(self, folder: Path) -> Self:
        """The same with its paths taken as relative to a folder, a study file's."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_copy(
            update={n: folder / p.expanduser() for n, p in own.items() if isinstance(p, Path)}
        )

    def check(self) -> None:  # most families have nothing that could be wrong beyond their settings
        """Raise UsageError for settings that cannot work, before anything is fetched."""

    def find(self, name: str) -> ModelSpec:
        """The run of that name, alias or repository; raises UnknownName with the nearest names."""
        known: dict[str, ModelSpec] = {}
        for spec in self.runs():
            for said in (*spec.aliases, spec.repository):
                known.setdefault(said, spec)
        known |= {spec.name: spec for spec in self.runs()}
        if name not in known:
            raise UnknownName.of(f"{self.name} run", name, known, listing=f"`pathscope families {self.name}`")
        return known[name]


FAMILIES: Registry[type[Family]] = Registry(
    kind="family", package="ingest.families", group="pathscope.families", listing="`pathscope families`"
)

FamilyClass = TypeVar("FamilyClass", bound=type[Family])


def family(name: str, *, citation: str) -> Callable[[FamilyClass], FamilyClass]:
    """Register a family class; refuses a duplicate name, a missing docstring or citation."""

    def register(cls: FamilyClass) -> FamilyClass:
        own_doc = first_sentence(cls) if "__doc__" in cls.__dict__ else ""
        require_text("family", name, cls.__module__, {"docstring": own_doc, "citation": citation})
        cls.name = name
        cls.citation = citation
        FAMILIES.add(name, cls, module=cls.__module__)
        return cls

    return register


def make_family(name: str, params: Mapping[str, Any] | None = None) -> Family:
    """The family of that name with those settings; raises UnknownName or pydantic's ValidationError."""
    return FAMILIES.get(name).model_validate(dict(params or {}))
