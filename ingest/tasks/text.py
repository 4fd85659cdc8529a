"""Text, token by token, with as many repeated segments among it as one likes: what language models train on."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool, Int
from pydantic import BaseModel, ConfigDict, Field, model_validator

from archive.identity import content_hash
from archive.records import Part
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.own_bpe import LEAST_TOKENS
from ingest.evalsets.tokenizing import BosPolicy, ByteTokenizer, TextTokenizer
from ingest.streams import stream
from ingest.task import EvalSet, Examples, TakenOn, Task, task
from ingest.tasks.corpus import Corpus, CorpusChanged, CorpusSource, Windows, bpe_of
from ingest.tasks.text_evaluation import held_out_text, repeated_random

_BYTES = ByteTokenizer.make()


class Frozen(BaseModel):
    """SHA-256 of the texts and the tokenizer, and of the settings that they follow from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: str
    corpus: str
    tokenizer: str


@task(
    "text",
    citation="Elhage et al. 2021, A mathematical framework for transformer circuits; Olsson et al. 2022, "
    "In-context learning and induction heads",
)
class Text(Task):
    """Windows of text, or segments repeated over and over, after a start token; every position predicts the next token.

    The texts are the standard library's own sources, or files of yours; some documents are held out, and models are
    measured on those. A sequence of the training stream is a window of the other documents, all windows equally likely,
    or with probability `repeated` a segment over and over: of random tokens, each drawn alone and equally likely, or the
    first tokens of a window. Each such sequence has a period of its own, or a model could look back by position and
    would need no induction head. Which sequences an update sees is a function of the data-order seed and the step.

    Two evaluation sets, by what a measure looks for: held-out text, and blocks of random tokens four times in a row.
    The start token counts as a token and is one of the outputs, so uniform logits have loss ln(257) for bytes.
    """

    files: tuple[str, ...] = Field(
        (), description="files, folders or globs of text, relative to the study; none: the standard library"
    )
    text_field: str = Field("text", description="key (.jsonl) or column (.parquet) that holds the text")
    licence: str = Field("", description="of the files: under which the held-out texts may be passed on")
    max_characters: int | None = Field(None, ge=1, description="how many characters at most, of all texts")
    held_out: int = Field(64, ge=1, description="documents that are measured on and never trained on")
    tokenizer: Literal["bytes", "bpe"] = Field("bytes", description="bytes, or pairs merged on these texts")
    n_vocab: int = Field(
        LEAST_TOKENS,
        ge=LEAST_TOKENS,
        description="tokens of the tokenizer: 256 bytes, a start token, and for bpe merges",
    )
    context: int = Field(97, ge=9, description="tokens of a sequence, the start token included")
    bos: BosPolicy = Field("prepend", description="whether a sequence begins with the start token")
    repeated: float = Field(0.0, ge=0, le=1, description="share of training sequences that repeat a segment")
    segment: Literal["random", "text"] = Field("random", description="what the repeated segments are made of")
    min_period: int = Field(8, ge=1, description="shortest segment")
    max_period: int = Field(48, ge=1, description="longest segment")
    evaluated: int = Field(128, ge=2, description="sequences of held-out text that are measured on")
    frozen: Frozen | None = Field(None, description="filled in: hashes of the texts and the tokenizer")

    @model_validator(mode="after")
    def _possible(self) -> "Text":
        if self.tokenizer == "bytes" and self.n_vocab != LEAST_TOKENS:
            raise ValueError(
                f"n_vocab = {self.n_vocab}, but bytes are {LEAST_TOKENS} tokens with the start token; leave n_vocab out or "
                'use tokenizer = "bpe"'
            )
        if self.tokenizer == "bpe" and self.n_vocab == LEAST_TOKENS:
            raise ValueError(
                f'n_vocab = {self.n_vocab} leaves tokenizer = "bpe" nothing to merge; give more, such as 512'
            )
        if not self.repeated:
            return self
        if self.max_period < self.min_period:
            raise ValueError(
                f"max_period = {self.max_period} is below min_period = {self.min_period}; swap them"
            )
        room = self.context - (self.bos == "prepend")
        if self.max_period + 2 > room:
            raise ValueError(
                f"context = {self.context} leaves nothing to predict after a segment of max_period = {self.max_period}; "
                f"give context = {self.context + self.max_period + 2 - room} or more, or a shorter max_period"
            )
        return self

    # what it is made of

    def resolved(self, folder: Path | None) -> Self:
        """With files as absolute names, and the hashes of texts and tokenizer filled in.

        folder: the study's, for a study as somebody wrote it; then texts are read whatever hashes are given.
        """
        written = self.model_dump(exclude={"frozen"})
        if folder is not None:
            written["files"] = tuple(str(folder.absolute() / Path(name).expanduser()) for name in self.files)
        bare = type(self).model_validate(written)
        known = self.frozen if folder is None else None
        if known is None or known.settings != bare._decisive:
            known = Frozen(
                settings=bare._decisive, corpus=bare.corpus.hash, tokenizer=bare.text_tokenizer.record.hash
            )
        return type(self).model_validate({**written, "frozen": known})

    def identity(self) -> dict[str, Any]:
        """The settings, with hashes of the texts and the tokenizer for where they are from."""
        made = self.resolved(None).frozen
        assert made is not None  # resolved
        where = {"files", "text_field", "licence", "max_characters", "frozen"}
        return {
            **self.model_dump(mode="json", exclude=where),
            "corpus": made.corpus[:16],
            "tokenizer_hash": made.tokenizer[:16],
        }

    @property
    def _source(self) -> CorpusSource:
        return CorpusSource(
            files=self.files,
            text_field=self.text_field,
            licence=self.licence,
            max_characters=self.max_characters,
            n_held_out=self.held_out,
        )

    @property
    def _decisive(self) -> str:
        """Over all settings that the texts and the tokenizer follow from."""
        return content_hash({**asdict(self._source), "tokenizer": self.tokenizer, "n_vocab": self.n_vocab})

    @property
    def corpus(self) -> Corpus:
        """The texts; raises CorpusChanged where they are others than the task was resolved with."""
        found = self._source.read()
        if self.frozen is not None and self.frozen.corpus != found.hash:
            raise CorpusChanged(
                f"the texts of {self._source.words} are not those of this task: found {found.hash[:12]}…, expected "
                f"{self.frozen.corpus[:12]}…. Put the old ones back, or train under another study name."
            )
        return found

    @property
    def text_tokenizer(self) -> TextTokenizer:
        """Bytes, or what `bpe_of` makes of the training documents; raises CorpusChanged where that comes out otherwise."""
        if self.tokenizer == "bytes":
            return _BYTES
        found = bpe_of(self.corpus, self.n_vocab)
        if self.frozen is not None and self.frozen.tokenizer != found.record.hash:
            raise CorpusChanged(
                f"the tokenizer made from the texts is {found.record.hash[:12]}…, expected {self.frozen.tokenizer[:12]}…: "
                "another version of the tokenizers library made that one. Install it, or train under another study name."
            )
        return found

    # what a task says of itself

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """What each id reads as: text, or hexadecimal escapes for a piece of a character."""
        return self.text_tokenizer.vocabulary.texts

    @property
    def n_inputs(self) -> int:
        """`n_vocab`."""
        return self.n_vocab

    @property
    def n_outputs(self) -> int:
        """All tokens, the start token among them."""
        return self.n_vocab

    @property
    def n_positions(self) -> int:
        """`context`."""
        return self.context

    @property
    def read_positions(self) -> tuple[int, ...]:
        """All but the last."""
        return tuple(range(self.context - 1))

    @property
    def n_train(self) -> None:
        """Endless: windows are drawn with replacement."""
        return None

    @property
    def evaluation_name(self) -> str:
        """That of the held-out text."""
        return self._text.evaluation_name

    def evaluation(self) -> Examples:
        """Held-out text."""
        return self._text.evaluation()

    def classes(self) -> Int[np.ndarray, "example position"] | None:
        """What kind of token each token of the held-out text is."""
        return self._text.classes()

    def splits(self, split_seed: int) -> Mapping[Part, Bool[np.ndarray, " example"]]:
        """None: held-out text is never trained on."""
        return self._text.splits(split_seed)

    @property
    def eval_set(self) -> EvalSet:
        """That of the held-out text."""
        return self._text.eval_set

    def evaluated_on(self, taken_on: TakenOn) -> NextTokens:
        """Random tokens, repeated, for measures of repeats; held-out text for all others."""
        return self._repeats if taken_on == "repeats" else self._text

    @property
    def evaluations(self) -> tuple[Task, ...]:
        """Both."""
        return self._text, self._repeats

    @property
    def _text(self) -> NextTokens:
        return held_out_text(self.corpus, self.text_tokenizer, self.context, self.bos, self.evaluated)

    @property
    def _repeats(self) -> NextTokens:
        return repeated_random(self.text_tokenizer, self.context, self.bos)

    # the training stream

    @cached_property
    def _start(self) -> Int[np.ndarray, " token"]:
        return np.array(self.text_tokenizer.start(self.bos)[0], dtype=np.int64)

    @cached_property
    def _windows(self) -> Windows:
        return Windows(self.corpus, self.text_tokenizer, self.context - len(self._start))

    @cached_property
    def _text_ids(self) -> Int[np.ndarray, " token"]:
        """Ids that stand for text."""
        vocabulary = self.text_tokenizer.vocabulary
        return np.array(sorted(set(vocabulary.ids) - vocabulary.special), dtype=np.int64)

    def fresh_batch(self, data_order_seed: int, step: int, n: int) -> Examples:
        """Draw n sequences."""
        random = stream(data_order_seed, "text", step)
        body = self._windows.draw(random, n)
        width = body.shape[1]
        if self.repeated:
            chosen = random.random_sample(n) < self.repeated
            periods = random.randint(self.min_period, self.max_period + 1, n)
            segments = body
            if self.segment == "random":
                segments = self._text_ids[random.randint(0, len(self._text_ids), (n, width))]
            over_and_over = np.take_along_axis(segments, np.arange(width) % periods[:, None], axis=1)
            body = np.where(chosen[:, None], over_and_over, body)
        tokens = np.concatenate([np.broadcast_to(self._start, (n, len(self._start))), body], axis=1)
        return Examples(tokens=tokens, targets=tokens[:, 1:])
