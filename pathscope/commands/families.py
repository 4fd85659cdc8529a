"""`pathscope families`: the tasks to train on, the families to load, and what is known of each."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from archive.errors import PathscopeError
from pathscope.commands.common import JsonOption, emit, fail

NameArgument = Annotated[
    str, typer.Argument(help="A family, for its runs, facts, evidence and known defects; all, when left out.")
]


LISTED = "listed at first fetch"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("families")(families)


def families(name: NameArgument = "", json: JsonOption = False) -> None:
    """List the tasks that runs can be trained on here and the families of published models; or all about one."""
    if not name:
        _list_all(as_json=json)
        return
    try:
        _describe(name, as_json=json)
    except PathscopeError as error:
        fail(error, as_json=json)


def _list_all(*, as_json: bool) -> None:
    from ingest.families.published import PublishedFamily
    from ingest.family import FAMILIES
    from ingest.registry import first_sentence
    from ingest.task import TASKS

    tasks = [_task(name, entry.thing) for name, entry in TASKS.entries().items()]
    known: list[dict[str, Any]] = []
    for name, entry in FAMILIES.entries().items():
        published = entry.thing() if issubclass(entry.thing, PublishedFamily) else None
        row = {
            "name": name,
            "summary": first_sentence(entry.thing),
            "citation": entry.thing.citation,
            "settings": entry.thing.model_json_schema().get("properties", {}),
            "n_runs": len(published.runs()) if published else None,
            "n_checkpoints": _n_checkpoints(published) if published else None,
            "listed": bool(published and any(published.schedule_of(s).listed for s in published.runs())),
        }
        known.append(row)

    def human(console: Console) -> None:
        trained = Table("task", "settings", "meaning", title=f"{len(tasks)} tasks to train on")
        for row in tasks:
            trained.add_row(row["name"], ", ".join(row["settings"]), row["summary"])
        console.print(trained)
        loaded = Table("family", "runs", "checkpoints", "meaning", title=f"{len(known)} families to load")
        for row in known:
            counts = [str(row[key] or "yours") for key in ("n_runs", "n_checkpoints")]
            counts[1] = LISTED if row["listed"] else counts[1]
            loaded.add_row(row["name"], *counts, row["summary"])
        console.print(loaded)
        console.print("`pathscope families NAME` says what is known of one, and how.", markup=False)

    emit({"tasks": tasks, "families": known}, as_json=as_json, human=human)


def _n_checkpoints(published: Any) -> int | None:
    """How many in all; None where any run's have to be listed first."""
    if any(published.schedule_of(spec).listed for spec in published.runs()):
        return None
    return sum(len(published.checkpoints(spec)) for spec in published.runs())


def _task(name: str, task: Any) -> dict[str, Any]:
    from ingest.registry import first_sentence

    return {
        "name": name,
        "summary": first_sentence(task),
        "citation": task.citation,
        "settings": task.model_json_schema()["properties"],
    }


def _describe(name: str, *, as_json: bool) -> None:
    from ingest.families.published import PublishedFamily
    from ingest.family import FAMILIES
    from ingest.registry import first_sentence
    from ingest.task import TASKS

    if name in TASKS.entries():
        row = _task(name, TASKS.get(name))
        emit({"task": row}, as_json=as_json, human=lambda console: _print_settings(console, row))
        return
    kind = FAMILIES.get(name)
    if not issubclass(kind, PublishedFamily):
        row = {"name": name, "summary": first_sentence(kind), "citation": kind.citation}
        row["settings"] = kind.model_json_schema()["properties"]
        emit({"family": row}, as_json=as_json, human=lambda console: _print_settings(console, row))
        return
    family = kind()
    document = _published(family)
    emit({"family": document}, as_json=as_json, human=lambda console: _print_published(console, document))


def _published(family: Any) -> dict[str, Any]:
    catalogue = family.catalogue
    runs = []
    for spec in family.runs():
        refs = family.checkpoints(spec)
        schedule = family.schedule_of(spec)
        suspect = [ref for ref in refs if ref.integrity != "ok"]
        runs.append(
            {
                **{
                    key: getattr(spec, key) for key in ("name", "repository", "aliases", "tokenizer", "notes")
                },
                "n_params": spec.size.n_params,
                "init_seed": spec.init_seed,
                "data_order_seed": spec.data_order_seed,
                "shares_init_as": spec.same_init,
                "shares_data_order_as": spec.same_order,
                "tokens_per_step": spec.tokens_per_step,
                "n_checkpoints": None if schedule.listed else len(refs),
                "checkpoints_known": schedule.listed,
                "evidence": family.evidence(spec),
                "parent_run": spec.parent_run,
                "intervention": spec.intervention,
                "suspect_steps": [ref.step for ref in suspect],
            }
        )
    return {
        "name": family.name,
        "summary": catalogue.summary,
        "citation": catalogue.citation,
        "licence": catalogue.licence,
        "runs": runs,
        "facts": [
            {"name": fact.name, "value": fact.value, "evidence": str(catalogue.evidence_of(fact))}
            for fact in catalogue.fact
        ],
        "defects": [
            {
                "models": defect.models,
                "labels": [label for piece in defect.labels for label in piece],
                "integrity": defect.integrity,
                "what": defect.what,
                "link": defect.link,
                "evidence": str(catalogue.evidence_of(defect)),
            }
            for defect in catalogue.defect
        ],
    }


def _print_settings(console: Console, row: dict[str, Any]) -> None:
    table = Table("setting", "default", title=f"{row['name']}: {row['summary']}")
    for key, schema in row["settings"].items():
        table.add_row(key, str(schema.get("default", "needed")))
    console.print(table)
    console.print(f"Source: {row['citation']}.", markup=False)


def _print_published(console: Console, document: dict[str, Any]) -> None:
    console.print(
        f"{document['summary']}\nLicence: {document['licence']}. Source: {document['citation']}.",
        markup=False,
    )
    table = Table("run", "size", "init seed", "order seed", "checkpoints", "suspect")
    table.columns[0].no_wrap = True
    for run in document["runs"]:
        seeds = ["unknown" if run[key] is None else str(run[key]) for key in ("init_seed", "data_order_seed")]
        n = LISTED if run["n_checkpoints"] is None else str(run["n_checkpoints"])
        counts = [n, str(len(run["suspect_steps"]) or "")]
        table.add_row(run["name"], f"{run['n_params'] / 1e6:,.0f}M", *seeds, *counts)
    console.print(table)
    for fact in document["facts"]:
        console.print(f"{fact['name']}: {fact['value']}  [{fact['evidence']}]", markup=False)
    for what in document["runs"][0]["evidence"]:
        for said in dict.fromkeys(_said(run, what) for run in document["runs"]):
            names = [run["name"] for run in document["runs"] if _said(run, what) == said]
            console.print(f"{what} of {_few(names)}{said}", markup=False)
    for run in document["runs"]:
        if run["parent_run"]:
            said = ", ".join(run["intervention"].values())
            console.print(f"{run['name']}: goes on from {run['parent_run']} ({said})", markup=False)
    for note in dict.fromkeys(note for run in document["runs"] for note in run["notes"]):
        names = [run["name"] for run in document["runs"] if note in run["notes"]]
        console.print(f"{_few(names)}: {note}", markup=False)
    for defect in document["defects"]:
        where = f"{', '.join(defect['models'])} at {_few(defect['labels'])}"
        how = f"{defect['integrity']}; {defect['evidence']}"
        console.print(f"{where}: {defect['what']}  [{how}] {defect['link']}", markup=False)


def _said(run: dict[str, Any], what: str) -> str:
    """How something of a run is known, after what is to be said of it."""
    text = f": {run['checkpoints_known']}" if what == "checkpoints" and run["checkpoints_known"] else ""
    return f"{text}  [{run['evidence'][what]}]"


def _few(things: list[Any]) -> str:
    shown = ", ".join(map(str, things[:4]))
    return shown if len(things) <= 4 else f"{shown}, ... ({len(things)} in all)"
