"""Archives whose transitions are planted: which runs change suddenly, when, and which are smooth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive.committer import commit_inbox
from archive.records import Checkpoint, Family, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from tests.ui.archives import ACCURACY, GRID, HOSTILE, LOSS, new_archive

STEPS = tuple(sorted({0, *(round(2 ** (k / 4)) for k in range(8, 57))}))  # four an octave, 4 to 16,384
LABELS = ("carry", "tens", "units", "end")
SUDDEN, SMOOTH = "task a, sudden", "task a, smooth"
POSITION_LOSS = Measure(
    name="position_loss",
    scope="position",
    table="fact_position",
    unit="nats",
    lower_bound=0,
    direction="lower is better",
    summary="Loss at each read position.",
)


@dataclass(frozen=True)
class Planted:
    """One run. at: the step of its change; None is a power of time. reaches: whether the loss falls below 1."""

    name: str
    seed: int
    condition: str
    at: float | None
    reaches: bool = True


RUNS = (
    *(Planted(f"sudden-s{k}", k, SUDDEN, at) for k, at in enumerate((400.0, 600.0, 900.0))),
    *(Planted(f"smooth-s{k}", 10 + k, SMOOTH, None, reaches=k > 0) for k in range(3)),
)


def loss_of(run: Planted, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """A fall by 2 within half an octave, or along a power of time; with a little noise."""
    noise = 0.01 * np.random.default_rng(run.seed).normal(size=len(steps))
    x = np.log2(np.maximum(steps, 1))
    if run.at is None:
        floor = 0.5 if run.reaches else 1.5
        return np.asarray(floor + 2.5 * np.maximum(steps, 1) ** -0.3 + noise)
    return np.asarray(0.5 + 2 / (1 + np.exp((x - np.log2(run.at)) / 0.12)) + noise)


def accuracy_of(run: Planted, steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sudden in every run: also where the loss is smooth, as accuracies are where items are alike."""
    x = np.log2(np.maximum(steps, 1))
    noise = 0.01 * np.random.default_rng(50 + run.seed).normal(size=len(steps))
    at = run.at or 700.0
    return np.asarray(np.clip(0.1 + 0.85 / (1 + np.exp(-(x - np.log2(at)) / 0.12)) + noise, 0, 1))


def transitions(path: Path, runs: tuple[Planted, ...] = RUNS, family: str = "toy") -> Path:
    """Three runs that change at 400, 600 and 900, and three that are smooth, of which one never gets below 1.5."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="train")
    shard.family(Family(name=family, summary="a toy task"))
    for run in runs:
        _add(shard, run, family)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def _add(shard: ShardBuilder, planted: Planted, family: str) -> None:
    shard.run(
        Run(
            name=planted.name,
            family=family,
            condition=planted.condition,
            init_seed=planted.seed,
            final_step=STEPS[-1],
        )
    )
    steps = np.array(STEPS, float)
    loss, accuracy = loss_of(planted, steps), accuracy_of(planted, steps)
    test = shard.part(Part(kind="split", name="test"))
    scalars = [
        (shard.quantity(Quantity(measure=m, encoding=GRID)), values)
        for m, values in ((LOSS, loss), (ACCURACY, accuracy))
    ]
    by_place = shard.quantity(Quantity(measure=POSITION_LOSS, encoding=GRID, params={"labels": list(LABELS)}))
    for k, step in enumerate(STEPS):
        point = shard.checkpoint(Checkpoint(run=planted.name, step=step))
        for quantity, values in scalars:
            shard.add("fact_scalar", point, quantity, part=test, value=float(values[k]), n_items=100)
            shard.cell(point, quantity)
        # the later a position, the later it learns; the last one never does
        places = np.array([0.0 if step >= 16 * 4**place else 1.0 for place in range(3)] + [1.0])
        shard.add("fact_position", point, by_place, part=test, values=[places], ses=[np.full(4, 0.01)])
        shard.cell(point, by_place)


def transitions_hostile(path: Path) -> Path:
    """The same with names full of HTML, Markdown and LaTeX."""
    runs = tuple(
        Planted(f"{k} {HOSTILE}"[:320], k, f"{k} {HOSTILE}"[:310], at) for k, at in enumerate((500.0, None))
    )
    return transitions(path, runs, f"family {HOSTILE}"[:310])


TRANSITION_ARCHIVES = {"transitions": transitions, "transitions hostile": transitions_hostile}
