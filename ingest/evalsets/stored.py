"""Eval sets and texts that an archive already holds, read back. For the process that plans, never for a worker."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from archive.errors import UnknownName
from archive.records import Encoding, TextSet, Tokenizer
from archive.store import Archive
from ingest.evalsets.documents import Document, Documents
from ingest.evalsets.frozen import FrozenEvalSet, Items, Repeats
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.tokenizing import Vocabulary


def stored_text(archive: Archive, name: str) -> Documents | None:
    """The text set of that name, None where there is none; of several the one that came first.

    Raises EvalSetRefused where only the hashes of its documents were kept.
    """
    with archive.session():
        found = archive.rows(
            "SELECT * FROM text_set WHERE name = $name AND id > 0 ORDER BY id", {"name": name}
        )
        return _documents(archive, found[0]) if found else None


def stored_eval_set(archive: Archive, encoding_hash: str) -> FrozenEvalSet:
    """An eval set as it was frozen, from its tokens in the archive; raises UnknownName where they are not there."""
    with archive.session():
        found = archive.rows("SELECT * FROM encoding WHERE hash = $hash", {"hash": encoding_hash})
        rows = _content(archive, "sequence", "encoding", found[0]["id"]) if found else None
        if rows is None or not rows.num_rows:
            known = [r["hash"] for r in archive.rows("SELECT hash FROM encoding WHERE frozen")]
            raise UnknownName.of(
                "stored eval set", encoding_hash, known, listing='`pathscope sql "FROM v_eval_set"`'
            )
        row = found[0]
        tokenizer = archive.rows("SELECT * FROM tokenizer WHERE id = $id", {"id": row["tokenizer_id"]})[0]
        words = _content(archive, "vocab", "tokenizer", row["tokenizer_id"]).to_pydict()
        texts = archive.rows("SELECT * FROM text_set WHERE id = $id", {"id": row["text_set_id"]})[0]
        documents = _documents(archive, texts) if texts["id"] else None
        facts = json.loads(row["facts_json"])
        sequences = _sequences(rows)
        repeats = Repeats(**facts["repeats"]).of(sequences) if "repeats" in facts else None
        return FrozenEvalSet(
            encoding=Encoding(
                **_only(row, Encoding), facts=facts, text_set=texts["hash"], tokenizer=tokenizer["hash"]
            ),
            tokenizer=Tokenizer(**_only(tokenizer, Tokenizer)),
            vocabulary=Vocabulary(
                tuple(words["token_id"]),
                tuple(words["text"]),
                frozenset(i for i, s in zip(words["token_id"], words["special"], strict=True) if s),
            ),
            sequences=sequences,
            documents=documents,
            items=_items(_content(archive, "item", "encoding", row["id"])),
            copies=repeats,
        )


def _documents(archive: Archive, row: dict[str, Any]) -> Documents:
    found = _content(archive, "document", "text_set", row["id"]).to_pylist()
    if len(found) < row["n_documents"] or any(document["text"] is None for document in found):
        raise EvalSetRefused(
            f"text set {row['name']!r} in {archive.file} is there without its texts; give this eval set another name."
        )
    record = TextSet(**_only(row, TextSet), facts=json.loads(row["facts_json"]))
    return Documents(record, tuple(Document(d["name"], d["text"]) for d in found))


def _content(archive: Archive, what: str, owner: str, owner_id: int) -> pa.Table:
    key = "token_id" if what == "vocab" else what
    return archive.query(
        f"SELECT * EXCLUDE ({owner}_id) FROM content_{what} WHERE {owner}_id = $id ORDER BY {key}",
        {"id": owner_id},
    )


def _only(row: dict[str, Any], record: type[Encoding] | type[Tokenizer] | type[TextSet]) -> dict[str, Any]:
    return {field: row[field] for field in record.model_fields if field in row}


def _sequences(rows: pa.Table) -> Sequences:
    def flat(name: str, dtype: type[np.generic]) -> np.ndarray | None:
        column = rows.column(name).combine_chunks()
        return None if column.null_count else column.flatten().to_numpy().astype(dtype)

    lengths = rows.column("token_ids").combine_chunks().value_lengths().to_numpy()
    return Sequences(
        ids=rows.column("token_ids").combine_chunks().flatten().to_numpy().astype(np.int32),
        offsets=np.cumsum([0, *lengths]),
        document=rows.column("document").to_numpy().astype(np.int64),
        start=rows.column("start").to_numpy().astype(np.int64),
        byte_lengths=flat("byte_lengths", np.int16),
        classes=flat("token_classes", np.int8),
        unigram_surprisal=flat("unigram_surprisal", np.float32),
        bigram_surprisal=flat("bigram_surprisal", np.float32),
    )


def _items(rows: pa.Table) -> Items | None:
    if not rows.num_rows:
        return None

    def ids(name: str) -> np.ndarray | None:
        column = rows.column(name).combine_chunks()
        return None if column.null_count else column.flatten().to_numpy().astype(np.int32)

    correct = ids("correct_ids")
    assert correct is not None
    templates, facts = rows.column("template").to_pylist(), rows.column("facts_json").to_pylist()
    return Items(
        sequence=rows.column("sequence").to_numpy(),
        position=rows.column("position").to_numpy(),
        correct=correct,
        distractor=ids("distractor_ids"),
        template=() if None in templates else tuple(templates),
        facts=() if None in facts else tuple(json.loads(f) for f in facts),
    )
