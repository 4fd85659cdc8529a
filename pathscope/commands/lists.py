"""`pathscope measures` and `pathscope families`: what this installation can measure and train."""

from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from pathscope.commands.common import JsonOption, emit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("measures")(measures)
    app.command("families")(families)


def measures(json: JsonOption = False) -> None:
    """List every measure: what it means, its unit and range, where its definition comes from."""
    from ingest.measure import MEASURES

    rows: list[dict[str, Any]] = [
        {
            **entry.thing.record.model_dump(mode="json"),
            "name": entry.name,  # with the variant, as a study calls it
            "params": dict(entry.thing.params),
            "schedule": entry.thing.schedule,
            "module": entry.module,
        }
        for entry in MEASURES.entries().values()
    ]

    def human(console: Console) -> None:
        table = Table("measure", "unit", "range", "meaning", title=f"{len(rows)} measures")
        for row in rows:
            bounds = f"[{_bound(row['lower_bound'])}, {_bound(row['upper_bound'])}]"
            table.add_row(f"{row['name']}@{row['version']}", row["unit"], bounds, row["summary"])
        console.print(table)
        console.print(
            "`--json` adds citations; the table `v_measure` has those an archive holds.", markup=False
        )

    emit({"measures": rows}, as_json=json, human=human)


def families(json: JsonOption = False) -> None:
    """List the tasks that runs can be trained on here; published families enter through `import`."""
    from ingest.registry import first_sentence
    from ingest.task import TASKS

    rows = [
        {
            "name": name,
            "summary": first_sentence(entry.thing),
            "citation": entry.thing.citation,
            "settings": entry.thing.model_json_schema()["properties"],
        }
        for name, entry in TASKS.entries().items()
    ]

    def human(console: Console) -> None:
        table = Table("task", "settings", "meaning", title=f"{len(rows)} tasks to train on")
        for row in rows:
            table.add_row(row["name"], ", ".join(row["settings"]), row["summary"])
        console.print(table)

    emit({"tasks": rows}, as_json=json, human=human)


def _bound(value: float | None) -> str:
    return "∞" if value is None else f"{value:g}"
