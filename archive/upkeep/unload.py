"""An archive back as shards with natural keys: first what things are, then the numbers, in bounded pieces.

Reads the tables want_* of the connection (`want.find_wanted`); the committer turns the shards into rows again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from archive.records import Run, Study
from archive.schema.facts import CONTENT, OWNER_COLUMNS
from archive.shard import ShardBuilder
from archive.upkeep.natural import Natural
from archive.upkeep.unload_cells import CellUnloader, columns_of

RUNS_AT_ONCE = 500
CHECKPOINTS_AT_ONCE = 5_000


def unload(
    connection: duckdb.DuckDBPyConnection,
    inbox: Path,
    *,
    origin: str,
    studies: Mapping[str, Study],
    on_step: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write what is wanted into an inbox; returns the shards in the order in which they must be committed.

    origin: what the shards' provenance says they came from. studies: wordings to use instead of the archive's
    own, by name. Killed midway, the shards that are there are whole and can be committed.
    """
    names = _Names(connection, inbox, studies)
    on_step("runs and checkpoints")
    names.small_tables()
    names.runs()
    names.checkpoints()
    names.told_by_other_sources()
    names.study_shards()
    for table, owner in connection.execute("SELECT name, id FROM want_content ORDER BY ALL").fetchall():
        on_step(table)
        names.content(table, owner)
    cells = CellUnloader(connection, inbox, names.natural, names.runs_by_id, names.studies, origin)
    n_pieces = cells.cut()
    for piece in range(n_pieces):
        on_step(f"results, piece {piece + 1} of {n_pieces}")
        names.shards.append(cells.write(piece))
    return names.shards


class _Names:
    """Shards that say what things are."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, inbox: Path, studies: Mapping[str, Study]
    ) -> None:
        self.connection, self.inbox = connection, inbox
        self.natural = Natural(connection)
        self.studies = {i: studies.get(s.name, s) for i, s in self.natural.studies.items()}
        self.shards: list[Path] = []
        self._taken: dict[tuple[int, int], set[str]] = {}
        for run, source, alias in connection.execute(
            "SELECT run_id, source_id, alias FROM blocked_alias"
        ).fetchall():
            self._taken.setdefault((run, source), set()).add(alias)

    def small_tables(self) -> None:
        """Sources, families, tokenizers, texts, eval sets, quantities and files, whether used or not."""
        natural, b = self.natural, ShardBuilder(kind="merge")
        for i in self._ids("want_source"):
            b.source(natural.sources[i])
        for i in self._ids("want_family"):
            b.family(natural.families[i])
        for i in self._ids("want_tokenizer"):
            b.tokenizer(natural.tokenizers[i])
        for i in self._ids("want_text_set"):
            b.text_set(natural.text_sets[i])
        for i in self._ids("want_encoding"):
            b.encoding(natural.encodings[i])
        for i in self._ids("want_quantity"):
            b.quantity(natural.quantities[i])
        for i in self._ids("want_source_file"):
            b.file(natural.files[i])
        self._write(b)

    def runs(self) -> None:
        """Runs that are new or better known."""
        for ids in _chunks(
            self._ids("(SELECT id FROM want_run UNION SELECT id FROM want_told)"), RUNS_AT_ONCE
        ):
            b = ShardBuilder(kind="merge")
            for run in self.runs_by_id(ids).values():
                b.run(run)
            self._write(b)

    def checkpoints(self) -> None:
        """Checkpoints that are new or better known, measured or not."""
        for ids in _chunks(self._ids("want_checkpoint"), CHECKPOINTS_AT_ONCE):
            b = ShardBuilder(kind="merge")
            for checkpoint in self.natural.checkpoints(ids).values():
                b.checkpoint(checkpoint)
            for run in self.runs_by_id(self.natural.runs_of_checkpoints(ids)).values():
                b.run(run)
            self._write(b)

    def told_by_other_sources(self) -> None:
        """Names and notes that a run has from other sources than its own: one shard per source."""
        for source, runs in self.natural.said_by_others(self._ids("want_told")).items():
            b = ShardBuilder(kind="merge")
            b.source(self.natural.sources[source])
            for i, run in runs.items():
                b.run(self._without_taken_aliases(i, source, run))
            self._write(b)

    def study_shards(self) -> None:
        """Studies with all their runs, also those of which nothing is stored yet."""
        for i in self._ids("want_study"):
            b = ShardBuilder(kind="merge", study=self.studies[i])
            for run in self.runs_by_id(
                self._ids(f"(SELECT run_id AS id FROM study_run WHERE study_id = {i})")
            ).values():
                b.run(run)
            self._write(b)

    def content(self, table: str, owner: int) -> None:
        """All content rows of one owner: the committer takes them whole or not at all."""
        spec = next(s for s in CONTENT if s.name == table)
        b, natural = ShardBuilder(kind="merge"), self.natural
        if spec.owner == "text_set":
            index = b.text_set(natural.text_sets[owner])
        elif spec.owner == "encoding":
            index = b.encoding(natural.encodings[owner])
        else:
            index = b.tokenizer(natural.tokenizers[owner])
        names = [c.name for c in spec.body]
        rows = self.connection.execute(
            f"""SELECT {", ".join(f'"{n}"' for n in names)} FROM {table}
                WHERE {OWNER_COLUMNS[spec.owner][0]} = {owner} ORDER BY {", ".join(spec.key)}"""
        ).to_arrow_table()
        b.add(table, index, **columns_of(rows, names))
        self._write(b)

    def runs_by_id(self, ids: Sequence[int]) -> dict[int, Run]:
        """Runs without the aliases that the other archive uses for another run."""
        sources = self.natural.source_of_run
        return {
            i: self._without_taken_aliases(i, sources[i], run) for i, run in self.natural.runs(ids).items()
        }

    def _without_taken_aliases(self, run: int, source: int, record: Run) -> Run:
        taken = self._taken.get((run, source), set())
        return record.model_copy(update={"aliases": tuple(a for a in record.aliases if a not in taken)})

    def _ids(self, table: str) -> list[int]:
        return [int(i) for (i,) in self.connection.execute(f"SELECT id FROM {table} ORDER BY id").fetchall()]

    def _write(self, builder: ShardBuilder) -> None:
        if not builder.is_empty:
            self.shards.append(builder.write(self.inbox))


def _chunks(ids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
