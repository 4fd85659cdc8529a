"""Small transformers that somebody trained and published in `.pth` files, one final model a file."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from archive.errors import UsageError
from ingest.catalogue import Size
from ingest.family import CheckpointRef, Family, ModelSpec, family
from ingest.importers.files import Damaged, ImportFile
from ingest.importers.grokking_runs import saved_model
from ingest.importers.published_models import Setting, setting_of
from ingest.sources.base import Snapshot, Source
from ingest.sources.single import SingleFiles

if TYPE_CHECKING:
    from ingest.evalsets.tokenizing import TextTokenizer
    from ingest.models.hooked import HookedModel
    from ingest.models.loaded import LoadedModel


@family(
    "saved_runs",
    citation="Nanda et al. 2023, Progress measures for grokking via mechanistic interpretability",
)
class SavedRuns(Family):
    """Trained small transformers in a folder of published `.pth` files; those without a model are passed over.

    `pathscope import grokking-runs` brings in their curves, and the measures of their own task; this is for
    measuring the models on other eval sets.
    """

    folder: Path
    """The folder of the files."""

    def runs(self) -> tuple[ModelSpec, ...]:
        """Every file that holds a model, by name; raises UsageError where there is none."""
        if not self._models:
            raise UsageError(f"no file in {self.folder} holds a trained model in the published layout.")
        return tuple(self._spec(name) for name in self._models)

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The one in the file, after as many updates as its optimizer says."""
        model, _ = self._models[spec.name]
        return (CheckpointRef(spec.name, spec.repository, f"{spec.name}.pth", "final", model.step),)

    def source(self, place: str = "hub") -> Source:
        """The files themselves; `place` has no meaning here."""
        return SingleFiles(self.folder)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The model, read without running anything in the file."""
        from ingest.models.own import OwnModel

        model, _ = self._models[ref.run]
        weights = {name: tensor.to(device) for name, tensor in model.weights.items()}
        return OwnModel(replace(model, weights=weights))

    def tokenizer(self, spec: ModelSpec, place: str = "hub", named: str = "") -> "TextTokenizer | None":
        """The words of the task that its settings tell of; None where they do not."""
        if named:
            return super().tokenizer(spec, place, named)
        from ingest.evalsets.tokenizing import TaskTokenizer

        _, setting = self._models[spec.name]
        return TaskTokenizer.of(setting.task) if isinstance(setting, Setting) else None

    def _spec(self, name: str) -> ModelSpec:
        return ModelSpec(
            name=name,
            family=self.name,
            repository=self.folder.name,
            size=Size.of_layout(self._models[name][0].layout, "the shapes of its tensors"),
        )

    @cached_property
    def _models(self) -> dict[str, "tuple[LoadedModel, Setting | str]"]:
        """The models by file name, with what they were trained on, or why that is not known."""
        found: dict[str, tuple[LoadedModel, Setting | str]] = {}
        for path in sorted(self.folder.glob("*.pth")):
            try:
                saved = saved_model(path.stem, ImportFile.load(path, path.name))
            except Damaged:
                continue  # the import names it
            if saved is not None:
                model, settings = saved
                found[path.stem] = (model, setting_of(settings, model.layout))
        return found
