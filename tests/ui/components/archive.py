"""Archives of invented language models: scores of heads, pairs of heads, and neurons with their examples, all planted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.committer import commit_inbox
from archive.records import WHOLE, Checkpoint, Family, Part, Run
from archive.shard import ShardBuilder
from tests.ui.archives import HOSTILE, exclude, new_archive
from tests.ui.components.matches import add_comparisons, add_heads
from tests.ui.components.records import (
    BOOKS,
    CHANCE,
    CONTEXT,
    DISTANCE,
    EFFECT,
    HISTOGRAM,
    HTML_WORD,
    K_COMPOSITION,
    LAST_TARGET,
    N_DOCUMENTS,
    N_HEADS,
    N_LAYERS,
    N_UNITS,
    PREFIX,
    PREFIX_TEXT,
    PREVIOUS,
    PROFILE,
    STATISTICS,
    TEXT,
    TOKEN_LOSS,
    TOKENS,
    TOP,
    VOCABULARY,
    WORD_CLASSES,
    K,
)

Floats = NDArray[np.float64]

STEPS = (0, 1, 8, 64, 256, 512, 1000, 2000, 4000)
SPARSE = STEPS[::2]  # what is dear to measure: pairs of heads, histograms, logit effects
COMPARED = (STEPS[0], STEPS[4], STEPS[-1])  # where neurons are compared between runs
LATE = 5  # from this checkpoint on a neuron's examples stay, but for its last one


@dataclass(frozen=True)
class Model:
    """One invented run. induction: the head of layer 1 that learns to match prefixes, at about step `learns_at`."""

    name: str
    seed: int
    learns_at: float = 600.0
    condition: str = "14M"
    family: str = "invented-lm"
    gaps: bool = False
    suspect_steps: tuple[int, ...] = ()
    neurons: bool = True
    second_eval_set: bool = False
    steps: tuple[int, ...] = STEPS
    token_losses: bool = False
    parent: str = ""
    matches: bool = False

    @property
    def induction(self) -> int:
        """Which head of layer 1 it is: another one in every seed."""
        return (2 + self.seed) % N_HEADS


def token_ids(seed: int = 5) -> NDArray[np.int64]:
    """(document, position): invented text, the start token first, hostile words here and there."""
    found = np.random.default_rng(seed).integers(1, len(VOCABULARY), (N_DOCUMENTS, CONTEXT))
    # every sixth document has the word with markup in it
    found[(found == VOCABULARY.index(HTML_WORD)) & (np.arange(N_DOCUMENTS) % 6 > 0)[:, None]] = 20
    found[:, 0] = 0
    return found


def prefix_scores(model: Model, step: int) -> Floats:
    """(layer, head): near chance but for the induction head, which rises around its step."""
    rng = np.random.default_rng(100 * model.seed + step)
    found = CHANCE + 0.02 * rng.random((N_LAYERS, N_HEADS))
    found[1, model.induction] += 0.85 / (1 + np.exp(-np.log((step + 1e-9) / model.learns_at) * 4))
    if model.gaps and step == STEPS[4]:
        found[0, 1] = np.nan
    return np.asarray(found)


def top_examples(
    model: Model, layer: int, unit: int, at: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """(documents, positions, values), best first: chosen at random before `LATE`, settled from there but for the last."""
    when = min(at, LATE)
    rng = np.random.default_rng([model.seed, layer, unit, when])
    documents = rng.permutation(N_DOCUMENTS)[:K]
    if at > LATE:
        # one example comes and goes; the others stay
        spare = np.random.default_rng([model.seed, layer, unit, at]).permutation(
            np.setdiff1d(np.arange(N_DOCUMENTS), documents)
        )
        documents = np.append(documents[:-1], spare[0])
    positions = (7 * documents + unit) % (CONTEXT - 1) + 1
    values = (0.4 + 0.6 * at) * np.linspace(1.0, 0.5, K) * (1 + 0.05 * unit)
    return documents, positions, values


def _content(shard: ShardBuilder) -> None:
    words = shard.tokenizer(TOKENS)
    ids = np.arange(len(VOCABULARY))
    shard.add("content_vocab", words, token_id=ids, text=list(VOCABULARY), special=(ids == 0).tolist())
    texts = shard.text_set(BOOKS)
    names = [f"book {k}" for k in range(N_DOCUMENTS)]
    names[3] = f"book <b>3</b> {HOSTILE}"[:200]
    shard.add("content_document", texts, document=np.arange(N_DOCUMENTS), name=names, sha256="-")
    shard.add(
        "content_sequence",
        shard.encoding(TEXT),
        sequence=np.arange(N_DOCUMENTS),
        document=np.arange(N_DOCUMENTS),
        start=0,
        token_ids=token_ids().astype(np.int32),
        token_classes=np.array(WORD_CLASSES, np.int16)[token_ids()],
        unigram_surprisal=np.linspace(2.0, 9.0, len(VOCABULARY))[token_ids()],
    )


def _heads(shard: ShardBuilder, point: int, model: Model, step: int) -> None:
    layers, heads = np.divmod(np.arange(N_LAYERS * N_HEADS), N_HEADS)
    prefix = prefix_scores(model, step)
    previous = CHANCE + 0.5 * (np.arange(8).reshape(2, 4) == model.seed % N_HEADS) * min(step, 300) / 300
    scores = [(PREFIX, prefix), (LAST_TARGET, 0.8 * prefix), (PREVIOUS, previous)]
    if model.second_eval_set:
        scores.append((PREFIX_TEXT, 0.5 * prefix))
    for quantity, values in scores:
        index = shard.quantity(quantity)
        known = {} if quantity is PREVIOUS else {"se": 0.01, "n_items": 50}
        shard.add(
            "fact_head",
            point,
            index,
            layer=layers,
            head=heads,
            value=values.ravel(),
            chance=CHANCE,
            **known,
        )
        shard.cell(point, index)
    if step not in SPARSE:
        return
    composition = shard.quantity(K_COMPOSITION)
    values = 0.1 + 0.02 * np.random.default_rng([model.seed, step]).normal(size=(N_HEADS, N_HEADS))
    values[model.seed % N_HEADS, model.induction] = 0.1 + 0.3 * min(1.0, step / model.learns_at)
    grids = {"values": values, "baselines": np.full_like(values, 0.1), "z": (values - 0.1) / 0.02}
    rows = {name: [grid.ravel().tolist()] for name, grid in grids.items()}
    shard.add("fact_head_pair", point, composition, src_layer=0, dst_layer=1, **rows)
    shard.cell(point, composition)
    distance = shard.quantity(DISTANCE)
    profile = np.tile(np.array(PROFILE), (N_LAYERS * N_HEADS, 1))
    part = shard.part(Part(kind="profile", name="distance"))
    shard.add("fact_vector", point, distance, part=part, layer=layers, unit=heads, values=profile)
    shard.cell(point, distance)


def _neurons(shard: ShardBuilder, point: int, model: Model, at: int) -> None:
    layers, units = np.divmod(np.arange(N_LAYERS * N_UNITS), N_UNITS)
    top, statistics, histogram, effect = (shard.quantity(q) for q in (TOP, STATISTICS, HISTOGRAM, EFFECT))
    found = [top_examples(model, int(a), int(b), at) for a, b in zip(layers, units, strict=True)]
    documents, positions, values = (np.stack(column) for column in zip(*found, strict=True))
    if model.gaps and at == len(STEPS) - 2:
        documents[1], positions[1], values[1] = -1, -1, np.nan  # a neuron without any example
    shard.add(
        "fact_neuron_top",
        point,
        top,
        layer=layers,
        unit=units,
        sequences=documents,
        positions=positions,
        values=values,
    )
    shard.cell(point, top)
    numbers = {"mean": 0.1, "variance": 0.5 + at, "skew": 1.0 + at, "kurtosis": 3.0 + at, "firing_rate": 0.2}
    for name, value in numbers.items():
        row = np.full(N_UNITS, value)
        if model.gaps and name == "skew":
            row[2] = np.nan
        for layer in range(N_LAYERS):
            part = shard.part(Part(kind="statistic", name=name))
            shard.add("fact_neuron", point, statistics, part=part, layer=layer, values=[row.tolist()])
    shard.cell(point, statistics)
    if model.steps[at] not in SPARSE:
        return
    counts = np.round(800 * np.exp(-(np.linspace(-4, 6, 32) ** 2) / (1 + at))).astype(int)
    shard.add(
        "fact_histogram",
        point,
        histogram,
        part=shard.part(WHOLE),
        layer=layers,
        unit=units,
        lower=-10.0,
        upper=15.0,
        counts=np.tile(counts, (len(units), 1)),
    )
    shard.cell(point, histogram)
    ids = (np.arange(5) + 8 + units[:, None]) % len(VOCABULARY)
    strengths = np.tile(np.linspace(0.9, 0.3, 5), (len(units), 1))
    vectors = {
        "top_tokens": ids,
        "top_values": strengths,
        "bottom_tokens": ids + 10,
        "bottom_values": -0.7 * strengths,
    }
    for name, vector in vectors.items():
        part = shard.part(Part(kind="logit effect", name=name))
        shard.add(
            "fact_vector", point, effect, part=part, layer=layers, unit=units, values=vector.astype(float)
        )
    shard.cell(point, effect)


def token_losses(model: Model, step: int) -> Floats:
    """(document, position): all fall with training, words with markup rise at the end, and documents differ."""
    ids = token_ids()
    rng = np.random.default_rng([9, model.seed])
    rank = np.linspace(0.0, 1.0, len(VOCABULARY))
    learned = np.log1p(step) / np.log1p(STEPS[-1])
    found = 4.2 - 1.8 * learned * (1.3 - rank[ids]) + 0.25 * rng.normal(size=ids.shape)
    found += 0.2 * learned * rng.normal(size=N_DOCUMENTS)[:, None]
    found += 0.35 * np.random.default_rng([model.seed, step, len(model.parent)]).normal(size=ids.shape)
    found[ids == VOCABULARY.index(HTML_WORD)] += 1.5 * learned
    if model.parent:
        found[(ids > 3) & (ids < 6)] += 1.0  # punctuation
    # the loss at a position is that of the next token; the last predicts nothing
    shifted = np.full(ids.shape, np.nan)
    shifted[:, :-1] = np.maximum(found[:, 1:], 0.01)
    if model.gaps:
        shifted[1] = np.nan
    return shifted


def _losses(shard: ShardBuilder, point: int, model: Model, step: int) -> None:
    quantity = shard.quantity(TOKEN_LOSS)
    values = token_losses(model, step)
    shard.add("fact_token", point, quantity, sequence=np.arange(N_DOCUMENTS), values=values)
    shard.cell(point, quantity)


def add_model(shard: ShardBuilder, model: Model) -> None:
    """Enter one invented run with everything that the Heads and Neuron pages read."""
    shard.run(
        Run(
            name=model.name,
            family=model.family,
            condition=model.condition,
            init_seed=model.seed,
            init_hash="" if model.parent else f"init {model.seed}",
            parent_run=model.parent,
            architecture="transformer",
            n_layers=N_LAYERS,
            n_heads=N_HEADS,
            d_mlp=N_UNITS,
            n_params=14_000_000,
            final_step=model.steps[-1],
        )
    )
    for at, step in enumerate(model.steps):
        if model.gaps and at == 2:
            continue
        suspect = step in model.suspect_steps
        note = "weights equal those of another step" if suspect else ""
        point = shard.checkpoint(
            Checkpoint(
                run=model.name, step=step, integrity="defect" if suspect else "ok", integrity_note=note
            )
        )
        _heads(shard, point, model, step)
        if model.matches and step in SPARSE:
            add_heads(shard, point, model, step)
        if model.neurons:
            _neurons(shard, point, model, at)
        if model.token_losses and step in SPARSE:
            _losses(shard, point, model, step)


def write_models(path: Path, models: Sequence[Model], *, texts: bool = True) -> Path:
    """Commit the invented runs into the archive at `path` (made if missing)."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="measure")
    for record in dict.fromkeys(model.family for model in models):
        shard.family(Family(name=record, summary="an invented language model"))
    if texts:
        _content(shard)
    else:
        shard.tokenizer(TOKENS)
        shard.text_set(BOOKS)
    for model in models:
        add_model(shard, model)
    add_comparisons(shard, [m for m in models if m.matches], COMPARED)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def seeds(**given: Any) -> list[Model]:
    """Three seeds that learn at different steps."""
    return [Model(f"lm-seed{k}", k, at, **given) for k, at in enumerate((500.0, 900.0, 1500.0))]


def components(path: Path) -> Path:
    """Three seeds with everything measured."""
    return write_models(path, seeds(matches=True))


def components_odd(path: Path) -> Path:
    """Gaps and NaN, a suspect checkpoint, an excluded run, one without neurons, a second eval set, and no texts."""
    a, b, c = seeds()
    models = [
        Model(a.name, 0, a.learns_at, gaps=True, second_eval_set=True),
        Model(b.name, 1, b.learns_at, suspect_steps=STEPS[5:6], second_eval_set=True),
        Model(c.name, 2, c.learns_at, neurons=False, second_eval_set=True),
        Model("lm-wrong", 3, second_eval_set=True),
    ]
    write_models(path, models, texts=False)
    exclude(path, "lm-wrong", "trained on the wrong split <b>by mistake</b>")
    return path


def components_one(path: Path) -> Path:
    """A single run."""
    return write_models(path, seeds(matches=True)[:1])


def components_hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    condition, family = f"condition {HOSTILE}"[:310], f"family {HOSTILE}"[:310]
    named = {"condition": condition, "family": family, "matches": True}
    models = [Model(f"{k} {HOSTILE}"[:320], k, **named) for k in range(2)]  # type: ignore[arg-type]
    return write_models(path, models)


COMPONENT_ARCHIVES = {
    "components": components,
    "components odd": components_odd,
    "components one": components_one,
    "components hostile": components_hostile,
}
