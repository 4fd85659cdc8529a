"""Level one of an eval set: documents before any tokenizer, numbered by what they say.

Documents are kept in the order of the SHA-256 of their text. So neither file names nor the order of files
decide which document has which number, and the first documents of a set are a random sample of it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from archive.identity import content_hash
from archive.records import TextSet
from ingest.evalsets.refusals import EvalSetRefused

if TYPE_CHECKING:
    from archive.shard import ShardBuilder


@dataclass(frozen=True)
class Document:
    """One text with the name people know it by; two documents are the same when their texts are."""

    name: str
    text: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 (hex) of the text in UTF-8; raises EvalSetRefused for text that UTF-8 cannot hold."""
        try:
            return hashlib.sha256(self.text.encode()).hexdigest()
        except UnicodeEncodeError as error:
            raise EvalSetRefused(
                f"{self.name}: character {error.start} is half of a surrogate pair (U+{ord(self.text[error.start]):04X}), "
                "which is no text; repair the file that holds it."
            ) from None


@dataclass(frozen=True)
class Choice:
    """Which of the documents found are taken: all, or as many as a budget allows, chosen by a seed.

    The seed gives every text a rank of its own, so a document that is added or lost changes little else.
    """

    max_documents: int | None = None
    max_characters: int | None = None
    seed: int = 0

    def of(self, documents: Iterable[Document]) -> list[Document]:
        """Documents by rank, up to the first that the budget has no room for; any order in, any order out."""
        ranked = sorted(documents, key=lambda d: hashlib.sha256(f"{self.seed}:{d.sha256}".encode()).digest())
        taken: list[Document] = []
        characters = 0
        for document in ranked[: self.max_documents]:
            characters += len(document.text)
            if self.max_characters is not None and characters > self.max_characters:
                break
            taken.append(document)
        if ranked and not taken:
            raise EvalSetRefused(
                f"{ranked[0].name} has {len(ranked[0].text)} characters, max_characters allows "
                f"{self.max_characters}; give more, or choose other documents by another seed."
            )
        return taken

    @property
    def facts(self) -> dict[str, int | None]:
        """The choice as plain values, stored with the text set."""
        return {
            "max_documents": self.max_documents,
            "max_characters": self.max_characters,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Documents:
    """A frozen text set: its record, its documents in order of their hash, and what was left out of it."""

    record: TextSet
    documents: tuple[Document, ...]
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        found: Sequence[Document],
        *,
        name: str,
        kind: str,
        choice: Choice,
        licence: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> Self:
        """Freeze documents: empty ones and repeated texts are left out and counted.

        The hash covers the texts chosen and nothing else. Raises EvalSetRefused when nothing is left.
        """
        full = [document for document in found if document.text.strip()]
        empty = [document.name for document in found if not document.text.strip()]
        different: dict[str, Document] = {}
        for document in sorted(full, key=lambda d: d.name):
            different.setdefault(document.sha256, document)
        if not different:
            named = f" ({', '.join(empty[:3])}{', …' if len(empty) > 3 else ''})" if empty else ""
            raise EvalSetRefused(
                f"eval set {name!r}: {len(found)} documents found, none of them with any text{named}."
            )
        notes = []
        if empty:
            notes.append(f"{_count(len(empty), 'empty document')} left out, the first is {empty[0]}")
        if repeated := len(full) - len(different):
            notes.append(
                f"{_count(repeated, 'document')} left out: the same text is there under another name"
            )
        chosen = sorted(choice.of(different.values()), key=lambda d: d.sha256)
        record = TextSet(
            hash=content_hash({"documents": [document.sha256 for document in chosen]}),
            name=name,
            kind=kind,
            licence=licence,
            n_documents=len(chosen),
            facts={
                **(facts or {}),
                "choice": choice.facts,
                "n_found": len(found),
                "n_empty": len(empty),
                "n_repeated": repeated,
            },
        )
        return cls(record, tuple(chosen), tuple(notes))

    def add_to(self, builder: "ShardBuilder") -> None:
        """Put the documents into a shard, to be stored once."""
        builder.add(
            "content_document",
            builder.text_set(self.record),
            document=list(range(len(self.documents))),
            name=[document.name for document in self.documents],
            sha256=[document.sha256 for document in self.documents],
            text=[document.text for document in self.documents],
        )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
