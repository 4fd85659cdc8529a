"""Runs with sketches and hashes, some of which are exchanged, doubled, absent or accepted: what a page must say is known."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.records import Checkpoint, Family, Integrity, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.acceptance import accept
from archive.upkeep.integrity import find_runs, read_ledger, record
from tests.ui.archives import HOSTILE, exclude, new_archive

N = 24
WIDTH = 200
SKETCH = Part(kind="gram", name="sketch")
PRODUCTS = Quantity(
    measure=Measure(
        name="weight_products", scope="vector", table="fact_vector", unit="1", summary="Products."
    ),
    params={"projection": "count sketch"},
)
STEPS = tuple(10 * k for k in range(N))
# places in the run "swapped" that were exchanged, and recorded so by `verify --checkpoints`
SWAPPED = (5, 16)
DOUBLED = 9  # the run "doubled" has here what it has one place earlier; found, and recorded nowhere
ABSENT, DEFECT = 7, 12  # of the run "declared": said beforehand, with a link
LINK = "https://example.org/issues/1"


def weights(seed: int) -> np.ndarray:
    """(checkpoint, number): a random walk, so that the order shows."""
    return 5 + np.cumsum(np.random.default_rng(seed).normal(size=(N, WIDTH)), 0)


def add_run(
    shard: ShardBuilder,
    name: str,
    vectors: np.ndarray,
    *,
    init: str = "",
    condition: str = "width 64",
    sketched: bool = True,
    said: dict[int, tuple[Integrity, str]] | None = None,
) -> None:
    """One run; said: place -> what is known against a checkpoint beforehand."""
    shard.run(Run(name=name, family="walks", condition=condition, init_hash=init, final_step=STEPS[-1]))
    products = shard.quantity(PRODUCTS)
    for k, vector in enumerate(vectors):
        integrity, note = (said or {}).get(k, ("ok", ""))
        there = integrity != "absent"
        point = shard.checkpoint(
            Checkpoint(
                run=name,
                step=STEPS[k],
                weights_hash=sha256(vector.tobytes()).hexdigest() if there else "",
                integrity=integrity,
                integrity_note=note,
                integrity_link=LINK if note else "",
            )
        )
        if sketched and there:
            part = np.array([shard.part(SKETCH)], dtype=np.int32)
            shard.add("fact_vector", point, products, layer=-1, unit=-1, part=part, values=vector[None])
            shard.cell(point, products)


def integrity(path: Path) -> Path:
    """Five runs: clean, swapped (recorded), doubled (not recorded), declared (by a catalogue), bare (no sketches)."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    shard.family(Family(name="walks", summary="random walks"))
    clean, swapped, doubled, declared = (weights(seed) for seed in range(4))
    swapped[0] = clean[0]  # one init: equal weights at step 0 are as they should be
    swapped[list(SWAPPED)] = swapped[list(SWAPPED)[::-1]]
    doubled[DOUBLED] = doubled[DOUBLED - 1]
    declared[20] = clean[20]  # weights of another run, which nothing explains
    add_run(shard, "clean", clean, init="a")
    add_run(shard, "swapped", swapped, init="a")
    add_run(shard, "doubled", doubled, init="c")
    known: dict[int, tuple[Integrity, str]] = {
        ABSENT: ("absent", "the publisher has no such revision"),
        DEFECT: ("defect", "half of the tensors are zero"),
    }
    add_run(shard, "declared", declared, init="d", said=known)
    add_run(shard, "bare", weights(9), init="e", condition="width 32", sketched=False)
    shard.write(layout.inbox)
    assert not commit_inbox(layout).refused
    _record(layout, "swapped")
    accept(layout, "swapped", STEPS[SWAPPED[1]], "looked at it: a <b>spike</b>")
    exclude(path, "bare", "no weights were kept")
    return path


def hostile_integrity(path: Path) -> Path:
    """A run and notes that try to be markup."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    vectors = weights(1)
    said: dict[int, tuple[Integrity, str]] = {4: ("defect", HOSTILE)}
    add_run(shard, HOSTILE[:300], vectors, init="<i>", condition=HOSTILE[:300], said=said)
    shard.write(layout.inbox)
    assert not commit_inbox(layout).refused
    return path


def _record(layout: Layout, run: str) -> None:
    archive = Archive(layout.database)
    [(run_id, name)] = find_runs(archive, run)
    assert record(layout, [read_ledger(archive, run_id, name)]) == len(SWAPPED)


INTEGRITY_ARCHIVES = {"integrity": integrity, "integrity hostile": hostile_integrity}
