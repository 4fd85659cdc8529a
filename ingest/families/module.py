"""A user's own torch module and a folder of its checkpoints."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import field_validator

from archive.errors import UsageError
from ingest.family import CheckpointRef, Family, ModelSpec, family
from ingest.sources.base import Snapshot, Source
from ingest.sources.single import SingleFiles

if TYPE_CHECKING:
    from ingest.models.hooked import HookedModel
    from ingest.models.module import ModuleAdapter


@family("module", citation="the module's own")
class Module(Family):
    """Any torch module of yours, through an adapter of ten lines and a folder of checkpoint files."""

    adapter: str
    """`package.module:Class`, a subclass of `ingest.models.module.ModuleAdapter` that can be imported."""
    folder: Path
    """The folder of the checkpoint files."""
    run: str
    """What to call the run."""
    search: Path = Path()
    """Where the adapter's module is looked for besides the installed ones; in a study: beside its file."""
    pattern: str = "*{step}.*"
    """Name of a file below the folder, with `{step}` for its number; `*` stands for anything."""
    tokens_per_step: int | None = None
    init_seed: int | None = None
    data_order_seed: int | None = None
    condition: str = ""
    parent_run: str = ""
    """The run whose weights this one goes on from, for a run that was fine-tuned."""

    @field_validator("adapter")
    @classmethod
    def _names_a_class(cls, text: str) -> str:
        if not re.fullmatch(r"[\w.]+:\w+", text):
            raise ValueError(f"adapter {text!r}; expected `package.module:Class`")
        return text

    @field_validator("pattern")
    @classmethod
    def _has_a_step(cls, text: str) -> str:
        if text.count("{step}") != 1:
            raise ValueError(f"pattern {text!r} needs `{{step}}` once")
        return text

    def runs(self) -> tuple[ModelSpec, ...]:
        """The one run."""
        return (
            ModelSpec(
                name=self.run,
                family=self.name,
                repository=self.folder.name,
                condition=self.condition,
                parent_run=self.parent_run,
                init_seed=self.init_seed,
                data_order_seed=self.data_order_seed,
                tokens_per_step=self.tokens_per_step,
            ),
        )

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The files that match, by step; raises UsageError when there are none or two of one step."""
        before, after = (re.escape(part).replace(r"\*", ".*") for part in self.pattern.split("{step}"))
        # no digit before the number: `*{step}.*` finds 12 in run-12.pt, not 2
        matching = re.compile(rf"{before}(?<!\d)(\d+){after}")
        found: dict[int, str] = {}
        for revision in self.source().revisions(spec.repository):
            match = matching.fullmatch(revision)
            if match is None:
                continue
            step = int(match[1])
            if step in found:
                raise UsageError(
                    f"{found[step]} and {revision} in {self.folder} are both step {step}; write a narrower `pattern`."
                )
            found[step] = revision
        if not found:
            raise UsageError(
                f"no file in {self.folder} matches {self.pattern!r}; write its name with {{step}}."
            )
        return tuple(
            CheckpointRef(
                run=spec.name,
                repository=spec.repository,
                revision=found[step],
                label=found[step],
                step=step,
                tokens_seen=step * self.tokens_per_step if self.tokens_per_step else None,
            )
            for step in sorted(found)
        )

    def source(self, place: str = "hub") -> Source:
        """The files themselves; `place` has no meaning here."""
        return SingleFiles(self.folder)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The adapter's module with the file's weights; raises WeightsRefused."""
        from ingest.models.module import load_module

        return load_module(self._adapter(), snapshot.folder, run=ref.run, step=ref.step, device=device)

    def check(self) -> None:
        """Raise UsageError where the adapter's module is not to be found; imports no torch."""
        name = self.adapter.partition(":")[0]
        self._look_here()
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise UsageError(
                f"adapter {self.adapter!r}: no module {name} in {self.search.absolute()} nor among the installed ones."
            )

    def _look_here(self) -> None:
        if (place := str(self.search.absolute())) not in sys.path:
            sys.path.append(place)

    def _adapter(self) -> "ModuleAdapter":
        from ingest.models.module import ModuleAdapter

        self._look_here()
        name, _, cls = self.adapter.partition(":")
        try:
            found = getattr(importlib.import_module(name), cls)
        except (ImportError, AttributeError) as error:
            raise UsageError(
                f"adapter {self.adapter!r} cannot be imported ({error}); check its name."
            ) from None
        if not (isinstance(found, type) and issubclass(found, ModuleAdapter)):
            raise UsageError(f"{self.adapter} is no subclass of ingest.models.module.ModuleAdapter.")
        return found()
