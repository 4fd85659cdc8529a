"""Stored rows back as the natural-key records they came from: the committer's mapping in reverse."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from archive.errors import PathscopeError
from archive.records import (
    Checkpoint,
    Encoding,
    Family,
    Measure,
    Part,
    Quantity,
    Record,
    Run,
    Site,
    Source,
    SourceFile,
    Study,
    TextSet,
    Tokenizer,
)

Row = dict[str, Any]


class Natural:
    """The dimensions of one archive as records, by id.

    Small ones are read at once; runs and checkpoints, which can be many, only when asked for.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """`connection` must show one state of the archive as long as this lives."""
        self.connection = connection
        read = self._table
        self.sources = {i: Source(**_only(r, Source)) for i, r in read("source").items()}
        self.families = {i: Family(**_only(r, Family)) for i, r in read("family").items()}
        self.sites = {i: Site(**_only(r, Site)) for i, r in read("site").items()}
        self.tokenizers = {i: Tokenizer(**_only(r, Tokenizer)) for i, r in read("tokenizer").items()}
        self.text_sets = {i: TextSet(**_only(r, TextSet)) for i, r in read("text_set").items()}
        self.encodings = {i: self._encoding(r) for i, r in read("encoding").items()}
        self.parts = {i: Part(**_only(r, Part)) for i, r in read("part").items()}
        self.studies = {i: Study(**_only(r, Study)) for i, r in read("study").items()}
        self.files = {i: self._file(r) for i, r in read("source_file").items()}
        self.measures = {i: self._measure(r) for i, r in read("measure").items()}
        self.quantities = {i: self._quantity(r) for i, r in read("quantity").items()}

    def runs(self, ids: Iterable[int]) -> dict[int, Run]:
        """Runs by id, with the aliases, tags and notes of their own source."""
        rows = self._table("run", ids)
        aliases, notes = self._said("run_alias", "alias", rows), self._said("run_note", "note", rows)
        tags = self._grouped(
            "SELECT run_id, 0, tag FROM run_tag WHERE run_id IN (SELECT unnest($ids::INTEGER[])) ORDER BY tag",
            rows,
        )
        found = {}
        for i, row in rows.items():
            own = (i, row["source_id"])
            found[i] = Run(
                **_only(row, Run),
                family=self.families[row["family_id"]].name,
                source=self.sources[row["source_id"]].name,
                aliases=aliases.get(own, ()),
                notes=notes.get(own, ()),
                tags=tags.get((i, 0), ()),
            )
        return found

    @property
    def source_of_run(self) -> dict[int, int]:
        """Run id -> source id, of every run."""
        return dict(self.connection.execute("SELECT id, source_id FROM run").fetchall())

    def runs_of_checkpoints(self, ids: Iterable[int]) -> list[int]:
        """Ids of the runs that checkpoints belong to."""
        sql = "SELECT DISTINCT run_id FROM checkpoint WHERE id IN (SELECT unnest($ids::INTEGER[])) ORDER BY run_id"
        return [int(i) for (i,) in self.connection.execute(sql, {"ids": sorted(ids)}).fetchall()]

    def said_by_others(self, ids: Iterable[int]) -> dict[int, dict[int, Run]]:
        """Source id -> run id -> a record with only the name, aliases and notes which that source gives the run."""
        rows = self._table("run", ids)
        aliases, notes = self._said("run_alias", "alias", rows), self._said("run_note", "note", rows)
        found: dict[int, dict[int, Run]] = {}
        for run, source in sorted({*aliases, *notes}):
            if source != rows[run]["source_id"]:
                found.setdefault(source, {})[run] = Run(
                    name=rows[run]["name"],
                    source=self.sources[source].name,
                    aliases=aliases.get((run, source), ()),
                    notes=notes.get((run, source), ()),
                )
        return found

    def checkpoints(self, ids: Iterable[int]) -> dict[int, Checkpoint]:
        """Checkpoints by id."""
        rows = self._table("checkpoint", ids)
        names = self._names("run", {r["run_id"] for r in rows.values()})
        return {i: Checkpoint(**_only(r, Checkpoint), run=names[r["run_id"]]) for i, r in rows.items()}

    def _encoding(self, row: Row) -> Encoding:
        return Encoding(
            **_only(row, Encoding),
            text_set=self.text_sets[row["text_set_id"]].hash,
            tokenizer=self.tokenizers[row["tokenizer_id"]].hash,
        )

    def _file(self, row: Row) -> SourceFile:
        return SourceFile(**_only(row, SourceFile), source=self.sources[row["source_id"]].name)

    def _measure(self, row: Row) -> Measure:
        return Measure(**_only(row, Measure), table=row["table_name"])

    def _quantity(self, row: Row) -> Quantity:
        record = Quantity(
            measure=self.measures[row["measure_id"]],
            encoding=self.encodings[row["encoding_id"]],
            params=json.loads(row["params_json"]),
            weight_processing=row["weight_processing"],
            dtype=row["dtype"],
            site=self.sites[row["site_id"]],
            source=self.sources[row["source_id"]],
        )
        if record.hash != row["hash"]:
            raise PathscopeError(
                f"quantity {row['id']} ({record.measure.name}) has hash {row['hash'][:12]}…, its fields give "
                f"{record.hash[:12]}…: the archive is not consistent; `pathscope verify` says what else is."
            )
        return record

    def _table(self, name: str, ids: Iterable[int] | None = None) -> dict[int, Row]:
        where, values = "", {}
        if ids is not None:
            where, values = "WHERE id IN (SELECT unnest($ids::INTEGER[]))", {"ids": sorted(ids)}
        # Arrow would want a time zone database for timestamps that no record has
        columns = [c[0] for c in self.connection.execute(f"SELECT * FROM {name} LIMIT 0").description]
        kept = ", ".join(c for c in columns if c not in ("created_at", "imported_at"))
        rows = self.connection.execute(
            f"SELECT {kept} FROM {name} {where} ORDER BY id", values
        ).to_arrow_table()
        return {r["id"]: r for r in rows.to_pylist()}

    def _names(self, table: str, ids: Iterable[int]) -> dict[int, str]:
        sql = f"SELECT id, name FROM {table} WHERE id IN (SELECT unnest($ids::INTEGER[]))"
        return dict(self.connection.execute(sql, {"ids": sorted(ids)}).fetchall())

    def _said(
        self, table: str, column: str, runs: Mapping[int, Row]
    ) -> dict[tuple[int, int], tuple[str, ...]]:
        sql = f"""SELECT run_id, source_id, {column} FROM {table}
                  WHERE run_id IN (SELECT unnest($ids::INTEGER[])) ORDER BY {column}"""
        return self._grouped(sql, runs)

    def _grouped(self, sql: str, runs: Mapping[int, Row]) -> dict[tuple[int, int], tuple[str, ...]]:
        found: dict[tuple[int, int], tuple[str, ...]] = {}
        for run, source, text in self.connection.execute(sql, {"ids": list(runs)}).fetchall():
            found[(run, source)] = (*found.get((run, source), ()), text)
        return found


def _only(row: Row, record: type[Record]) -> Row:
    """The fields of a row that its record has under the same name, and JSON columns under theirs."""
    fields: Row = {}
    for name in record.model_fields:
        if f"{name}_json" in row:
            text = row[f"{name}_json"]
            fields[name] = json.loads(text) if text else None
        elif name in row:
            fields[name] = row[name]
    return fields
