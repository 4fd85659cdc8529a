"""What runs in processes of its own, to be killed: workers that write shards and a committer that enters them.

They are started from a fork server that has imported everything and opened no database, so that a hundred
kills take seconds.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from archive import committer
from archive.errors import ArchiveDamaged, PathscopeError
from archive.layout import Layout
from archive.records import Checkpoint, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.torture.invariants import contents

CONTEXT = multiprocessing.get_context("forkserver")
# what a child would import anyway, also to find the function in the module that started it
CONTEXT.set_forkserver_preload(["tests.torture.scenarios", "pytest"])

N_LAYERS, N_HEADS = 2, 4
ROWS = N_LAYERS * N_HEADS
HEAD = Quantity(
    measure=Measure(
        name="head.score", scope="head", table="fact_head", unit="1", summary="A number per head."
    )
)
LOG = Quantity(
    measure=Measure(name="log.loss", scope="run", table="fact_log", unit="nats", summary="Logged loss.")
)

NOISE = Quantity(
    measure=Measure(name="log.noise", scope="run", table="fact_log", unit="1", summary="Random numbers.")
)


def value_of(run: str, step: int) -> float:
    """The one number that belongs to a step of a run, so that any mix-up shows."""
    return int(run.split("-")[1]) * 1_000_000 + step


def unit(run: str, steps: Sequence[int], *, log: bool = True, noise: int = 0) -> ShardBuilder:
    """Head scores at some steps and the log of those steps; `noise` rows of a log that does not compress."""
    b = ShardBuilder(kind="measure")
    owner = b.run(Run(name=run, family="torture", init_seed=int(run.split("-")[1])))
    q = b.quantity(HEAD)
    for step in steps:
        checkpoint = b.checkpoint(Checkpoint(run=run, step=step))
        layers, heads = np.divmod(np.arange(ROWS), N_HEADS)
        b.add("fact_head", checkpoint, q, layer=layers, head=heads, value=value_of(run, step))
        b.cell(checkpoint, q)
    if log:
        q = b.quantity(LOG)
        part = b.part(Part(kind="split", name="train"))
        b.add("fact_log", owner, q, part=part, step=np.array(steps), value=[value_of(run, s) for s in steps])
        b.segment(owner, q, steps[0] - 1, steps[-1])
    if noise:
        q = b.quantity(NOISE)
        b.add("fact_log", owner, q, step=np.arange(noise), value=np.random.default_rng(0).random(noise))
        b.cell(owner, q)
    return b


def work(inbox: str, run: str, said: Connection) -> None:
    """Write units of three steps, one after the other, until killed; tell each one that is written."""
    first = 0
    while True:
        steps = range(first, first + 3)
        unit(run, steps).write(Path(inbox))
        said.send((run, first))
        first += 3


def commit(
    database: str,
    *,
    kill_at: int | None = None,
    check_space: bool = True,
    patience: float = 60.0,
    said: Connection | None = None,
) -> None:
    """Commit the inbox; with `kill_at` end at that step of the commit, as `kill -9` would.

    `said` gets the names of the steps, then the outcome: the report's numbers, or (error class, message).
    """
    count = 0

    def step(name: str) -> None:
        nonlocal count
        if said is not None:
            said.send(("step", name))
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    committer.step = step
    if not check_space:
        committer._check_space = lambda layout, batch: None
    try:
        report = committer.commit_inbox(Layout.of(database), patience=patience)
    except PathscopeError as error:
        if said is not None:
            said.send(("error", type(error).__name__, str(error)))
        return
    if said is not None:
        said.send(("done", report.n_shards, report.n_rows, report.refused))


def look(database: str, said: Connection) -> None:
    """Tell the contents of an archive, or that it is damaged."""
    try:
        said.send(("contents", contents(Layout.of(database))))
    except ArchiveDamaged as error:
        named = database in str(error) and "pathscope verify" in str(error)
        said.send(("damaged",) if named else ("a message that names too little", str(error)))


def commit_for_ever(database: str) -> None:
    """Commit again and again until killed."""
    while True:
        committer.commit_inbox(Layout.of(database), patience=60.0)


def read_for_ever(database: str, said: Connection) -> None:
    """Ask again and again; tell the number of rows and of (step, run) seen each time."""
    archive = Archive(database)
    while True:
        row = archive.rows("SELECT count(*) AS n, count(DISTINCT (run, step)) AS points FROM v_head_score")[0]
        said.send((row["n"], row["points"]))
