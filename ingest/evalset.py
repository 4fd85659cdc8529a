"""What an eval set is before it is frozen: its kind and settings, as a study file writes them. Imports no torch."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from archive.errors import UnknownName
from ingest.evalsets.documents import Documents
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.tokenizing import BosPolicy, TextTokenizer
from ingest.registry import Registry, first_sentence, require_text


@dataclass(frozen=True)
class Given:
    """What an eval set is made with beside its own settings.

    folder: what file names are relative to. stored: the text set that the archive already holds under the name that
    `stored_text` gives; workers do not open the archive, so it is handed in.
    """

    tokenizer: TextTokenizer
    folder: Path = Path()
    stored: Documents | None = None


class EvalSetSettings(BaseModel, ABC):
    """One kind of eval set with its settings; `freeze` is a pure function of them and what is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    citation: ClassVar[str]

    name: str = Field("", max_length=200, description="what answers call it; default: its kind and size")
    bos: BosPolicy = Field(
        "none", description="whether every sequence begins with the tokenizer's start token: none or prepend"
    )

    @property
    def stored_text(self) -> str | None:
        """Name of the text set that counts once the archive holds it; None: the texts are read every time."""
        return None

    def inputs(self, folder: Path) -> list[Path]:
        """Files that it is made from, so that a change of them is noticed; none by default."""
        return []

    @abstractmethod
    def freeze(self, given: Given) -> FrozenEvalSet:
        """The eval set; raises EvalSetRefused where there is none to be had."""

    def as_written(self) -> dict[str, Any]:
        """All settings, defaults included, with the kind: what `make_eval_set` takes."""
        return {"kind": self.kind, **self.model_dump(mode="json")}


EVAL_SETS: Registry[type[EvalSetSettings]] = Registry(
    kind="eval set",
    package="ingest.evalsets",
    group="pathscope.eval_sets",
    listing="the module ingest.evalsets",
)

SettingsClass = TypeVar("SettingsClass", bound=type[EvalSetSettings])


def eval_set(kind: str, *, citation: str) -> Callable[[SettingsClass], SettingsClass]:
    """Register a kind of eval set; refuses a duplicate name, a missing docstring or citation."""

    def register(cls: SettingsClass) -> SettingsClass:
        own_doc = first_sentence(cls) if "__doc__" in cls.__dict__ else ""
        require_text("eval set", kind, cls.__module__, {"docstring": own_doc, "citation": citation})
        cls.kind = kind
        cls.citation = citation
        EVAL_SETS.add(kind, cls, module=cls.__module__)
        return cls

    return register


def make_eval_set(settings: Mapping[str, Any]) -> EvalSetSettings:
    """The eval set that a table of a study file asks for; raises UnknownName or pydantic's ValidationError."""
    rest = dict(settings)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str):
        raise EvalSetRefused(f"an eval set needs a kind: {', '.join(EVAL_SETS.entries())}.")
    if kind not in (known := EVAL_SETS.entries()):
        near = difflib.get_close_matches(kind, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownName(f"no eval set of kind {kind!r}; {hint}there are {', '.join(known)}.")
    return known[kind].thing.model_validate(rest)
