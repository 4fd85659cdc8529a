"""Small archives made of invented numbers: what a trained study leaves, and every way it can look odd.

They go in through shards and the committer, like everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy import text

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.layout import Layout
from archive.records import Checkpoint, Encoding, Family, Measure, Part, Quantity, Run
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import connect

LAST_STEP = 1200
N_HEADS = 4
SPLITS = ("train", "test")
HOSTILE = (
    "<img src=x onerror=alert(1)> **run** $x_1$ [a](javascript:alert(1)) :material/home: " + "seed_" * 50
)

LOSS = Measure(
    name="loss",
    scope="split",
    table="fact_scalar",
    unit="nats",
    lower_bound=0,
    direction="lower is better",
    summary="Mean cross-entropy.",
)
ACCURACY = Measure(
    name="accuracy",
    scope="split",
    table="fact_scalar",
    unit="fraction",
    lower_bound=0,
    upper_bound=1,
    direction="higher is better",
    summary="Share of items whose most likely answer is right.",
)
WEIGHT_NORM = Measure(
    name="weight_norm",
    scope="tensor",
    table="fact_scalar",
    unit="norm",
    lower_bound=0,
    summary="Euclidean norm of a tensor.",
)
LOG_LOSS = Measure(
    name="log.loss",
    scope="run",
    table="fact_log",
    unit="nats",
    direction="lower is better",
    summary="Loss as the training loop logged it.",
)
PREVIOUS = Measure(
    name="head.previous_token",
    scope="head",
    table="fact_head",
    unit="probability",
    lower_bound=0,
    upper_bound=1,
    summary="Mean attention to the token before.",
)
GRID = Encoding(hash="e" * 64, name="all pairs mod 47", context_length=3, n_sequences=2209, n_tokens=6627)


@cache
def _new() -> bytes:
    with TemporaryDirectory() as folder:
        return ensure_archive(Path(folder) / "x.duckdb").database.read_bytes()


def new_archive(path: Path) -> Layout:
    """What `ensure_archive` makes, which takes longer than most of what is then written into it."""
    if not path.exists():
        path.write_bytes(_new())
    return ensure_archive(path)


def schedule(n: int, last: int = LAST_STEP) -> list[int]:
    """About `n` steps: 0, then dense early and evenly spaced later, ending at `last`."""
    early = np.geomspace(1, last, n // 2).round()
    late = np.linspace(last / n, last, n - n // 2).round()
    return [0, *np.unique(np.append(early, late)).astype(int).tolist()]


@dataclass(frozen=True)
class Plan:
    """What one invented run looks like."""

    name: str
    seed: int
    condition: str = "modular addition p=47, weight decay 2"
    family: str = "modular-addition"
    grok_step: float = 600.0
    steps: tuple[int, ...] = tuple(schedule(70))
    tokens_per_step: float | None = None
    log_every: int = 1
    gaps: bool = False
    suspect_steps: tuple[int, ...] = ()
    failed_steps: tuple[int, ...] = ()


def curves(plan: Plan, steps: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    """Invented loss and accuracy: memorise early, generalise around `grok_step`."""
    rng = np.random.default_rng(1000 + plan.seed)
    start = np.log(47)
    fit = 1 / (1 + np.exp(-(steps - 60) / 12))
    grok = 1 / (1 + np.exp(-(steps - plan.grok_step) / 35))
    wiggle = np.exp(rng.normal(0, 0.06, len(steps)))
    train = start * (1 - fit) * wiggle + 1e-5 * (1 + 5 * np.exp(-steps / 200)) * wiggle
    test = (start + 4 * fit * np.exp(-steps / 1500)) * (1 - grok) * wiggle + 2e-4 * wiggle
    return {
        ("loss", "train"): train,
        ("loss", "test"): test,
        ("accuracy", "train"): np.clip(0.02 + 0.98 * fit, 0, 1),
        ("accuracy", "test"): np.clip(0.02 + 0.2 * fit + 0.78 * grok, 0, 1),
    }


def _add_log(shard: ShardBuilder, plan: Plan, run: int) -> None:
    quantity = shard.quantity(Quantity(measure=LOG_LOSS))
    steps = np.arange(0, LAST_STEP + 1, plan.log_every)
    values = curves(plan, steps)
    for split in SPLITS:
        part = shard.part(Part(kind="split", name=split))
        y = values[("loss", split)].copy()
        if plan.gaps:
            y[300:420] = np.nan
        shard.add("fact_log", run, quantity, part=part, step=steps, value=y)
    shard.segment(run, quantity, -1, LAST_STEP)
    shard.cell(run, quantity)


def add_run(shard: ShardBuilder, plan: Plan, *, log: bool = True, heads: bool = True) -> None:
    """Enter one invented run with its checkpoints, scalars, heads and training log."""
    run = shard.run(
        Run(
            name=plan.name,
            family=plan.family,
            condition=plan.condition,
            init_seed=plan.seed,
            split_seed=plan.seed,
            architecture="transformer",
            n_layers=1,
            n_heads=N_HEADS,
            n_params=32592,
            tokens_per_step=plan.tokens_per_step,
            final_step=max(plan.steps, default=None),
        )
    )
    if log:
        _add_log(shard, plan, run)
    loss, accuracy = (shard.quantity(Quantity(measure=m, encoding=GRID)) for m in (LOSS, ACCURACY))
    norm = shard.quantity(Quantity(measure=WEIGHT_NORM))
    previous = shard.quantity(Quantity(measure=PREVIOUS, encoding=GRID))
    parts = [shard.part(Part(kind="split", name=s)) for s in SPLITS]
    tensors = [shard.part(), shard.part(Part(kind="tensor", name="W_E"))]
    values = curves(plan, np.array(plan.steps, dtype=float))
    rng = np.random.default_rng(plan.seed)
    for i, step in enumerate(plan.steps):
        suspect = step in plan.suspect_steps
        point = shard.checkpoint(
            Checkpoint(
                run=plan.name,
                step=step,
                label=f"step{step}",
                integrity="defect" if suspect else "ok",
                integrity_note="weights equal those of another step" if suspect else "",
            )
        )
        if step in plan.failed_steps:
            shard.failed_cell(
                point,
                loss,
                CellState.FAILED_TRANSIENT,
                error_class="OutOfMemoryError",
                message="no memory left",
            )
            continue
        if plan.gaps and i % 7 == 3:
            continue
        for quantity, measure in ((loss, "loss"), (accuracy, "accuracy")):
            y = [float(values[(measure, s)][i]) for s in SPLITS]
            if suspect:
                y = [v + 3.0 for v in y]
            if plan.gaps and i % 11 == 5:
                y[1] = float("nan")
            shard.add("fact_scalar", point, quantity, part=parts, value=y, n_items=[883, 1326])
            shard.cell(point, quantity)
        size = 20 + 30 * np.exp(-step / 400) + rng.normal(0, 0.2)
        shard.add("fact_scalar", point, norm, part=tensors, value=[size, size / 2])
        shard.cell(point, norm)
        if heads:
            score = 1 / (1 + np.exp(-(step - plan.grok_step) / 60)) * np.linspace(0.1, 0.9, N_HEADS)
            shard.add(
                "fact_head",
                point,
                previous,
                layer=0,
                head=np.arange(N_HEADS),
                value=0.25 + 0.5 * score,
                chance=0.25,
            )
            shard.cell(point, previous)


def write_archive(path: Path, plans: Sequence[Plan], *, log: bool = True, heads: bool = True) -> Path:
    """Commit the invented runs into the archive at `path` (made if missing)."""
    layout = new_archive(path)
    for start in range(0, len(plans), 200):
        shard = ShardBuilder(kind="train")
        for plan in plans[start : start + 200]:
            shard.family(Family(name=plan.family, summary="a toy task"))
            add_run(shard, plan, log=log, heads=heads)
        shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def exclude(path: Path, run: str, reason: str) -> None:
    """Mark a run as excluded, as `pathscope exclude` does."""
    with connect(path, read_only=False, patience=5) as connection:
        connection.execute(
            text(
                "INSERT INTO exclusion (id, run_id, reason, who, happened_at, lifted) "
                "SELECT (SELECT coalesce(max(id), 0) + 1 FROM exclusion), id, :reason, 'tester', now(), false "
                "FROM run WHERE name = :run"
            ),
            {"run": run, "reason": reason},
        )
        connection.commit()


GROK_STEPS = (560.0, 930.0, 720.0, 430.0, 610.0)


def demo(path: Path) -> Path:
    """Five seeds of one condition, 70 checkpoints each, as `pathscope demo` leaves them."""
    return write_archive(path, [Plan(f"demo-s{k}", k, grok_step=g) for k, g in enumerate(GROK_STEPS)])


def empty(path: Path) -> Path:
    """An archive nothing was put into."""
    return new_archive(path).database


def one_run(path: Path) -> Path:
    """A single run: no interval can be given."""
    return write_archive(path, [Plan("only", 0)])


def gaps(path: Path) -> Path:
    """NaN values, missing checkpoints and failed cells."""
    plans = [
        Plan(f"gap-s{k}", k, grok_step=g, gaps=True, failed_steps=(LAST_STEP,) if k == 1 else ())
        for k, g in enumerate(GROK_STEPS[:3])
    ]
    return write_archive(path, plans)


def suspect(path: Path) -> Path:
    """One excluded run, and one run with two suspect checkpoints."""
    bad = tuple(schedule(70)[40:42])
    plans = [
        Plan(f"s{k}", k, grok_step=g, suspect_steps=bad if k == 2 else ())
        for k, g in enumerate(GROK_STEPS[:4])
    ]
    write_archive(path, plans)
    exclude(path, "s3", "trained on the wrong split <b>by mistake</b>")
    return path


def hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    plans = [
        Plan(
            f"{k} {HOSTILE}"[:320],
            k,
            grok_step=g,
            condition=f"condition {HOSTILE}"[:310],
            family=f"family {HOSTILE}"[:310],
            steps=tuple(schedule(12)),
            log_every=50,
        )
        for k, g in enumerate(GROK_STEPS[:2])
    ]
    return write_archive(path, plans)


def many_runs(path: Path, n: int = 300) -> Path:
    """Many runs in many conditions, with tokens."""
    plans = [
        Plan(
            f"run-{k:05d}",
            k,
            condition=f"weight decay {(k // 10) / 10:g}",
            family=f"family-{k // 100}",
            grok_step=200 + (k * 7) % 900,
            steps=(0, 1, 10, 100, 1000),
            tokens_per_step=2_097_152.0,
        )
        for k in range(n)
    ]
    return write_archive(path, plans, log=False, heads=False)


def thousands(path: Path, n: int = 10_000) -> Path:
    """Ten thousand runs in a thousand conditions and five families: the loss at three checkpoints of each."""
    layout = new_archive(path)
    steps = (0, 100, LAST_STEP)
    shard = ShardBuilder(kind="train")
    for k in range(5):
        shard.family(Family(name=f"family-{k}", summary="a toy task"))
    owners = []
    for k in range(n):
        name = f"run-{k:05d}"
        condition = f"weight decay {k // 10 / 10:g}"
        shard.run(Run(name=name, family=f"family-{k // (n // 5)}", condition=condition, init_seed=k))
        owners += [shard.checkpoint(Checkpoint(run=name, step=step)) for step in steps]
    loss = shard.quantity(Quantity(measure=LOSS, encoding=GRID))
    test = shard.part(Part(kind="split", name="test"))
    values = np.random.default_rng(0).gamma(2, 1, len(owners)) / np.tile([1, 2, 10], n)
    shard.add("fact_scalar", np.array(owners), loss, part=test, value=values)
    shard.cells(np.array(owners), np.full(len(owners), loss))
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def two_conditions(path: Path) -> Path:
    """Two conditions of three seeds each, with tokens per step."""
    plans = [
        Plan(
            f"wd{wd}-s{k}",
            k + 10 * c,
            condition=f"modular addition p=47, weight decay {wd}",
            grok_step=g * (1 if c else 0.6),
            tokens_per_step=2649.0,
        )
        for c, wd in enumerate((2, 1))
        for k, g in enumerate(GROK_STEPS[:3])
    ]
    return write_archive(path, plans)


ARCHIVES = {
    "demo": demo,
    "empty": empty,
    "one run": one_run,
    "gaps": gaps,
    "suspect": suspect,
    "hostile": hostile,
    "many runs": many_runs,
    "10,000 runs": thousands,
    "two conditions": two_conditions,
}
