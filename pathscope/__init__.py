"""Ask questions about training dynamics.

    archive = pathscope.open_archive("pathscope.duckdb")
    pathscope.transition_times(archive)

Names are looked up on first use, so `import pathscope` loads neither torch nor DuckDB.
"""

from pathscope import facade
from pathscope.guard import check_packages

__version__ = "0.1.0"

check_packages()


def __getattr__(name: str) -> object:
    return facade.find(name)


def __dir__() -> list[str]:
    return facade.names()
