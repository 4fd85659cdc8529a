"""Archives with planted answers: written as any other results are, through shards and the committer."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.records import Checkpoint, Encoding, Measure, Part, Quantity, Run, Source
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from archive.store import Archive

GRID = Encoding(hash="grid", name="all pairs", n_sequences=100, n_tokens=300)
OTHER_GRID = Encoding(hash="other grid", name="half of the pairs", n_sequences=50, n_tokens=150)
PUBLISHED = Source(name="published set", licence="CC-BY-4.0", citation="A. Uthor 2024")

TEST, TRAIN = Part(kind="split", name="test"), Part(kind="split", name="train")


def measure(name: str, table: str, *, scope: str = "run", version: int = 1, **fields: Any) -> Measure:
    fields = {"unit": "nats", "direction": "lower is better", "summary": f"{name}, simulated.", **fields}
    return Measure(name=name, table=table, scope=scope, version=version, **fields)


LOSS = measure("loss", "fact_scalar", scope="split", lower_bound=0.0)
ACCURACY = measure(
    "accuracy",
    "fact_scalar",
    scope="split",
    unit="share",
    direction="higher is better",
    lower_bound=0.0,
    upper_bound=1.0,
)
LOG_LOSS = measure("log.loss", "fact_log", lower_bound=0.0)
LOG_ACCURACY = measure("log.accuracy", "fact_log", unit="share", direction="higher is better")
PREVIOUS = measure(
    "head.previous_token", "fact_head", scope="head", unit="probability", direction="higher is better"
)
ACC = measure(
    "benchmark.acc", "fact_benchmark", scope="checkpoint", unit="share", direction="higher is better"
)
PPL = measure("benchmark.ppl", "fact_benchmark", scope="checkpoint", unit="perplexity")
ITEM_LOSS = measure("item.loss", "fact_item", scope="item")
TOKEN_LOSS = measure("token.loss", "fact_token", scope="token")

POSITION_LOSS = measure("position_loss", "fact_position", scope="position", lower_bound=0.0)
KEYS = measure("key_frequencies", "fact_vector", scope="vector", unit="1", direction="neither")
STRENGTHS = measure("fourier_norm", "fact_vector", scope="vector", unit="1", direction="neither")
PRODUCTS = measure("weight_products", "fact_vector", scope="vector", unit="1", direction="neither")

LOSS_HERE = Quantity(measure=LOSS, encoding=GRID)
ACCURACY_HERE = Quantity(measure=ACCURACY, encoding=GRID)
HEADS_HERE = Quantity(measure=PREVIOUS, encoding=GRID)
ITEMS_HERE = Quantity(measure=ITEM_LOSS, encoding=GRID)
TOKENS_HERE = Quantity(measure=TOKEN_LOSS, encoding=GRID)
KEYS_HERE = Quantity(measure=KEYS, encoding=GRID)
STRENGTHS_HERE = Quantity(measure=STRENGTHS, encoding=GRID)
PRODUCTS_HERE = Quantity(measure=PRODUCTS, params={"projection": "none"})
SKETCHES_HERE = Quantity(measure=PRODUCTS, params={"projection": "count sketch", "dimension": 64})
LOG_LOSS_HERE = Quantity(measure=LOG_LOSS)
LOG_ACCURACY_HERE = Quantity(measure=LOG_ACCURACY)


class Simulation:
    """Fills one shard; `commit` puts it into a copy of an empty archive."""

    def __init__(self, template: Path, folder: Path) -> None:
        self.layout = Layout.of(folder / "simulated.duckdb")
        self.layout.make_folders()
        if not self.layout.database.exists():
            shutil.copy(template, self.layout.database)
        self.builder = ShardBuilder(kind="measure")
        self.runs: dict[str, Run] = {}

    def run(self, name: str, **fields: Any) -> str:
        record = Run(name=name, **{"family": "toy", "condition": "c", **fields})
        self.runs[name] = record
        self.builder.run(record)
        return name

    def seeds(self, n: int, prefix: str = "s", **fields: Any) -> list[str]:
        return [self.run(f"{prefix}{k}", init_seed=k, **fields) for k in range(n)]

    def log(
        self, run: str, quantity: Quantity, steps: Sequence[int], parts: Mapping[Part, Sequence[float]]
    ) -> None:
        b = self.builder
        owner, q = b.run(self.runs[run]), b.quantity(quantity)
        for part, values in parts.items():
            step, value = np.asarray(steps, np.int64), np.asarray(values, float)
            b.add("fact_log", owner, q, part=b.part(part), step=step, value=value)
        b.cell(owner, q)

    def scalar(
        self,
        run: str,
        quantity: Quantity,
        step: int,
        parts: Mapping[Part, float],
        *,
        checkpoint: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> None:
        owner, q = self._cell(run, quantity, step, checkpoint)
        for part, value in parts.items():
            self.builder.add("fact_scalar", owner, q, part=self.builder.part(part), value=value, **columns)

    def curve(self, run: str, quantity: Quantity, steps: Sequence[int], values: Sequence[float]) -> None:
        for step, value in zip(steps, values, strict=True):
            self.scalar(run, quantity, int(step), {TEST: float(value)})

    def heads(
        self, run: str, step: int, scores: np.ndarray, *, quantity: Quantity = HEADS_HERE, **columns: Any
    ) -> None:
        """scores: (layer, head)."""
        owner, q = self._cell(run, quantity, step, None)
        layers, heads = np.indices(scores.shape)
        self.builder.add(
            "fact_head",
            owner,
            q,
            layer=layers.reshape(-1),
            head=heads.reshape(-1),
            value=scores.reshape(-1),
            **columns,
        )

    def benchmark(
        self, run: str, quantity: Quantity, step: int, value: float, se: float | None = None
    ) -> None:
        owner, q = self._cell(run, quantity, step, None)
        self.builder.add("fact_benchmark", owner, q, value=value, se=se)

    def items(self, run: str, step: int, values: np.ndarray, *, quantity: Quantity = ITEMS_HERE) -> None:
        owner, q = self._cell(run, quantity, step, None)
        self.builder.add("fact_item", owner, q, item=np.arange(len(values)), value=values)

    def tokens(self, run: str, step: int, values: np.ndarray) -> None:
        """values: (sequence, position)."""
        owner, q = self._cell(run, TOKENS_HERE, step, None)
        self.builder.add("fact_token", owner, q, sequence=np.arange(len(values)), values=values)

    def positions(
        self, run: str, step: int, values: np.ndarray, labels: Sequence[str], *, part: Part = TEST
    ) -> None:
        """values: one per read position."""
        quantity = Quantity(measure=POSITION_LOSS, encoding=GRID, params={"labels": list(labels)})
        owner, q = self._cell(run, quantity, step, None)
        self.builder.add(
            "fact_position", owner, q, part=self.builder.part(part), values=[values], ses=[values * 0 + 0.01]
        )

    def vectors(self, run: str, quantity: Quantity, step: int, parts: Mapping[Part, np.ndarray]) -> None:
        owner, q = self._cell(run, quantity, step, None)
        for part, values in parts.items():
            self.builder.add(
                "fact_vector", owner, q, part=self.builder.part(part), layer=-1, unit=-1, values=[values]
            )

    def trajectory(self, run: str, steps: Sequence[int], points: np.ndarray) -> None:
        """points: (checkpoint, dimension); stored as rows of inner products with the checkpoints so far."""
        for k, step in enumerate(steps):
            row = {"steps": np.asarray(steps[: k + 1], float), "products": points[: k + 1] @ points[k]}
            parts = {Part(kind="gram", name=name): values for name, values in row.items()}
            self.vectors(run, PRODUCTS_HERE, int(step), parts)

    def failed(self, run: str, quantity: Quantity, step: int) -> None:
        owner = self.builder.checkpoint(Checkpoint(run=run, step=step))
        q = self.builder.quantity(quantity)
        self.builder.failed_cell(
            owner, q, CellState.ABSENT_UPSTREAM, error_class="Missing", message="no such revision"
        )

    def commit(self) -> Archive:
        self.builder.write(self.layout.inbox)
        report = commit_inbox(self.layout)
        assert not report.refused
        self.builder = ShardBuilder(kind="measure")
        return Archive(self.layout.database)

    def _cell(
        self, run: str, quantity: Quantity, step: int, checkpoint: Mapping[str, Any] | None
    ) -> tuple[int, int]:
        b = self.builder
        owner = b.checkpoint(Checkpoint(run=run, step=step, **(checkpoint or {})))
        q = b.quantity(quantity)
        b.cell(owner, q)
        return owner, q


@contextmanager
def kept_open(archive: Archive) -> Iterator[Archive]:
    """Opened once for all that is asked of it; nobody can write into it meanwhile."""
    with archive.session():
        yield archive


def benchmark_quantity(
    metric: Measure, task: str, shots: int, *, series: str = "", source: Source = PUBLISHED
) -> Quantity:
    return Quantity(
        measure=metric,
        encoding=Encoding.named_only(task, source=source.name),
        params={"num_fewshot": shots, "series": series},
        weight_processing="unknown",
        dtype="unknown",
        source=source,
    )


def rising(steps: Sequence[int], at: float, *, width: float = 0.2, top: float = 1.0) -> np.ndarray:
    """A curve that reaches half its top at step `at`, `width` octaves steep."""
    x = np.log2(np.maximum(np.asarray(steps, float), 2**-9)) - np.log2(at)
    return top / (1 + np.exp(-np.clip(x / width, -500, 500)))
