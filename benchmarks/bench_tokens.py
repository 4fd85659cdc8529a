"""Comparing ten runs on a million tokens: `path_dependence` and `smaller_beats_larger` against reading their losses."""

from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np

from archive.store import Archive
from benchmarks.made import archive_of_losses
from benchmarks.measured import Measured, compare, seconds
from queries.path_dependence import path_dependence
from queries.smaller_beats_larger import smaller_beats_larger

N_RUNS, N_SEQUENCES, LENGTH = 10, 1000, 1000

ROWS = """
SELECT r.name, f.sequence, f."values"::DOUBLE[] AS losses FROM fact_token f JOIN run r ON r.id = f.run_id
ORDER BY f.run_id, f.sequence"""


def measure(folder: Path) -> Iterable[Measured]:
    """One group of runs, tokens in a hundred classes of difficulty; then two sizes, categories, kinds of token, runs left out."""
    layout = archive_of_losses(
        folder / "losses-10m.duckdb", runs=N_RUNS, sequences=N_SEQUENCES, length=LENGTH
    )
    archive = Archive(layout.database)

    def by_hand() -> int:
        with duckdb.connect(layout.database, read_only=True) as connection:
            losses = connection.execute(ROWS).to_arrow_table()["losses"].combine_chunks()
        return int(np.isfinite(losses.flatten().to_numpy(zero_copy_only=False)).sum())

    def ours() -> int:
        return int(path_dependence(archive).table["n_tokens"][0].as_py())

    assert ours() * N_RUNS == by_hand() == N_RUNS * N_SEQUENCES * LENGTH
    yield compare(
        f"path_dependence of {N_RUNS} runs on {N_SEQUENCES * LENGTH:,} tokens; reading their losses into one array",
        lambda: seconds(ours),
        lambda: seconds(by_hand),
        times=5,
        promised=3.0,
    )

    def sizes() -> int:
        answer = smaller_beats_larger(archive, small=("run-[0-4]",), large=("run-[5-9]",))
        return int(answer.n_items or 0)

    assert sizes() * N_RUNS == by_hand()
    yield compare(
        f"smaller_beats_larger of 5 against 5 runs on {N_SEQUENCES * LENGTH:,} tokens; the same reading",
        lambda: seconds(sizes),
        lambda: seconds(by_hand),
        times=5,
        promised=3.0,
    )
