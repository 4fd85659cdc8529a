"""Handing an archive on: a folder of Parquet files that needs no pathscope, with a card that says what is in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb

from archive.errors import UnknownName
from archive.identity import file_sha256
from archive.layout import Layout
from archive.store import READ_PATIENCE, Archive, explain_damage
from archive.upkeep.card import Card, ExportedFile, SourceFacts, write_card
from archive.upkeep.change import LIST_RUNS, quoted
from archive.upkeep.whole_folder import whole_folder
from archive.views import VIEWS

CARD = "README.md"
SUMS = "SHA256SUMS"
# views that only repeat what other files hold, or name people
LEFT_OUT = frozenset(("v_curve", "v_loss", "v_coverage", "v_audit"))
# columns that name people, or files of the machine a number was measured on
PRIVATE = frozenset(("traceback", "excluded_by", "who"))
# content from which a text could be rebuilt
TEXTS = frozenset(("v_eval_token", "content_document", "content_item", "content_vocab"))
# (what it is about, what to select, the eval sets it belongs to)
CONTENT_TABLES = {
    "content_document": (
        "The documents of every text set; text is NULL where only its hash may be kept.",
        "SELECT t.name AS text_set, t.hash AS text_set_hash, t.licence, c.* EXCLUDE (text_set_id) "
        "FROM content_document c JOIN text_set t ON t.id = c.text_set_id",
        "t.id IN (SELECT text_set_id FROM encoding WHERE id IN ({used}))",
    ),
    "content_item": (
        "Prompts of every eval set: where the answer is read and what is right.",
        "SELECT e.name AS eval_set, e.hash AS encoding_hash, c.* EXCLUDE (encoding_id) "
        "FROM content_item c JOIN encoding e ON e.id = c.encoding_id",
        "e.id IN ({used})",
    ),
    "content_vocab": (
        "What the token ids of every tokenizer read as.",
        "SELECT k.name AS tokenizer, k.hash AS tokenizer_hash, c.* EXCLUDE (tokenizer_id) "
        "FROM content_vocab c JOIN tokenizer k ON k.id = c.tokenizer_id",
        "k.id IN (SELECT tokenizer_id FROM encoding WHERE id IN ({used}))",
    ),
}
# how views without a run_id are narrowed to the chosen runs; those not named here go out whole
_USED_QUANTITIES = "SELECT quantity_id FROM v_cell WHERE run_id IN (SELECT id FROM chosen)"
_USED_SOURCES = f"""SELECT source_id FROM run WHERE id IN (SELECT id FROM chosen)
                    UNION SELECT source_id FROM quantity WHERE id IN ({_USED_QUANTITIES})"""
_USED_ENCODINGS = f"SELECT encoding_id FROM quantity WHERE id IN ({_USED_QUANTITIES})"
NARROWED = {
    "v_pair": "run_id_a IN (SELECT id FROM chosen) AND run_id_b IN (SELECT id FROM chosen)",
    "v_pair_vector": "run_a IN (SELECT name FROM chosen) AND run_b IN (SELECT name FROM chosen)",
    "v_cell": "run_id IN (SELECT id FROM chosen) AND (run_b IS NULL OR run_b IN (SELECT name FROM chosen))",
    "v_failure": "run IN (SELECT name FROM chosen)",
    "v_quantity": f"quantity_id IN ({_USED_QUANTITIES})",
    "v_source": f"source_id IN ({_USED_SOURCES})",
    "v_source_file": f"source IN (SELECT name FROM source WHERE id IN ({_USED_SOURCES})) AND file_id IN "
    "(SELECT file_id FROM v_cell WHERE run_id IN (SELECT id FROM chosen))",
    "v_shard": "shard IN (SELECT shard FROM v_cell WHERE run_id IN (SELECT id FROM chosen))",
    "v_study": "study_id IN (SELECT study_id FROM study_run WHERE run_id IN (SELECT id FROM chosen))",
    "v_hypothesis": "false",
    "v_eval_token": f"encoding_id IN ({_USED_ENCODINGS})",
}


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, its files, and sources whose numbers nobody may pass on for sure."""

    folder: Path
    files: list[ExportedFile]
    runs: int
    unlicensed: list[str]


def export(
    layout: Layout,
    folder: Path,
    *,
    text: bool = True,
    runs: str | Sequence[str] = (),
    snapshot: bool = False,
    patience: float = READ_PATIENCE,
) -> Exported:
    """Write every public view as a Parquet file, a dataset card and SHA256SUMS into a new folder.

    text=False leaves out documents, tokens, prompts and vocabularies. runs: one or several patterns (`*`, `?`,
    `[ab]`) of run names, none for all. snapshot=True reads the published copy, so that commits need not wait. All
    files show one state of the archive, and the folder appears whole, by one rename. Raises UsageError when it is
    there and not empty.
    """
    patterns = (runs,) if isinstance(runs, str) else tuple(runs)
    folder = folder.expanduser().absolute()
    archive = Archive(layout.database, snapshot=snapshot, patience=patience)
    with whole_folder(folder) as unfinished:
        with archive.session() as connection, explain_damage(archive.file):
            n_runs = _choose(connection, patterns)
            files = _write_files(connection, unfinished, text=text, narrowed=bool(patterns))
            card = _card(connection, files, n_runs=n_runs, text=text, runs=patterns)
        write_card(card, unfinished / CARD)
        names = [*(f.name for f in files), CARD]
        sums = "".join(f"{file_sha256(unfinished / name)}  {name}\n" for name in names)
        (unfinished / SUMS).write_text(sums, encoding="utf-8")
    return Exported(folder, files, n_runs, [s.name for s in card.sources if not s.licensed])


def _choose(connection: duckdb.DuckDBPyConnection, patterns: Sequence[str]) -> int:
    """Put the chosen runs into a temporary table; returns their number. Raises UnknownName for a pattern without any."""
    known = connection.execute("SELECT id, name FROM run").fetchall()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for _, name in known):
            raise UnknownName.of("run matching", pattern, [name for _, name in known], listing=LIST_RUNS)
    ids = [i for i, name in known if not patterns or any(fnmatchcase(name, p) for p in patterns)]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE chosen AS SELECT id, name FROM run WHERE id IN (SELECT unnest($ids))",
        {"ids": ids},
    )
    return len(ids)


def _write_files(
    connection: duckdb.DuckDBPyConnection, folder: Path, *, text: bool, narrowed: bool
) -> list[ExportedFile]:
    files = []
    for view in VIEWS:
        if view.name in LEFT_OUT or (view.name in TEXTS and not text):
            continue
        columns = [c[0] for c in connection.execute(f"SELECT * FROM {view.name} LIMIT 0").description]
        private = [c for c in columns if c in PRIVATE]
        # facts come in the order in which they are stored; sorting millions of joined rows would fill the memory
        large = view.name in TEXTS or ("quantity_id" in columns and view.name != "v_quantity")
        order = "" if large else f"ORDER BY {columns[0]}"
        where = f"WHERE {_narrowing(view.name, columns)}" if narrowed else ""
        columns_out = f"* EXCLUDE ({', '.join(private)})" if private else "*"
        sql = f"SELECT {columns_out} FROM {view.name} {where} {order}"
        files.append(_write(connection, folder, view.name, view.about, sql))
    for name, (about, sql, chosen) in CONTENT_TABLES.items() if text else ():
        where = f" WHERE {chosen.format(used=_USED_ENCODINGS)}" if narrowed else ""
        files.append(_write(connection, folder, name, about, sql + where))
    return files


def _narrowing(view: str, columns: Sequence[str]) -> str:
    if view in NARROWED:
        return NARROWED[view]
    return "run_id IN (SELECT id FROM chosen)" if "run_id" in columns else "true"


def _write(
    connection: duckdb.DuckDBPyConnection, folder: Path, name: str, about: str, sql: str
) -> ExportedFile:
    path = folder / f"{name}.parquet"
    connection.execute(f"COPY ({sql}) TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)")
    found = connection.execute(f"SELECT count(*) FROM read_parquet({quoted(path)})").fetchone()
    assert found is not None
    return ExportedFile(path.name, about, int(found[0]), path.stat().st_size, file_sha256(path))


def _card(
    connection: duckdb.DuckDBPyConnection,
    files: list[ExportedFile],
    *,
    n_runs: int,
    text: bool,
    runs: Sequence[str],
) -> Card:
    where = f"WHERE {NARROWED['v_source']}" if runs else ""
    sources = connection.execute(
        f"SELECT source, licence, citation, url, repository, commit_hash, n_rows FROM v_source {where} ORDER BY source_id"
    ).fetchall()
    used = f"AND id IN (SELECT text_set_id FROM encoding WHERE id IN ({_USED_ENCODINGS}))" if runs else ""
    texts = connection.execute(
        f"SELECT name, licence FROM text_set WHERE id <> 0 {used} ORDER BY name"
    ).fetchall()
    facts = dict(connection.execute("SELECT key, value FROM archive_info").fetchall())
    excluded = connection.execute(
        """SELECT run, exclusion_reason FROM v_run WHERE excluded AND run_id IN (SELECT id FROM chosen) ORDER BY run"""
    ).fetchall()
    return Card(
        archive_uuid=facts.get("uuid", ""),
        files=files,
        sources=[SourceFacts(*row) for row in sources],
        text_licences=[(str(n), str(licence)) for n, licence in texts] if text else [],
        n_runs=n_runs,
        runs=" and ".join(runs) or None,
        has_text=text,
        excluded=[(str(run), str(reason)) for run, reason in excluded],
    )
