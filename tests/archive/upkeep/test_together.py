"""Upkeep beside a busy committer: nothing is lost, doubled or found broken, whatever comes in between."""

import multiprocessing
from pathlib import Path

import pytest

from archive.store import Archive
from archive.upkeep.marks import tag
from archive.upkeep.optimize import optimize
from archive.upkeep.publish import publish
from archive.upkeep.status import read_status
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make

N_UNITS = 6


def commit_units(path: str) -> None:
    from archive.committer import commit_inbox
    from archive.layout import Layout

    layout = Layout.of(Path(path))
    for number in range(N_UNITS):
        sample.little(f"toy/{number}", value=float(number)).write(layout.inbox)
        assert commit_inbox(layout, patience=300).refused == []


@pytest.mark.slow
def test_verify_publish_optimize_and_tags_while_units_come_in(make: Make) -> None:
    layout = make("x", sample.little("toy/first"))
    process = multiprocessing.get_context("spawn").Process(target=commit_units, args=(str(layout.database),))
    process.start()
    rounds = 0
    while process.is_alive() or rounds < 3:
        rounds += 1
        assert verify(layout, patience=300).findings == []
        publish(layout, patience=300)
        optimize(layout, patience=300)
        tag(layout, "toy/first", f"round {rounds}", patience=300)
        assert read_status(layout, patience=300).contents is not None
    process.join()

    assert process.exitcode == 0
    archive = Archive(layout.database)
    assert archive.value("SELECT count(*) FROM v_run") == N_UNITS + 1
    assert archive.value("SELECT len(tags) FROM v_run WHERE run = 'toy/first'") == rounds + 1
    assert archive.value("SELECT count(*) FROM shard") == N_UNITS + 1
    assert verify(layout).ok
