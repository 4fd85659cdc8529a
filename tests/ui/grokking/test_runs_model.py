from collections.abc import Callable
from pathlib import Path

import pytest

from archive.store import Archive
from tests.ui.archives import Plan, write_archive
from ui.models.grokking.runs import RunsAsked, runs_asked
from ui.models.series import RunChoice

Made = Callable[[str], Path]


def test_few_runs_are_asked_about_as_they_were_chosen(demo: Archive) -> None:
    chosen = RunChoice(run=("*",), suspect=True)
    assert runs_asked(demo, runs=chosen) == RunsAsked(chosen)


def test_of_many_runs_the_first_with_measures_are_used_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.models.grokking.runs.MOST_RUNS", 2)
    bare = [Plan(f"bare-{k}", k, steps=()) for k in range(2)]
    full = [Plan(f"full-{k}", k, steps=(0, 1)) for k in range(3)]
    archive = Archive(write_archive(tmp_path / "x.duckdb", [*bare, *full], log=False))
    found = runs_asked(archive, runs=RunChoice(excluded=True))
    assert found.runs == RunChoice(run=("full-0", "full-1"), excluded=True)
    assert found.words == ("The first 2 of 3 runs are used; choose others in the sidebar.",)
