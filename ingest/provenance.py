"""How a number came to be: code and library versions, processor, threads. Imports torch only if it is there already."""

import hashlib
import os
import platform
import socket
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from archive.records import Provenance

LIBRARIES = ("torch", "transformers", "numpy", "safetensors", "duckdb", "pyarrow")


def provenance(seconds: float, *, device: str = "cpu", **facts: Any) -> Provenance:
    """What this process is, for a shard it writes; `seconds` is the wall clock spent on the shard's numbers."""
    return Provenance(
        code_version=code_version(),
        libraries=_libraries(),
        device=_device(device),
        threads=_threads(),
        seconds=seconds,
        host=socket.gethostname(),
        facts={**_machine(), **facts},
    )


@cache
def code_version() -> str:
    """`0.1.0+` and the first digits of a hash over the ingest layer's sources.

    The hash changes with any edit of a task, a measure or the trainer, which a version number in a
    checkout does not.
    """
    return f"{_installed('pathscope') or '0'}+{code_hash()[:12]}"


@cache
def code_hash() -> str:
    """SHA-256 (hex) over the names and bytes of every module of the ingest layer."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _libraries() -> dict[str, str]:
    found = {name: _installed(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **{name: v for name, v in found.items() if v}}


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout on sys.path without an installation
        return ""


@cache
def _machine() -> dict[str, Any]:
    """Processor, its vector instructions as torch uses them, and the settings that change rounding."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor(),
        "mkl_cbwr": os.environ.get("MKL_CBWR", ""),
    }
    if "torch" in sys.modules:
        import torch

        facts["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    return facts


def _device(device: str) -> str:
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device}: {torch.cuda.get_device_name(device)}"


def _threads() -> int:
    if "torch" not in sys.modules:
        return 0
    import torch

    return torch.get_num_threads()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
