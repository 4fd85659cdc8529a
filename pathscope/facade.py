"""The names that `pathscope` hands out, looked up on first use.

Fixed names are listed here with the module they live in; every query is a name too, found by discovery, so
a new question needs no line here. `make docs` writes `__init__.pyi` from both for type checkers and editors.
"""

from importlib import import_module

HOMES = {
    # reading
    "Archive": "archive.store",
    "open_archive": "archive.store",
    "PathscopeError": "archive.errors",
    # open problems
    "ask": "queries.problems.asking",
    "problems": "queries.problems.catalogue",
    # writing results of one's own
    "ShardBuilder": "archive.shard",
    "ensure_archive": "archive.create",
    "commit_inbox": "archive.committer",
    "Checkpoint": "archive.records",
    "Encoding": "archive.records",
    "Family": "archive.records",
    "Measure": "archive.records",
    "Part": "archive.records",
    "Provenance": "archive.records",
    "Quantity": "archive.records",
    "Run": "archive.records",
    "Source": "archive.records",
    "SourceFile": "archive.records",
    # a training loop of one's own
    "Recorder": "ingest.recording.recorder",
    "RecorderCallback": "ingest.recording.trainer",
    # adding a question, a measure, a task or an importer from another package
    "Answer": "queries.results",
    "query": "queries.registry",
    "Activations": "ingest.models.loaded",
    "LoadedModel": "ingest.models.loaded",
    "NotApplicable": "ingest.measure",
    "measure": "ingest.measure",
    "Task": "ingest.task",
    "task": "ingest.task",
    "Importer": "ingest.importers.base",
    "importer": "ingest.importers.base",
}


def find(name: str) -> object:
    """The public thing of that name; raises AttributeError as a module does."""
    home = HOMES.get(name)
    if home is None and not name.startswith("_"):
        home = _query_homes().get(name)
    if home is None:
        raise AttributeError(f"module 'pathscope' has no attribute {name!r}; dir(pathscope) lists its names")
    return getattr(import_module(home), name)


def names() -> list[str]:
    """Every public name, sorted."""
    return sorted({*HOMES, *_query_homes(), "__version__"})


def _query_homes() -> dict[str, str]:
    from queries.registry import all_queries

    return {name: spec.module for name, spec in all_queries().items()}
