"""A study that loads, read from its file: which runs are meant, and what is said about mistakes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from archive.errors import UsageError
from ingest.planning.estimate import needs
from ingest.studies.files import parse_study
from ingest.studies.loading import LoadStudy

TOML = """
name = "x"
[load]
family = "pythia"
runs = ["{runs}"]
checkpoints = "final"
[[eval_sets]]
kind = "repeated_tokens"
[[eval_sets]]
kind = "{kind}"
{key} = 40
"""


def study(runs: str = "pythia-14m", kind: str = "ioi", key: str = "n_prompts") -> LoadStudy:
    text = TOML.format(runs=runs, kind=kind, key=key).replace("= 40", "= 60")
    found = parse_study(text, Path("/nowhere/x.toml"))
    assert isinstance(found, LoadStudy)
    return found


def test_patterns_mean_names_aliases_and_repositories() -> None:
    by_name = [run.name for run in study("pythia-14m*").runs]
    assert "pythia-14m" in by_name
    assert [run.name for run in study("EleutherAI/pythia-14m*").runs] == by_name
    first = study().family.find("pythia-70m")
    alias = next(alias for alias in first.aliases if "/" not in alias)
    assert first.name in [run.name for run in study(f"{alias[:-1]}?").runs]


def test_a_pattern_that_means_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no pythia run 'EleutherAI/pithia"):
        _ = study("EleutherAI/pithia*").runs


def test_an_unknown_key_of_an_eval_set_is_told_with_those_of_its_kind() -> None:
    with pytest.raises(
        UsageError,
        match=r"did you mean 'n_prompts'\? \[\[eval_sets\]\] of kind 'ioi' knows kind, name, bos, n_prompts, .*measures",
    ):
        study(key="n_promts")


def test_an_unknown_kind_of_eval_set_is_told_with_those_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"no eval set of kind 'io'; did you mean 'ioi'\? there are acronyms, .*ioi, prompts"
    ):
        study(kind="io")


def test_a_run_that_is_only_loaded_is_not_called_trained() -> None:
    tasks = cast(Any, [SimpleNamespace(run=None, log_after=after) for after in (None, -1)])
    assert needs(tasks[:1]) == "1 run to measure"
    assert needs(tasks) == "1 run to train and 1 run to measure"
