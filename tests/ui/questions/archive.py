"""An invented archive that answers a problem, with hypotheses registered before and after its results."""

from pathlib import Path

import numpy as np
from sqlalchemy import text

from archive.committer import commit_inbox
from archive.records import Checkpoint, Encoding, Family, Part, Quantity, Run
from archive.shard import ShardBuilder
from archive.store import connect
from archive.upkeep.hypotheses import add_hypothesis
from tests.queries.simulated import POSITION_LOSS
from tests.ui.archives import HOSTILE, new_archive

DIGITS = Encoding(
    hash="d" * 64,
    name="digit_addition: 512 pairs of 3-digit numbers, most significant first",
    n_sequences=512,
    n_tokens=5120,
)
# learned one after another, in this order
LABELS = ("carry", "hundreds", "tens", "units")
RUNS = tuple(f"digits/s{k}" for k in range(3))
STEPS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
STATEMENT = f"higher digits come first {HOSTILE}"[:200]


def questions(path: Path) -> Path:
    """Three seeds of digit addition; "early" was registered before their results, "late" after, "other" has no runs."""
    layout = new_archive(path)
    _register(path, "early", STATEMENT)
    _a_day_earlier(path, "early")
    shard = ShardBuilder(kind="train")
    shard.family(Family(name="digit_addition", summary="sums of two numbers"))
    for k, name in enumerate(RUNS):
        _add(shard, name, k)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    _register(path, "late", "units come last")
    _register(path, "other", "it is the same without carries", runs="no-carries/*")
    return path


def _a_day_earlier(path: Path, name: str) -> None:
    """Results tell their second only, so what is registered within the same one counts as too late."""
    with connect(path, read_only=False, patience=5) as connection:
        connection.execute(
            text("UPDATE hypothesis SET registered_at = registered_at - INTERVAL 1 DAY WHERE name = :name"),
            {"name": name},
        )
        connection.commit()


def _register(path: Path, name: str, statement: str, runs: str = "digits/*") -> None:
    add_hypothesis(
        new_archive(path),
        name,
        statement=statement,
        primary_measure="position_loss",
        alpha=0.01,
        runs=[runs],
    )


def _add(shard: ShardBuilder, name: str, k: int) -> None:
    shard.run(
        Run(
            name=name,
            family="digit_addition",
            condition="digit addition, 3 digits",
            init_seed=k,
            data_order_seed=k,
            split_seed=k,
            final_step=STEPS[-1],
        )
    )
    quantity = shard.quantity(
        Quantity(measure=POSITION_LOSS, encoding=DIGITS, params={"labels": list(LABELS)})
    )
    part = shard.part(Part(kind="split", name="test"))
    for step in STEPS:
        point = shard.checkpoint(Checkpoint(run=name, step=step, label=f"step{step}"))
        middles = (16.0 + k) * 2.0 ** np.arange(len(LABELS))
        values = 2.3 / (1 + (step / middles) ** 6)
        shard.add(
            "fact_position", point, quantity, part=part, values=[values], ses=[np.full(len(LABELS), 0.01)]
        )
        shard.cell(point, quantity)


QUESTION_ARCHIVES = {"questions": questions}
