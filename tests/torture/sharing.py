"""Several at once: committers, a reader that stays, readers that never pause."""

import random
import subprocess
import sys
import time
from pathlib import Path

from archive.committer import commit_inbox, pending_shards
from archive.errors import ArchiveBusy
from tests.torture.actors import (
    CONTEXT,
    ROWS,
    commit_for_ever,
    read_for_ever,
    unit,
    work,
)
from tests.torture.tools import BASE, Outcome, check_values, new_archive


def two_committers(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """Two committers and two workers at once."""
    outcome = Outcome()
    layout = new_archive(folder)
    said: set[tuple[str, int]] = set()
    pipes, processes = [], []
    for i in range(2):
        mine, theirs = CONTEXT.Pipe(duplex=False)
        pipes.append(mine)
        processes.append(
            CONTEXT.Process(target=work, args=(str(layout.inbox), f"r-{i}", theirs), daemon=True)
        )
        processes.append(CONTEXT.Process(target=commit_for_ever, args=(str(layout.database),), daemon=True))
    for process in processes:
        process.start()
    end = time.monotonic() + seconds
    while time.monotonic() < end or outcome.rounds < 20:
        outcome.rounds += 1
        said.add(rng.choice(pipes).recv())
    for process in processes:
        process.kill()
        process.join()
    report = commit_inbox(layout)
    outcome.check(report.refused == [], f"refused: {report.refused[:2]}")
    outcome.check(pending_shards(layout) == [], "units stay in the inbox")
    check_values(layout, BASE | {(run, first + i) for run, first in said for i in range(3)}, outcome)
    return outcome


HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print(connection.execute("SELECT count(*) FROM v_head_score").fetchone(), flush=True)
sys.stdin.readline()
"""


def open_reader(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """A reader that does not close: the committer waits, says who it is, exits 75, and later goes on."""
    del rng, seconds
    outcome = Outcome(rounds=1)
    layout = new_archive(folder)
    unit("r-1", range(3)).write(layout.inbox)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        try:
            commit_inbox(layout, patience=0.5)
            outcome.check(False, "the committer wrote into a file that a reader holds")
        except ArchiveBusy as error:
            outcome.check(f"{layout.database} is held by process {holder.pid}" in str(error), f"said {error}")
            outcome.check(error.exit_code == 75, f"exit code {error.exit_code}")
        check_values(layout, BASE, outcome, exactly=True)
        holder.stdin.close()
    commit_inbox(layout)
    check_values(layout, BASE | {("r-1", step) for step in range(3)}, outcome, exactly=True)
    return outcome


def busy_readers(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """Readers that never pause: the committer gets in all the same, and no reader sees half a unit."""
    del rng
    outcome = Outcome()
    layout = new_archive(folder)
    pipes, processes = [], []
    for _ in range(4):
        mine, theirs = CONTEXT.Pipe(duplex=False)
        pipes.append(mine)
        processes.append(
            CONTEXT.Process(target=read_for_ever, args=(str(layout.database), theirs), daemon=True)
        )
    for process in processes:
        process.start()
    for pipe in pipes:
        pipe.recv()
    end = time.monotonic() + seconds
    n_reads = 0
    try:
        while time.monotonic() < end or outcome.rounds < 5:
            unit("r-1", range(outcome.rounds * 3, outcome.rounds * 3 + 3)).write(layout.inbox)
            commit_inbox(layout, patience=30)
            outcome.rounds += 1
            for pipe in pipes:
                while pipe.poll():
                    rows, points = pipe.recv()
                    n_reads += 1
                    whole = rows == points * ROWS and (points - len(BASE)) % 3 == 0
                    outcome.check(whole, f"a reader saw {rows} rows of {points} checkpoints")
    except ArchiveBusy as error:
        outcome.check(False, f"readers kept the committer out: {error}")
    finally:
        for process in processes:
            process.kill()
            process.join()
    outcome.notes.append(f"{n_reads} reads in between")
    check_values(layout, BASE | {("r-1", step) for step in range(outcome.rounds * 3)}, outcome, exactly=True)
    return outcome
