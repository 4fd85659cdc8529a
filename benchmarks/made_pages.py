"""An archive of 50 million facts for the explorer: what the pages look at, among many times as much."""

import shutil
from pathlib import Path

import numpy as np

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.store import connect, driver
from benchmarks.made import head_unit
from benchmarks.made_questions import archive_of_questions

N_OTHERS, N_CHECKPOINTS = 90, 140

_N_TOKENS_SQL = """\
UPDATE encoding SET n_tokens = there.n
FROM (SELECT encoding_id, sum(len(token_ids)) AS n FROM content_sequence GROUP BY encoding_id) there
WHERE there.encoding_id = encoding.id"""


def archive_of_pages(path: Path) -> Layout:
    """The archive that has an answer to every question, and 45.4 million head scores of ninety other runs; kept."""
    layout = Layout.of(path)
    if layout.database.exists():
        return layout
    making = archive_of_questions(path.with_name(f"making-{path.name}"))
    rng = np.random.default_rng(0)
    for k in range(N_OTHERS):
        head_unit(f"other-{k:02d}", range(N_CHECKPOINTS), rng).write(making.inbox)
        if k % 10 == 9:
            report = commit_inbox(making)
            assert not report.refused, report.refused
    # pages say by it how long they take, and what takes long waits for a click
    with connect(making.database, read_only=False, patience=1) as connection:
        driver(connection).execute(_N_TOKENS_SQL)
    shutil.rmtree(making.committed)  # as large again, and of no use here
    making.folder.rename(layout.folder)
    making.database.rename(path)
    return layout
