"""Invented models whose neurons and heads have to do with one word, planted, for the Search page."""

from pathlib import Path

import numpy as np

from archive.committer import commit_inbox
from archive.records import Checkpoint, Family, Part, Run
from archive.shard import ShardBuilder
from tests.ui.archives import new_archive
from tests.ui.components.archive import Model, token_ids, write_models
from tests.ui.components.records import (
    BOOKS,
    CONTEXT,
    EFFECT,
    N_DOCUMENTS,
    PATTERN,
    TOKENS,
    TOP,
    VOCABULARY,
    K,
)

STEPS = (0, 64, 512, 4000)
N_LAYERS, N_UNITS, N_HEADS = 2, 12, 4
WORD = " the"
FIRES = (1, 3)  # layer and number of the neuron that fires on it from step 64 on
WRITES = (0, 5)  # of the neuron that raises its logit
LOOKS = (1, 2)  # of the head that looks at it from step 512 on
SHOWN = 20  # tokens of the items whose patterns are stored
ITEMS = 8


def places(seed: int, at: int) -> tuple[np.ndarray, np.ndarray]:
    """(documents, positions), each (neuron, k): random, but for the neuron that fires on the word."""
    rng = np.random.default_rng([seed, at])
    n = N_LAYERS * N_UNITS
    documents = np.stack([rng.permutation(N_DOCUMENTS)[:K] for _ in range(n)])
    positions = rng.integers(1, CONTEXT, (n, K))
    if at:
        ids = token_ids()
        holding = [d for d in range(N_DOCUMENTS) if (ids[d] == VOCABULARY.index(WORD)).any()][:K]
        neuron = FIRES[0] * N_UNITS + FIRES[1]
        for rank, document in enumerate(holding):
            documents[neuron, rank] = document
            positions[neuron, rank] = np.flatnonzero(ids[document] == VOCABULARY.index(WORD))[0]
        rest = [d for d in range(N_DOCUMENTS) if d not in holding][: K - len(holding)]
        documents[neuron, len(holding) :] = rest
    return documents, positions


def pattern(item: int, share: float) -> np.ndarray:
    """(query, key): evenly spread, with a share of it on the word once it is seen."""
    found = np.tril(np.ones((SHOWN, SHOWN))) / np.arange(1, SHOWN + 1)[:, None]
    hits = token_ids()[item, :SHOWN] == VOCABULARY.index(WORD)
    for query in range(SHOWN):
        seen = np.flatnonzero(hits[: query + 1])
        if len(seen):
            found[query] *= 1 - share
            found[query, seen] += share / len(seen)
    return np.asarray(found)


def _run(shard: ShardBuilder, seed: int) -> None:
    name = f"lm-seed{seed}"
    shard.run(
        Run(
            name=name,
            family="invented-lm",
            condition="14M",
            init_seed=seed,
            init_hash=f"init {seed}",
            n_layers=N_LAYERS,
            n_heads=N_HEADS,
            d_mlp=N_UNITS,
            final_step=STEPS[-1],
        )
    )
    top, effect, looks = (shard.quantity(q) for q in (TOP, EFFECT, PATTERN))
    layers, units = np.divmod(np.arange(N_LAYERS * N_UNITS), N_UNITS)
    for at, step in enumerate(STEPS):
        point = shard.checkpoint(Checkpoint(run=name, step=step))
        documents, positions = places(seed, at)
        shard.add(
            "fact_neuron_top",
            point,
            top,
            layer=layers,
            unit=units,
            sequences=documents,
            positions=positions,
            values=np.tile(np.linspace(2.0 + at, 1.0, K), (len(units), 1)),
        )
        shard.cell(point, top)
        ids = np.full((len(units), 2), [9 + 20, 9 + 21])  # other words
        ids[WRITES[0] * N_UNITS + WRITES[1], 1] = VOCABULARY.index(WORD)
        strengths = np.tile([0.9, 0.6], (len(units), 1))
        for part_name, vector in {
            "top_tokens": ids,
            "top_values": strengths,
            "bottom_tokens": ids + 5,
            "bottom_values": -strengths,
        }.items():
            part = shard.part(Part(kind="logit effect", name=part_name))
            shard.add(
                "fact_vector", point, effect, part=part, layer=layers, unit=units, values=vector.astype(float)
            )
        shard.cell(point, effect)
        for item in range(ITEMS):
            for layer, head in np.ndindex(N_LAYERS, N_HEADS):
                share = 0.8 if (layer, head) == LOOKS and at >= 2 else 0.0
                shard.add(
                    "fact_attention",
                    point,
                    looks,
                    item=item,
                    layer=layer,
                    head=head,
                    n_query=SHOWN,
                    n_key=SHOWN,
                    values=[pattern(item, share).reshape(-1)],
                )
        shard.cell(point, looks)


def search(path: Path) -> Path:
    """Two seeds; texts and losses come with a third run that nothing else was measured on."""
    write_models(path, [Model("lm-losses", 7, neurons=False, token_losses=True, steps=STEPS[:1])])
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    shard.family(Family(name="invented-lm", summary="an invented language model"))
    shard.tokenizer(TOKENS)
    shard.text_set(BOOKS)
    for seed in range(2):
        _run(shard, seed)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


SEARCH_ARCHIVES = {"search": search}
