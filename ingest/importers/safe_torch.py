"""Reading `.pth` files without running anything that is in them."""

import io
import pickle
import re

from ingest.importers.files import Damaged, ImportFile

# a zip archive, as written since torch 1.6; before that a pickled magic number came first
_ZIP = b"PK\x03\x04"
_OLD = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_UNSAFE = re.compile(r"GLOBAL ([\w.]+)|Unsupported (?:global|class|operand)[^\n]*?([\w]+\.[\w.]+)")


def looks_like_torch(head: bytes) -> bool:
    """True for the first bytes of a file that `torch.save` wrote (any zip archive passes)."""
    return head.startswith((_ZIP, _OLD))


def load_safely(file: ImportFile) -> object:
    """What a `.pth` file holds: numbers, texts, lists, dicts and tensors on the CPU.

    Raises Damaged for a file that is cut off or changed, and for one that could only be read by running code
    in it, naming what it would run.
    """
    import torch

    source = io.BytesIO(file.data) if file.data is not None else file.path
    try:
        loaded: object = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = _UNSAFE.search(str(error))
        what = f"it would run {found.group(1) or found.group(2)}" if found else str(error).split("\n")[0]
        raise Damaged(
            f"refused by safe loading: {what}; only numbers, texts, lists, dicts and tensors are read. Ask its "
            "authors, or load it where that is safe and save it as those"
        ) from None
    except Exception as error:  # whatever a changed byte makes of it, the file is what is wrong
        raise Damaged(f"not a readable torch file: {str(error).strip().split(chr(10))[0][:200]}") from None
    return loaded
