"""Archives with something in every table: rows are made from the declared columns, so a new table is covered too."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Integer, SmallInteger, String

from archive.layout import Layout
from archive.records import (
    Checkpoint,
    Encoding,
    Family,
    Measure,
    Part,
    Provenance,
    Quantity,
    Run,
    Site,
    Source,
    SourceFile,
    Study,
    TextSet,
    Tokenizer,
)
from archive.schema.base import CellState
from archive.schema.facts import CONTENT, FACTS, FactTable
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.views import VIEWS

TOKENIZER = Tokenizer(hash="tok", name="bytes", kind="bytes", n_vocab=3)
TEXT = TextSet(hash="text", name="tiny", licence="CC0", n_documents=3, facts={"lines": 3})
EVAL = Encoding(
    hash="enc", text_set="text", tokenizer="tok", name="tiny", context_length=3, n_sequences=3, n_tokens=9
)
PUBLISHED = Source(
    name="published", kind="published", licence="none found", citation="Doe 2021", url="https://x.org"
)
OTHER = Source(name="other authors", licence="MIT")
SITE = Site(name="mlp.hook_post", hook_point="blocks.0.mlp.hook_post", width=8)


FEW = tuple(s for s in FACTS if s.name in ("fact_log", "fact_scalar", "fact_head", "fact_pair"))


def table(name: str) -> FactTable:
    return next(s for s in FACTS if s.name == name)


def measure(spec: FactTable) -> Measure:
    return Measure(
        name=f"toy.{spec.name}", scope=spec.owner, table=spec.name, unit="nats", summary=f"Toy {spec.name}."
    )


def declare(b: ShardBuilder, spec: FactTable, **fields: Any) -> int:
    """The toy quantity of a table, with the eval set it is on."""
    b.tokenizer(TOKENIZER)
    b.text_set(TEXT)
    return b.quantity(quantity(spec, **fields))


def quantity(spec: FactTable, **fields: Any) -> Quantity:
    return Quantity(measure=measure(spec), encoding=EVAL, params={"k": 0.1, "n": 1}, site=SITE, **fields)


def columns(spec: FactTable, n: int, value: float) -> dict[str, Any]:
    """`n` rows with distinct keys and values that depend on `value`, in every column of the table."""
    return {c.name: _column(c, n, value) for c in spec.body}


def _column(column: Column[Any], n: int, value: float) -> list[Any]:
    kind = column.type
    if column.name in ("se", "chance"):  # not known: the first row says so with NULL
        return [None, *(value + i for i in range(1, n))]
    if isinstance(kind, ARRAY):
        whole = isinstance(kind.item_type, Integer | SmallInteger | BigInteger)
        return [[int(value) + j if whole else value + i + j / 2 for j in range(3)] for i in range(n)]
    if isinstance(kind, Boolean):
        return [i % 2 == 0 for i in range(n)]
    if isinstance(kind, String):
        return [f"{column.name} {i} ü" for i in range(n)]
    if isinstance(kind, Integer | SmallInteger | BigInteger):
        return list(range(n))
    return [value + i for i in range(n)]


def everything(
    run: str = "toy/a",
    steps: Sequence[int] = (0, 10),
    *,
    value: float = 1.0,
    study: str = "toy",
    tables: Iterable[FactTable] = FACTS,
    rows: int = 3,
    code: str = "1",
    weights: str = "w",
    **run_fields: Any,
) -> ShardBuilder:
    """Rows in every fact table for one run, its checkpoints and the pair of the first and the last."""
    provenance = Provenance(code_version=code, device="cpu", seconds=2.0, facts={"cores": 2})
    b = ShardBuilder(
        kind="measure",
        study=Study(name=study, toml="x = 1", resolved={"x": 1}, n_cells_wanted=40),
        provenance=provenance,
    )
    b.family(Family(name="toys", summary="Toy models.", facts={"layers": {"value": 1, "evidence": "code"}}))
    record = Run(
        name=run, **{"family": "toys", "condition": "c", "init_seed": 1, "tags": ("small",), **run_fields}
    )
    owner_run = b.run(record)
    points = [Checkpoint(run=run, step=s, weights_hash=f"{weights}{s}", tokens_seen=64.0 * s) for s in steps]
    owners = [b.checkpoint(c) for c in points]
    whole, split = b.part(), b.part(Part(kind="split", name="train"))
    for spec in tables:
        q = declare(b, spec)
        mine = {"run": [owner_run], "checkpoint": owners, "pair": []}[spec.owner] or [
            b.pair(points[0], points[-1])
        ]
        for i, owner in enumerate(mine):
            parts = {"part": np.repeat([whole, split], rows if spec.key else 1)} if spec.has_part else {}
            n = rows if spec.key else 1
            body = columns(spec, n, value + i)
            if spec.has_part:
                body = {name: [*values, *values] for name, values in body.items()}
            b.add(spec.name, owner, q, **parts, **body)
            b.cell(owner, q)
    return b


def little(run: str = "toy/a", steps: Sequence[int] = (0, 10), **options: Any) -> ShardBuilder:
    """The same with one table of each kind of owner, which is three times faster to write."""
    return everything(run, steps, tables=FEW, **options)


def content() -> ShardBuilder:
    """Rows in every content table."""
    b = ShardBuilder(kind="content")
    owners = {"tokenizer": b.tokenizer(TOKENIZER), "text_set": b.text_set(TEXT), "encoding": b.encoding(EVAL)}
    for spec in CONTENT:
        b.add(spec.name, owners[spec.owner], **columns(spec, 3, 1.0))
    return b


def imported(
    path: str = "a.csv",
    sha256: str = "aa",
    run: str = "pub/a",
    steps: Sequence[int] = (0, 10),
    value: float = 5.0,
) -> ShardBuilder:
    """A published file: benchmark-like scalars and an event, with the name its authors use for the run."""
    b = ShardBuilder(kind="import")
    b.source(PUBLISHED)
    spec, events = table("fact_scalar"), table("fact_event")
    owner_run = b.run(
        Run(
            name=run,
            source=PUBLISHED.name,
            family="toys",
            aliases=(f"authors:{run}",),
            notes=("seed unknown",),
        )
    )
    f = b.file(
        SourceFile(source=PUBLISHED.name, path=path, sha256=sha256, bytes=10, format="csv", n_rows=len(steps))
    )
    q = declare(b, spec, source=PUBLISHED)
    for step in steps:
        owner = b.checkpoint(Checkpoint(run=run, step=step))
        b.add("fact_scalar", owner, q, value=value + step)
        b.cell(owner, q, file=f)
    e = declare(b, events, source=PUBLISHED)
    b.add("fact_event", owner_run, e, ordinal=[0], step=[7], text=["grokked"])
    b.cell(owner_run, e, file=f)
    return b


def told_by_others(run: str = "toy/a") -> ShardBuilder:
    """Another source's name and note for a run."""
    b = ShardBuilder(kind="import")
    b.source(OTHER)
    b.run(Run(name=run, source=OTHER.name, family="toys", aliases=("their name",), notes=("looks odd",)))
    return b


def failed(run: str = "toy/a", step: int = 10, state: CellState = CellState.FAILED_TRANSIENT) -> ShardBuilder:
    b = ShardBuilder(
        kind="measure", study=Study(name="toy", toml="x = 1", resolved={"x": 1}, n_cells_wanted=40)
    )
    b.run(Run(name=run, family="toys", condition="c", init_seed=1))
    spec = table("fact_scalar")
    q = declare(b, spec, dtype="float16")
    owner = b.checkpoint(Checkpoint(run=run, step=step))
    b.failed_cell(
        owner, q, state, error_class="OutOfMemory", message="no room\nat all", trace="/home/me/x.py"
    )
    return b


def log_segment(
    after: int, last: int, *, run: str = "toy/log", final: bool = False, value: float = 1.0
) -> ShardBuilder:
    """A segment of a training log; `final` also enters its cell."""
    b = ShardBuilder(kind="train")
    owner = b.run(Run(name=run, family="toys"))
    spec = table("fact_log")
    q = declare(b, spec)
    steps = np.arange(after + 1, last + 1)
    b.add("fact_log", owner, q, step=steps, value=value + steps)
    b.segment(owner, q, after, last)
    if final:
        b.cell(owner, q)
    return b


# columns that name a place in one file, or a moment, and so differ between archives that say the same
UNSHARED = {
    "shard",
    "verified_at",
    "imported_at",
    "committed_at",
    "created_at",
    "happened_at",
    "registered_at",
    "message",
}


def shown(layout: Layout, *, besides: Iterable[str] = ()) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the public views show and tables without a view hold, without ids and moments, sorted."""
    found = {}
    leave = UNSHARED | set(besides)
    with Archive(layout.database).session() as connection:
        for view in VIEWS:
            if view.name in ("v_shard", "v_audit"):
                continue
            rows = connection.execute(f"FROM {view.name}")
            kept = [
                i
                for i, (n, *_) in enumerate(rows.description)
                if not n.endswith("_id") and n not in leave and not n.startswith(("run_id", "subject"))
            ]
            found[view.name] = _sorted(tuple(row[i] for i in kept) for row in rows.fetchall())
        for spec in CONTENT:
            found[spec.name] = _sorted(
                connection.execute(
                    f"SELECT o.hash, c.* EXCLUDE ({spec.owner}_id) FROM {spec.name} c "
                    f"JOIN {spec.owner} o ON o.id = c.{spec.owner}_id"
                ).fetchall()
            )
        found["log_segment"] = _sorted(
            connection.execute(
                "SELECT r.name, q.hash, min(after_step), max(last_step) FROM log_segment g JOIN run r ON r.id = g.run_id "
                "JOIN quantity q ON q.id = g.quantity_id GROUP BY ALL"
            ).fetchall()
        )
        found["study_run"] = _sorted(
            connection.execute(
                "SELECT s.name, r.name FROM study_run x JOIN study s ON s.id = x.study_id JOIN run r ON r.id = x.run_id"
            ).fetchall()
        )
    return found


def _sorted(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(map(repr, rows))  # type: ignore[arg-type]


def table_sizes(layout: Layout) -> dict[str, int]:
    """Rows of every table that is not empty."""
    archive = Archive(layout.database)
    tables = [r["t"] for r in archive.rows("SELECT table_name AS t FROM duckdb_tables() ORDER BY t")]
    counts = archive.rows(" UNION ALL ".join(f"SELECT '{t}' AS t, count(*) AS n FROM {t}" for t in tables))
    return {r["t"]: r["n"] for r in counts if r["n"]}


def files_below(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
