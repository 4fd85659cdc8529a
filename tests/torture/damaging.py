"""Full disks and damaged files."""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from archive.committer import commit_inbox, pending_shards
from archive.layout import Layout
from tests.torture.actors import (
    unit,
)
from tests.torture.tools import (
    BASE,
    Outcome,
    ask,
    check_values,
    copy_archive,
    damage_file,
    empty,
    fill,
    new_archive,
    run_commit,
)


def full_disk(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """A disk that fills up at any point of a commit, with the check for space left out; then room is made."""
    del rng
    outcome = Outcome()
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        outcome.notes.append(f"not run: no small disk can be mounted here ({mounted.stderr.strip()})")
        return outcome
    try:
        layout = new_archive(disk)
        for run in ("r-1", "r-2"):
            unit(run, range(400), noise=200_000).write(layout.inbox)
        prepared = copy_archive(layout, folder / "prepared")
        end = time.monotonic() + seconds
        endings: dict[str, int] = {}
        for room in spaces():  # 4 KB pages left on the disk
            if outcome.rounds >= 3 and time.monotonic() > end:
                break
            outcome.rounds += 1
            empty(disk)
            copy_archive(prepared, disk)
            ballast = fill(disk, leaving=room * 4096)
            _, ending = run_commit(layout, check_space=False)
            endings[str(ending[1] if ending[0] == "error" else ending[0])] = (
                endings.get(str(ending[1] if ending[0] == "error" else ending[0]), 0) + 1
            )
            where = f"{room * 4} KB left"
            if ending[0] == "error":
                outcome.check(ending[1] == "NoSpace", f"{where}: {ending[1]}: {ending[2]}")
                outcome.check(
                    str(layout.database) in str(ending[2]), f"{where}: the message names no file: {ending[2]}"
                )
            else:
                outcome.check(ending[0] == "done", f"{where}: ended with {ending}")
            ballast.unlink()
            check_values(layout, BASE, outcome)
            commit_inbox(layout)
            expected = BASE | {(run, step) for run in ("r-1", "r-2") for step in range(400)}
            check_values(layout, expected, outcome, exactly=True)
            outcome.check(pending_shards(layout) == [], f"{where}: units stay in the inbox")
        outcome.notes.append(f"endings {endings}")
        empty(disk)
        copy_archive(prepared, disk)
        ballast = fill(disk, leaving=4 * 2**20)
        _, ending = run_commit(layout)
        outcome.check(
            ending[:2] == ("error", "NoSpace")
            and "4 MB free" in str(ending[2])
            and "pathscope commit" in str(ending[2]),
            f"with the check for space the commit ended with {ending}",
        )
        check_values(layout, BASE, outcome, exactly=True)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return outcome


def spaces() -> Iterator[int]:
    """4 KB pages to leave free, up to what the commit needs: coarse first, then between."""
    seen = set()
    for stride in (640, 256, 64, 16):
        for room in range(0, 2560, stride):
            if room not in seen:
                seen.add(room)
                yield room


def damaged_units(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """Units with a bit flipped, a file cut short or a file gone: each is refused by name, the others go in."""
    outcome = Outcome()
    layout = new_archive(folder)
    good: set[tuple[str, int]] = set()
    end = time.monotonic() + seconds
    while time.monotonic() < end or outcome.rounds < 12:
        outcome.rounds += 1
        first = outcome.rounds * 10
        bad = unit("r-1", range(first, first + 3), log=False).write(layout.inbox)
        unit("r-2", range(first, first + 3), log=False).write(layout.inbox)
        good |= {("r-2", first + i) for i in range(3)}
        file = rng.choice(sorted(bad.iterdir()))
        damage = damage_file(file, rng)
        report = commit_inbox(layout)
        outcome.check(
            [name for name, _ in report.refused] == [bad.name],
            f"{damage} of {file.name}: refused {report.refused}",
        )
        for _, reason in report.refused:
            outcome.check(
                file.stem in reason and str(layout.failed) in reason,
                f"{damage} of {file.name}: said {reason}",
            )
    check_values(layout, BASE | good, outcome, exactly=True)
    return outcome


def damaged_copies(folder: Path, rng: random.Random, seconds: float) -> Outcome:
    """Database files with a bit flipped or cut short: named as damaged, or giving the same answers as before."""
    outcome = Outcome()
    layout = new_archive(folder)
    unit("r-1", range(300)).write(layout.inbox)
    commit_inbox(layout)
    truth = ask(layout.database)
    content = layout.database.read_bytes()
    noticed = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or outcome.rounds < 6:
        outcome.rounds += 1
        copy = Layout.of(folder / "copy.duckdb")
        copy.database.write_bytes(content)
        damage = damage_file(copy.database, rng)
        found = ask(copy.database)
        outcome.check(found in (truth, ("damaged",)), f"{damage}: the answers became {str(found)[:500]}")
        noticed += found == ("damaged",)
        shutil.rmtree(copy.folder, ignore_errors=True)
        copy.make_folders()
        waiting = unit("r-5", range(3)).write(copy.inbox)
        _, ending = run_commit(copy)
        if ending[0] == "error":
            outcome.check(ending[1] == "ArchiveDamaged", f"{damage}: the commit ended with {ending}")
            outcome.check(waiting.is_dir(), f"{damage}: a unit is gone though its commit failed")
        else:
            outcome.check(ending[0] == "done", f"{damage}: the commit ended with {ending}")
        copy.database.with_suffix(".duckdb.wal").unlink(missing_ok=True)
    outcome.notes.append(
        f"{noticed} of {outcome.rounds} noticed by the questions; `verify` reads the other blocks"
    )
    return outcome
