"""Archives for the Sources and Benchmarks pages: an imported set of benchmark results, and what may be odd about such."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from archive.committer import commit_inbox
from archive.identity import content_hash
from archive.layout import Layout
from archive.records import (
    Checkpoint,
    Encoding,
    Family,
    Measure,
    Provenance,
    Quantity,
    Run,
    Source,
    SourceFile,
)
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from tests.ui.archives import HOSTILE, Plan, add_run, exclude, new_archive, schedule

STEPS = (0, 10, 100, 1000, 2000, 3000)
SE = 0.01
MAIN_SET = Source(
    name="suite",
    repository="https://example.org/lab/suite",
    commit_hash="a" * 40,
    licence="Apache-2.0",
    citation="Lab (2024). A suite of models. doi:10.1/2",
    note="read from LICENSE in suite/",
)
UNLICENSED = Source(
    name="found-somewhere", licence="none found", citation="none found", repository="git@example.org:x/y"
)
HOSTILE_SET = Source(
    name=f"set {HOSTILE}"[:200],
    repository="javascript:alert(1)",
    url="https://example.org/<img src=x onerror=alert(1)>",
    licence=HOSTILE,
    citation=HOSTILE,
    note=HOSTILE,
)


def _metric(name: str, unit: str, direction: str, upper: float | None) -> Measure:
    return Measure(
        name=f"benchmark.{name}",
        scope="checkpoint",
        table="fact_benchmark",
        unit=unit,
        lower_bound=0.0,
        upper_bound=upper,
        direction=direction,
        summary=f"What the harness calls {name}.",
    )


ACC = _metric("acc", "share", "higher is better", 1.0)
PPL = _metric("ppl", "perplexity", "lower is better", None)
BIAS = _metric("pct_stereotype", "share", "neither", 1.0)


def quantity(
    metric: Measure, task: str, source: Source, shots: int = 0, series: str = "", version: int = 0
) -> Quantity:
    """A metric of a task as the importers describe it."""
    return Quantity(
        measure=metric,
        encoding=Encoding.named_only(task, source=source.name, version=version),
        params={"num_fewshot": shots, "series": series},
        dtype="unknown",
        source=source,
    )


@dataclass(frozen=True)
class Model:
    """One invented model. size: its number of parameters, None where nobody says. level: how good it is, 0 to 1."""

    name: str
    size: float | None
    level: float
    condition: str = ""
    seed: int | None = None
    suspect_steps: tuple[int, ...] = ()
    steps: tuple[int, ...] = STEPS


@dataclass
class Published:
    """What is put into an archive of published results, one shard a source."""

    source: Source
    models: Sequence[Model]
    family: str = "suite"
    tasks: tuple[str, ...] = ("lambada_openai", "sciq", "inverse")
    odd: bool = False
    path: str = "evals/{model}/{model}_step{step}.json"
    builder: ShardBuilder = field(init=False)

    def write(self, layout: Layout) -> None:
        """Leave the set in an archive's inbox."""
        self.builder = ShardBuilder(kind="import")
        self.builder.provenance = Provenance(facts={"imported_from": "/data/suite"})
        self.builder.source(self.source)
        self.builder.family(Family(name=self.family, summary="invented models"))
        for model in self.models:
            self._model(model)
        self.builder.write(layout.inbox)

    def _model(self, model: Model) -> None:
        notes = ("the seed is a guess",) if self.odd else ()
        run = Run(
            name=model.name,
            family=self.family,
            source=self.source.name,
            condition=model.condition or model.name,
            init_seed=model.seed,
            n_params=None if model.size is None else int(model.size),
            notes=notes,
        )
        self.builder.run(run)
        for step in model.steps:
            suspect = step in model.suspect_steps
            point = self.builder.checkpoint(
                Checkpoint(
                    run=model.name,
                    step=step,
                    integrity="defect" if suspect else "ok",
                    integrity_note="weights equal those of another step" if suspect else "",
                )
            )
            file = self.builder.file(
                SourceFile(
                    source=self.source.name,
                    path=self.path.format(model=model.name, step=step)[:450],
                    sha256=content_hash({"model": model.name, "step": step}),
                    bytes=1000 + step,
                    format="lm-eval",
                    n_rows=len(self.tasks),
                )
            )
            self._results(point, file, model, step)

    def _results(self, point: int, file: int, model: Model, step: int) -> None:
        rng = np.random.default_rng([model.seed or 0, step])
        for task in self.tasks:
            value = score(model, task, step) + 0.002 * float(rng.normal())
            self._add(point, file, quantity(ACC, task, self.source), value, SE)
        first = self.tasks[0]
        self._add(
            point,
            file,
            quantity(PPL, first, self.source),
            10 ** (6 - 5 * model.level * step / STEPS[-1]),
            0.1,
        )
        self._add(point, file, quantity(BIAS, "crows_pairs", self.source), 0.5 + 0.1 * model.level, SE)
        if not self.odd:
            return
        self._add(point, file, quantity(ACC, first, self.source, shots=5), value, SE)
        self._add(point, file, quantity(ACC, first, self.source, series="baseline"), value, SE)
        without = float("nan") if step == 100 else value
        self._add(point, file, quantity(ACC, "no_error", self.source), without, None)
        for version in (0, 1):
            self._add(point, file, quantity(ACC, "two_versions", self.source, version=version), value, SE)
        lost = self.builder.quantity(quantity(ACC, "lost", self.source))
        self.builder.failed_cell(
            point, lost, CellState.ABSENT_UPSTREAM, error_class="Absent", message="not published", file=file
        )

    def _add(self, point: int, file: int, measured: Quantity, value: float, se: float | None) -> None:
        index = self.builder.quantity(measured)
        self.builder.add("fact_benchmark", point, index, value=value, se=se, n_items=1000)
        self.builder.cell(point, index, file=file)


def score(model: Model, task: str, step: int) -> float:
    """Invented accuracy: `lambada_openai` gets worse late in small models, on `inverse` the small ones are better."""
    learned = min(1.0, step / 1000)
    if task == "inverse":
        return 0.25 + learned * (0.6 - 0.5 * model.level)
    late = max(0.0, (step - 1000) / 2000)
    fall = 0.2 * late if task == "lambada_openai" and model.level < 0.3 else 0.0
    return 0.1 + learned * model.level - fall


def suite() -> list[Model]:
    """Two sizes of three seeds each, and a large model of one."""
    small = [Model(f"toy-70m-seed{k}", 70e6, 0.25, "toy 70m", k) for k in range(3)]
    medium = [Model(f"toy-160m-seed{k}", 160e6, 0.5, "toy 160m", k) for k in range(3)]
    return [*small, *medium, Model("toy-1.4b", None, 0.8)]


def _commit(layout: Layout) -> Path:
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return layout.database


def published(path: Path) -> Path:
    """One imported set, and a run of our own beside it."""
    layout = new_archive(path)
    Published(MAIN_SET, suite()).write(layout)
    shard = ShardBuilder(kind="train")
    shard.family(Family(name="modular-addition", summary="a toy task"))
    add_run(shard, Plan("here", 0, steps=tuple(schedule(8))), log=False)
    shard.write(layout.inbox)
    return _commit(layout)


def published_odd(path: Path) -> Path:
    """No licence, NaN, values without errors, two versions of a task, suspect checkpoints, an excluded run, absent results."""
    a, b, c = (Model(f"toy-70m-seed{k}", 70e6, 0.25, "toy 70m", k) for k in range(3))
    models = [
        Model(a.name, a.size, a.level, a.condition, 0, suspect_steps=(2000,)),
        Model(b.name, b.size, b.level, b.condition, 1, steps=STEPS[:4]),
        c,
        Model("unsized", None, 0.5),
    ]
    layout = new_archive(path)
    Published(UNLICENSED, models, odd=True).write(layout)
    _commit(layout)
    exclude(path, c.name, "trained on the wrong split <b>by mistake</b>")
    return path


def published_one(path: Path) -> Path:
    """One checkpoint of one model on one task."""
    layout = new_archive(path)
    Published(MAIN_SET, [Model("toy-70m", 70e6, 0.25, steps=(1000,))], tasks=("sciq",)).write(layout)
    return _commit(layout)


def published_hostile(path: Path) -> Path:
    """Names of 200 characters with HTML, Markdown and LaTeX in them, and addresses that must not become links."""
    models = [
        Model(f"{k} {HOSTILE}"[:320], 1e6 * 4**k, 0.3 + 0.4 * k, f"condition {k} {HOSTILE}"[:310])
        for k in range(2)
    ]
    tasks = (f"0 {HOSTILE}"[:200], "inverse")
    layout = new_archive(path)
    hostile = Published(
        HOSTILE_SET,
        models,
        f"family {HOSTILE}"[:310],
        tasks,
        odd=True,
        path="{model}/{step} <img src=x>.json",
    )
    hostile.write(layout)
    return _commit(layout)


def registry_only(path: Path) -> Path:
    """A catalogue: runs without a single result."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="import")
    shard.source(MAIN_SET)
    for k in range(3):
        shard.run(Run(name=f"listed-{k}", source=MAIN_SET.name, condition="listed"))
    shard.write(layout.inbox)
    return _commit(layout)


PUBLISHED_ARCHIVES = {
    "published": published,
    "published odd": published_odd,
    "published one": published_one,
    "published hostile": published_hostile,
    "registry only": registry_only,
}
