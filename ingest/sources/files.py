"""Which files of a repository are wanted, and whether they are all there. Imports no torch."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
# in the order in which transformers prefers them; an index names the parts of weights in several files
WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
# one of the first five makes a tokenizer, the others say how it is used
TOKENIZER_FILES = (
    *("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model"),
    *("merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", CONFIG),
)
_POINTER = b"version https://git-lfs"


class Incomplete(Exception):
    """Files are missing or are not what their names say; the text names them."""


def wanted_files(names: Collection[str]) -> tuple[str, ...]:
    """The files to fetch out of a repository's: the configuration and one set of weights.

    Raises Incomplete when there is none. Nothing else is wanted: optimizer states, logs and pickled
    training arguments stay where they are.
    """
    if CONFIG not in names:
        raise Incomplete(f"it has no {CONFIG}")
    for whole, index in zip(WHOLE, INDEXES, strict=True):
        if whole in names:
            return (CONFIG, whole)
        if index in names:
            stem, suffix = whole.rsplit(".", 1)
            return (
                CONFIG,
                index,
                *sorted(n for n in names if n.startswith(f"{stem}-") and n.endswith(suffix)),
            )
    raise Incomplete(f"it has none of {', '.join((*WHOLE, *INDEXES))}")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold the weights of a snapshot; raises Incomplete when any is missing or a stand-in."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    wanted = wanted_files(names)
    index = next((name for name in wanted if name in INDEXES), None)
    if index is None:
        parts = [folder / wanted[1]]
    else:
        try:
            named = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
            parts = [folder / name for name in sorted(set(named))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Incomplete(f"{index} cannot be read ({type(error).__name__}: {error})") from None
    for path in parts:
        if not path.is_file():
            raise Incomplete(f"{path.name} is missing")
        refuse_pointer(path)
    return tuple(parts)


def refuse_pointer(path: Path) -> None:
    """Raise Incomplete for a file that only stands in for one kept elsewhere."""
    with path.open("rb") as handle:
        if handle.read(len(_POINTER)) == _POINTER:
            raise Incomplete(f"{path.name} is a Git LFS pointer, not the file; `git lfs pull` fetches it")


def tokenizer_files(names: Collection[str]) -> tuple[str, ...]:
    """The files of a repository that make its tokenizer; raises Incomplete when none does."""
    if not set(names) & set(TOKENIZER_FILES[:5]):
        raise Incomplete(f"it has none of {', '.join(TOKENIZER_FILES[:5])}")
    return tuple(name for name in TOKENIZER_FILES if name in names)


def _tokenizer_there(folder: Path) -> tuple[str, ...]:
    return tokenizer_files({path.name for path in folder.iterdir()} if folder.is_dir() else ())


@dataclass(frozen=True)
class FileSet:
    """What a source is asked for. wanted: which of a repository's files. check: raises Incomplete for a folder."""

    name: str
    wanted: Callable[[Collection[str]], tuple[str, ...]]
    check: Callable[[Path], object]


WEIGHTS = FileSet("weights", wanted_files, weight_files)
TOKENIZER = FileSet("tokenizer", tokenizer_files, _tokenizer_there)
