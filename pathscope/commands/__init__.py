"""One file a command group; a file with `register(app)` is found by itself."""

import importlib
import pkgutil
from typing import Protocol, cast

import typer


class CommandModule(Protocol):
    """What a file in this folder offers."""

    def register(self, app: typer.Typer) -> None:
        """Add its commands to the command line."""


COMMAND_MODULES = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "common")


def load(name: str) -> CommandModule:
    """Import one command file. None of them may import torch or Streamlit at its top."""
    return cast(CommandModule, importlib.import_module(f"{__name__}.{name}"))
