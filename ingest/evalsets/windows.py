"""From documents to token sequences of a context length; two documents never share a sequence."""

from abc import abstractmethod
from typing import Literal

import numpy as np
from pydantic import Field

from ingest.evalset import EvalSetSettings, Given
from ingest.evalsets.classes import TokenClass, classes_of
from ingest.evalsets.documents import Choice, Documents
from ingest.evalsets.frozen import FrozenEvalSet
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.surprisal import METHOD, surprisal
from ingest.evalsets.tokenizing import TextTokenizer

Windows = Literal["first", "all"]

_LONGEST_TOKEN = int(np.iinfo(np.int16).max)  # what the archive's column holds


class TextEvalSet(EvalSetSettings):
    """Settings that every eval set of running text has."""

    context: int = Field(
        512, ge=2, description="tokens of every sequence, the start token included; shorter ones are left out"
    )
    windows: Windows = Field(
        "first",
        description="first: one sequence a document, from its start; all: consecutive ones, none overlapping",
    )
    max_documents: int | None = Field(None, ge=1, description="how many documents at most")
    max_characters: int | None = Field(
        None, ge=1, description="how many characters at most, of all documents"
    )
    seed: int = Field(0, ge=0, description="chooses the documents where there are more than that")

    @property
    def choice(self) -> Choice:
        """Which documents are taken."""
        return Choice(self.max_documents, self.max_characters, self.seed)

    @property
    def text_name(self) -> str:
        """What the text set is called."""
        return self.name or self.kind

    @abstractmethod
    def documents(self, given: Given) -> Documents:
        """The texts, frozen."""

    def freeze(self, given: Given) -> FrozenEvalSet:
        """Texts, cut into sequences; surprisal is estimated on the result, leaving out the token in question."""
        documents, tokenizer = self.documents(given), given.tokenizer
        start_ids, bos_policy = tokenizer.start(self.bos)
        sequences, n_short = cut(documents, tokenizer, start_ids, context=self.context, windows=self.windows)
        predicted = np.ones(len(sequences.ids), dtype=bool)
        if start_ids:
            predicted[sequences.offsets[:-1]] = False
        first = np.zeros(len(sequences.ids), dtype=bool)
        first[sequences.offsets[:-1]] = True
        found = surprisal(sequences.ids, first, predicted, tokenizer.n_vocab)
        notes = documents.notes
        if n_short:
            short = f"{n_short} window{'s' if n_short > 1 else ''}"
            notes += (f"{short} of fewer than {self.context} tokens left out",)
        return FrozenEvalSet.of(
            Sequences(
                **{**vars(sequences), "unigram_surprisal": found.unigram, "bigram_surprisal": found.bigram}
            ),
            name=self.name or f"{self.kind}, {self.context} tokens",
            settings=self.as_written(),
            tokenizer=tokenizer,
            bos_policy=bos_policy,
            context=self.context,
            documents=documents,
            facts={
                "n_short": n_short,
                "surprisal": METHOD,
                "token_classes": {c.name.lower(): int(c) for c in TokenClass},
            },
            notes=notes,
        )


def cut(
    documents: Documents,
    tokenizer: TextTokenizer,
    start_ids: list[int],
    *,
    context: int,
    windows: Windows,
) -> tuple[Sequences, int]:
    """Sequences of `context` tokens, and how many windows were left out for being shorter.

    All have one length: a measure reads every sequence at the same positions.
    Every sequence begins with `start_ids`, which have no bytes; they count as tokens.
    """
    room = context - len(start_ids)
    head = np.array(start_ids, dtype=np.int32)
    nothing = np.zeros(len(head), dtype=np.int32)
    special = np.full(len(head), TokenClass.SPECIAL, dtype=np.int8)
    rows, numbers, starts, lengths, classes = [], [], [], [], []
    n_short, longest = 0, 0
    for number, document in enumerate(documents.documents):
        encoded = tokenizer.encode(document.text)
        if (widest := int(encoded.byte_lengths.max(initial=0))) > _LONGEST_TOKEN:
            raise EvalSetRefused(
                f"{document.name}: one token stands for {widest} bytes, the archive holds {_LONGEST_TOKEN}; "
                f"{tokenizer.name} cannot read this text, leave the document out."
            )
        kinds = classes_of(document.text, encoded.byte_lengths)
        n = len(encoded.ids)
        for start in range(0, max(n, 1), room) if windows == "all" else (0,):
            window = slice(start, min(start + room, n))
            size = len(head) + window.stop - start
            longest = max(longest, size)
            if size < context:
                n_short += 1
                continue
            rows.append(np.concatenate([head, encoded.ids[window]]))
            lengths.append(np.concatenate([nothing, encoded.byte_lengths[window]]))
            classes.append(np.concatenate([special, kinds[window]]))
            numbers.append(number)
            starts.append(start)
    if not rows:
        raise EvalSetRefused(
            f"eval set {documents.record.name!r}: no document gives {context} tokens with {tokenizer.name}, the longest "
            f"of {len(documents.documents)} gives {longest}; set context to {longest} or less."
        )
    return Sequences.of(rows, document=numbers, start=starts, byte_lengths=lengths, classes=classes), n_short
