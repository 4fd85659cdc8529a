"""What turns text into token ids: bytes, and a task's vocabulary; `hub_tokenizer.py` has Hugging Face's.

Start tokens are never added by a tokenizer: an eval set says in its own settings whether it has one.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int

from archive.identity import content_hash
from archive.records import Tokenizer
from ingest.evalsets.refusals import EvalSetRefused, TokenizerRefused
from ingest.task import Task

BosPolicy = Literal["none", "prepend"]


@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one text and how many of its UTF-8 bytes each of them stands for.

    byte_lengths add up to the bytes of the text; a token in the middle of a character may have 0.
    """

    ids: Int[np.ndarray, " token"]
    byte_lengths: Int[np.ndarray, " token"]


@dataclass(frozen=True)
class Vocabulary:
    """What token ids read as; `special` are those that stand for no text, such as a start token."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    special: frozenset[int]


@dataclass(frozen=True)
class TextTokenizer(ABC):
    """A tokenizer: its record for the archive, its vocabulary and its start token (None: it has none)."""

    record: Tokenizer
    vocabulary: Vocabulary
    bos: int | None

    @abstractmethod
    def encode(self, text: str) -> Encoded:
        """The tokens of a text, no start token added; special tokens spelled out in a text are text."""

    @property
    def name(self) -> str:
        """What people call it: a repository, or the name of a built-in one."""
        return self.record.name

    @property
    def n_vocab(self) -> int:
        """Number of ids, counted to the highest."""
        return self.record.n_vocab

    def read(self, token_id: int) -> str:
        """What an id reads as; for messages and names."""
        return dict(zip(self.vocabulary.ids, self.vocabulary.texts, strict=True)).get(
            token_id, f"token {token_id}"
        )

    def single(self, text: str) -> int | None:
        """The id of a text that is exactly one token; None where it takes more or fewer."""
        ids = self.encode(text).ids
        return int(ids[0]) if len(ids) == 1 else None

    def start(self, policy: BosPolicy) -> tuple[list[int], str]:
        """Ids that every sequence begins with under a policy, and the policy as the archive records it.

        Raises EvalSetRefused when the policy wants a start token that this tokenizer does not have.
        """
        if policy == "none":
            return [], "none"
        if self.bos is None:
            raise EvalSetRefused(
                f'bos = "prepend" wants a start token, the tokenizer {self.name} has none; set bos = "none".'
            )
        return [self.bos], f"prepend {self.read(self.bos)}"

    def refuse_unless_it_fits(self, model: str, n_vocab: int) -> None:
        """Raise TokenizerRefused unless this can be the tokenizer of a model with an embedding for `n_vocab` ids.

        Embeddings are padded upwards, to a multiple of 128 or by a few per cent, so they may be somewhat larger.
        """
        text_ids = [i for i in self.vocabulary.ids if i not in self.vocabulary.special]
        if max(text_ids, default=-1) >= n_vocab:
            raise TokenizerRefused(
                f"the tokenizer {self.name} gives ids up to {max(text_ids)}, {model} has embeddings for {n_vocab}; "
                "name the tokenizer that the model was trained with."
            )
        spare = n_vocab - self.n_vocab
        if spare > max(128, n_vocab // 20) or 2 * self.n_vocab < n_vocab:
            raise TokenizerRefused(
                f"the tokenizer {self.name} has {self.n_vocab} tokens, {model} has embeddings for {n_vocab}: too many for "
                "padding; name the tokenizer that the model was trained with."
            )


@dataclass(frozen=True)
class ByteTokenizer(TextTokenizer):
    """Ids 0 to 255 are the bytes of UTF-8, 256 is a start token."""

    START: ClassVar[str] = "<start>"

    @classmethod
    def make(cls) -> "ByteTokenizer":
        """The only one there is."""
        texts = tuple(byte_text(bytes([i])) for i in range(256))
        record = Tokenizer(
            hash=content_hash({"bytes": 256, "start": cls.START}), name="bytes", kind="bytes", n_vocab=257
        )
        return cls(record, Vocabulary(tuple(range(257)), (*texts, cls.START), frozenset((256,))), 256)

    def encode(self, text: str) -> Encoded:
        """One token a byte."""
        ids = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)
        return Encoded(ids, np.ones(len(ids), dtype=np.int32))


@dataclass(frozen=True)
class TaskTokenizer(TextTokenizer):
    """A task's vocabulary: words between white space."""

    @classmethod
    def of(cls, task: Task, *, start: str | None = None) -> "TaskTokenizer":
        """The tokenizer of a task; `start` is the word of its vocabulary that begins its sequences, if one does.

        Words that no model of the task can say are special: they are markers, not text.
        """
        words = task.vocabulary
        record = task.eval_set.tokenizer
        if start is not None and start not in words:
            raise TokenizerRefused(
                f"the vocabulary of {record.name} has no {start!r}: {', '.join(words[:9])}, …"
            )
        bos = None if start is None else words.index(start)
        special = frozenset((*range(task.n_outputs, len(words)), *(() if bos is None else (bos,))))
        return cls(record, Vocabulary(tuple(range(len(words))), words, special), bos)

    def encode(self, text: str) -> Encoded:
        """The ids of the words; raises EvalSetRefused for a word that the task does not know."""
        ids_of = {word: i for i, word in zip(self.vocabulary.ids, self.vocabulary.texts, strict=True)}
        found = list(re.finditer(r"\S+", text))
        unknown = [word[0] for word in found if word[0] not in ids_of]
        if unknown:
            raise EvalSetRefused(f"{self.name}: no token {unknown[0]!r}; it has {', '.join(ids_of)[:200]}.")
        ids = np.array([ids_of[word[0]] for word in found], dtype=np.int32)
        return Encoded(ids, lengths_from_ends(text, (word.end() for word in found)))


def lengths_from_ends(text: str, ends: Iterable[int]) -> Int[np.ndarray, " token"]:
    """Bytes of text for each token, from where tokens end (in characters): what lies before a token is its own.

    They add up to the bytes of the text: what follows the last token belongs to it.
    """
    limits = np.maximum.accumulate(np.array([0, *ends], dtype=np.int64))
    if len(limits) > 1:
        limits[-1] = len(text)
    per_character = np.array([len(character.encode()) for character in text], dtype=np.int64)
    bytes_before = np.concatenate([[0], np.cumsum(per_character)])
    return np.diff(bytes_before[limits]).astype(np.int32)


def byte_text(raw: bytes) -> str:
    """Bytes as people read them: text where they are text, hexadecimal escapes where they are a piece of a character."""
    return raw.decode(errors="backslashreplace")
