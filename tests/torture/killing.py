"""Processes killed: workers at random moments, the committer at every step of a commit."""

import contextlib
import random
import shutil
import time
from pathlib import Path

from archive.committer import commit_inbox, pending_shards
from archive.layout import Layout
from archive.store import Archive
from tests.torture.actors import (
    CONTEXT,
    commit_for_ever,
    unit,
    work,
)
from tests.torture.invariants import broken, contents
from tests.torture.tools import (
    BASE,
    Outcome,
    check_values,
    copy_archive,
    new_archive,
    run_commit,
)


def killed_workers(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """Workers and a committer, killed at random moments and started again; what a worker said is written must come in."""
    outcome = Outcome()
    layout = new_archive(folder)
    said: set[tuple[str, int]] = set()
    end = time.monotonic() + seconds
    serial = 0
    while time.monotonic() < end or outcome.rounds == 0:
        outcome.rounds += 1
        pipes, processes = [], []
        for _ in range(2):
            mine, theirs = CONTEXT.Pipe(duplex=False)
            pipes.append(mine)
            processes.append(
                CONTEXT.Process(target=work, args=(str(layout.inbox), f"r-{serial}", theirs), daemon=True)
            )
            serial += 1
        processes.append(CONTEXT.Process(target=commit_for_ever, args=(str(layout.database),), daemon=True))
        for process in processes:
            process.start()
        for pipe in pipes:  # every worker has written something; from here on it is chance
            said.add(pipe.recv())
        victims = rng.sample(processes, len(processes))
        for victim in victims:
            time.sleep(rng.uniform(0, 0.3))
            victim.kill()
        for victim in victims:
            victim.join()
        for pipe in pipes:
            with contextlib.suppress(EOFError):
                while pipe.poll():
                    said.add(pipe.recv())
        outcome.broken += broken(Archive(layout.database, patience=60))
    report = commit_inbox(layout)
    outcome.check(report.refused == [], f"refused: {report.refused[:2]}")
    outcome.check(pending_shards(layout) == [], "units stay in the inbox")
    check_values(layout, BASE | {(run, first + i) for run, first in said for i in range(3)}, outcome)
    outcome.notes.append(
        f"{len(said)} units said to be written, {len(contents(layout)['units'])} in the archive"
    )
    return outcome


def killed_committer(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """The committer killed at every step of a commit, one after the other, and run again.

    Without seconds of its own it is killed at one step of each kind while nothing is committed, and at each one after.
    """
    del rng  # there is nothing to choose: every step has its turn
    outcome = Outcome()
    layout = new_archive(folder)
    b = unit("r-9", range(30))  # the same results again, replacing: deletes and inserts
    b.replace = True
    b.write(layout.inbox)
    unit("r-9", range(20, 40)).write(layout.inbox)
    unit("r-3", range(10)).write(layout.inbox)
    damaged = unit("r-4", range(3)).write(layout.inbox)
    (damaged / "fact_head.parquet").write_bytes(b"not Parquet")
    before = contents(layout)
    prepared = folder / "prepared"
    copy_archive(layout, prepared)
    steps, ending = run_commit(layout)
    outcome.check(ending[0] == "done", f"the commit without a kill ended with {ending}")
    after = contents(layout)
    outcome.notes.append(f"{len(steps)} steps: {' '.join(dict.fromkeys(steps))}")
    last = {name: at for at, name in enumerate(steps)}
    few = {*last.values(), *range(last["after commit"], len(steps))}
    for at in range(len(steps)) if seconds else sorted(few):
        outcome.rounds += 1
        victim = copy_archive(Layout.of(prepared / "x.duckdb"), folder / f"kill{at}")
        seen, ending = run_commit(victim, kill_at=at)
        where = f"killed at step {at} ({steps[at]})"
        outcome.check(
            ending == ("killed",) and seen == steps[: at + 1],
            f"{where}: ended with {ending} after {seen[-1:]}",
        )
        left = contents(victim)
        committed = "after commit" in steps[: at + 1]
        outcome.check(
            left == (after if committed else before), f"{where}: the archive is neither old nor new"
        )
        outcome.broken += [f"{where}: {words}" for words in broken(Archive(victim.database))]
        commit_inbox(victim)
        outcome.check(contents(victim) == after, f"{where}: the next commit did not finish it")
        outcome.check(pending_shards(victim) == [], f"{where}: units stay in the inbox")
        names = {p.name for p in victim.failed.iterdir()}
        outcome.check(names == {damaged.name, f"{damaged.name}.reason.txt"}, f"{where}: failed/ has {names}")
        shutil.rmtree(victim.database.parent)
    return outcome
