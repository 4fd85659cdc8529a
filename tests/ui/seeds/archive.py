"""Archives for the Seeds page: three inits crossed with two orders of the data, whose agreement is planted."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.committer import commit_inbox
from archive.records import WHOLE, Checkpoint, Family, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from tests.ui.archives import HOSTILE, new_archive
from tests.ui.components.archive import token_ids
from tests.ui.components.records import BOOKS, CONTEXT, N_DOCUMENTS, TEXT, TOKEN_LOSS, TOKENS, VOCABULARY

Floats = NDArray[np.float64]

STEPS = (0, 10, 100, 1000)
COMPARED = (0, 1000)  # where all outputs were compared
INITS, ORDERS = (0, 1, 2), (0, 1)
# the token on which runs disagree most, and by how much from one run to the next
PLACE, GAP = (7, 11), 0.5
SPLIT = (5, 20)  # where every run thinks another token most likely
CONDITION = "layers=2 width=64 #11111111"
LOSS = Quantity(
    measure=Measure(name="loss", scope="run", table="fact_scalar", unit="nats", summary="Mean loss.")
)
TOP = Quantity(
    measure=Measure(
        name="token_top", scope="token", table="fact_token_top", unit="nats", summary="Likely tokens."
    ),
    encoding=TEXT,
    params={"k": 2},
)


def _pair(name: str, unit: str) -> Quantity:
    return Quantity(
        measure=Measure(name=name, scope="pair", table="fact_pair", unit=unit, summary="Two models."),
        encoding=TEXT,
    )


JS, SAME_TOP = _pair("output_divergence", "nats"), _pair("top1_agreement", "share")


@dataclass(frozen=True)
class Seeded:
    """One invented run. number: its place among the repeats, by which planted losses differ."""

    name: str
    init: int
    order: int
    number: int
    condition: str = CONDITION
    gaps: bool = False
    suspect: bool = False


def losses(run: Seeded, step: int) -> Floats:
    """(document, position): falling with training; runs differ by 0.02 everywhere and by `GAP` at `PLACE`."""
    ids = token_ids()
    shared = np.random.default_rng(3).random(ids.shape)
    own = np.random.default_rng([4, run.number, step]).normal(size=ids.shape)
    found = 4.0 - 0.5 * np.log10(1 + step) + shared + 0.02 * own
    found[PLACE] = 2.0 + GAP * run.number
    found[:, -1] = np.nan  # nothing comes after it
    if run.gaps:
        found[1] = np.nan
    return np.asarray(found)


def mean_loss(run: Seeded) -> float:
    """What the shares of variance are of: the data order's alone."""
    return 2.0 + 0.3 * run.order + 0.001 * run.init


def divergence(a: Seeded, b: Seeded, step: int) -> float:
    """Runs begin far apart; at the end those of one data order are nearer one another."""
    if step == 0:
        return 0.4
    return 0.05 if a.order == b.order else 0.2


def crossed() -> list[Seeded]:
    """Every init with every order."""
    return [Seeded(f"crossed/init{i}-data{j}", i, j, len(ORDERS) * i + j) for i in INITS for j in ORDERS]


def _content(shard: ShardBuilder) -> None:
    words = shard.tokenizer(TOKENS)
    ids = np.arange(len(VOCABULARY))
    shard.add("content_vocab", words, token_id=ids, text=list(VOCABULARY), special=(ids == 0).tolist())
    names = [f"book {k}" for k in range(N_DOCUMENTS)]
    shard.add(
        "content_document",
        shard.text_set(BOOKS),
        document=np.arange(N_DOCUMENTS),
        name=names,
        sha256="-",
    )
    shard.add(
        "content_sequence",
        shard.encoding(TEXT),
        sequence=np.arange(N_DOCUMENTS),
        document=np.arange(N_DOCUMENTS),
        start=0,
        token_ids=token_ids().astype(np.int32),
    )


def _tops(shard: ShardBuilder, point: int, run: Seeded) -> None:
    """The token after each place is the most likely one, but at `SPLIT`."""
    quantity = shard.quantity(TOP)
    ids = token_ids()
    following = np.roll(ids, -1, axis=1)[:, :-1].copy()
    following[SPLIT] = 10 + run.number
    flat = following.reshape(-1, 1)
    shard.add(
        "fact_token_top",
        point,
        quantity,
        sequence=np.repeat(np.arange(N_DOCUMENTS), CONTEXT - 1),
        position=np.tile(np.arange(CONTEXT - 1), N_DOCUMENTS),
        token_ids=np.concatenate([flat, (flat + 1) % len(VOCABULARY), np.full_like(flat, -1)], 1),
        log_probs=np.tile(np.log([0.9, 0.09, 0.01]), (len(flat), 1)),
    )
    shard.cell(point, quantity)


def _point(run: Seeded, step: int) -> Checkpoint:
    if run.suspect and step == STEPS[-1]:
        return Checkpoint(run=run.name, step=step, integrity="defect", integrity_note="weights of another")
    return Checkpoint(run=run.name, step=step)


def write(path: Path, runs: list[Seeded], *, texts: bool = True, compared: bool = True) -> Path:
    """Commit the invented runs into the archive at `path` (made if missing)."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    shard.family(Family(name="seeded", summary="an invented language model"))
    if texts:
        _content(shard)
    else:
        shard.tokenizer(TOKENS)
        shard.text_set(BOOKS)
    for run in runs:
        shard.run(
            Run(
                name=run.name,
                family="seeded",
                condition=run.condition,
                init_seed=run.init,
                data_order_seed=run.order,
                final_step=STEPS[-1],
            )
        )
        for step in STEPS:
            if run.gaps and step == STEPS[1]:
                continue
            point = shard.checkpoint(_point(run, step))
            quantity = shard.quantity(TOKEN_LOSS)
            shard.add(
                "fact_token", point, quantity, sequence=np.arange(N_DOCUMENTS), values=losses(run, step)
            )
            shard.cell(point, quantity)
            loss = shard.quantity(LOSS)
            shard.add("fact_scalar", point, loss, part=shard.part(WHOLE), value=mean_loss(run))
            shard.cell(point, loss)
            if texts and step == STEPS[-1]:
                _tops(shard, point, run)
    if compared:
        for a, b in combinations(runs, 2):
            for step in COMPARED:
                _compared(shard, a, b, step)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def _compared(shard: ShardBuilder, a: Seeded, b: Seeded, step: int) -> None:
    owner = shard.pair(_point(a, step), _point(b, step))
    js = divergence(a, b, step)
    beside: dict[str, Any] = {
        **dict.fromkeys(("layer_a", "layer_b", "unit_a", "unit_b"), -1),
        "n_items": 936,
        "n_clusters": N_DOCUMENTS,
    }
    quantity = shard.quantity(JS)
    parts = {"js": js, "kl_ab": 2 * js, "kl_ba": 3 * js, "kl_ab_trimmed": js, "kl_ba_trimmed": js}
    for name, value in parts.items():
        part = shard.part(Part(kind="divergence", name=name))
        shard.add("fact_pair", owner, quantity, part=part, value=value, se=0.004, **beside)
    shard.cell(owner, quantity)
    same = shard.quantity(SAME_TOP)
    shard.add("fact_pair", owner, same, part=shard.part(WHOLE), value=1 - js, se=0.01, **beside)
    shard.cell(owner, same)


def seeds(path: Path) -> Path:
    """Six runs with everything the page reads."""
    return write(path, crossed())


def seeds_odd(path: Path) -> Path:
    """Gaps and NaN, a suspect last checkpoint, a run that repeats no other, no texts and no comparisons."""
    a, b, c, d, *_ = crossed()
    odd = [
        a,
        Seeded(b.name, b.init, b.order, b.number, gaps=True),
        Seeded(c.name, c.init, c.order, c.number, suspect=True),
        d,
        Seeded("crossed/alone", 0, 0, 9, condition="layers=4 width=64 #22222222"),
    ]
    return write(path, odd, texts=False, compared=False)


def seeds_one(path: Path) -> Path:
    """A single run: nothing to agree with."""
    return write(path, crossed()[:1], compared=False)


def seeds_hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    condition = f"condition {HOSTILE}"[:310]
    return write(path, [Seeded(f"{k} {HOSTILE}"[:320], k, k, k, condition=condition) for k in range(3)])


SEEDS_ARCHIVES = {
    "seeds": seeds,
    "seeds odd": seeds_odd,
    "seeds one": seeds_one,
    "seeds hostile": seeds_hostile,
}
