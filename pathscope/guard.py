"""Refuse to run on top of another distribution's `archive`, `ingest`, `queries` or `ui`.

The names are generic, and pip overwrites files of one distribution by those of another without a word.
Found out here, before anything is imported, the damage has a sentence; found out later it is an
ImportError deep inside a stranger's code.
"""

from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("archive", "ingest", "queries", "ui")
MARKER = 'PART_OF = "pathscope"'


class ForeignPackage(ImportError):
    """A top-level package that pathscope needs belongs to somebody else."""


def check_packages(names: Sequence[str] = PACKAGES) -> None:
    """Find every package by name and make sure that it is ours and that all lie in the facade's folder.

    Imports nothing: reads the first lines of each `__init__.py`, which carry `PART_OF = "pathscope"`.
    Raises ForeignPackage naming the package, where it was found and who owns it.
    """
    homes = {Path(__file__).resolve().parent.parent: "pathscope"}
    for name in names:
        init = _init_file(name, find_spec(name))
        if MARKER not in init.read_text(encoding="utf-8", errors="replace"):
            raise ForeignPackage(_message(name, str(init)))
        homes.setdefault(init.resolve().parent.parent, name)
    if len(homes) > 1:
        places = ", ".join(f"{name!r} in {home}" for home, name in homes.items())
        raise ForeignPackage(
            f"parts of two pathscope installations are mixed: {places}. "
            "Leave one of them on sys.path: `python -m pip uninstall pathscope`, then install it once."
        )


def _init_file(name: str, spec: ModuleSpec | None) -> Path:
    """The package's `__init__.py`; a folder left behind without one is as foreign as a stranger's."""
    if spec is None:
        raise ForeignPackage(
            f"the top-level package {name!r} is missing: the installation of pathscope is damaged. "
            "Install it again: `python -m pip install --force-reinstall --no-deps pathscope`."
        )
    init = Path(spec.origin) if spec.origin else None
    if init is None or init.name != "__init__.py" or not init.is_file():
        places = spec.origin or ", ".join(spec.submodule_search_locations or ()) or "an unknown place"
        raise ForeignPackage(_message(name, places))
    return init


def _message(name: str, found_at: str) -> str:
    owners = sorted(set(packages_distributions().get(name, ())) - {"pathscope"})
    whose = f"belongs to {' and '.join(owners)}" if owners else "is not pathscope's"
    return (
        f"the top-level package {name!r} {whose} (found at {found_at}). "
        "Install pathscope in an environment of its own: `python -m venv .venv`."
    )
