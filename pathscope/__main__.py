"""The command line: `pathscope COMMAND`. Each command lives in one file of `pathscope/commands`."""

import os
import sys

# Answers multiply small matrices by the thousand, where threads of NumPy only wait for one another: four times slower on idle
# cores, ten times on busy ones. It is read when NumPy is loaded, so it stands before the imports that do so.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import typer

from archive.errors import PathscopeError
from pathscope.commands import COMMAND_MODULES, load
from pathscope.commands.common import fail

app = typer.Typer(
    name="pathscope",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def pathscope() -> None:
    """Results archive with a query API for training dynamics.

    Start with `pathscope demo`; exit codes: 0 done, 1 some work failed, 2 bad usage, 75 try again.
    """


for module in COMMAND_MODULES:
    load(module).register(app)


def main() -> None:
    """Run the command line; errors made on purpose become a message and their exit code."""
    try:
        app()
    except PathscopeError as error:
        fail(error, as_json="--json" in sys.argv[1:])
    except BrokenPipeError:  # `pathscope ... | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
