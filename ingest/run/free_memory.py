"""How much memory this process may still take, which in a container is less than the machine has."""

from pathlib import Path

_SYSTEM = Path("/")
# what may be used, what is used, and the part of that which would be given back: of control groups, version 2 and 1
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def free_memory(root: Path = _SYSTEM) -> int | None:
    """Bytes, or None where the system does not say (it has no /proc). `root` is for tests."""
    available = _number(root / "proc/meminfo", "MemAvailable:")
    if available is None:
        return None
    found = [1024 * available]
    for folder, most, used, reclaimable in _GROUPS:
        limit, taken = (_number(root / folder / name) for name in (most, used))
        if limit is not None and taken is not None:
            given_back = _number(root / folder / "memory.stat", reclaimable) or 0
            found.append(limit - taken + given_back)
    return max(0, min(found))


def _number(path: Path, name: str = "") -> int | None:
    """The number in a file, or after that name in one of its lines; None where there is none ("max")."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        words = line.split()
        if words[: bool(name)] == [name][: bool(name)] and len(words) > bool(name):
            word = words[bool(name)]
            return int(word) if word.isdecimal() else None
    return None
