"""Weights on disk: stacked checkpoints kept for good, and one resume state replaced in place.

`step-XXXXXXXXX.safetensors` holds named tensors [run, ...] (layout.py) of all runs alive at that step;
the header says which, so a file is readable without the database. `resume.safetensors` holds the flat
rows, the optimizer's state and the failures so far.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from archive.errors import PathscopeError, UnknownName
from ingest.models.layout import Layout
from ingest.models.loaded import LoadedModel
from ingest.models.small import stack_views
from ingest.train.files import write_durably
from ingest.train.log import log_files, log_steps, read_log_segment
from ingest.train.outcome import LogSegment, RunFailure
from ingest.train.spec import Seeds, TrainSpec

FORMAT = "pathscope-stacked-1"
RESUME = "resume.safetensors"
OPTIMIZER = "optimizer."


class CheckpointDamaged(PathscopeError):
    """A checkpoint or resume state that cannot be read back."""


@dataclass(frozen=True)
class ResumeState:
    """Everything training needs to go on from `step`; random streams are functions of the step."""

    step: int
    spec_hash: str
    runs: tuple[tuple[str, Seeds], ...]
    alive: tuple[str, ...]
    failures: tuple[RunFailure, ...]
    rows: Float[Tensor, "alive row"]
    optimizer: Mapping[str, Tensor]


def write_checkpoint(
    folder: Path,
    spec: TrainSpec,
    step: int,
    runs: Sequence[tuple[str, Seeds]],
    rows: Float[Tensor, "run row"],
) -> Path:
    """Keep the weights of these runs at this step; returns the file."""
    layout = spec.layout()
    path = folder / f"step-{step:09d}.safetensors"
    tensors = {name: view.contiguous() for name, view in stack_views(layout, rows.detach().cpu()).items()}
    header = {
        "format": FORMAT,
        "step": str(step),
        "runs": json.dumps([name for name, _ in runs]),
        "seeds": json.dumps([seeds.model_dump() for _, seeds in runs]),
        "layout": json.dumps(layout.as_dict()),
        "spec": spec.model_dump_json(),
        "spec_hash": spec.hash,
    }
    write_durably(path, save(tensors, header))
    return path


def iter_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, file) of every checkpoint in the folder, by step."""
    return sorted((int(path.stem.split("-")[1]), path) for path in folder.glob("step-*.safetensors"))


def checkpoint_runs(path: Path) -> tuple[str, ...]:
    """Names of the runs in a checkpoint file; failed runs are missing from the files after their failure."""
    with _opened(path) as stored:
        return tuple(json.loads(stored.metadata()["runs"]))


def load_run(path: Path, run_name: str, *, device: str = "cpu") -> LoadedModel:
    """One run's model from a stacked checkpoint, reading only its row of each tensor.

    Raises UnknownName when the file does not hold that run, CheckpointDamaged when it cannot be read.
    """
    with _opened(path, device) as stored:
        header = stored.metadata()
        runs = json.loads(header["runs"])
        if run_name not in runs:
            raise UnknownName.of("run", run_name, runs, listing=f"the header of {path}")
        index = runs.index(run_name)
        layout = Layout(**json.loads(header["layout"]))
        weights = {name: stored.get_slice(name)[index] for name in layout.shapes}
        return LoadedModel(run=run_name, step=int(header["step"]), layout=layout, weights=weights)


def load_tensor(path: Path, run_name: str, tensor: str) -> Tensor:
    """One tensor of one run from a stacked checkpoint, reading nothing else; errors as of `load_run`."""
    with _opened(path) as stored:
        runs = json.loads(stored.metadata()["runs"])
        if run_name not in runs:
            raise UnknownName.of("run", run_name, runs, listing=f"the header of {path}")
        found: Tensor = stored.get_slice(tensor)[runs.index(run_name)]
        return found


def iter_log_segments(folder: Path) -> Iterator[LogSegment]:
    """The durable training log, by step and run.

    Only segments the resume state has passed: later ones would be written again after a crash.
    """
    step = resume_step(folder)
    for path in log_files(folder):
        if step is not None and log_steps(path)[1] < step:
            yield from read_log_segment(path)


def discard_log_from(folder: Path, step: int) -> None:
    """Delete segments of rows at or after `step`, which training is about to make again."""
    for path in log_files(folder):
        if log_steps(path)[1] >= step:
            path.unlink()


def resume_step(folder: Path) -> int | None:
    """Step of the resume state; None when there is none."""
    path = folder / RESUME
    if not path.exists():
        return None
    with _opened(path) as stored:
        return int(stored.metadata()["step"])


def write_resume_state(folder: Path, state: ResumeState) -> None:
    """Replace the resume state by one rename."""
    tensors = {"rows": state.rows.detach().cpu().contiguous()}
    tensors |= {OPTIMIZER + name: tensor.detach().cpu() for name, tensor in state.optimizer.items()}
    header = {
        "format": FORMAT,
        "step": str(state.step),
        "spec_hash": state.spec_hash,
        "runs": json.dumps([[name, seeds.model_dump()] for name, seeds in state.runs]),
        "alive": json.dumps(state.alive),
        "failures": json.dumps([asdict(failure) for failure in state.failures]),
    }
    write_durably(folder / RESUME, save(tensors, header))


def read_resume_state(folder: Path) -> ResumeState | None:
    """The state to go on from; None when there is none. Raises CheckpointDamaged."""
    path = folder / RESUME
    if not path.exists():
        return None
    with _opened(path) as stored:
        header = stored.metadata()
        names = stored.keys()
        tensors = {name: stored.get_tensor(name) for name in names}
        return ResumeState(
            step=int(header["step"]),
            spec_hash=header["spec_hash"],
            runs=tuple((name, Seeds(**seeds)) for name, seeds in json.loads(header["runs"])),
            alive=tuple(json.loads(header["alive"])),
            failures=tuple(RunFailure(**failure) for failure in json.loads(header["failures"])),
            rows=tensors.pop("rows"),
            optimizer={name.removeprefix(OPTIMIZER): tensor for name, tensor in tensors.items()},
        )


def _opened(path: Path, device: str = "cpu") -> safe_open:
    try:
        stored = safe_open(path, framework="pt", device=device)
        found = (stored.metadata() or {}).get("format")  # type: ignore[no-untyped-call] # no stubs
    except FileNotFoundError:
        raise CheckpointDamaged(
            f"{path} is gone; the run must be trained again from its last state"
        ) from None
    except SafetensorError as error:
        raise CheckpointDamaged(
            f"{path} cannot be read ({error}); delete it, or the folder {path.parent} to train from step 0, "
            "and give the same command again"
        ) from error
    if found != FORMAT:
        raise CheckpointDamaged(f"{path} has format {found!r}, this version reads {FORMAT!r}")
    return stored
