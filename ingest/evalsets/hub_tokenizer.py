"""Tokenizers of Hugging Face models, from a local folder; nothing here asks the network.

A folder without tokenizer files makes transformers hand out a tokenizer that encodes everything to nothing,
without a word. So what comes back is tried on a probe, and its vocabulary is compared with the model's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from archive.identity import content_hash
from archive.records import Tokenizer
from ingest.evalsets.refusals import TokenizerRefused
from ingest.evalsets.tokenizing import Encoded, TextTokenizer, Vocabulary, byte_text, lengths_from_ends

if TYPE_CHECKING:
    import tokenizers

# what two tokenizers with one vocabulary may do differently: spaces, case, digits, contractions, accents, signs
PROBE = "Hi there,  it's 2026:\n\tx86_64 =\u00a01,234.5; CAPS don't na\u00efve nai\u0308ve \u4e2d\u6587 \U0001f642 \ufb01ne (ok)"

# one of these must be there: without them transformers makes an empty tokenizer
FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")


@dataclass(frozen=True)
class HubTokenizer(TextTokenizer):
    """A tokenizer of the `tokenizers` library, as a model's repository ships it."""

    backend: "tokenizers.Tokenizer" = field(compare=False, repr=False)

    def encode(self, text: str) -> Encoded:
        """The tokens of a text; a special token spelled out in it is text like any other."""
        found = self.backend.encode(text, add_special_tokens=False)
        ids = np.array(found.ids, dtype=np.int32)
        if self._bytes_of is not None:
            lengths = self._bytes_of[ids]
            # a normaliser may change the text (NFC), then the pieces are not the bytes that were there
            if int(lengths.sum()) == len(text.encode()):
                return Encoded(ids, lengths)
        return Encoded(ids, lengths_from_ends(text, (end for _, end in found.offsets)))

    @cached_property
    def _bytes_of(self) -> np.ndarray | None:
        """Bytes of every id where the tokenizer works on bytes."""
        pieces = _pieces(self.backend)
        if pieces is None:
            return None
        lengths = np.zeros(self.n_vocab, dtype=np.int32)
        lengths[list(pieces)] = [len(piece) for piece in pieces.values()]
        return lengths


def load_tokenizer(folder: str | Path, *, name: str) -> HubTokenizer:
    """The tokenizer in a folder; `name` is the repository, for messages and for the archive.

    Raises TokenizerRefused when there is none, or one that encodes the probe to nothing.
    """
    folder = Path(folder)
    there = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []
    if not set(FILES) & set(there):
        raise TokenizerRefused(
            f"{name}: no tokenizer in {folder}: found {', '.join(there) or 'nothing'}, expected one of {', '.join(FILES)}."
        )
    backend = _backend(folder, name)
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True  # "<|endoftext|>" in a document is text, not the end of it
    encoded = backend.encode(PROBE, add_special_tokens=False)
    if not encoded.ids:
        raise TokenizerRefused(
            f"{name}: the tokenizer in {folder} encodes {PROBE[:9]!r} to nothing and knows {backend.get_vocab_size()} "
            f"tokens; found {', '.join(there)}. Fetch its tokenizer files again."
        )
    return described(backend, name=name, kind="hugging face", bos=_start_token(folder))


def described(backend: "tokenizers.Tokenizer", *, name: str, kind: str, bos: str | None) -> HubTokenizer:
    """A tokenizer of the library with its record and vocabulary.

    bos: its start token; raises TokenizerRefused where its vocabulary has no such token.
    """
    ids = backend.get_vocab(with_added_tokens=True)
    special = frozenset(i for i, token in backend.get_added_tokens_decoder().items() if token.special)
    texts = _texts(backend)
    if bos is not None and bos not in ids:
        raise TokenizerRefused(f"{name}: its start token {bos!r} is not in its own vocabulary of {len(ids)}.")
    record = Tokenizer(
        hash=_hash(backend, backend.encode(PROBE, add_special_tokens=False).ids),
        name=name,
        kind=kind,
        n_vocab=max(ids.values()) + 1,
    )
    order = tuple(sorted(texts))
    vocabulary = Vocabulary(order, tuple(texts[i] for i in order), special)
    return HubTokenizer(record, vocabulary, None if bos is None else ids[bos], backend)


def _backend(folder: Path, name: str) -> "tokenizers.Tokenizer":
    import tokenizers

    try:
        if (folder / "tokenizer.json").is_file():
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoTokenizer

        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        backend: tokenizers.Tokenizer = found.backend_tokenizer
        return backend
    except Exception as error:  # the library raises whatever its parsers raise
        raise TokenizerRefused(
            f"{name}: the tokenizer in {folder} cannot be read: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _start_token(folder: Path) -> str | None:
    """The start token that the repository declares; the model's own habit of adding one is not asked."""
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / file
        if path.is_file():
            declared = json.loads(path.read_text(encoding="utf-8")).get("bos_token")
            if isinstance(declared, Mapping):
                declared = declared.get("content")
            if isinstance(declared, str):
                return declared
    return None


def _hash(backend: "tokenizers.Tokenizer", probe_ids: list[int]) -> str:
    """Over what decides the ids: vocabulary, special tokens, merges or scores, and what it makes of the probe.

    Not over the file: two copies of one tokenizer differ in their defaults written out or not, and a
    library's newer form of the same settings must not make a new tokenizer.
    """
    definition: dict[str, Any] = json.loads(backend.to_str())
    model = definition["model"]
    vocabulary = model.get("vocab")
    return content_hash(
        {
            "type": model.get("type"),
            "vocabulary": sorted(backend.get_vocab(with_added_tokens=True).items(), key=lambda pair: pair[1]),
            "scores": [repr(score) for _, score in vocabulary] if isinstance(vocabulary, list) else [],
            "merges": [m.split(" ") if isinstance(m, str) else m for m in model.get("merges", [])],
            "special": sorted(i for i, t in backend.get_added_tokens_decoder().items() if t.special),
            "probe": probe_ids,
        }
    )


def _pieces(backend: "tokenizers.Tokenizer") -> dict[int, bytes] | None:
    """The bytes of every id of a byte-level tokenizer; None for other kinds."""
    decoder = json.loads(backend.to_str())["decoder"]
    if not decoder or decoder.get("type") != "ByteLevel":
        return None
    alphabet = _byte_alphabet()
    added = backend.get_added_tokens_decoder()
    pieces = {i: token.content.encode() for i, token in added.items()}
    for token, i in backend.get_vocab(with_added_tokens=True).items():
        if i not in pieces:
            if not set(token) <= set(alphabet):
                return None
            pieces[i] = bytes(alphabet[character] for character in token)
    return pieces


def _texts(backend: "tokenizers.Tokenizer") -> dict[int, str]:
    pieces = _pieces(backend)
    if pieces is not None:
        return {i: byte_text(piece) for i, piece in pieces.items()}
    # SentencePiece writes a space as a low line
    return {i: token.replace("\u2581", " ") for token, i in backend.get_vocab(with_added_tokens=True).items()}


def _byte_alphabet() -> dict[str, int]:
    """Which visible character stands for which byte in byte-level tokenizers (GPT-2's table).

    Bytes that Latin-1 shows stand for themselves, the others for the characters from U+0100 on, in order.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(0x100 + i): b for i, b in enumerate(hidden)}
