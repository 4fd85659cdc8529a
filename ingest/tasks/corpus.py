"""Texts to train on and others to be measured on, and random windows of them. Imports no torch."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from archive.errors import UsageError
from archive.identity import content_hash
from ingest.evalsets.documents import Choice, Document, Documents
from ingest.evalsets.own_bpe import train_bpe
from ingest.evalsets.reading import files_of, read_documents
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.stdlib import LICENCE, standard_library
from ingest.evalsets.tokenizing import TextTokenizer

STDLIB = "python-stdlib"


class CorpusChanged(UsageError):
    """The texts, or the tokenizer made from them, are not those that a task was resolved with."""


@dataclass(frozen=True)
class CorpusSource:
    """Where texts come from and how they are divided.

    files: absolute names, folders or globs; none: the standard library of this Python. max_characters: of all texts.
    n_held_out: documents that are measured on and never trained on.
    """

    files: tuple[str, ...]
    text_field: str
    licence: str
    max_characters: int | None
    n_held_out: int

    @property
    def words(self) -> str:
        """For people."""
        return ", ".join(self.files) or f"the standard library of Python {platform.python_version()}"

    def read(self) -> "Corpus":
        """The texts; read once in a process, unless a file has changed."""
        files = files_of(self.files, Path()) if self.files else []
        return _read(self, tuple((str(file), file.stat().st_mtime_ns) for file in files))


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents to train on, and others for evaluation. No text is in both; nearly equal texts may be."""

    training: Documents
    held_out: Documents

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over all texts and which of them are held out."""
        return content_hash({"training": self.training.record.hash, "held_out": self.held_out.record.hash})


@lru_cache(maxsize=4)
def _read(source: CorpusSource, state: tuple[tuple[str, int], ...]) -> Corpus:
    """Read and divide; `state` tells changed files from those that were read before."""
    if source.files:
        found, name, licence = read_documents(source.files, source.text_field, Path()), "text", source.licence
    else:
        found, name, licence = standard_library(), STDLIB, LICENCE
        if not found:
            raise EvalSetRefused(
                "this Python keeps no sources of its standard library; give `files` of your own to train on."
            )
    choice = Choice(max_characters=source.max_characters)
    kind = "text" if source.files else "stdlib"
    every = Documents.of(found, name=name, kind=kind, choice=choice).documents
    if len(every) <= source.n_held_out:
        raise EvalSetRefused(
            f"{source.words}: {len(every)} different documents; held_out = {source.n_held_out} leaves none to train on."
        )
    # by a hash of its own: a document that comes or goes moves hardly any other to the other side
    ranked = sorted(every, key=lambda d: hashlib.sha256(f"held out:{d.sha256}".encode()).digest())

    def part(what: str, documents: Sequence[Document]) -> Documents:
        return Documents.of(documents, name=f"{name}, {what}", kind=kind, choice=Choice(), licence=licence)

    return Corpus(
        training=part("training", ranked[source.n_held_out :]),
        held_out=part("held out", ranked[: source.n_held_out]),
    )


@lru_cache(maxsize=8)
def bpe_of(corpus: Corpus, n_vocab: int) -> TextTokenizer:
    """The tokenizer made from the training documents; made once in a process."""
    return train_bpe((document.text for document in corpus.training.documents), n_vocab)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Documents as tokens, one after the other. offsets: where each begins, and the end of the last."""

    ids: Int[np.ndarray, " token"]
    offsets: Int[np.ndarray, " boundary"]

    @property
    def lengths(self) -> Int[np.ndarray, " document"]:
        """Tokens of each document."""
        lengths: np.ndarray = np.diff(self.offsets)
        return lengths


@lru_cache(maxsize=4)
def training_tokens(corpus: Corpus, tokenizer: TextTokenizer) -> Tokens:
    """The training documents in tokens, none added; encoded once in a process, in two bytes a token where that does."""
    smallest = np.uint16 if tokenizer.n_vocab <= 2**16 else np.int32
    rows = [tokenizer.encode(document.text).ids.astype(smallest) for document in corpus.training.documents]
    return Tokens(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


class Windows:
    """All runs of `width` tokens within one training document; to be drawn from, each as likely as any other.

    Raises EvalSetRefused where no document has so many tokens.
    """

    def __init__(self, corpus: Corpus, tokenizer: TextTokenizer, width: int) -> None:
        tokens = training_tokens(corpus, tokenizer)
        counts = np.maximum(0, tokens.lengths - width + 1)
        if not counts.any():
            raise EvalSetRefused(
                f"{corpus.training.record.name}: the longest of {len(counts)} documents has {tokens.lengths.max()} tokens, "
                f"a sequence takes {width}; lower context, or give longer texts."
            )
        self.width = width
        self._ids = tokens.ids
        self._offsets = tokens.offsets[:-1]
        self._before = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self._before[-1])

    def draw(self, random: np.random.RandomState, n: int) -> Int[np.ndarray, "window token"]:
        """As many of them, independently."""
        chosen = random.randint(0, len(self), n)
        document = np.searchsorted(self._before, chosen, side="right") - 1
        starts = self._offsets[document] + chosen - self._before[document]
        drawn: np.ndarray = self._ids[starts[:, None] + np.arange(self.width)].astype(np.int64)
        return drawn
