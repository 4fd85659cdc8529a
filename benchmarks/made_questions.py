"""A made-up archive in which every question that draws nothing has an answer, of the size of a few dozen runs.

Twenty runs of one condition, 100 checkpoints each, 6 layers of 12 heads: 5 million facts beside the losses of tokens.
Measures, eval sets and their names are those that the tests of questions plant.
"""

import tempfile
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from archive.create import ensure_archive
from archive.layout import Layout
from archive.records import WHOLE, Checkpoint, Part, Quantity
from queries.reading.roles import SCORES
from tests.queries import comparing, language, simulated

N_RUNS, N_LAYERS, N_HEADS, N_UNITS = 20, 6, 12, 512
STEPS = np.unique(np.geomspace(1, 100_000, 132).astype(int))[-100:]
LOGGED = np.arange(0, 100_000, 5)
N_SEQUENCES, LENGTH = 512, 256
N_TASKS, N_PROMPTS, N_POSITIONS, N_DEEP = 60, 64, 64, 24
# questions about neurons and pairs of heads read few checkpoints of many of them
NEURON_LAYERS, NEURON_STEPS = 2, STEPS[[0, 33, 66, 99]]
K = 10

Floats = np.ndarray


class Made(simulated.Simulation):
    """A run's results of all checkpoints at once."""

    def results(
        self, table: str, run: str, quantity: Quantity, steps: Sequence[int] | Floats = STEPS, **columns: Any
    ) -> None:
        """Rows of one quantity; columns: arrays whose first axis is the checkpoint, or what every row shares."""
        b = self.builder
        for declare, record in (
            (b.tokenizer, language.WORDS),
            (b.tokenizer, language.OTHER_WORDS),
            (b.text_set, language.BOOKS),
        ):
            declare(record)  # type: ignore[operator]  # each takes its own kind of record
        owners = np.array([b.checkpoint(Checkpoint(run=run, step=int(step))) for step in steps])
        q = b.quantity(quantity)
        arrays = {name: v for name, v in columns.items() if isinstance(v, np.ndarray)}
        rows = len(next(iter(arrays.values()))) // len(steps)
        b.add(table, np.repeat(owners, rows), q, **columns)
        b.cells(owners, np.full(len(owners), q))


def archive_of_questions(path: Path) -> Layout:
    """Made once, then kept."""
    layout = Layout.of(path)
    if layout.database.exists():
        return layout
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        template = ensure_archive(Path(folder) / "empty.duckdb").database
        made = Made(template, Path(folder))
        rng = np.random.default_rng(0)
        names = [f"run-{k:02d}" for k in range(N_RUNS)]
        texts(made, rng)
        for k, name in enumerate(names):
            made.run(name, init_seed=k, n_params=10_000_000, n_layers=N_LAYERS, n_heads=N_HEADS)
            one_run(made, name, rng)
            made.commit()
        pairs(made, names, rng)
        archive = made.commit()
        layout.folder.mkdir(exist_ok=True)
        archive.layout.database.rename(path)
    return Layout.of(path)


def texts(made: Made, rng: np.random.Generator) -> None:
    """What was read: a text of words with their surprisal, and prompts of eight templates."""
    b = made.builder
    owner = b.tokenizer(language.WORDS)
    b.add("content_vocab", owner, token_id=np.arange(40), text=[f" w{i}" for i in range(40)], special=False)
    documents = np.arange(N_SEQUENCES) // 4
    b.add(
        "content_document",
        b.text_set(language.BOOKS),
        document=np.arange(documents[-1] + 1),
        name="-",
        sha256="-",
    )
    shape = (N_SEQUENCES, LENGTH)
    b.add(
        "content_sequence", b.encoding(language.TEXT), sequence=np.arange(N_SEQUENCES), document=documents, start=0,
        token_ids=rng.integers(0, 40, shape), unigram_surprisal=rng.gamma(2, 2, shape),
        bigram_surprisal=rng.gamma(2, 2, shape), token_classes=rng.integers(0, 8, shape),
    )  # fmt: skip
    language.plant_prompts(made, language.IOI, [f"template {k % 8}" for k in range(N_PROMPTS)])


def one_run(made: Made, run: str, rng: np.random.Generator) -> None:
    """Everything of one run that is not a comparison."""
    n = len(STEPS)
    rise = 1 / (1 + np.exp(-(np.log2(STEPS) - 9 - rng.random()) * 3))
    curves(made, run, rise, rng)
    heads(made, run, rise, rng)
    neurons(made, run, rng)
    common = np.random.default_rng(1).gamma(2, 1, (N_SEQUENCES, LENGTH - 1))
    losses = np.concatenate([common + 0.3 * rng.normal(size=common.shape) for _ in range(2)])
    made.results(
        "fact_token", run, language.TOKEN_LOSS, STEPS[[0, -1]],
        sequence=np.tile(np.arange(N_SEQUENCES), 2), values=losses.astype(np.float32),
    )  # fmt: skip
    for name, measure in language.SCORES.items():
        made.results(
            "fact_item", run, Quantity(measure=measure, encoding=language.IOI), item=np.tile(np.arange(N_PROMPTS), n),
            value=(np.repeat(rise, N_PROMPTS) > rng.random(n * N_PROMPTS)).astype(float) + (name == "logit_diff"),
        )  # fmt: skip


def curves(made: Made, run: str, rise: Floats, rng: np.random.Generator) -> None:
    """Scalars, positions, the training log, benchmarks."""
    n, b = len(STEPS), made.builder
    late = 1 / (1 + np.exp(-(np.log2(LOGGED + 1) - 9) * 3)) + 0.01 * rng.normal(size=len(LOGGED))
    made.log(
        run, simulated.LOG_LOSS_HERE, LOGGED, {simulated.TEST: 6 - 5 * late, simulated.TRAIN: 6 - 6 * late}
    )
    made.log(run, simulated.LOG_ACCURACY_HERE, LOGGED, {simulated.TEST: late})
    parts = np.tile([b.part(simulated.TEST), b.part(simulated.TRAIN)], n)
    for quantity, values in ((simulated.LOSS_HERE, 5 - 4 * rise), (simulated.ACCURACY_HERE, rise)):
        made.results(
            "fact_scalar", run, quantity, part=parts, value=np.repeat(values, 2), se=0.01, n_items=100
        )
    icl = -0.1 - 0.3 * rise
    made.results("fact_scalar", run, language.ICL, part=b.part(WHOLE), value=icl)
    copies = np.tile([b.part(language.LATER), b.part(language.FIRST)], n)
    made.results("fact_scalar", run, language.COPIES, part=copies, value=np.repeat(5 - 3 * rise, 2))
    total = b.part(Part(kind="component", name="total"))
    made.results("fact_scalar", run, language.LOGIT_PARTS, part=total, value=5 * rise)
    labels = [f"p{k}" for k in range(N_POSITIONS)]
    quantity = Quantity(measure=simulated.POSITION_LOSS, encoding=simulated.GRID, params={"labels": labels})
    values = 5 - 5 * rise[:, None] + 0.01 * rng.normal(size=(n, N_POSITIONS))
    made.results(
        "fact_position", run, quantity, part=b.part(simulated.TEST), values=values, ses=values * 0 + 0.01
    )
    for k in range(N_TASKS):
        quantity = simulated.benchmark_quantity(simulated.ACC, f"task-{k:02d}", 0)
        made.results("fact_benchmark", run, quantity, value=0.6 * rise + 0.01 * rng.normal(size=n), se=0.01)


def heads(made: Made, run: str, rise: Floats, rng: np.random.Generator) -> None:
    """Scores of heads and, at every fourth checkpoint, of their pairs."""
    n, each = len(STEPS), N_LAYERS * N_HEADS
    layer, head = (np.tile(x.reshape(-1), n) for x in np.indices((N_LAYERS, N_HEADS)))
    for name, score in SCORES.items():
        high = np.where(rng.random(each) < 0.1, 0.9, 0.02)
        beside = {} if score.on == "weights" else {"se": 0.02}
        made.results(
            "fact_head", run, language.head_score(name), layer=layer, head=head, n_items=100, chance=0.01,
            value=(rise[:, None] * high + 0.01 * rng.random((n, each))).reshape(-1), **beside,
        )  # fmt: skip
    steps = STEPS[3::4]
    source, target = np.triu_indices(N_LAYERS, 1)
    size = (len(steps) * len(source), N_HEADS**2)
    made.results(
        "fact_head_pair", run, language.composition("k"), steps, src_layer=np.tile(source, len(steps)),
        dst_layer=np.tile(target, len(steps)), values=rng.random(size), baselines=np.full(size, 0.05),
        z=rng.normal(size=size) * 3,
    )  # fmt: skip


def neurons(made: Made, run: str, rng: np.random.Generator) -> None:
    """Top examples and statistics of two layers of neurons at four checkpoints."""
    n, steps = len(NEURON_STEPS), NEURON_STEPS
    layer, unit = (np.tile(x.reshape(-1), n) for x in np.indices((NEURON_LAYERS, N_UNITS)))
    size = (len(layer), K)
    # one example a sequence
    sequences = (rng.integers(0, N_SEQUENCES, (len(layer), 1)) + 7 * np.arange(K)) % N_SEQUENCES
    made.results(
        "fact_neuron_top", run, language.NEURON_TOP, steps, layer=layer, unit=unit, sequences=sequences,
        positions=rng.integers(0, LENGTH, size), values=-np.sort(-rng.random(size), axis=1),
    )  # fmt: skip
    names = ("mean", "variance", "skew", "kurtosis", "firing_rate")
    parts = [made.builder.part(Part(kind="statistic", name=name)) for name in names]
    made.results(
        "fact_neuron", run, language.NEURON_STATISTICS, steps, part=np.tile(np.repeat(parts, NEURON_LAYERS), n),
        layer=np.tile(np.arange(NEURON_LAYERS), n * len(parts)),
        values=rng.random((n * len(parts) * NEURON_LAYERS, N_UNITS)),
    )  # fmt: skip


def pairs(made: Made, names: Sequence[str], rng: np.random.Generator) -> None:
    """Neurons and layers of every two runs compared, at their first and last checkpoints."""
    for step in (int(STEPS[0]), int(STEPS[-1])):
        for a, b in permutations(names, 2):
            comparing.matched(made, a, b, step, rng.random((NEURON_LAYERS, N_UNITS)))
            if a < b:
                comparing.layers_compared(made, a, b, step, rng.random((N_DEEP, N_DEEP)))
