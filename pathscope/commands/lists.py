"""`pathscope measures`: what this installation can measure."""

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from pathscope.commands.common import JsonOption, emit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("measures")(measures)


def measures(json: JsonOption = False) -> None:
    """List every measure: what it means, its unit and range, where its definition comes from."""
    from ingest.measure import MEASURES

    rows: list[dict[str, Any]] = [
        {
            **entry.thing.record.model_dump(mode="json"),
            "name": entry.name,  # with the variant, as a study calls it
            "params": dict(entry.thing.params),
            "schedule": entry.thing.schedule,
            "needs": entry.thing.needs,
            "module": entry.module,
        }
        for entry in MEASURES.entries().values()
    ]

    def human(console: Console) -> None:
        table = Table("measure", "unit", "range", "meaning", title=f"{len(rows)} measures")
        for row in rows:
            bounds = f"[{_bound(row['lower_bound'], '−∞')}, {_bound(row['upper_bound'], '∞')}]"
            late = "" if row["needs"] == "checkpoint" else " Taken when training is over."
            table.add_row(f"{row['name']}@{row['version']}", row["unit"], bounds, row["summary"] + late)
        console.print(table)
        console.print(
            "`--json` adds citations; the table `v_measure` has those an archive holds.", markup=False
        )

    emit({"measures": rows}, as_json=json, human=human)


def _bound(value: float | None, none: str) -> str:
    return none if value is None else f"{value:g}"
