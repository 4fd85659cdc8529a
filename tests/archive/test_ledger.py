"""What the planner and the importers ask: which cells and which files are there?"""

from archive.layout import Layout
from archive.ledger import KnownCell, known_cells
from archive.manifest import Owner
from archive.records import Checkpoint, Measure, Quantity
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive
from tests.archive.making import (
    HEAD,
    LOG,
    ROWS,
    commit,
    failed_shard,
    file_shard,
    head_shard,
    log_shard,
    run_record,
)


def pair_shard() -> ShardBuilder:
    b = ShardBuilder(kind="measure")
    b.run(run_record("r1"))
    b.run(run_record("r2"))
    owner = b.pair(Checkpoint(run="r1", step=0), Checkpoint(run="r2", step=5, snapshot="s"))
    q = b.quantity(PAIR)
    b.add("fact_pair", owner, q, layer_a=0, layer_b=0, unit_a=-1, unit_b=-1, value=0.5)
    b.cell(owner, q)
    return b


PAIR = Quantity(
    measure=Measure(name="cka", scope="layer", table="fact_pair", unit="1", summary="Similarity.")
)


def test_cells_by_natural_key(layout: Layout, archive: Archive) -> None:
    assert known_cells(archive) == {}
    commit(layout, head_shard([0, 7]), failed_shard(9), log_shard(-1, 4, final=True), pair_shard())
    done = KnownCell(CellState.DONE, 1, ROWS)
    assert known_cells(archive) == {
        (Owner("checkpoint", ("r1", 0, "")), HEAD.hash): done,
        (Owner("checkpoint", ("r1", 7, "")), HEAD.hash): done,
        (Owner("checkpoint", ("r1", 9, "")), HEAD.hash): KnownCell(CellState.FAILED_TRANSIENT, 1, 0),
        (Owner("run", ("r1",)), LOG.hash): KnownCell(CellState.DONE, 1, 5),
        (Owner("pair", ("r1", 0, "", "r2", 5, "s")), PAIR.hash): KnownCell(CellState.DONE, 1, 1),
    }


def test_cells_of_some_runs(layout: Layout, archive: Archive) -> None:
    commit(layout, head_shard([0], run="r1"), head_shard([0], run="r2"))
    assert [owner.key[0] for owner, _ in known_cells(archive, ["r2", "nobody"])] == ["r2"]
    assert known_cells(archive, []) == {}


def test_keys_are_those_a_builder_uses(layout: Layout, archive: Archive) -> None:
    """A planner subtracts these from what it wants; any difference in spelling would measure everything again."""
    b = head_shard([3])
    commit(layout, b)
    wanted = {(owner, HEAD.hash) for owner in b._owners if owner.kind == "checkpoint"}
    assert set(known_cells(archive)) == wanted


def test_a_finished_cell_is_settled_and_a_transient_failure_is_not() -> None:
    assert [state.settled for state in CellState] == [True, False, True, True, True, True]


def test_files_by_path(layout: Layout, archive: Archive) -> None:
    commit(layout, file_shard("a.csv", "1111", [0], value=0.1), file_shard("b/ü.csv", "2222", [1], value=0.1))
    assert archive.rows("SELECT source, path, sha256 FROM v_source_file ORDER BY path") == [
        {"source": "published", "path": "a.csv", "sha256": "1111"},
        {"source": "published", "path": "b/ü.csv", "sha256": "2222"},
    ]
