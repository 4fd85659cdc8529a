"""A published family whose checkpoints are files of one revision, named with their step or tokens. No torch.

    config.json
    model_init.pth                          step 0, where it exists
    checkpoints/tokens_000000262144.pth     after so many tokens, or
    checkpoints/NAME_0000500.pth            after so many steps
    model_final.pth                         the end of training

Numbers are compared as integers: `..500.pth` is not the end of `..1500.pth`.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from archive.errors import UsageError
from ingest.families.published import PublishedFamily
from ingest.family import CheckpointRef, ModelSpec
from ingest.sources.base import CheckpointNotAvailable, Snapshot, Source
from ingest.sources.files import CONFIG

if TYPE_CHECKING:
    from ingest.models.hooked import HookedModel
    from ingest.sources.repository_files import RepositoryFiles

_NUMBERED = re.compile(r"checkpoints/(?:(?P<name>.*)_)?(?P<label>\d+)\.pth")
# labels beyond this count tokens, however the files are called (TransformerLens' rule)
MOST_STEPS = 10**9
UNKNOWN_END = (
    "the end of training, whose step is not published: the number after the last checkpoint's stands for it"
)


class StepFiles(PublishedFamily):
    """Base of families in TransformerLens' repositories: a subclass only names its catalogue file.

    Labels of defects in the catalogue are steps.

    final_files: how the name of the final weights ends, the likeliest first.
    """

    final_files: ClassVar[tuple[str, ...]] = ("final.pth",)

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """None: they are listed when the repository is first fetched."""
        return ()

    def checkpoints_in(self, spec: ModelSpec, place: str) -> tuple[CheckpointRef, ...]:
        """The files that a place has, by step; steps are those of the whole repository, as far as it is known."""
        source = self.source(place)
        here = set(source.revisions(spec.repository))
        refs = self.refs(spec, source.known(spec.repository), _config(source, spec.repository))
        return tuple(ref for ref in refs if ref.revision in here)

    def refs(self, spec: ModelSpec, files: tuple[str, ...], config: dict[str, Any]) -> list[CheckpointRef]:
        """The checkpoints among a repository's files; raises UsageError where two are of one step."""
        found: dict[int, CheckpointRef] = {}
        matches = [match for file in files if (match := _NUMBERED.fullmatch(file))]
        counts_tokens = any(
            match["name"] == "tokens" or int(match["label"]) > MOST_STEPS for match in matches
        )
        per_step = config.get("tokens_per_step") or spec.tokens_per_step
        if counts_tokens and not per_step:
            raise UsageError(
                f"files of {spec.repository} are named with tokens, and neither its {CONFIG} nor the catalogue says how many "
                "tokens an update takes (tokens_per_step); their steps are not known."
            )
        for match in matches:
            label = int(match["label"])
            step = round(label / per_step) if counts_tokens and per_step else label
            tokens = label if counts_tokens else (step * per_step if per_step else None)
            ref = self._file(spec, match[0], step, tokens)
            if step in found:
                raise UsageError(
                    f"{found[step].revision} and {ref.revision} of {spec.repository} are both step {step}; keep only the one "
                    "that is right."
                )
            found[step] = ref
        if (init := next((file for file in files if file.endswith("init.pth")), None)) and 0 not in found:
            found[0] = self._file(spec, init, 0, 0)
        finals = [file for end in self.final_files for file in files if file.endswith(end)]
        if final := next(iter(finals), None):
            end = self._end(spec, final, config, max(found, default=0), per_step)
            found.setdefault(end.step, end)
        return [self._with_defects(found[step], step) for step in sorted(found)]

    def _end(
        self, spec: ModelSpec, file: str, config: dict[str, Any], last: int, per_step: float | None
    ) -> CheckpointRef:
        """The final weights, at the step that the configuration or the catalogue says unless others come after it."""
        step = config.get("max_steps") or spec.final_step
        if step is not None and step >= last:
            return self._file(spec, file, step, step * per_step if per_step else None)
        return replace(self._file(spec, file, last + 1, None), integrity_note=UNKNOWN_END)

    def _file(self, spec: ModelSpec, file: str, step: int, tokens: float | None) -> CheckpointRef:
        return CheckpointRef(
            run=spec.name,
            repository=spec.repository,
            revision=file,
            label=Path(file).stem,
            step=step,
            tokens_seen=tokens,
        )

    def source(self, place: str = "hub") -> "RepositoryFiles":
        """The files of revision `main`, from `hub`, `hub:CACHE` or `path:FOLDER`."""
        from ingest.sources.repository_files import make_files_source

        return make_files_source(place)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The small transformer with the file's weights, in float32; raises WeightsRefused."""
        from ingest.models.lens_files import load_lens_file

        old = ref.repository.endswith("_old")
        return load_lens_file(
            snapshot.folder, ref.revision, old=old, run=ref.run, step=ref.step, device=device
        )


def _config(source: Source, repository: str) -> dict[str, Any]:
    snapshot = source.get(repository, CONFIG)
    try:
        config = json.loads((snapshot.folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}")
    except (OSError, ValueError) as error:
        raise CheckpointNotAvailable(
            repository,
            CONFIG,
            f"it cannot be read ({error}); fetch or copy it again, whole.",
            permanent=False,
        ) from None
    finally:
        source.release(snapshot)
    return config
