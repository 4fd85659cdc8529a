"""What `verify --recompute` found, as people read it."""

from rich.console import Console
from rich.markup import escape

from archive.upkeep.recomputing import Recomputation

MOST = 20


def print_drift(console: Console, result: Recomputation, *, quiet: bool) -> None:
    """A line for each group of cells with one history, and one for each cell beyond its tolerance."""
    if not quiet:
        if not result.n_cells:
            console.print("nothing to measure again: these runs have no results whose weights are kept here")
        console.print(
            f"{len(result.drift)} of {result.n_cells:,} result(s) measured again (seed {result.seed}) in "
            f"{result.seconds:.1f} s",
            highlight=False,
        )
        for group in result.groups:
            console.print(
                f"{escape(group.change)}: {group.n_cells} cell(s), {group.n_equal} equal to the last bit, largest "
                f"difference {group.largest_absolute:.3g} (relative {group.largest_relative:.3g}), {group.n_beyond} "
                "beyond tolerance",
                soft_wrap=True,
                highlight=False,
            )
        for reason, n in result.reasons.items():
            console.print(f"{n} left out: {escape(reason)}", soft_wrap=True, highlight=False)
    for one in result.beyond[:MOST]:
        what = one.wrong or (
            f"differs by {one.largest_absolute:.3g} (relative {one.largest_relative:.3g}), expected {one.allowed}"
        )
        console.print(
            f"[red]drift[/red] {escape(one.cell.name)}: {escape(what)} ({escape(one.change)})",
            soft_wrap=True,
            highlight=False,
        )
    if len(result.beyond) > MOST:
        console.print(f"and {len(result.beyond) - MOST} more; --json lists all", highlight=False)
