"""Any Hugging Face language model with checkpoints: a repository with revisions, or a local folder."""

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from archive.errors import UsageError
from ingest.family import CheckpointRef, Family, ModelSpec, family
from ingest.sources import make_source
from ingest.sources.base import Snapshot, Source
from ingest.sources.folder import FolderSource

if TYPE_CHECKING:
    from ingest.models.hooked import HookedModel


@family("hugging_face", citation="Wolf et al. 2020, doi 10.18653/v1/2020.emnlp-demos.6")
class HuggingFace(Family):
    """Any model of a known architecture in a hub repository with revisions, or in a local folder of checkpoints."""

    repository: str = ""
    """`ORG/NAME` on the hub or in a `path:` source; needed unless `folder` is given."""
    folder: Path | None = None
    """One run on this disk: a folder with a folder per checkpoint, or a single checkpoint."""
    run: str = ""
    """What to call the run; by default the last part of the repository or the folder's name."""
    revisions: tuple[str, ...] = ()
    """Which checkpoints; may be left out for a folder, then all that are in it."""
    step_pattern: str = r"(?:step|checkpoint|ckpt|iter)[-_]?0*(\d+)"
    """Regular expression that finds the label in a revision's name; its group is the number."""
    steps: dict[str, int] = Field(default={})
    """Steps of revisions whose names do not tell: `{main = 143000}`."""
    labels_per_step: int = Field(default=1, ge=1)
    """How much a label grows in one update."""
    tokens_per_step: int | None = Field(default=None, ge=1)
    init_seed: int | None = None
    data_order_seed: int | None = None
    condition: str = ""
    parent_run: str = ""
    """The run whose weights this one goes on from, for a run that was fine-tuned."""

    @model_validator(mode="after")
    def _says_where_and_which(self) -> Self:
        if bool(self.repository) == (self.folder is not None):
            raise ValueError("give either `repository` or `folder`")
        if self.repository and not self.revisions:
            raise ValueError("name the `revisions` of the repository that are to be measured")
        if re.compile(self.step_pattern).groups != 1:
            raise ValueError(f"step_pattern {self.step_pattern!r} needs exactly one group, around the number")
        return self

    def runs(self) -> tuple[ModelSpec, ...]:
        """The one run."""
        where = self.repository or str(self.folder)
        return (
            ModelSpec(
                name=self.run or Path(where).name,
                family=self.name,
                repository=self.repository or Path(where).name,
                condition=self.condition,
                parent_run=self.parent_run,
                init_seed=self.init_seed,
                data_order_seed=self.data_order_seed,
                tokens_per_step=self.tokens_per_step,
            ),
        )

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """By step; raises UsageError for a revision whose step is not known, and when two have the same."""
        named = self.revisions or self.source().revisions(spec.repository)
        refs = [
            CheckpointRef(
                run=spec.name,
                repository=spec.repository,
                revision=revision,
                label=revision,
                step=(step := self._step(revision)),
                tokens_seen=step * self.tokens_per_step if self.tokens_per_step else None,
            )
            for revision in named
        ]
        refs.sort(key=lambda ref: ref.step)
        for one, other in pairwise(refs):
            if one.step == other.step:
                raise UsageError(
                    f"revisions {one.revision!r} and {other.revision!r} of {spec.name} are both step {one.step}; "
                    "name one of them, or their steps under `steps`."
                )
        return tuple(refs)

    def _step(self, revision: str) -> int:
        if revision in self.steps:
            return self.steps[revision]
        found = re.search(self.step_pattern, revision)
        if found is None:
            raise UsageError(
                f"the name of revision {revision!r} does not tell its step; write `steps = {{{revision} = N}}`, or "
                "a step_pattern that finds it."
            )
        return int(found[1]) // self.labels_per_step

    def source(self, place: str = "hub") -> Source:
        """The folder where one is given; else as for the published families."""
        return FolderSource(self.folder) if self.folder is not None else make_source(place)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The model in float32; raises WeightsRefused."""
        from ingest.models.hugging_face import load_hugging_face

        return load_hugging_face(snapshot.folder, run=ref.run, step=ref.step, device=device)
