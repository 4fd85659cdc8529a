"""The studies that would answer a problem, as text: those that come with pathscope, and templates of this folder."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

from archive.errors import UsageError
from queries.problems.problem import Problem

_HERE = Path(__file__).resolve().parent
# in a wheel `studies` lies beside this file, in a checkout at its root
_FOLDERS = (_HERE / "templates", _HERE / "studies", _HERE.parents[1] / "studies")


def study_file(name: str) -> Path:
    """Where a study of that name is; raises UsageError where there is none."""
    for folder in _FOLDERS:
        if (path := folder / f"{name}.toml").is_file():
            return path
    raise UsageError(f"no study {name!r} comes with this pathscope.")


def choose_study(problem: Problem, families: tuple[str, ...] = ()) -> str:
    """The name of the problem's first study, or of the first that loads one of these families.

    Raises UsageError, with what else to do, where there is none.
    """
    if not problem.studies:
        how = f" Published numbers come in by `{problem.imports}`." if problem.imports else ""
        why = (
            "it needs runs that nothing here can train yet"
            if problem.kind == "interventions"
            else "no study measures it"
        )
        raise UsageError(f"problem {problem.number} comes without a study: {why}.{how}")
    if not families:
        return problem.studies[0]
    loaded = {name: _family(name) for name in problem.studies}
    for name, family in loaded.items():
        if family in families:
            return name
    known = ", ".join(sorted(set(filter(None, loaded.values())))) or "none: they train runs of their own"
    raise UsageError(
        f"no study of problem {problem.number} loads {', '.join(families)}; families that its studies load: {known}."
    )


def study_text(problem: Problem, name: str, path: Path, archive: Path | None = None) -> str:
    """The study as a file of one's own: what it answers, how to go on, and what it costs, in comments at its head.

    path: where it will be, as the comments tell. archive: the one to put the results into, where it is not the usual one.
    """
    where = f" --archive {archive}" if archive else ""
    head = [
        f"Open problem {problem.number}: {problem.title}",
        *(f"  {question.query}: {question.asks}" for question in problem.questions),
        f"pathscope ingest {path} --dry-run    says what it costs before anything runs",
        f"pathscope ingest {path}{where}",
        f"pathscope ask {problem.number}{where}",
        *_about_the_hub(name),
    ]
    return "".join(f"# {line}\n" for line in head) + "#\n" + study_file(name).read_text(encoding="utf-8")


def _about_the_hub(name: str) -> Iterator[str]:
    if family := _family(name):
        yield f"Checkpoints of {family} are fetched from the hub: run this where it can be reached."


def _family(name: str) -> str:
    """The family that a study loads; empty for one that trains."""
    settings = tomllib.loads(study_file(name).read_text(encoding="utf-8"))
    return str(settings.get("load", {}).get("family", ""))
