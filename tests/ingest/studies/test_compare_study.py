"""A study that compares, read from its file: which pairs are meant, and what is said about mistakes."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from archive.errors import UsageError
from ingest.planning.compare_wanted import comparing_bytes
from ingest.planning.estimate import needs
from ingest.studies.comparing import CompareStudy, pairs_of
from ingest.studies.files import parse_study

TOML = """
name = "x"
[load]
family = "pythia"
runs = ["pythia-14m*"]
checkpoints = "final"
[compare]
pairs = "same step"
[[eval_sets]]
kind = "repeated_tokens"
"""


def study(text: str = TOML) -> CompareStudy:
    found = parse_study(text, Path("/nowhere/x.toml"))
    assert isinstance(found, CompareStudy)
    return found


def runs(**steps: tuple[int, ...]) -> Any:
    """Runs by name with checkpoints at these steps."""
    return [
        SimpleNamespace(name=name, label=name, refs=tuple(SimpleNamespace(run=name, step=s) for s in found))
        for name, found in steps.items()
    ]


def found(which: str, base: str = "", **steps: tuple[int, ...]) -> list[tuple[str, int, str, int]]:
    return [
        cast(Any, pair.owner.key)[:2] + cast(Any, pair.owner.key)[3:5]
        for pair in pairs_of(runs(**steps), which, base)
    ]


def test_pairs_of_every_kind() -> None:
    three = {"a": (0, 5, 9), "b": (0, 9), "c": (9,)}
    assert found("same step", **three) == [
        ("a", 0, "b", 0), ("a", 9, "b", 9), ("a", 9, "c", 9), ("b", 9, "c", 9),
    ]  # fmt: skip
    assert found("consecutive", **three) == [("a", 0, "a", 5), ("a", 5, "a", 9), ("b", 0, "b", 9)]
    assert found("base", "a", **three) == [("a", 9, "b", 0), ("a", 9, "b", 9), ("a", 9, "c", 9)]
    everything = found("all", **three)
    assert len(everything) == len(set(everything)) == 6 * 5 // 2


def test_both_orders_follow_each_other() -> None:
    once, twice = study().pairs, study(TOML.replace('"same step"', '"same step"\nboth_orders = true')).pairs
    assert len(twice) == 2 * len(once)
    assert twice[::2] == once
    assert [(p.b, p.a) for p in twice[1::2]] == [(p.a, p.b) for p in once]


def test_the_pairs_of_a_family() -> None:
    names = [run.name for run in study().runs]
    assert len(study().pairs) == len(names) * (len(names) - 1) // 2
    one = study().pairs[0]
    assert one.name == f"{names[0]} step 143000 with {names[1]} step 143000"
    tasks = [SimpleNamespace(run=pair, log_after=None) for pair in study().pairs * 3]
    assert needs(cast(Any, tasks)) == "3 pairs to compare"
    assert study().file.measures.names == ("output_divergence", "top1_agreement", "cka")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"same step"', '"base"', r"\[compare\]: pairs = \"base\" goes with base = \"NAME OF A RUN\""),
        ('"same step"', '"all"\nbase = "x"', "other pairs without it"),
        ('"same step"', '"every"', "compare.pairs = 'every'"),
        (
            '[load]\nfamily = "pythia"\nruns = ["pythia-14m*"]\ncheckpoints = "final"',
            "",
            r"\[compare\] without \[load\]",
        ),
        ('[[eval_sets]]\nkind = "repeated_tokens"', "", r"at least one \[\[eval_sets\]\]"),
        (
            "[[eval_sets]]",
            '[measures]\nnames = ["cka"]\nschedule = { cka = "final" }\n[[eval_sets]]',
            "no meaning for pairs",
        ),
        (
            'pairs = "same step"',
            'pears = "same step"',
            r"unknown key compare.pears = .*did you mean 'pairs'\?",
        ),
    ],
)
def test_mistakes_are_told_with_what_to_write(old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        study(TOML.replace(old, new))


def test_no_pair_is_no_study() -> None:
    with pytest.raises(
        UsageError, match=r"compare.pairs = \"consecutive\" finds no pair among \d+ checkpoints of \d+ run"
    ):
        _ = study(TOML.replace('"same step"', '"consecutive"')).pairs


def test_what_a_worker_takes_is_told_from_both_models_and_the_eval_set() -> None:
    label = study().pairs[0].label
    plan = SimpleNamespace(tasks=[SimpleNamespace(run=study().pairs[0])])

    def told(n_positions: int) -> int:
        measured = (SimpleNamespace(n_positions=n_positions),)
        wanted = SimpleNamespace(conditions={label: SimpleNamespace(measured=measured)})
        return comparing_bytes(cast(Any, plan), cast(Any, wanted), study())

    # Pythia-14m: 6 layers of 128 and 512, 50,304 outputs
    per_position = 4 * (4 * 2 * 6 * 512 + 2 * 50304)
    assert told(2048) - told(1024) == 1024 * per_position
    assert 400e6 + 4 * 4 * 14_067_712 + 8 * 36 * 512**2 < told(0) < 1e9
    assert comparing_bytes(cast(Any, SimpleNamespace(tasks=[])), cast(Any, None), study()) == 0
