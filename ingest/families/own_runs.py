"""Runs that pathscope trained: the stacked checkpoints of an archive, read run by run."""

import json
import struct
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from archive.errors import UsageError
from archive.records import Family as FamilyRecord
from archive.records import Run
from ingest.catalogue import Size
from ingest.family import CheckpointRef, Family, ModelSpec, family
from ingest.models.layout import Layout
from ingest.run.records import family_record, run_record
from ingest.sources.base import Snapshot, Source
from ingest.sources.single import SingleFiles
from ingest.train.spec import Seeds, TrainSpec

if TYPE_CHECKING:
    from ingest.evalsets.tokenizing import TextTokenizer
    from ingest.models.hooked import HookedModel

Header = dict[str, str]


@family("own_runs", citation="this project")
class OwnRuns(Family):
    """Runs that pathscope trained, from the checkpoints of an archive."""

    folder: Path
    """The archive's checkpoint folder (`ARCHIVE.d/checkpoints`), or one study's or group's below it."""

    def runs(self) -> tuple[ModelSpec, ...]:
        """Every run in any checkpoint file, by name."""
        return tuple(self._spec(run) for run in sorted(self._files))

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The checkpoints that hold the run, by step."""
        refs = [
            CheckpointRef(
                run=spec.name,
                repository=spec.repository,
                revision=path.relative_to(self.folder).as_posix(),
                label=f"step {header['step']}",
                step=int(header["step"]),
                tokens_seen=int(header["step"]) * (spec.tokens_per_step or 0),
            )
            for path, header in self._files[spec.name]
        ]
        return tuple(sorted(refs, key=lambda ref: ref.step))

    def run_record(self, spec: ModelSpec) -> Run:
        """The run as training recorded it."""
        header = self._files[spec.name][0][1]
        seeds = dict(zip(json.loads(header["runs"]), json.loads(header["seeds"]), strict=True))[spec.name]
        return run_record(spec.name, Seeds(**seeds), TrainSpec.model_validate_json(header["spec"]))

    def record_of(self, spec: ModelSpec) -> FamilyRecord:
        """The task's."""
        return family_record(self._trained(spec))

    def tokenizer(self, spec: ModelSpec, place: str = "hub", named: str = "") -> "TextTokenizer | None":
        """The task's own, else its vocabulary: words between white space."""
        if named:
            return super().tokenizer(spec, place, named)
        from ingest.evalsets.tokenizing import TaskTokenizer

        task = self._trained(spec).make_task()
        return task.text_tokenizer or TaskTokenizer.of(task)

    def _trained(self, spec: ModelSpec) -> TrainSpec:
        return TrainSpec.model_validate_json(self._files[spec.name][0][1]["spec"])

    def _spec(self, run: str) -> ModelSpec:
        path, header = self._files[run][0]
        layout = Layout(**json.loads(header["layout"]))
        trained = TrainSpec.model_validate_json(header["spec"])
        seeds = dict(zip(json.loads(header["runs"]), json.loads(header["seeds"]), strict=True))[run]
        return ModelSpec(
            name=run,
            family=trained.task,
            repository=path.parent.name,
            size=Size.of_layout(layout, "the checkpoint's header"),
            init_seed=seeds["init"],
            data_order_seed=seeds["data_order"],
            tokens_per_step=trained.tokens_per_step,
            final_step=trained.steps,
        )

    @cached_property
    def _files(self) -> dict[str, list[tuple[Path, Header]]]:
        found: dict[str, list[tuple[Path, Header]]] = {}
        for path in sorted(self.folder.rglob("step-*.safetensors")):
            header = _header(path)
            for run in json.loads(header["runs"]):
                found.setdefault(run, []).append((path, header))
        return found

    def source(self, place: str = "hub") -> Source:
        """The files themselves; `place` has no meaning here."""
        return SingleFiles(self.folder)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """One run's rows of the stacked file; raises CheckpointDamaged."""
        from ingest.models.own import OwnModel
        from ingest.train.checkpoints import load_run

        return OwnModel(load_run(snapshot.folder, ref.run, device=device))


def _header(path: Path) -> Header:
    """The texts that a safetensors file begins with, without loading the library or a tensor."""
    try:
        with path.open("rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            return dict(json.loads(handle.read(length))["__metadata__"])
    except (struct.error, ValueError, KeyError, OSError) as error:
        raise UsageError(
            f"{path} is no checkpoint of pathscope ({type(error).__name__}: {error}); move it out of the folder, or put the "
            "file back."
        ) from None
