"""Makes the archive that is kept of a schema: small, and with rows in every table.

    python tests/data/make_archive.py          # writes tests/data/archive_<schema>.duckdb.gz

Run it once, when a schema is released (in the commit that adds the next revision at the latest), and never
again for that schema: the file stands for what users have. `tests/archive/test_migrate.py` upgrades every
one of them and asks it questions.
"""

import gzip
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from archive.committer import commit_inbox
from archive.create import ensure_archive
from archive.layout import Layout
from archive.manifest import FACT_TABLES
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
from archive.schema.facts import FACTS
from archive.shard import ShardBuilder
from archive.store import SCHEMA_REVISION, connect, driver

FOLDER = Path(__file__).resolve().parent
RUNS = ("toy-0", "toy-1")
STEPS = (0, 10, 100)
PUBLISHED = Source(
    name="published",
    repository="example/results",
    commit_hash="0" * 40,
    licence="MIT",
    citation="Somebody 2024",
)
TOKENIZER = Tokenizer(hash="tok", name="bytes", kind="bytes", n_vocab=3)
TEXTS = TextSet(hash="txt", name="two words", licence="CC0", n_documents=1)
ENCODING = Encoding(
    hash="enc", text_set="txt", tokenizer="tok", name="two-words", bos_policy="none", context_length=3,
    n_sequences=1, n_tokens=3, facts={"made": "by hand"},
)  # fmt: skip


def run_record(name: str) -> Run:
    seed = int(name[-1])
    return Run(
        name=name, family="toy", architecture="one layer", n_params=1000, n_layers=2, n_heads=2, d_model=8, d_mlp=32,
        init_seed=seed, data_order_seed=7, split_seed=7, init_hash=f"i{seed}", data_order_hash="d", condition="toy",
        intervention={"at": 5} if seed else None, config={"lr": 0.001}, tokens_per_step=64.0, final_step=100,
        aliases=(f"seed{seed}",), tags=("demo",), notes=("made up",),
    )  # fmt: skip


def measured(study: Study) -> ShardBuilder:
    """One cell of every fact table at every checkpoint of every run; values are step + position."""
    b = ShardBuilder(
        kind="measure",
        study=study,
        provenance=Provenance(code_version="0", libraries={"torch": "0"}, threads=1),
    )
    b.family(Family(name="toy", summary="made up", facts={"paper": "none"}))
    b.tokenizer(TOKENIZER)
    b.text_set(TEXTS)
    split = b.part(Part(kind="split", name="test"))
    for name in RUNS:
        record = run_record(name)
        run = b.run(record)
        points = [Checkpoint(run=name, step=s, weights_hash=f"{name}-{s}", location="here") for s in STEPS]
        owners = [b.checkpoint(p) for p in points]
        pairs = [b.pair(points[0], points[-1])]
        for spec in FACTS:
            measure = Measure(
                name=_measure_of(spec.name), scope=spec.name.removeprefix("fact_"), table=spec.name, unit="1",
                lower_bound=0.0, direction="neither", summary=f"Made up, for {spec.name}.", citation="nobody",
            )  # fmt: skip
            q = b.quantity(
                Quantity(
                    measure=measure, encoding=ENCODING, params={"k": 2}, site=Site(name="mlp.post", width=2)
                )
            )
            for i, owner in enumerate({"run": [run], "checkpoint": owners, "pair": pairs}[spec.owner]):
                rows = _rows(spec.name, float(STEPS[i]))
                b.add(spec.name, owner, q, **({"part": split} if spec.has_part else {}), **rows)
                b.cell(owner, q)
    return b


def _measure_of(table: str) -> str:
    return {"fact_log": "log.loss", "fact_scalar": "loss", "fact_head": "head.previous_token"}.get(
        table, f"made.{table}"
    )


def _rows(table: str, base: float) -> dict[str, object]:
    """Two rows: 0, 1 in integer columns, base and base + 1 in numbers, both in lists."""
    rows: dict[str, object] = {}
    for column, kind in ((f.name, f.type) for f in FACT_TABLES[table].local_schema):
        if column in FACT_TABLES[table].index_columns:
            continue
        if pa.types.is_list(kind):
            rows[column] = [[0, 1], [2, 3]]
        elif pa.types.is_string(kind):
            rows[column] = ["a", "b"]
        elif pa.types.is_integer(kind):
            rows[column] = [0, 1]
        elif pa.types.is_boolean(kind):
            rows[column] = [False, True]
        else:
            rows[column] = np.array([base, base + 1])
    return rows if FACT_TABLES[table].key else {k: v[:1] for k, v in rows.items()}  # type: ignore[index]  # sequences all


def content() -> ShardBuilder:
    b = ShardBuilder(kind="content")
    b.add(
        "content_vocab",
        b.tokenizer(TOKENIZER),
        token_id=[0, 1, 2],
        text=["a", "b", None],
        special=[False, False, True],
    )
    b.add("content_document", b.text_set(TEXTS), document=0, name="d0", sha256="0" * 64, text="ab")
    encoding = b.encoding(ENCODING)
    b.add(
        "content_sequence", encoding, sequence=0, document=0, start=0, token_ids=[[0, 1, 2]],
        unigram_surprisal=[[1.0, 1.0, 2.0]], bigram_surprisal=[[1.0, 0.5, 0.5]], token_classes=[[0, 0, 1]],
        byte_lengths=[[1, 1, 0]],
    )  # fmt: skip
    b.add(
        "content_item", encoding, item=0, sequence=0, position=1, correct_ids=[[1]], distractor_ids=[[0, 2]],
        template="a?", facts_json="{}",
    )  # fmt: skip
    return b


def imported() -> ShardBuilder:
    b = ShardBuilder(kind="import")
    b.source(PUBLISHED)
    run = Run(name="toy-0", source="published", init_seed=3, aliases=("their-name",))
    b.run(run)
    q = b.quantity(
        Quantity(
            measure=Measure(
                name="benchmark.acc",
                scope="none",
                table="fact_benchmark",
                unit="fraction",
                summary="Accuracy.",
            ),
            encoding=Encoding.named_only("lambada", source="published"),
            params={"num_fewshot": 0, "series": "main"},
            dtype="unknown",
            weight_processing="unknown",
            source=PUBLISHED,
        )
    )
    f = b.file(
        SourceFile(source="published", path="a/b.json", sha256="f" * 64, bytes=10, format="toy", n_rows=1)
    )
    owner = b.checkpoint(Checkpoint(run="toy-0", step=10))
    b.add("fact_benchmark", owner, q, value=0.25, se=0.01, n_items=100)
    b.cell(owner, q, file=f)
    return b


def training() -> ShardBuilder:
    """A second log, in a segment, of a run that then failed a measure."""
    b = ShardBuilder(kind="train")
    owner = b.run(run_record("toy-1"))
    q = b.quantity(
        Quantity(
            measure=Measure(
                name="log.accuracy", scope="run", table="fact_log", unit="fraction", summary="Accuracy."
            )
        )
    )
    b.add(
        "fact_log",
        owner,
        q,
        part=b.part(Part(kind="split", name="train")),
        step=np.arange(5),
        value=np.linspace(0, 1, 5),
    )
    b.segment(owner, q, -1, 4)
    b.cell(owner, q)
    late = b.checkpoint(
        Checkpoint(run="toy-1", step=1000, integrity="absent", integrity_note="never uploaded")
    )
    heads = Quantity(
        measure=Measure(
            name="head.first_token", scope="head", table="fact_head", unit="probability", summary="Made up."
        )
    )
    b.failed_cell(
        late,
        b.quantity(heads),
        CellState.ABSENT_UPSTREAM,
        error_class="NotFound",
        message="no such step",
        trace="...",
    )
    return b


def populate(layout: Layout) -> None:
    """Fill an empty archive: shards for everything that comes in shards, SQL for what people do."""
    study = Study(name="toy", toml='name = "toy"', resolved={"name": "toy"}, n_cells_wanted=10)
    for builder in (measured(study), content(), imported(), training()):
        builder.write(layout.inbox)
    report = commit_inbox(layout)
    if report.refused:
        raise RuntimeError(f"the made-up shards were refused: {report.refused}")
    now = datetime(2025, 1, 1, tzinfo=UTC)
    with connect(layout.database, read_only=False, patience=1) as connection:
        raw = driver(connection)
        raw.execute(
            "INSERT INTO exclusion SELECT 1, id, 'diverged', 'me', $now, false FROM run WHERE name = 'toy-1'",
            {"now": now},
        )
        raw.execute(
            "INSERT INTO hypothesis VALUES (1, 'h', 'seeds agree', 'loss', 0.05, '{}', 'somebody', $now)",
            {"now": now},
        )
        raw.execute("INSERT INTO audit VALUES (1, $now, 'somebody', 'exclude', 'toy-1', '{}')", {"now": now})


def main() -> None:
    target = FOLDER / f"archive_{SCHEMA_REVISION}.duckdb.gz"
    if target.exists():
        sys.exit(f"{target} stands for what users of schema {SCHEMA_REVISION} have; it is not made again")
    with tempfile.TemporaryDirectory() as folder:
        layout = ensure_archive(Path(folder) / "x.duckdb")
        populate(layout)
        with layout.database.open("rb") as source, gzip.GzipFile(target, "wb", 9, mtime=0) as packed:
            shutil.copyfileobj(source, packed)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
