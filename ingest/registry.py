"""Discovery: a thing exists because a module of the right package registers it; no list to keep.

Ours first (every module of a package), then other people's through entry points, then what was
registered by hand in this process.
"""

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from archive.errors import PathscopeError, UnknownName

T = TypeVar("T")


class RegistrationRefused(PathscopeError):
    """A measure, task or family that cannot be registered as written; the text says what to add."""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One registered thing and the module it came from."""

    name: str
    module: str
    thing: T


class Registry(Generic[T]):
    """Named things of one kind, found on first use.

    kind: what to call one in messages ("measure"). package: the package whose modules are imported.
    group: entry-point group of other distributions. listing: the command that lists them.
    """

    def __init__(self, *, kind: str, package: str, group: str, listing: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self.listing = listing
        self._entries: dict[str, Entry[T]] = {}
        self._discovered = False

    def add(self, name: str, thing: T, *, module: str) -> None:
        """Register; the same module may register its own name again (a notebook cell run twice).

        Raises RegistrationRefused naming both modules when another one already has the name.
        """
        known = self._entries.get(name)
        if known is not None and known.module != module:
            raise RegistrationRefused(
                f"{self.kind} {name!r} is registered by {known.module} and again by {module}; rename one of them"
            )
        self._entries[name] = Entry(name, module, thing)

    def get(self, name: str) -> T:
        """The thing of that name; raises UnknownName with the nearest names."""
        entries = self.entries()
        if name not in entries:
            raise UnknownName.of(self.kind, name, entries, listing=self.listing)
        return entries[name].thing

    def entries(self) -> Mapping[str, Entry[T]]:
        """Everything registered, by name, sorted; discovers on the first call."""
        if not self._discovered:
            self._discover()
            self._discovered = True
        return dict(sorted(self._entries.items()))

    def _discover(self) -> None:
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, prefix=f"{self.package}."):
            importlib.import_module(module.name)
        for point in importlib.metadata.entry_points(group=self.group):
            try:
                point.load()
            except Exception as error:
                raise RegistrationRefused(
                    f"{self.kind} {point.name!r} of another distribution ({point.value}) does not load: "
                    f"{type(error).__name__}: {error}; uninstall or repair that distribution"
                ) from error


def require_text(kind: str, name: str, module: str, fields: Mapping[str, str]) -> None:
    """Refuse a registration that leaves one of its texts empty, naming the field and the module."""
    for field, text in fields.items():
        if not text.strip():
            raise RegistrationRefused(f"{kind} {name!r} in {module} has no {field}; every {kind} states one")


def first_sentence(thing: Callable[..., object] | type) -> str:
    """First paragraph of the docstring as one line; empty when there is none."""
    text = (thing.__doc__ or "").strip()
    return " ".join(text.split("\n\n")[0].split())
