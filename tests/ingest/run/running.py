"""A study of seconds, and what is in the archive after it."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archive.layout import Layout
from archive.store import Archive
from ingest.planning.estimate import Estimate
from ingest.planning.plan import Plan
from ingest.run.calls import ingest
from ingest.run.conduct import IngestReport, Options
from ingest.run.dispatch import Tally
from ingest.run.unit import CellFailure
from ingest.studies.files import parse_study
from ingest.studies.training import Study

Content = dict[str, list[dict[str, object]]]

TOML = """
name = "tiny"
[train]
steps = 12
task_params = { p = 5, frac_train = 0.5 }
model = { d_model = 8, n_heads = 2, d_mlp = 8 }
checkpoints = { per_octave = 0, every = 4 }
[seeds]
init = "0..1"
split = "0..1"
[measures]
names = ["loss", "weight_norm"]
[executor]
kind = "inline"
seeds_per_process = 1
checkpoints_per_unit = 2
"""
# one run of two checkpoints in one unit, for a study that only has to be whole
SHORT = (
    TOML.replace('"0..1"', "[0]")
    .replace("steps = 12", "steps = 4")
    .replace("checkpoints_per_unit = 2", "checkpoints_per_unit = 8")
)
STEPS = [0, 4, 8, 12]
N_LOGS = 5


@dataclass
class Quiet:
    """A watcher that remembers."""

    plans: list[tuple[Plan, Estimate]] = field(default_factory=list)
    failures: list[CellFailure] = field(default_factory=list)
    on_progress: Callable[[Tally], None] = lambda tally: None

    def planned(self, study: Study, plan: Plan, estimated: Estimate) -> None:
        self.plans.append((plan, estimated))

    def progressed(self, tally: Tally) -> None:
        self.on_progress(tally)

    def failed(self, failure: CellFailure) -> None:
        self.failures.append(failure)


@dataclass(frozen=True)
class FirstCall:
    """What a call of the study reported, and the archive it filled."""

    path: Path
    report: IngestReport
    watcher: Quiet


def study(text: str = TOML) -> Study:
    return parse_study(text, Path("/studies/tiny.toml"))


def go(path: Path, text: str = TOML, watcher: Quiet | None = None, **options: Any) -> IngestReport:
    return ingest(study(text), path, Options(**options), watcher or Quiet())


def content(path: Path) -> Content:
    """Everything that was measured, by name: what must not depend on how often the study was interrupted."""
    archive = Archive(path)
    return {
        "log": archive.rows("SELECT run, step, measure, part, value FROM v_log ORDER BY ALL"),
        "scalar": archive.rows("SELECT run, step, measure, part, value, se FROM v_scalar ORDER BY ALL"),
        "cell": archive.rows("SELECT run, step, measure, state, n_rows FROM v_cell ORDER BY ALL"),
        "run": archive.rows(
            "SELECT run, condition, init_seed, split_seed, init_hash FROM v_run ORDER BY ALL"
        ),
        "checkpoint": archive.rows(
            "SELECT run, step, weights_hash, tokens_seen FROM v_checkpoint ORDER BY ALL"
        ),
    }


def copy_finished(finished: Path, path: Path) -> Path:
    """An archive of one's own with everything a study left; `path` may be there already."""
    shutil.copy(finished, path)
    shutil.copytree(Layout.of(finished).folder, Layout.of(path).folder)
    return path


def signal_self() -> None:
    """What `kill` of this process does."""
    os.kill(os.getpid(), signal.SIGTERM)


def stopping_after(n_units: int) -> Quiet:
    """A watcher that has the study stopped once so many units are done."""
    return Quiet(on_progress=lambda tally: signal_self() if tally.n_units >= n_units else None)
