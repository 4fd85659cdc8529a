"""A frozen eval set: everything a model is measured on, as arrays, and as rows for the archive."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, Int32

from archive.identity import content_hash
from archive.records import Encoding, Tokenizer
from ingest.evalsets.documents import Documents
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.sequences import Batch, Sequences
from ingest.evalsets.tokenizing import TextTokenizer, Vocabulary
from ingest.task import Task

if TYPE_CHECKING:
    from archive.shard import ShardBuilder


@dataclass(frozen=True, eq=False)
class Items:
    """Where an answer is read and what it is: one entry for each prompt.

    sequence, position: the logits at that position say the answer. correct, distractor: the right token and the one
    it is compared with; distractor is None where there is none. template: which prompts are of one kind.
    facts: whatever else is known of a prompt, as plain values; of these two are part of what the items are:
    `counterfactual`, the tokens of a whole other sequence to patch with, and `positions`, the places with a role.
    """

    sequence: Int[np.ndarray, " item"]
    position: Int[np.ndarray, " item"]
    correct: Int32[np.ndarray, " item"]
    distractor: Int32[np.ndarray, " item"] | None = None
    template: tuple[str, ...] = ()
    facts: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.sequence)

    def counterfactual(self, item: int) -> list[int] | None:
        """The sequence that an item is compared with, as many tokens, the start token included; None without."""
        found = self.facts[item].get("counterfactual") if self.facts else None
        # a user's own fact of that name may be anything
        return found if isinstance(found, list) and all(isinstance(i, int) for i in found) else None

    def clusters(self, chosen: Sequence[int]) -> Int[np.ndarray, " chosen"]:
        """Which of the chosen items are not independent: their templates as numbers; if there is one, each is on its own."""
        templates = [self.template[item] for item in chosen] if self.template else []
        numbers = {template: number for number, template in enumerate(dict.fromkeys(templates))}
        if len(numbers) < 2:
            return np.arange(len(chosen))
        return np.array([numbers[template] for template in templates])

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over what is read where, what is right, and where there are any counterfactuals and roles."""
        found = hashlib.sha256()
        for column in (self.sequence, self.position, self.correct, self.distractor):
            given = np.zeros(0) if column is None else column
            found.update(f"{given.shape}".encode() + np.ascontiguousarray(given, dtype="<i8").tobytes())
        others = [self.counterfactual(item) for item in range(len(self))]
        if any(other is not None for other in others):
            found.update(str(others).encode())
        roles = [facts.get("positions") for facts in self.facts]
        if any(places is not None for places in roles):
            found.update(json.dumps(roles, sort_keys=True).encode())
        return found.hexdigest()

    def columns(self) -> dict[str, Any]:
        """Columns of the archive's content_item."""
        return {
            "item": np.arange(len(self)),
            "sequence": self.sequence,
            "position": self.position,
            "correct_ids": self.correct.reshape(-1, 1),
            "distractor_ids": None if self.distractor is None else self.distractor.reshape(-1, 1),
            "template": list(self.template) or None,
            "facts_json": [json.dumps(f, ensure_ascii=False, sort_keys=True) for f in self.facts] or None,
        }


@dataclass(frozen=True)
class Repeats:
    """A block of tokens that comes several times in every sequence: it begins at `start` and has `block` tokens."""

    start: int
    block: int
    copies: int

    def of(self, sequences: Sequences) -> Int[np.ndarray, " token"]:
        """Which copy each token belongs to, from 1; 0 for tokens outside any."""
        inside = np.repeat(np.arange(1, self.copies + 1), self.block)
        one = np.concatenate([np.zeros(self.start, dtype=np.int64), inside])
        return np.tile(one, len(sequences))


@dataclass(frozen=True, eq=False)
class FrozenEvalSet:
    """The same tokens for every checkpoint and every run that shares a tokenizer.

    copies: for each token which copy of a repeated block it belongs to, from 1; 0 for none; None when nothing repeats.
    notes: what was left out and why, for people.
    """

    encoding: Encoding
    tokenizer: Tokenizer
    vocabulary: Vocabulary
    sequences: Sequences
    documents: Documents | None = None
    items: Items | None = None
    copies: Int[np.ndarray, " token"] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        sequences: Sequences,
        *,
        name: str,
        settings: Mapping[str, Any],
        tokenizer: TextTokenizer,
        bos_policy: str,
        context: int,
        documents: Documents | None = None,
        items: Items | None = None,
        repeats: Repeats | None = None,
        facts: Mapping[str, Any],
        notes: tuple[str, ...] = (),
    ) -> "FrozenEvalSet":
        """Freeze sequences; `settings` are those that made them, `facts` what else is to be stored about them.

        `name` is what questions call the set; with every tokenizer it is the same, which is stored beside it.
        The hash covers tokens, what they are tokens of, tokenizer, start token, context and items; it does not
        cover names, licence, surprisal or classes.
        """
        text_set = "none" if documents is None else documents.record.hash
        encoding = Encoding(
            hash=content_hash(
                {
                    "tokens": sequences.digest,
                    "text_set": text_set,
                    "tokenizer": tokenizer.record.hash,
                    "bos_policy": bos_policy,
                    "context_length": context,
                    "items": "none" if items is None else items.digest,
                }
            ),
            text_set=text_set,
            tokenizer=tokenizer.record.hash,
            name=name,
            bos_policy=bos_policy,
            context_length=context,
            n_sequences=len(sequences),
            n_tokens=len(sequences.ids),
            facts={
                "settings": settings,
                "token_hash": sequences.digest,
                **({} if repeats is None else {"repeats": vars(repeats)}),
                **facts,
            },
        )
        return cls(
            encoding=encoding,
            tokenizer=tokenizer.record,
            vocabulary=tokenizer.vocabulary,
            sequences=sequences,
            documents=documents,
            items=items,
            copies=None if repeats is None else repeats.of(sequences),
            notes=notes,
        )

    @classmethod
    def of_task(cls, task: Task) -> "FrozenEvalSet":
        """A task's evaluation grid in the same form, under the same hashes."""
        frozen, copies = task.eval_set, task.copies()
        words = frozen.words
        correct = np.asarray(frozen.items["correct_ids"], dtype=np.int32)
        return cls(
            encoding=frozen.encoding,
            tokenizer=frozen.tokenizer,
            vocabulary=Vocabulary(tuple(map(int, words["token_id"])), tuple(words["text"]), frozenset()),
            sequences=Sequences.of(list(frozen.sequences["token_ids"])),
            items=Items(
                np.asarray(frozen.items["sequence"]),
                np.asarray(frozen.items["position"]),
                correct.reshape(-1),
            ),
            copies=None if copies is None else copies.reshape(-1),
        )

    def batches(self, size: int) -> Iterator[Batch]:
        """Every sequence once, at most `size` together, all of a batch equally long, always in one order."""
        return self.sequences.batches(size)

    @property
    def has_answers(self) -> bool:
        """Whether it asks for something, with a right answer and a wrong one."""
        return self.items is not None and self.items.distractor is not None

    @property
    def is_ragged(self) -> bool:
        """Whether its sequences have different lengths, and so no common positions."""
        return len(np.unique(self.sequences.lengths)) > 1

    @property
    def document_numbers(self) -> Int[np.ndarray, " sequence"]:
        """The document each sequence comes from; without documents each sequence is one of its own."""
        own = np.arange(len(self.sequences))
        return own if (self.sequences.document < 0).any() else self.sequences.document

    def refuse_unless_it_fits(self, model: str, *, n_vocab: int, n_context: int | None) -> None:
        """Raise EvalSetRefused where a model has no embedding for a token, or no position for one.

        n_context: the longest sequence the model takes; None when there is no limit.
        """
        highest, longest = int(self.sequences.ids.max()), int(self.sequences.lengths.max())
        if highest >= n_vocab:
            raise EvalSetRefused(
                f"eval set {self.encoding.name!r} has token id {highest}, {model} has embeddings for {n_vocab}; freeze it "
                "with the tokenizer of the model."
            )
        if n_context is not None and longest > n_context:
            raise EvalSetRefused(
                f"eval set {self.encoding.name!r} has a sequence of {longest} tokens, {model} takes {n_context}; "
                f"set context = {n_context} or less."
            )

    def add_to(self, builder: "ShardBuilder") -> None:
        """Put texts, vocabulary, tokens and items into a shard; the archive stores each of them once."""
        if self.documents is not None:
            self.documents.add_to(builder)
        builder.add(
            "content_vocab",
            builder.tokenizer(self.tokenizer),
            token_id=list(self.vocabulary.ids),
            text=list(self.vocabulary.texts),
            special=[i in self.vocabulary.special for i in self.vocabulary.ids],
        )
        encoding = builder.encoding(self.encoding)
        builder.add("content_sequence", encoding, **self.sequences.columns())
        if self.items is not None:
            builder.add("content_item", encoding, **self.items.columns())
