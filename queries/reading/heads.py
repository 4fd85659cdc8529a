"""Names of heads, and when heads of two runs may be compared by index."""

import re

from archive.errors import UsageError
from queries.reading.select import Selected

_NAME = re.compile(r"L?(\d+)[H.](\d+)", re.IGNORECASE)


def parse_head(name: str) -> tuple[int, int]:
    """(layer, head) of `L2H3` or `2.3`, both from 0. Raises UsageError for anything else."""
    found = _NAME.fullmatch(name.strip())
    if not found:
        raise UsageError(f"{name!r} is not a head: write L2H3 or 2.3 (layer and head count from 0).")
    return int(found.group(1)), int(found.group(2))


def index_limits(selected: Selected, what: str = "head") -> list[str]:
    """What to say about numbers of heads (or neurons) across runs: the same one only where runs share their init."""
    hashes = {r.init_hash for r in selected.runs}
    if len(selected.runs) < 2 or (len(hashes) == 1 and "" not in hashes):
        return []
    known = "different inits" if "" not in hashes else "inits that are not known to be equal"
    return [
        f"These runs have {known}: a {what} number names a different {what} in each, so {what}s are never averaged by "
        f"number here; compare the best {what}s, or match {what}s first."
    ]
