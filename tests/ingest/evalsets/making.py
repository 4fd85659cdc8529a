"""Small tokenizers and texts for tests of eval sets."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from ingest.evalset import Given
from ingest.evalsets.documents import Choice, Document, Documents
from ingest.evalsets.ioi import NAMES, OBJECTS, PLACES, TEMPLATES
from ingest.evalsets.tokenizing import ByteTokenizer

BYTES = ByteTokenizer.make()
GIVEN = Given(BYTES)
START = "<|endoftext|>"


def documents(*texts: str, name: str = "texts", **fields: Any) -> Documents:
    """Texts as a frozen set."""
    found = [Document(f"{i}.txt", text) for i, text in enumerate(texts)]
    return Documents.of(found, name=name, kind="text", choice=fields.pop("choice", Choice()), **fields)


def byte_level(words: Iterable[str], *, n_vocab: int = 3000, normalizer: Any = None) -> Tokenizer:
    """A byte-level BPE that has learnt these words, built like GPT-2's."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=[AddedToken(START, normalized=False)],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(words, trainer)
    return backend


def names_and_words() -> list[str]:
    """Everything that the prompts of indirect object identification are made of."""
    sentences = [
        t.format(first="A", second="B", again="B", place=PLACES[0], object=OBJECTS[0]) for t in TEMPLATES
    ]
    return [f" {word}" for word in (*NAMES, *PLACES, *OBJECTS)] * 3 + sentences


def save(backend: Tokenizer, folder: Path, **config: object) -> Path:
    """A folder as a repository ships it."""
    folder.mkdir(exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": START, **config}))
    return folder


def nfc() -> Any:
    """The normaliser of GPT-NeoX."""
    return normalizers.NFC()
