import os
import time
from datetime import UTC, datetime, timedelta

import duckdb

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.upkeep.optimize import optimize
from archive.upkeep.prune import prune
from archive.upkeep.publish import publish
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make


def in_days(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def units(layout: Layout) -> int:
    return len(list(layout.committed.iterdir()))


def test_old_units_that_are_verified_and_published_go(safe: Layout) -> None:
    n, size = units(safe), sum(p.stat().st_size for p in safe.committed.rglob("*") if p.is_file())
    pruned = prune(safe, now=in_days(15))

    assert (pruned.n_units, pruned.n_bytes, pruned.kept_because, units(safe)) == (n, size, "", 0)
    assert verify(safe).ok


def test_young_units_stay(safe: Layout) -> None:
    n = units(safe)
    pruned = prune(safe, now=in_days(13.9))

    assert (pruned.n_units, pruned.kept_because, units(safe)) == (0, "", n)


def test_without_a_verify_that_passed_nothing_goes(full: Layout) -> None:
    publish(full)
    n = units(full)
    pruned = prune(full, now=in_days(15))

    assert (pruned.n_units, units(full)) == (0, n)
    assert "pathscope verify" in pruned.kept_because


def test_without_a_published_copy_nothing_goes(full: Layout) -> None:
    verify(full)
    pruned = prune(full, now=in_days(15))

    assert pruned.n_units == 0
    assert "pathscope publish" in pruned.kept_because


def test_units_committed_after_the_verify_stay(safe: Layout, make: Make) -> None:
    n = units(safe)
    make("x", sample.little("toy/late"))
    publish(safe)
    pruned = prune(safe, now=in_days(15))

    assert (pruned.n_units, units(safe)) == (n, 1)
    assert "after the last `pathscope verify`" in pruned.kept_because


def test_units_that_the_published_copy_lacks_stay(safe: Layout, make: Make) -> None:
    n = units(safe)
    make("x", sample.little("toy/late"))
    assert verify(safe).ok
    pruned = prune(safe, now=in_days(15))

    assert (pruned.n_units, units(safe)) == (n, 1)
    assert "published copy is older" in pruned.kept_because


def test_units_that_the_archive_does_not_know_stay(safe: Layout) -> None:
    path = sample.everything("toy/late").write(safe.inbox)
    path.rename(safe.committed / path.name)
    prune(safe, now=in_days(400))

    assert [p.name for p in safe.committed.iterdir()] == [path.name]


def test_a_removal_that_was_killed_is_finished(safe: Layout) -> None:
    unit = min(safe.committed.iterdir())
    unit.rename(unit.with_name(f".{unit.name}.gone"))
    (safe.committed / f".{unit.name}.gone" / "manifest.json").unlink()
    prune(safe)

    assert not any(p.name.startswith(".") for p in safe.committed.iterdir())


def test_old_logs_go_and_young_ones_stay(full: Layout) -> None:
    for name, age in (("old.log", 91), ("young.log", 89)):
        (full.logs / name).write_text("x")
        then = time.time() - age * 86400
        os.utime(full.logs / name, (then, then))
    pruned = prune(full)

    assert (pruned.n_logs, pruned.n_bytes) == (1, 1)
    assert [p.name for p in full.logs.iterdir()] == ["young.log"]


def test_weights_refusals_and_the_inbox_are_never_touched(safe: Layout) -> None:
    for folder in (safe.checkpoints, safe.failed, safe.inbox):
        (folder / "a").mkdir()
        (folder / "a" / "b").write_text("x")
    prune(safe, now=in_days(4000))

    assert all((folder / "a" / "b").exists() for folder in (safe.checkpoints, safe.failed, safe.inbox))


def test_what_is_left_makes_the_archive_again(safe: Layout, make: Make) -> None:
    """Copy and kept units together: the promise that retention must not break."""
    make("x", sample.little("toy/late"))
    verify(safe)
    prune(safe, now=in_days(15))
    before = sample.shown(safe)
    safe.database.unlink()
    safe.current_snapshot.rename(safe.database)
    assert commit_inbox(safe, replay=True).refused == []
    assert sample.shown(safe) == before
    assert verify(safe).ok


def test_optimize_prunes(safe: Layout) -> None:
    with duckdb.connect(str(safe.database)) as c:
        c.execute("UPDATE shard SET committed_at = committed_at - INTERVAL 15 DAY")
    done = optimize(safe)

    assert done.pruned.n_units > 0
    assert units(safe) == 0
