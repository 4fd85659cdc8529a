"""The integrity ledger of runs, as people read it."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from archive.upkeep.integrity import LedgerRow, RunLedger

ACCEPT = "pathscope verify --checkpoints {run} --accept {step} --reason WHY"


def print_ledgers(console: Console, ledgers: Sequence[RunLedger], *, quiet: bool) -> None:
    """One table a run; `quiet` leaves nothing but what is new."""
    for ledger in ledgers:
        if not quiet:
            _print_table(console, ledger)
        for row in ledger.new if quiet else [row for row in ledger.rows if row.note]:
            color = "red" if row.new else "yellow"
            text = (
                f"[{color}]{_state(row)}[/{color}] {escape(ledger.run)} step {row.step}: {escape(row.note)}"
            )
            if row.new:
                accept = escape(ACCEPT.format(run=ledger.run, step=row.step))
                text += f"\n    left out of curves from now on; if it is as it should be: {accept}"
            console.print(f"{text} {row.link}".rstrip(), soft_wrap=True, highlight=False)
        for remark in () if quiet else ledger.remarks:
            console.print(f"note: {escape(remark)}", soft_wrap=True, highlight=False)
    n_new = sum(len(ledger.new) for ledger in ledgers)
    if not quiet:
        n = sum(len(ledger.rows) for ledger in ledgers)
        n_suspect = sum(ledger.n_suspect for ledger in ledgers)
        console.print(
            f"{n_new} new finding(s); {n_suspect} of {n} checkpoint(s) of {len(ledgers)} run(s) are suspect",
            highlight=False,
        )


def _print_table(console: Console, ledger: RunLedger) -> None:
    table = Table(
        title=escape(ledger.run),
        title_justify="left",
        box=None,
        caption="distances are relative to the length of the weights, ± 1.6 % (sketches)",
        caption_justify="left",
    )
    for name in ("step", "hash", "to previous", "to next"):
        table.add_column(name, justify="left" if name == "hash" else "right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("finding", no_wrap=True, overflow="ellipsis")
    for row in ledger.rows:
        style = "red" if row.new else "yellow" if row.integrity != "ok" else None
        table.add_row(
            f"{row.step}{' ' + row.snapshot if row.snapshot else ''}",
            row.weights_hash[:8] or "unknown",
            _distance(row.to_previous),
            _distance(row.to_next),
            _state(row),
            escape(row.note),
            style=style,
        )
    console.print(table)


def _state(row: LedgerRow) -> str:
    return ("new: " if row.new else "") + ("accepted" if row.accepted else row.integrity)


def _distance(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
