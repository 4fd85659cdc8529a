from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from archive.upkeep.marks import exclude
from queries.reading.select import RunSelection, select_runs
from tests.queries.simulated import Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    s = simulation
    s.run("gpt-a", family="gpt", condition="small", aliases=("alias", "stanford-a"), tags=("paper", "old"))
    s.run("gpt-b", family="gpt", condition="small", tags=("paper",))
    s.run("toy-a", family="toys", condition="small")
    s.run("lone", family="toys", condition="")
    return s.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def names(archive: Archive, runs: object) -> list[str]:
    return [r.run for r in select_runs(archive, runs).runs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ("*", ["gpt-a", "gpt-b", "toy-a", "lone"]),
        ("gpt-b", ["gpt-b"]),
        ("stanford-a", ["gpt-a"]),
        (["gpt-?", "lone"], ["gpt-a", "gpt-b", "lone"]),
        ("family:gpt", ["gpt-a", "gpt-b"]),
        ("family:g*", ["gpt-a", "gpt-b"]),
        (["tag:paper", "tag:old"], ["gpt-a"]),
        (["condition:small", "*-a"], ["gpt-a", "toy-a"]),
        ("source:pathscope", ["gpt-a", "gpt-b", "toy-a", "lone"]),
        (RunSelection(), ["gpt-a", "gpt-b", "toy-a", "lone"]),
        (RunSelection(families=("toys",)), ["toy-a", "lone"]),
    ],
)
def test_runs_are_found_by_what_people_type(archive: Archive, runs: object, expected: list[str]) -> None:
    assert names(archive, runs) == expected


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ("gpt-c", "no run 'gpt-c'; did you mean 'gpt-b' or 'gpt-a'"),
        ("zzz*", "no run 'zzz*'"),
        ("family:gtp", "no family 'gtp'; did you mean 'gpt'"),
        ("condition:smal", "did you mean 'small'"),
        ("tag:papers", "did you mean 'paper'"),
        ("source:pathscop", "did you mean 'pathscope'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(archive: Archive, runs: str, words: str) -> None:
    with pytest.raises(UnknownName, match=words.replace("*", r"\*")):
        select_runs(archive, runs)


def test_an_empty_list_does_not_mean_everything(archive: Archive) -> None:
    with pytest.raises(UsageError, match=r"'\*' means all"):
        select_runs(archive, [])


def test_one_unknown_name_among_known_ones_is_refused(archive: Archive) -> None:
    with pytest.raises(UnknownName, match="gpt-z"):
        select_runs(archive, ["gpt-a", "gpt-z"])


def test_fields_that_match_nothing_together_are_refused(archive: Archive) -> None:
    with pytest.raises(UsageError, match="gpt-a and family:toys together"):
        select_runs(archive, ["gpt-a", "family:toys"])


def test_excluded_runs_are_left_out_and_named(simulation: Simulation) -> None:
    archive = planted(simulation)
    exclude(archive.layout, "gpt-b", "wrong data")
    found = select_runs(archive, "family:gpt")

    assert [r.run for r in found.runs] == ["gpt-a"]
    assert [(r.run, r.exclusion_reason) for r in found.excluded] == [("gpt-b", "wrong data")]
    assert found.excluded[0].excluded_by
    assert names(archive, ["family:gpt", "excluded:too"]) == ["gpt-a", "gpt-b"]
    with pytest.raises(NotComparable, match="'excluded:too'"):
        select_runs(archive, "gpt-b")


def test_groups_are_conditions_and_a_run_without_one_stands_alone(archive: Archive) -> None:
    groups = list(select_runs(archive, "*").groups.values())

    # two families call a condition "small": nothing says that those are repeats of one another
    assert groups == ["gpt: small", "gpt: small", "toys: small", "lone"]
    assert set(select_runs(archive, "family:gpt").groups.values()) == {"small"}


@given(
    st.builds(
        RunSelection,
        names=st.lists(st.text(st.characters(exclude_characters="*:"), min_size=1), max_size=3).map(tuple),
        families=st.lists(st.text(min_size=1), max_size=2).map(tuple),
        conditions=st.lists(st.text(min_size=1), max_size=2).map(tuple),
        tags=st.lists(st.text(min_size=1), max_size=2).map(tuple),
        sources=st.lists(st.text(min_size=1), max_size=2).map(tuple),
        with_excluded=st.booleans(),
    )
)
def test_a_selection_survives_being_typed(selection: RunSelection) -> None:
    assert RunSelection.of(selection.terms()) == selection


@pytest.mark.parametrize("term", ["family:", "condition:", "tag:", "source:"])
def test_a_word_without_a_name_is_a_slip(term: str) -> None:
    with pytest.raises(UsageError, match=f"{term}NAME"):
        RunSelection.of([term])


def test_an_empty_archive_says_how_runs_get_in(simulation: Simulation) -> None:
    with pytest.raises(UsageError, match=r"holds no run yet: `pathscope ingest STUDY.toml`"):
        select_runs(simulation.commit(), "*")
