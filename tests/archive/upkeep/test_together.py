"""Upkeep beside a busy committer: nothing is lost, doubled or found broken, whatever comes in between."""

import pytest

from archive.store import Archive
from archive.upkeep.marks import tag
from archive.upkeep.optimize import optimize
from archive.upkeep.publish import publish
from archive.upkeep.status import read_status
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make
from tests.archive.upkeep.crash import forks

N_UNITS = 6
COMMIT_UNITS = """
from pathlib import Path
from archive.committer import commit_inbox
from archive.layout import Layout
from tests.archive.upkeep import sample

layout = Layout.of(Path({path!r}))
for number in range({n_units}):
    sample.little(f"toy/{{number}}", value=float(number)).write(layout.inbox)
    assert commit_inbox(layout, patience=300).refused == []
"""


@pytest.mark.slow
def test_verify_publish_optimize_and_tags_while_units_come_in(make: Make) -> None:
    layout = make("x", sample.little("toy/first"))
    process = forks().start(COMMIT_UNITS.format(path=str(layout.database), n_units=N_UNITS))
    rounds = 0
    while process.runs or rounds < 3:
        rounds += 1
        assert verify(layout, patience=300).findings == []
        publish(layout, patience=300)
        optimize(layout, patience=300)
        tag(layout, "toy/first", f"round {rounds}", patience=300)
        assert read_status(layout, patience=300).contents is not None

    assert process.end() == (0, b"", b"")
    archive = Archive(layout.database)
    assert archive.value("SELECT count(*) FROM v_run") == N_UNITS + 1
    assert archive.value("SELECT len(tags) FROM v_run WHERE run = 'toy/first'") == rounds + 1
    assert archive.value("SELECT count(*) FROM shard") == N_UNITS + 1
    assert verify(layout).ok
