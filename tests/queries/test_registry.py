from types import SimpleNamespace
from typing import Unpack

import pyarrow as pa
import pytest

from archive.errors import PathscopeError, UnknownName, UsageError
from archive.store import Archive
from queries import registry
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs
from queries.registry import all_queries, find_query, query
from queries.results import Answer, Provenance
from tests.queries.simulated import Simulation


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    all_queries()
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


def plain_answer(archive: Archive) -> Answer:
    return Answer(
        sentence="Yes.",
        table=pa.table({"x": [1]}),
        n_runs=1,
        provenance=Provenance.of(archive, []),
        sql="SELECT 1 AS x",
    )


def asking(name: str, module: str = "somewhere") -> None:
    def question(archive: Archive, *, k: int = 1) -> Answer:
        """What k is."""
        return plain_answer(archive)

    question.__name__, question.__module__ = name, module
    query(title="What?")(question)


def test_a_question_is_found_by_its_name_with_either_dash() -> None:
    asking("what_now")

    assert find_query("what-now").title == "What?"
    assert find_query("what_now").summary == "What k is."


def test_an_unknown_question_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no query 'los_curves'; did you mean 'loss_curves'"):
        find_query("los_curves")


def test_two_questions_of_one_name_are_refused_naming_both_modules() -> None:
    asking("what_now", "here")
    asking("what_now", "here")  # the same module again: a notebook cell run twice
    with pytest.raises(TypeError, match="'what_now' is defined twice: in here and in there"):
        asking("what_now", "there")


def test_a_question_must_say_what_it_answers() -> None:
    def silent(archive: Archive) -> Answer:
        return plain_answer(archive)

    with pytest.raises(TypeError, match="needs a title and a docstring"):
        query(title="Well?")(silent)


def test_parameters_must_be_named_typed_and_optional() -> None:
    def positional(archive: Archive, k: int = 1) -> Answer:
        """Doc."""
        return plain_answer(archive)

    def needed(archive: Archive, *, k: int) -> Answer:
        """Doc."""
        return plain_answer(archive)

    def untyped(archive: Archive, *, k=1) -> Answer:  # type: ignore[no-untyped-def]
        """Doc."""
        return plain_answer(archive)

    for function, words in (
        (positional, "keyword-only"),
        (needed, "needs a default"),
        (untyped, "annotated"),
    ):
        with pytest.raises(TypeError, match=words):
            query(title="Well?")(function)


def test_parameters_are_checked_and_named_in_errors(simulation: Simulation) -> None:
    asking("what_now")
    archive, ask = simulation.commit(), find_query("what_now").ask

    assert ask(archive, k="3").parameters == {"k": 3}
    with pytest.raises(UsageError, match="what_now: k='three': Input should be a valid integer"):
        ask(archive, k="three")
    with pytest.raises(
        UsageError, match=r"predictor='loss': expected a list of values, such as predictor=\['loss'\]"
    ):
        find_query("predict_onset").ask(archive, predictor="loss")
    with pytest.raises(UnknownName, match="no parameter of what_now 'kk'; did you mean 'k'"):
        ask(archive, kk=3)


def test_parameters_by_position_are_refused(simulation: Simulation) -> None:
    from queries.loss_curves import loss_curves

    with pytest.raises(UsageError, match="give parameters by name, such as runs="):
        loss_curves(simulation.commit(), "a")  # type: ignore[misc]


def test_an_answer_carries_the_line_that_repeats_it(simulation: Simulation) -> None:
    def told(
        archive: Archive, *, runs: Runs = ALL_RUNS, level: float = 0.5, **which: Unpack[Which]
    ) -> Answer:
        """Doc."""
        assert set(which) <= {"source"}
        return plain_answer(archive)

    asked = query(title="Well?")(told)
    simulation.run("a")
    archive = simulation.commit()
    opened = f"pathscope.open_archive({str(archive.layout.database)!r})"

    assert asked(archive).python == f"pathscope.told({opened})"
    assert asked(archive, level=0.5).python == f"pathscope.told({opened})"
    assert asked(archive, runs="a", level=1, source="x").python == (
        f"pathscope.told({opened}, runs='a', level=1.0, source='x')"
    )


def test_questions_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    point = SimpleNamespace(
        load=lambda: asking("theirs"), value="other:x", dist=SimpleNamespace(name="other")
    )
    monkeypatch.setattr(registry, "_discovered", False)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == "pathscope.queries" else []
    )

    assert {"theirs", "loss_curves"} <= set(all_queries())


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("no module named y")

    point = SimpleNamespace(load=fail, value="other:x", dist=SimpleNamespace(name="other"))
    monkeypatch.setattr(registry, "_discovered", False)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])

    with pytest.raises(
        PathscopeError, match=r"queries of other \(other:x\) cannot be loaded: no module named y"
    ):
        all_queries()
